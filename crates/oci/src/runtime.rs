//! The OCI runtime specification 1.2: `config.json`, `state.json`, `features`.
//!
//! Plain data; unknown fields are ignored when read and absent ones are not written.
//! **Source:** opencontainers/runtime-spec, `schema/config-schema.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The specification version written into new bundles.
pub const VERSION: &str = "1.2.1";

macro_rules! spec {
    ($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$fmeta])* #[serde(skip_serializing_if = "Skip::skip")] pub $field: $ty,)*
        }
    };
}

/// Says whether a value is the absent one and is left out of the JSON.
trait Skip {
    fn skip(&self) -> bool;
}
impl<T> Skip for Option<T> {
    fn skip(&self) -> bool {
        self.is_none()
    }
}
impl<T> Skip for Vec<T> {
    fn skip(&self) -> bool {
        self.is_empty()
    }
}
impl<K, V> Skip for BTreeMap<K, V> {
    fn skip(&self) -> bool {
        self.is_empty()
    }
}
impl Skip for String {
    fn skip(&self) -> bool {
        self.is_empty()
    }
}
impl Skip for PathBuf {
    fn skip(&self) -> bool {
        self.as_os_str().is_empty()
    }
}
impl Skip for bool {
    fn skip(&self) -> bool {
        !*self
    }
}
/// Numbers are always written.
macro_rules! keep { ($($t:ty),*) => { $(impl Skip for $t { fn skip(&self) -> bool { false } })* }; }
keep!(u32, u64, i64, User, Root, NamespaceType, SeccompAction, SeccompOp);

spec!(/// One container as `config.json` describes it.
Spec {
    /// Specification version, such as `1.2.1`.
    oci_version: String,
    /// The first process.
    process: Option<Process>,
    /// The root file system.
    root: Option<Root>,
    /// Host name inside a new UTS namespace.
    hostname: Option<String>,
    /// NIS domain name inside a new UTS namespace.
    domainname: Option<String>,
    /// Mounts in the order they are made.
    mounts: Vec<Mount>,
    /// Life-cycle hooks.
    hooks: Option<Hooks>,
    /// Free annotations.
    annotations: BTreeMap<String, String>,
    /// What only Linux has.
    linux: Option<Linux>,
});

spec!(/// A process in a container.
Process {
    /// Whether it gets a pseudo-terminal.
    terminal: bool,
    /// Size of the terminal in cells.
    console_size: Option<ConsoleSize>,
    /// Identity.
    user: User,
    /// Program and arguments.
    args: Vec<String>,
    /// `KEY=value` pairs.
    env: Vec<String>,
    /// Working directory inside the container.
    cwd: PathBuf,
    /// Capability sets by their `CAP_` names.
    capabilities: Option<Capabilities>,
    /// Resource limits.
    rlimits: Vec<Rlimit>,
    /// Whether `PR_SET_NO_NEW_PRIVS` is set.
    no_new_privileges: bool,
    /// AppArmor profile.
    apparmor_profile: Option<String>,
    /// SELinux label.
    selinux_label: Option<String>,
    /// Score for the out-of-memory killer, −1000 to 1000.
    oom_score_adj: Option<i64>,
    /// Scheduling policy.
    scheduler: Option<Scheduler>,
    /// I/O priority.
    #[serde(rename = "ioPriority")]
    io_priority: Option<IoPriority>,
    /// CPU affinity of an exec'ed process.
    #[serde(rename = "execCPUAffinity")]
    exec_cpu_affinity: Option<CpuAffinity>,
});

spec!(/// Cells of a terminal.
ConsoleSize { /// Rows.
    height: u64, /// Columns.
    width: u64 });
