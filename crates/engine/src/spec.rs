//! What a container is asked to be: parsed once at the face, kept in its record.

mod bind;
mod log;
mod mode;
mod mount;
mod network;
mod port;
mod resources;
mod restart;
mod security;
mod signal;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use bind::{Bind, MountSource, VolumeFrom};
pub use log::{LogConfig, ParseLogConfigError};
pub use mode::{CgroupnsMode, IpcMode, NetworkMode, ParseModeError, PidMode, UsernsMode, UtsMode};
pub use mount::{IdMap, Mount, MountKind, ParseMountError, Propagation, check_tmpfs};
pub use network::{EndpointSettings, ExtraHost, ParseExtraHostError};
pub use port::{ParsePortError, Port, PortBinding, PortRange, Protocol};
pub use resources::{DeviceMapping, DeviceRequest, DeviceRule, ParseDeviceError, Resources, ThrottleDevice, Ulimit, WeightDevice};
pub use restart::{ParseRestartPolicyError, RestartPolicy};
pub use security::{ParseSecurityOptionError, SeccompProfile, SecurityOption};
pub use signal::{ParseSignalError, Signal};

/// All that a person asks of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// What runs.
    pub config: Config,
    /// How it runs on this host.
    pub host: HostConfig,
    /// Settings of its endpoints by network name.
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// What runs; after creation the image's configuration is merged in.
///
/// **Source:** Docker Engine API, `ContainerConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// The image as it was asked for.
    pub image: String,
    /// Arguments, or program and arguments; none takes the image's.
    pub command: Option<Vec<String>>,
    /// Program before the command; none takes the image's, empty clears it.
    pub entrypoint: Option<Vec<String>>,
    /// `KEY=value`; `KEY` alone removes it.
    pub env: Vec<String>,
    /// `user[:group]` as names or numbers.
    pub user: String,
    /// Working directory; empty takes the image's.
    pub working_directory: String,
    /// Host name; empty takes the first 12 digits of the id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Whether a pseudo-terminal is made.
    pub tty: bool,
    /// Whether standard input stays open without a client.
    pub open_stdin: bool,
    /// Whether standard input closes with the first client's end.
    pub stdin_once: bool,
    /// Whether the creator means to attach to standard input.
    pub attach_stdin: bool,
    /// Whether the creator means to attach to standard output.
    pub attach_stdout: bool,
    /// Whether the creator means to attach to standard error.
    pub attach_stderr: bool,
    /// Ports that the program listens on.
    pub exposed_ports: BTreeSet<Port>,
    /// Paths that get an anonymous volume.
    pub volumes: BTreeSet<String>,
    /// Whether the image's paths for volumes stay in the container's own files: for steps of a build.
    pub no_image_volumes: bool,
    /// How health is probed; none takes the image's.
    pub healthcheck: Option<Healthcheck>,
    /// What `stop` sends first; none takes the image's or SIGTERM.
    pub stop_signal: Option<Signal>,
    /// The stop signal as it was written, for display.
    pub stop_signal_text: String,
    /// Seconds between the stop signal and SIGKILL; negative waits for ever, none is 10.
    pub stop_timeout: Option<i64>,
    /// Whether there is only a loopback.
    pub network_disabled: bool,
    /// Shell of the image's shell forms.
    pub shell: Option<Vec<String>>,
    /// Triggers of the image.
    pub on_build: Option<Vec<String>>,
}

/// How health is probed; a zero duration takes the default.
///
/// **Source:** Docker Engine API, `HealthConfig`; `HTTP` and `TCP` are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `[]` inherits, `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", line]`, `["HTTP", url]` or
    /// `["TCP", port]`.
    pub test: Vec<String>,
    /// Between two probes; default 30 s.
    pub interval: Duration,
    /// Until a probe counts as failed; default 30 s.
    pub timeout: Duration,
    /// After the start, in which failures do not count.
    pub start_period: Duration,
    /// Between two probes within the start period; default 5 s.
    pub start_interval: Duration,
    /// Failures in a row that make it unhealthy; default 3.
    pub retries: u32,
}

/// How a container runs on its host.
///
/// **Source:** Docker Engine API, `HostConfig`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostConfig {
    /// Mounts in the form of `-v`.
    pub binds: Vec<Bind>,
    /// Mounts in the form of `--mount`.
    pub mounts: Vec<Mount>,
    /// Containers whose mounts are taken over.
    pub volumes_from: Vec<VolumeFrom>,
    /// Temporary file systems: path and options.
    pub tmpfs: BTreeMap<String, String>,
    /// Driver of new volumes.
    pub volume_driver: String,
    /// Where the client wrote the id; kept for display.
    pub container_id_file: String,
    /// Where output is logged.
    pub log: LogConfig,
    /// Network.
    pub network_mode: NetworkMode,
    /// Published ports.
    pub port_bindings: BTreeMap<Port, Vec<PortBinding>>,
    /// Whether all exposed ports are published.
    pub publish_all_ports: bool,
    /// Name servers.
    pub dns: Vec<std::net::IpAddr>,
    /// Options of `resolv.conf(5)`.
    pub dns_options: Vec<String>,
    /// Search domains.
    pub dns_search: Vec<String>,
    /// Lines for `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Links to other containers, as written.
    pub links: Vec<String>,
    /// When it starts again by itself.
    pub restart_policy: RestartPolicy,
    /// Whether it is removed at its end.
    pub auto_remove: bool,
    /// Annotations of the OCI specification.
    pub annotations: BTreeMap<String, String>,
    /// Capabilities to add, `ALL` or with or without `CAP_`.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Whether nothing of the host is kept away.
    pub privileged: bool,
    /// `no-new-privileges`, `seccomp=…` and so on.
    pub security_options: Vec<SecurityOption>,
    /// Control group namespace.
    pub cgroupns_mode: CgroupnsMode,
    /// IPC namespace.
    pub ipc_mode: IpcMode,
    /// Process id namespace.
    pub pid_mode: PidMode,
    /// Host name namespace.
    pub uts_mode: UtsMode,
    /// User namespace.
    pub userns_mode: UsernsMode,
    /// Supplementary groups as names or numbers.
    pub group_add: Vec<String>,
    /// −1000 to 1000.
    pub oom_score_adj: i64,
    /// Whether the root file system is read-only.
    pub readonly_rootfs: bool,
    /// Options of the storage driver.
    pub storage_options: BTreeMap<String, String>,
    /// Size of `/dev/shm` in bytes; 0 is 64 MiB.
    pub shm_bytes: u64,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// Name of the OCI runtime; empty is the default one.
    pub runtime: String,
    /// Isolation; of no meaning on Linux, kept for display.
    pub isolation: String,
    /// Rows and columns of the terminal at the start; zero is unknown.
    pub console_size: [u16; 2],
    /// Cgroup below which the container's one is made.
    pub cgroup_parent: String,
    /// Limits.
    pub resources: Resources,
    /// Paths hidden from the container; none takes the default ones.
    pub masked_paths: Option<Vec<PathBuf>>,
    /// Paths made read-only; none takes the default ones.
    pub readonly_paths: Option<Vec<PathBuf>>,
    /// Whether our init becomes process 1; none is no.
    pub init: Option<bool>,
}
