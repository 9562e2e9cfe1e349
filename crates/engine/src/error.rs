//! One error for each operation on containers; texts are Docker's where Docker has one.

mod connect;

use std::io;

use crate::id::{ContainerId, ContainerName, ParseNameError};

pub use connect::ConnectError;

/// What a face makes of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// There is no such thing.
    NotFound,
    /// The state of things forbids it.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// It is so already.
    NotModified,
    /// We cannot do this.
    Unsupported,
    /// The system refused.
    Internal,
}

/// A container that cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// There is none.
    #[error("No such container: {0}")]
    NotFound(String),
    /// More than one id begins so.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
}

impl LookupError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Ambiguous(_) => ErrorKind::Invalid,
        }
    }
}

/// A specification that no container can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpec {
    /// Too little memory.
    #[error("Minimum memory limit allowed is 6MB")]
    MemoryTooSmall,
    /// Swap below memory.
    #[error("Minimum memoryswap limit should be larger than memory limit, see usage")]
    SwapTooSmall,
    /// Swap without memory.
    #[error("You should always set the Memory limit when using Memoryswap limit, see usage")]
    SwapWithoutMemory,
    /// Soft limit above the hard one.
    #[error("Minimum memory limit can not be less than memory reservation limit, see usage")]
    ReservationTooLarge,
    /// Soft limit too small.
    #[error("Minimum memory reservation allowed is 6MB")]
    ReservationTooSmall,
    /// Not 0 to 100.
    #[error("Invalid value: {0}, valid memory swappiness range is 0-100")]
    Swappiness(i64),
    /// Two ways to say the same.
    #[error("Conflicting options: Nano CPUs and CPU {0} cannot both be set.")]
    CpuConflict(&'static str),
    /// More processors than there are.
    #[error("range of CPUs is from 0.01 to {0}.00, as there are only {0} CPUs available")]
    Cpus(u64),
    /// Period out of its range.
    #[error("CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")]
    CpuPeriod,
    /// Quota out of its range.
    #[error("CPU cfs quota can not be less than 1ms (i.e. 1000)")]
    CpuQuota,
    /// Not a CPU list.
    #[error("Invalid value {value} for cpuset {what}")]
    CpuSet {
        /// `cpus` or `mems`.
        what: &'static str,
        /// The list.
        value: String,
    },
    /// Processors or memory nodes that are not there.
    #[error("Requested {what} are not available - requested {asked}, available: {available}")]
    NotAvailable {
        /// `CPUs` or `memory nodes`.
        what: &'static str,
        /// The list that was asked for.
        asked: String,
        /// The list of what there is.
        available: String,
    },
    /// Not 2 to 262144.
    #[error("the {which} allowed cpu-shares is {bound}")]
    CpuShares {
        /// `minimum` or `maximum`.
        which: &'static str,
        /// Its value.
        bound: i64,
    },
    /// Of another system.
    #[error("invalid isolation ({0}): linux only supports 'default'")]
    Isolation(String),
    /// An option of the storage driver.
    #[error("Unknown option {0}")]
    StorageOption(String),
    /// A size that is none.
    #[error("invalid size: '{0}'")]
    StorageSize(String),
    /// A file system without limits of directories.
    #[error("--storage-opt is supported only for overlay over ext4 or xfs with 'prjquota' mount option")]
    StorageQuota,
    /// A label of SELinux.
    #[error("{0}")]
    SecurityLabel(String),
    /// A sysctl of the host's network.
    #[error("sysctl \"{0}\" not allowed in host network namespace")]
    NetworkSysctl(String),
    /// Not 10 to 1000.
    #[error("Range of blkio weight is from 10 to 1000")]
    BlkioWeight,
    /// Not −1000 to 1000.
    #[error("Invalid value {0}, range for oom score adj is [-1000, 1000]")]
    OomScore(i64),
    /// No program.
    #[error("no command specified")]
    NoCommand,
    /// Unknown capability.
    #[error("invalid CapAdd: unknown capability: \"{0}\"")]
    CapAdd(String),
    /// Unknown capability.
    #[error("invalid CapDrop: unknown capability: \"{0}\"")]
    CapDrop(String),
    /// Options that exclude each other.
    #[error("conflicting options: {0}")]
    Conflict(&'static str),
    /// A restart policy and auto-remove.
    #[error("can't create 'AutoRemove' container with restart policy")]
    AutoRemoveRestart,
    /// The source is missing.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    BindSource(String),
    /// A source in the engine's data with a propagation that would hold its mounts.
    #[error(
        "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root, daemon root: \"{root}\", bind mount source: \"{path}\", propagation: \"{propagation}\""
    )]
    RootPropagation {
        /// The engine's data.
        root: String,
        /// The source.
        path: String,
        /// What was asked for.
        propagation: String,
    },
    /// A propagation that the source's mount does not have.
    #[error("path {path} is mounted on {mount} but it is not a {needed} mount")]
    NotShared {
        /// The source.
        path: String,
        /// Where its mount is.
        mount: String,
        /// `shared`, or `shared or slave`.
        needed: &'static str,
    },
    /// A path inside a volume that leads out of it.
    #[error("path concatenation escapes the base directory, base: {base}, subpath: {subpath}")]
    Escapes {
        /// The volume's directory.
        base: String,
        /// The path inside.
        subpath: String,
    },
    /// An anonymous volume over a file of the image.
    #[error("cannot mount volume over existing file, file exists {0}")]
    VolumeOverFile(String),
    /// A volume over a file of the image.
    #[error("source {0} is not directory")]
    VolumeSource(String),
    /// A mount that cannot be had.
    #[error(transparent)]
    Mount(#[from] crate::spec::ParseMountError),
    /// Two mounts at one place.
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(String),
    /// Relative working directory.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    /// A seccomp profile that cannot be read.
    #[error("opening seccomp profile failed: {0}")]
    Seccomp(String),
    /// Unknown runtime.
    #[error("unknown or invalid runtime name: {0}")]
    Runtime(String),
    /// An environment entry without a name.
    #[error("invalid environment variable: {0}")]
    Environment(String),
    /// Unknown limit.
    #[error("invalid ulimit type: {0}")]
    Ulimit(String),
    /// A sysctl that is not of a namespace of the container.
    #[error("sysctl '{0}' is not allowed: it is not in a separate kernel namespace")]
    Sysctl(String),
    /// A name of a host that is too long or odd.
    #[error("invalid hostname: {0}")]
    Hostname(String),
    /// A health check that cannot be run.
    #[error("{0}")]
    Healthcheck(String),
    /// A tmpfs option.
    #[error("invalid tmpfs option: {0}")]
    Tmpfs(String),
    /// A device that is not there.
    #[error("error gathering device information while adding custom device \"{0}\": no such file or directory")]
    Device(String),
    /// A device driver that we lack.
    #[error("could not select device driver \"{driver}\" with capabilities: {}", go_lists(capabilities))]
    DeviceDriver {
        /// Driver.
        driver: String,
        /// Capabilities.
        capabilities: Vec<Vec<String>>,
    },
}