spec!(/// Identity of a process.
User {
    /// User id inside the container.
    uid: u32,
    /// Group id inside the container.
    gid: u32,
    /// File mode creation mask.
    umask: Option<u32>,
    /// Supplementary groups.
    additional_gids: Vec<u32>,
});
spec!(/// The five capability sets.
Capabilities {
    /// Bounding set.
    bounding: Vec<String>,
    /// Effective set.
    effective: Vec<String>,
    /// Inheritable set.
    inheritable: Vec<String>,
    /// Permitted set.
    permitted: Vec<String>,
    /// Ambient set.
    ambient: Vec<String>,
});
spec!(/// One resource limit.
Rlimit {
    /// Name such as `RLIMIT_NOFILE`.
    #[serde(rename = "type")]
    kind: String,
    /// Soft limit.
    soft: u64,
    /// Hard limit.
    hard: u64,
});
spec!(/// Scheduling attributes, `sched_setattr(2)`.
Scheduler {
    /// Policy such as `SCHED_BATCH`.
    policy: String,
    /// Nice value.
    nice: Option<i64>,
    /// Real-time priority.
    priority: Option<i64>,
    /// Flags such as `SCHED_FLAG_RESET_ON_FORK`.
    flags: Vec<String>,
    /// Nanoseconds.
    runtime: Option<u64>,
    /// Nanoseconds.
    deadline: Option<u64>,
    /// Nanoseconds.
    period: Option<u64>,
});
spec!(/// I/O priority, `ioprio_set(2)`.
IoPriority { /// `IOPRIO_CLASS_RT`, `IOPRIO_CLASS_BE` or `IOPRIO_CLASS_IDLE`.
    class: String, /// 0 (highest) to 7.
    priority: i64 });
