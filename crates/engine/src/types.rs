//! What orders to the engine take and give.

use std::os::fd::OwnedFd;

use oci::Platform;
use supervisor::logs::LogEntry;
use tokio::sync::{mpsc, oneshot};

use crate::error::OperationError;
use crate::id::ContainerId;
use crate::spec::{Resources, RestartPolicy, Spec};

/// A new container.
#[derive(Clone, Debug)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// What a person should know, in Docker's words.
    pub warnings: Vec<String>,
}

/// How a client is joined with a container.
#[derive(Clone, Debug, Default)]
pub struct AttachOptions {
    /// Client's bytes become input.
    pub stdin: bool,
    /// The client gets standard output.
    pub stdout: bool,
    /// The client gets standard error.
    pub stderr: bool,
    /// First what is in the log already.
    pub logs: bool,
    /// Then what comes; else only the log.
    pub stream: bool,
    /// Frames of 8-byte headers also for a terminal (without one there are always frames).
    pub multiplexed: bool,
    /// Keys that let the client go; empty takes the default.
    pub detach_keys: String,
}

/// How an exec is started.
#[derive(Debug, Default)]
pub struct ExecStartOptions {
    /// The client; none detaches.
    pub client: Option<OwnedFd>,
    /// Rows and columns; zero is unknown.
    pub console_size: [u16; 2],
    /// Frames of 8-byte headers.
    pub multiplexed: bool,
}

/// Which log entries; times are Unix times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct LogsOptions {
    /// The last so many; none is all.
    pub tail: Option<u64>,
    /// Not before.
    pub since: Option<u64>,
    /// Not after.
    pub until: Option<u64>,
    /// Only those whose text matches this regular expression.
    pub grep: Option<String>,
    /// Waits for new ones until the container ends.
    pub follow: bool,
    /// Goes on when the container ends, until it is removed.
    pub across_restarts: bool,
}

/// Log entries in order; it ends with the log, or with the container.
#[derive(Debug)]
pub struct LogStream(pub(crate) mpsc::Receiver<Result<LogEntry, OperationError>>);

impl LogStream {
    /// The next entry.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn next(&mut self) -> Option<Result<LogEntry, OperationError>> {
        self.0.recv().await
    }
}

/// What is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run; at once if so.
    #[default]
    NotRunning,
    /// The next exit.
    NextExit,
    /// That it is removed.
    Removed,
}

/// The end of a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    /// Exit code.
    pub exit_code: i32,
    /// Why it did not start or was not removed.
    pub error: Option<String>,
}

/// A wait that is registered already.
#[derive(Debug)]
pub struct WaitHandle(pub(crate) oneshot::Receiver<Waited>);

impl WaitHandle {
    /// Waits; none if the engine shuts down first.
    pub async fn wait(self) -> Option<Waited> {
        self.0.await.ok()
    }
}

/// Limits and policy that change; zero and none leave what is.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Limits.
    pub resources: Resources,
    /// Restart policy.
    pub restart_policy: Option<RestartPolicy>,
}

/// The table of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Top {
    /// Heads of the columns.
    pub titles: Vec<String>,
    /// Rows.
    pub processes: Vec<Vec<String>>,
}

/// What a prune removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Containers.
    pub removed: Vec<ContainerId>,
    /// Bytes.
    pub reclaimed_bytes: u64,
}

/// Counts for `info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// All.
    pub containers: usize,
    /// Running ones.
    pub running: usize,
    /// Frozen ones.
    pub paused: usize,
    /// Others.
    pub stopped: usize,
    /// Records that were damaged and set aside.
    pub damaged: Vec<crate::Damaged>,
}

/// What [`Engine::prepare_run`] takes.
#[derive(Debug)]
pub struct RunOptions {
    /// Name; none makes one up.
    pub name: Option<String>,
    /// What is asked for.
    pub spec: Spec,
    /// Platform; none is any.
    pub platform: Option<Platform>,
}
