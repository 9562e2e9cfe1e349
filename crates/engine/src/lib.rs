//! Containers: what is wanted, what is, and the way between.

pub mod apparmor;
pub mod cdi;
pub mod fuzz;
pub mod profile;
pub mod spec;

mod actor;
mod connection;
mod create;
mod damaged;
mod deps;
mod endpoints;
mod engine;
mod error;
mod event;
mod files;
mod health;
mod id;
mod identity;
mod logs;
mod merge;
mod names;
mod open;
mod record;
mod registry;
mod state;
mod top;
mod types;
mod update;
mod validate;
mod view;
mod writer;

pub use damaged::Damaged;
pub use endpoints::names_in_network;
pub use engine::{Engine, Options, PreparedRun};
pub use error::{
    ConnectError, CreateError, ErrorKind, ExecError, InvalidSpec, LookupError, OpenError, OperationError, RemoveError, RenameError,
    StartError, UserError,
};
pub use event::{Event, EventKind, EventStream, Events};
pub use id::{ContainerId, ContainerName, ExecId, ParseIdError, ParseNameError};
pub use supervisor::logs::{LogEntry, Stream};
pub use supervisor::protocol::Sender;
pub use supervisor::unread_by_peer;
pub use types::{
    AttachOptions, Created, ExecStartOptions, LogStream, LogsOptions, Overview, Pruned, RunOptions, Top, Update, WaitCondition, WaitHandle,
    Waited,
};
pub use view::{BoundPort, Container, Endpoint, ExecSpec, ExecView, Exit, Health, HealthStatus, MountPoint, Probe, Process, Stats, Status};

/// Unix time in nanoseconds.
pub(crate) fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|age| u64::try_from(age.as_nanos()).ok())
        .unwrap_or_default()
}