/// A user or group that the image does not know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// No such user.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    User(String),
    /// No such group.
    #[error("unable to find group {0}: no matching entries in group file")]
    Group(String),
    /// A number that is too large.
    #[error("uids and gids must be in range 0-2147483647")]
    Range,
    /// The file cannot be read.
    #[error("cannot read `{file}` of the container: {reason}")]
    Read {
        /// Which.
        file: &'static str,
        /// Why.
        reason: String,
    },
}

/// Why a container was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name has signs that are not allowed.
    #[error(transparent)]
    Name(#[from] ParseNameError),
    /// The name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// Name.
        name: ContainerName,
        /// Who has it.
        holder: ContainerId,
    },
    /// The image cannot be told.
    #[error(transparent)]
    Image(#[from] image::ResolveError),
    /// The image is for another platform.
    #[error("image with reference {image} was found but does not provide the specified platform ({platform})")]
    Platform {
        /// Image.
        image: String,
        /// Platform.
        platform: String,
    },
    /// Another container that this one refers to.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// Nobody can have this.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The image cannot be held.
    #[error("cannot pin the image")]
    Pin(#[from] image::PinError),
    /// The writable layer cannot be made.
    #[error(transparent)]
    Snapshot(#[from] image::SnapshotError),
    /// A volume cannot be made.
    #[error("create{name}: {cause}")]
    Volume {
        /// A blank and its name, if it has one.
        name: String,
        /// Why.
        #[source]
        cause: volume::AttachError,
    },
    /// A volume of another container cannot be taken over.
    #[error(transparent)]
    VolumeFrom(#[from] volume::AttachError),
    /// A volume cannot be filled from the image.
    #[error("failed to populate volume")]
    Populate(#[from] volume::PopulateError),
    /// A volume's name is wrong.
    #[error(transparent)]
    VolumeName(#[from] volume::ParseNameError),
    /// A network cannot give what is asked of it.
    #[error("invalid config for network {network}: invalid endpoint settings:\n{reasons}")]
    Endpoint {
        /// The network.
        network: String,
        /// Why, one line each.
        reasons: String,
    },
    /// A directory or file of the container cannot be made.
    #[error("cannot prepare `{path}`")]
    Prepare {
        /// Path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot record the container")]
    Record(#[from] store::PutError),
    /// The engine shuts down.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

impl CreateError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            // Not 404: a client would take that for a missing image, and pull it.
            Self::Lookup(_) => ErrorKind::Invalid,
            Self::Name(_) | Self::Invalid(_) | Self::VolumeName(_) | Self::Endpoint { .. } => ErrorKind::Invalid,
            Self::NameInUse { .. } => ErrorKind::Conflict,
            Self::Image(image::ResolveError::NotFound { .. } | image::ResolveError::Platform { .. }) | Self::Platform { .. } => {
                ErrorKind::NotFound
            }
            Self::Image(_) => ErrorKind::Invalid,
            Self::Pin(_) => ErrorKind::NotFound,
            Self::Volume { cause: volume::AttachError::Create(error), .. } | Self::VolumeFrom(volume::AttachError::Create(error)) => {
                match error {
                    volume::CreateError::Driver { .. } => ErrorKind::NotFound,
                    volume::CreateError::Option { .. } => ErrorKind::Invalid,
                    volume::CreateError::Damaged { .. } => ErrorKind::Conflict,
                    volume::CreateError::Io { .. } | volume::CreateError::Record(_) => ErrorKind::Internal,
                }
            }
            Self::Populate(_) => ErrorKind::Internal,
            Self::Snapshot(_) | Self::Prepare { .. } | Self::Record(_) | Self::ShuttingDown => ErrorKind::Internal,
        }
    }
}

/// Why a container was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The container cannot be told.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It runs already.
    #[error("container already started")]
    AlreadyStarted,
    /// Its state forbids it.
    #[error("{0}")]
    Refused(String),
    /// A mount's source has gone.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// The user is not in the image.
    #[error(transparent)]
    User(#[from] UserError),
    /// A container that it joins does not run.
    #[error("cannot join {what} namespace of container: {reason}")]
    Join {
        /// Which namespace.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// The container whose IPC it joins keeps that to itself.
    #[error("failed to join IPC namespace: container {0}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)")]
    PrivateIpc(ContainerId),
    /// The writable layer cannot be opened.
    #[error(transparent)]
    Snapshot(#[from] image::SnapshotError),
    /// A volume's files cannot be reached.
    #[error(transparent)]
    Volume(#[from] volume::MountError),
    /// A path inside a volume or image cannot be reached.
    #[error("cannot access path {path}: {reason}")]
    Subpath {
        /// The path.
        path: String,
        /// Why.
        reason: String,
    },
    /// Devices cannot be had by their names.
    #[error("CDI device injection failed: {0}")]
    Cdi(String),
    /// A file of the container cannot be written.
    #[error("cannot prepare `{path}`")]
    Prepare {
        /// Path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The network could not be set up; contains the network's text.
    #[error("failed to set up container networking: {0}")]
    Network(String),
    /// The supervisor could not be started.
    #[error("cannot start the supervisor of the container")]
    Launch(#[source] io::Error),
    /// The supervisor died or fell silent.
    #[error("the supervisor of the container ended unexpectedly")]
    SupervisorLost,
    /// The runtime could not create or start the container; contains the runtime's text.
    #[error("failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: {0}")]
    Failed(String),
    /// The record cannot be written.
    #[error("cannot record the container")]
    Record(#[from] store::PutError),
    /// The engine shuts down.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

impl StartError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Subpath { .. } => ErrorKind::NotFound,
            Self::AlreadyStarted => ErrorKind::NotModified,
            Self::Refused(_) | Self::Join { .. } => ErrorKind::Conflict,
            Self::Invalid(_) | Self::Failed(_) | Self::User(_) | Self::PrivateIpc(_) => ErrorKind::Invalid,
            Self::Snapshot(_)
            | Self::Volume(_)
            | Self::Cdi(_)
            | Self::Prepare { .. }
            | Self::Network(_)
            | Self::Launch(_)
            | Self::SupervisorLost
            | Self::Record(_)
            | Self::ShuttingDown => ErrorKind::Internal,
        }
    }

    /// Exit code that the container shows afterwards: 127, 126 or 128.
    ///
    /// **Source:** moby, `daemon/start.go`, `setExitCodeFromError`.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        let text = self.to_string();
        let has = |part: &str| text.contains(part);
        if has("executable file not found") || has("no such file or directory") || has("system cannot find the file") {
            127
        } else if has("permission denied") || has("is a directory") || has("not a directory") {
            126
        } else {
            128
        }
    }
}

/// Why an operation on a container failed: stop, kill, pause, attach and others.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// The container cannot be told.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It is stopped already.
    #[error("container already stopped")]
    AlreadyStopped,
    /// It does not run.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// It is paused, and this needs a running one.
    #[error("Container {0} is already paused")]
    AlreadyPaused(ContainerName),
    /// It is not paused.
    #[error("Container {0} is not paused")]
    NotPaused(ContainerId),
    /// Its state forbids it.
    #[error("{0}")]
    Refused(String),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The start within a restart failed.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The supervisor refused.
    #[error("{0}")]
    Supervisor(String),
    /// The supervisor has ended.
    #[error("the supervisor of the container has ended")]
    SupervisorLost,
    /// We cannot do this.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The system refused.
    #[error("cannot {act}")]
    Io {
        /// What we tried.
        act: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot record the container")]
    Record(#[from] store::PutError),
}

impl OperationError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::AlreadyStopped => ErrorKind::NotModified,
            Self::NotRunning(_) | Self::AlreadyPaused(_) | Self::NotPaused(_) | Self::Refused(_) => ErrorKind::Conflict,
            Self::Invalid(_) => ErrorKind::Invalid,
            Self::Start(error) => error.kind(),
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Supervisor(_) | Self::SupervisorLost | Self::Io { .. } | Self::Record(_) => ErrorKind::Internal,
        }
    }
}

/// Why a container was not renamed.
#[derive(Debug, thiserror::Error)]
pub enum RenameError {
    /// The container cannot be told.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The name has signs that are not allowed.
    #[error("Error when allocating new name: Invalid container name (/{0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    Name(String),
    /// It has this name already.
    #[error("Renaming a container with the same name as its current name")]
    Same,
    /// The name is taken.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameInUse {
        /// Name.
        name: ContainerName,
        /// Who has it.
        holder: ContainerId,
    },
    /// The record cannot be written.
    #[error("cannot record the container")]
    Record(#[from] store::PutError),
}

impl RenameError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Name(_) | Self::Same => ErrorKind::Invalid,
            Self::NameInUse { .. } => ErrorKind::Conflict,
            Self::Record(_) => ErrorKind::Internal,
        }
    }
}

/// Why a container was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The container cannot be told.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// It runs.
    #[error("cannot remove container \"{name}\": container is {status}: {hint}")]
    Running {
        /// Name.
        name: ContainerName,
        /// State.
        status: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Somebody removes it already.
    #[error("removal of container {0} is already in progress")]
    InProgress(String),
    /// It could not be killed.
    #[error("could not kill container \"/{name}\": {reason}")]
    Kill {
        /// Name.
        name: ContainerName,
        /// Why.
        reason: String,
    },
    /// The record cannot be removed.
    #[error("cannot remove the record of the container")]
    Record(#[from] store::RemoveError),
}

impl RemoveError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::Running { .. } | Self::InProgress(_) => ErrorKind::Conflict,
            Self::Kill { .. } | Self::Record(_) => ErrorKind::Internal,
        }
    }
}

/// Why an exec failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container cannot be told.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// There is no such exec.
    #[error("No such exec instance: {0}")]
    NotFound(String),
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container is paused.
    #[error("Container {0} is paused, unpause the container before exec")]
    Paused(String),
    /// No program.
    #[error("No exec command specified")]
    NoCommand,
    /// It was started before.
    #[error("exec {0} has already started")]
    AlreadyStarted(String),
    /// The user is not in the image.
    #[error(transparent)]
    User(#[from] UserError),
    /// The request itself is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The runtime could not start it; contains the runtime's text.
    #[error("OCI runtime exec failed: {0}")]
    Failed(String),
    /// The supervisor has ended.
    #[error("the supervisor of the container has ended")]
    SupervisorLost,
}

impl ExecError {
    /// What a face makes of it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Lookup(error) => error.kind(),
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::NotRunning(_) | Self::Paused(_) | Self::AlreadyStarted(_) => ErrorKind::Conflict,
            Self::NoCommand | Self::User(_) | Self::Invalid(_) | Self::Failed(_) => ErrorKind::Invalid,
            Self::SupervisorLost => ErrorKind::Internal,
        }
    }

    /// Exit code that the exec shows afterwards: 127, 126 or 128.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        StartError::Failed(self.to_string()).exit_code()
    }
}

/// Why the engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory cannot be made.
    #[error("cannot prepare the directory `{path}`")]
    Directory {
        /// Path.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The records cannot be read.
    #[error("cannot read the records of containers")]
    Table(#[from] store::OpenError),
}

/// An error and its causes, joined by colons.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Writes lists as Go's `%v` does.
fn go_lists(lists: &[Vec<String>]) -> String {
    let lists: Vec<String> = lists.iter().map(|list| format!("[{}]", list.join(" "))).collect();
    format!("[{}]", lists.join(" "))
}

/// As [`chain`], for errors that have the cause in their own text already.
pub(crate) fn chain_once(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let further = error.to_string();
        if !text.contains(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        cause = error.source();
    }
    text
}