spec!(/// CPU lists.
CpuAffinity { /// Before entering the container's cgroup.
    initial: Option<String>, /// After it.
    #[serde(rename = "final")] last: Option<String> });
spec!(/// The root file system.
Root { /// Absolute, or relative to the bundle.
    path: PathBuf, /// Mounted read-only.
    readonly: bool });
spec!(/// One mount.
Mount {
    /// Absolute path inside the container.
    destination: PathBuf,
    /// File system type, or `bind`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Source path or device name.
    source: Option<PathBuf>,
    /// Options as in `fstab(5)`, with `bind`, `rbind`, propagation, `rro`, `idmap`, `tmpcopyup` and others.
    options: Vec<String>,
    /// User mappings of an idmapped mount.
    uid_mappings: Vec<IdMapping>,
    /// Group mappings of an idmapped mount.
    gid_mappings: Vec<IdMapping>,
});
spec!(/// Hooks by the moment they run.
Hooks {
    /// After the namespaces are made, in the runtime's namespace (deprecated).
    prestart: Vec<Hook>,
    /// As `prestart`.
    create_runtime: Vec<Hook>,
    /// After the namespaces are made, in the container's namespace.
    create_container: Vec<Hook>,
    /// Before the program is executed, in the container's namespace.
    start_container: Vec<Hook>,
    /// After the program has started.
    poststart: Vec<Hook>,
    /// After the container is deleted.
    poststop: Vec<Hook>,
});
spec!(/// One hook program.
Hook {
    /// Absolute path.
    path: PathBuf,
    /// Arguments, the program's name first.
    args: Vec<String>,
    /// `KEY=value` pairs.
    env: Vec<String>,
    /// Seconds until it is killed.
    timeout: Option<u64>,
});

spec!(/// What only Linux has.
Linux {
    /// User mappings of the user namespace.
    uid_mappings: Vec<IdMapping>,
    /// Group mappings of the user namespace.
    gid_mappings: Vec<IdMapping>,
    /// Kernel parameters.
    sysctl: BTreeMap<String, String>,
    /// Limits.
    resources: Option<Resources>,
    /// Path of the cgroup below the root of each hierarchy.
    cgroups_path: Option<PathBuf>,
    /// Namespaces to make or to join.
    namespaces: Vec<Namespace>,
    /// Device nodes to make.
    devices: Vec<Device>,
    /// System call filter.
    seccomp: Option<Seccomp>,
    /// Propagation of the root mount, such as `private`.
    rootfs_propagation: Option<String>,
    /// Paths hidden from the container.
    masked_paths: Vec<PathBuf>,
    /// Paths made read-only.
    readonly_paths: Vec<PathBuf>,
    /// SELinux label of the mounts.
    mount_label: Option<String>,
    /// Execution domain.
    personality: Option<Personality>,
    /// Offsets of the time namespace, by clock (`monotonic`, `boottime`).
    time_offsets: BTreeMap<String, TimeOffset>,
});
spec!(/// A range of ids.
IdMapping { /// First id inside.
    #[serde(rename = "containerID")] container_id: u32, /// First id outside.
    #[serde(rename = "hostID")] host_id: u32, /// Number of ids.
    size: u32 });
spec!(/// A namespace.
Namespace { /// Its kind.
    #[serde(rename = "type")] kind: NamespaceType, /// The one to join; absent makes a new one.
    path: Option<PathBuf> });
/// Kinds of namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceType {
    /// Mounts.
    #[default]
    Mount,
    /// Process ids.
    Pid,
    /// Network.
    Network,
    /// System V IPC and POSIX queues.
    Ipc,
    /// Host and domain name.
    Uts,
    /// User and group ids.
    User,
    /// Control groups.
    Cgroup,
    /// Monotonic and boot clocks.
    Time,
}
spec!(/// A device node.
Device {
    /// Path inside the container.
    path: PathBuf,
    /// `c`, `b`, `u` or `p`.
    #[serde(rename = "type")]
    kind: String,
    /// Major number.
    major: Option<i64>,
    /// Minor number.
    minor: Option<i64>,
    /// Permission bits.
    file_mode: Option<u32>,
    /// Owner.
    uid: Option<u32>,
    /// Group.
    gid: Option<u32>,
});
spec!(/// Execution domain.
Personality { /// `LINUX` or `LINUX32`.
    domain: String, /// Flags.
    flags: Vec<String> });
spec!(/// Offset of a clock.
TimeOffset { /// Seconds.
    secs: i64, /// Nanoseconds.
    nanosecs: u32 });

spec!(/// Limits of a cgroup.
Resources {
    /// Values for files of cgroup v2.
    unified: BTreeMap<String, String>,
    /// Device rules in order.
    devices: Vec<DeviceRule>,
    /// Memory.
    memory: Option<Memory>,
    /// CPU time and sets.
    cpu: Option<Cpu>,
    /// Number of tasks.
    pids: Option<Pids>,
    /// Block I/O.
    #[serde(rename = "blockIO")]
    block_io: Option<BlockIo>,
    /// Huge pages.
    hugepage_limits: Vec<HugepageLimit>,
    /// Network classes and priorities (v1).
    network: Option<NetworkClass>,
    /// RDMA limits by device.
    rdma: BTreeMap<String, Rdma>,
});
spec!(/// A device rule.
DeviceRule { /// Allow or deny.
    allow: bool, /// `a`, `c` or `b`.
    #[serde(rename = "type")] kind: Option<String>, /// Major number; absent is any.
    major: Option<i64>, /// Minor number; absent is any.
    minor: Option<i64>, /// Some of `rwm`.
    access: Option<String> });
spec!(/// Memory limits in bytes; −1 is unlimited.
Memory {
    /// Hard limit.
    limit: Option<i64>,
    /// Soft limit.
    reservation: Option<i64>,
    /// Memory and swap together.
    swap: Option<i64>,
    /// Kernel memory (v1, deprecated).
    kernel: Option<i64>,
    /// Kernel TCP memory (v1).
    #[serde(rename = "kernelTCP")]
    kernel_tcp: Option<i64>,
    /// 0 to 100.
    swappiness: Option<u64>,
    /// Whether the out-of-memory killer is off (v1).
    #[serde(rename = "disableOOMKiller")]
    disable_oom_killer: Option<bool>,
    /// Hierarchical accounting (v1).
    use_hierarchy: Option<bool>,
    /// Whether a new limit is checked against the usage first.
    check_before_update: Option<bool>,
});
spec!(/// CPU limits.
Cpu {
    /// Relative weight, 2 to 262144.
    shares: Option<u64>,
    /// Microseconds a period; −1 is unlimited.
    quota: Option<i64>,
    /// Burst in microseconds.
    burst: Option<u64>,
    /// Microseconds.
    period: Option<u64>,
    /// Real-time microseconds a period.
    realtime_runtime: Option<i64>,
    /// Real-time period in microseconds.
    realtime_period: Option<u64>,
    /// CPU list, such as `0-3,7`.
    cpus: Option<String>,
    /// Memory node list.
    mems: Option<String>,
    /// 1 puts the group into SCHED_IDLE.
    idle: Option<i64>,
});
spec!(/// Task limit.
Pids { /// Number of tasks; 0 or less is unlimited.
    limit: i64 });
spec!(/// Block I/O limits.
BlockIo {
    /// 10 to 1000.
    weight: Option<u64>,
    /// 10 to 1000, of leaf groups.
    leaf_weight: Option<u64>,
    /// By device.
    weight_device: Vec<WeightDevice>,
    /// Bytes a second.
    throttle_read_bps_device: Vec<ThrottleDevice>,
    /// Bytes a second.
    throttle_write_bps_device: Vec<ThrottleDevice>,
    /// Operations a second.
    #[serde(rename = "throttleReadIOPSDevice")]
    throttle_read_iops_device: Vec<ThrottleDevice>,
    /// Operations a second.
    #[serde(rename = "throttleWriteIOPSDevice")]
    throttle_write_iops_device: Vec<ThrottleDevice>,
});
spec!(/// Weight of a device.
WeightDevice { /// Major number.
    major: i64, /// Minor number.
    minor: i64, /// 10 to 1000.
    weight: Option<u64>, /// 10 to 1000.
    leaf_weight: Option<u64> });
spec!(/// Rate of a device.
ThrottleDevice { /// Major number.
    major: i64, /// Minor number.
    minor: i64, /// Per second.
    rate: u64 });
spec!(/// Huge page limit.
HugepageLimit { /// Such as `2MB`.
    page_size: String, /// Bytes.
    limit: u64 });
spec!(/// Network classes of cgroup v1.
NetworkClass { /// Class id.
    #[serde(rename = "classID")] class_id: Option<u32>, /// By interface.
    priorities: Vec<InterfacePriority> });
spec!(/// Priority of an interface.
InterfacePriority { /// Interface.
    name: String, /// Priority.
    priority: u32 });
spec!(/// RDMA limits.
Rdma { /// Handles.
    hca_handles: Option<u32>, /// Objects.
    hca_objects: Option<u32> });

spec!(/// A system call filter.
Seccomp {
    /// What happens to calls no rule names.
    default_action: SeccompAction,
    /// Its error number, where the action takes one.
    default_errno_ret: Option<u32>,
    /// Such as `SCMP_ARCH_X86_64`.
    architectures: Vec<String>,
    /// Such as `SECCOMP_FILTER_FLAG_LOG`.
    flags: Vec<String>,
    /// Socket that receives the notification descriptor.
    listener_path: Option<PathBuf>,
    /// Passed along with it.
    listener_metadata: Option<String>,
    /// Rules.
    syscalls: Vec<SeccompRule>,
});
spec!(/// Rules for some system calls.
SeccompRule {
    /// Names of system calls; unknown ones are skipped.
    names: Vec<String>,
    /// What happens.
    action: SeccompAction,
    /// Error number, where the action takes one.
    errno_ret: Option<u32>,
    /// Conditions that must all hold.
    args: Vec<SeccompArg>,
});
spec!(/// A condition on an argument.
SeccompArg { /// 0 to 5.
    index: u32, /// Compared with this, or the mask of `SCMP_CMP_MASKED_EQ`.
    value: u64, /// Value of `SCMP_CMP_MASKED_EQ`.
    value_two: u64, /// Comparison.
    op: SeccompOp });
/// Actions of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompAction {
    /// Kill the thread.
    #[default]
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    /// Kill the process.
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    /// Send SIGSYS.
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    /// Return an error number.
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    /// Tell a tracer.
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    /// Allow.
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    /// Allow and log.
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    /// Ask a supervisor.
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}
/// Comparisons of a filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompOp {
    /// Not equal.
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    /// Less.
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    /// Less or equal.
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    /// Equal.
    #[default]
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    /// Greater or equal.
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    /// Greater.
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// Equal under a mask.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

spec!(/// What `state` prints.
State {
    /// Specification version.
    oci_version: String,
    /// Container id.
    id: String,
    /// `creating`, `created`, `running` or `stopped` (and `paused`, as runc says).
    status: String,
    /// The first process as the host sees it.
    pid: Option<i64>,
    /// Absolute path of the bundle.
    bundle: PathBuf,
    /// Annotations of the specification.
    annotations: BTreeMap<String, String>,
});
