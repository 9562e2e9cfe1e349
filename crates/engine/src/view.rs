//! What observers see of containers: copies, never the thing itself.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::Arc;

use image::ImageId;
use serde::{Deserialize, Serialize};
pub use supervisor::protocol::{Exit, Process, Stats};

use crate::id::{ContainerId, ContainerName, ExecId};
use crate::spec::{Port, Propagation, Spec};

/// A container as it is at one moment; times are Unix times in nanoseconds.
#[derive(Clone, Debug)]
pub struct Container {
    /// Id.
    pub id: ContainerId,
    /// Name.
    pub name: ContainerName,
    /// When it was created.
    pub created_at: u64,
    /// What was asked for, the image's configuration merged in.
    pub spec: Arc<Spec>,
    /// The image.
    pub image_id: ImageId,
    /// The program.
    pub path: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Where in its life it is.
    pub status: Status,
    /// The first process, while it runs.
    pub pid: Option<i32>,
    /// How it ended last; 0 before.
    pub exit_code: i32,
    /// Why it did not start; empty if it did.
    pub error: String,
    /// Whether the kernel killed one of its processes for want of memory in the last run.
    pub oom_killed: bool,
    /// When it started last.
    pub started_at: Option<u64>,
    /// When it ended last.
    pub finished_at: Option<u64>,
    /// Its health, if it has a check.
    pub health: Option<Health>,
    /// How it ended last, in detail.
    pub death: Option<Exit>,
    /// How often the restart policy has started it.
    pub restart_count: u32,
    /// Its mounts.
    pub mounts: Vec<MountPoint>,
    /// Its endpoints, while it runs.
    pub endpoints: Vec<Endpoint>,
    /// Running execs.
    pub exec_ids: Vec<ExecId>,
    /// Files of the host that the container sees; empty if it has none.
    pub resolv_conf_path: PathBuf,
    /// As above.
    pub hostname_path: PathBuf,
    /// As above.
    pub hosts_path: PathBuf,
    /// The current log file; empty if nothing is kept.
    pub log_path: PathBuf,
    /// The writable layer on the host.
    pub upper: PathBuf,
    /// The layers below on the host, topmost first.
    pub lower: Vec<PathBuf>,
    /// The overlay's work directory on the host.
    pub work: PathBuf,
}

/// Where in its life a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Never started.
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Waits to be started again.
    Restarting,
    /// Ended.
    Exited,
    /// Is being removed.
    Removing,
    /// Its record or its files are damaged.
    Dead,
}

impl Status {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }

    /// Whether a process of it is alive.
    #[must_use]
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// A mount as the container has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `bind`, `volume`, `tmpfs` or `image`.
    pub kind: String,
    /// The volume's name, or empty.
    pub name: String,
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub destination: String,
    /// The volume's driver, or empty.
    pub driver: String,
    /// Options as written.
    pub mode: String,
    /// Whether it can be written.
    pub writable: bool,
    /// Propagation.
    pub propagation: Propagation,
    /// Whether the volume is removed with the container.
    pub anonymous: bool,
    /// What only some kinds have.
    #[serde(default)]
    pub options: MountOptions,
}

/// What only some kinds of mounts have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountOptions {
    /// Whether mounts below the source stay away.
    pub non_recursive: bool,
    /// Whether mounts below stay writable in a read-only one.
    pub read_only_non_recursive: bool,
    /// Whether a missing source is made at each start.
    pub create_source: bool,
    /// Path inside the volume or image; empty is all of it.
    pub subpath: String,
    /// Whether its files show other owners.
    pub id_map: Option<crate::spec::IdMap>,
    /// Whether the engine chose the propagation itself.
    pub own_propagation: bool,
    /// The image that is mounted.
    pub image: Option<ImageId>,
    /// Options of a temporary file system.
    pub tmpfs: Vec<String>,
}

/// An endpoint as the network gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name of the network.
    pub network: String,
    /// Id of the network.
    pub network_id: String,
    /// Id of the endpoint.
    pub endpoint_id: String,
    /// Address.
    pub ip: Option<IpAddr>,
    /// Length of the address's prefix.
    pub prefix: u8,
    /// Default route.
    pub gateway: Option<IpAddr>,
    /// Its IPv6 address and the length of the network's prefix.
    pub six: Option<(Ipv6Addr, u8)>,
    /// The gateway of IPv6.
    pub gateway6: Option<Ipv6Addr>,
    /// Hardware address.
    pub mac: String,
    /// Published ports.
    pub ports: Vec<BoundPort>,
}

/// A published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BoundPort {
    /// Port of the container.
    pub port: Port,
    /// Address on the host.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
}

/// The health of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What the probes say.
    pub status: HealthStatus,
    /// Failures in a row.
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<Probe>,
}

/// What the probes say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// Nothing yet.
    #[default]
    Starting,
    /// The last one succeeded.
    Healthy,
    /// Too many failed in a row.
    Unhealthy,
}

impl HealthStatus {
    /// Docker's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// One probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// Unix time in nanoseconds.
    pub start: u64,
    /// Unix time in nanoseconds.
    pub end: u64,
    /// 0 is healthy; −1 is a timeout.
    pub exit_code: i32,
    /// At most 4096 bytes.
    pub output: String,
}

/// An exec as it is at one moment.
#[derive(Clone, Debug)]
pub struct ExecView {
    /// Id.
    pub id: ExecId,
    /// Its container.
    pub container: ContainerId,
    /// What was asked for.
    pub spec: ExecSpec,
    /// Whether it runs.
    pub running: bool,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// Its process; 0 before the start.
    pub pid: i32,
}

/// What an exec is asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// `KEY=value`, added to the container's.
    pub env: Vec<String>,
    /// Empty takes the container's.
    pub user: String,
    /// Empty takes the container's.
    pub working_directory: String,
    /// Whether a pseudo-terminal is made.
    pub tty: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Whether the client's bytes become input.
    pub attach_stdin: bool,
    /// Whether the client gets standard output.
    pub attach_stdout: bool,
    /// Whether the client gets standard error.
    pub attach_stderr: bool,
    /// Keys that let the client go; empty takes the default.
    pub detach_keys: String,
    /// Rows and columns; zero is unknown.
    pub console_size: [u16; 2],
}
