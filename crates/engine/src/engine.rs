//! The handle that faces use.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use image::Images;
use network::Networks;
use oci::Platform;
use supervisor::logs::LogEntry;
use supervisor::spawner::Spawner;
use tokio::sync::{mpsc, oneshot};
use volume::Volumes;

use crate::error::{
    CreateError, ExecError, LookupError, OpenError, OperationError, RemoveError, RenameError,
    StartError,
};
use crate::event::Events;
use crate::id::{ContainerId, ContainerName, ExecId};
use crate::spec::{Resources, RestartPolicy, Signal, Spec};
use crate::view::{Container, ExecSpec, ExecView, Stats};

/// What an engine is made of.
#[derive(Debug)]
pub struct Options {
    /// Directory of durable state.
    pub root: PathBuf,
    /// Directory of state that a reboot may take.
    pub run: PathBuf,
    /// Starts supervisors.
    pub spawner: Spawner,
    /// Images.
    pub images: Arc<Images>,
    /// Networks.
    pub networks: Arc<Networks>,
    /// Volumes.
    pub volumes: Arc<Volumes>,
}

/// The engine; a cheap handle.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: Events,
}

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
    /// Waits for new ones until the container ends.
    pub follow: bool,
}

/// Log entries in order; it ends with the log, or with the container.
#[derive(Debug)]
pub struct LogStream(mpsc::Receiver<Result<LogEntry, OperationError>>);

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
pub struct WaitHandle(oneshot::Receiver<Waited>);

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
    /// Records that were damaged and set aside, with the reason.
    pub damaged: Vec<String>,
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

/// A container that waits for its client and then runs; dropped, it is removed again.
#[derive(Debug)]
pub struct PreparedRun {
    engine: Engine,
    id: ContainerId,
}

impl PreparedRun {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> ContainerId {
        self.id
    }

    /// Attaches the client (it always gets frames), starts the program and waits for its end; with
    /// auto-remove the name and the id are free again then. The connection stays open for the
    /// caller's last frame.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn run(
        self,
        _client: Option<OwnedFd>,
        _attach: AttachOptions,
    ) -> Result<Waited, StartError> {
        let _ = &self.engine;
        todo!()
    }
}

#[expect(clippy::unused_async, reason = "the bodies come in the next change")]
impl Engine {
    /// Opens the state, finds what still runs, and starts what should.
    ///
    /// # Errors
    /// [`OpenError`]; a damaged record is no error, it is set aside and shown.
    pub async fn open(_options: Options) -> Result<Self, OpenError> {
        Ok(Self(Arc::new(Inner {
            events: Events::default(),
        })))
    }

    /// The journal of events; images, networks and volumes publish theirs through it too.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Creates a container; the name may have a leading slash.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left then.
    pub async fn create(
        &self,
        _name: Option<&str>,
        _spec: Spec,
        _platform: Option<&Platform>,
    ) -> Result<Created, CreateError> {
        todo!()
    }

    /// Starts a container by id, unique prefix or name.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self, _container: &str) -> Result<(), StartError> {
        todo!()
    }

    /// Creates a container up to the moment before its program runs: all errors show here.
    ///
    /// # Errors
    /// [`CreateError`] or, inside the other, [`StartError`].
    pub async fn prepare_run(
        &self,
        _options: RunOptions,
    ) -> Result<Result<PreparedRun, StartError>, CreateError> {
        todo!()
    }

    /// Sends the stop signal, waits (seconds; negative is for ever), then kills.
    ///
    /// # Errors
    /// [`OperationError::AlreadyStopped`] and others.
    pub async fn stop(
        &self,
        _container: &str,
        _signal: Option<Signal>,
        _timeout: Option<i64>,
    ) -> Result<(), OperationError> {
        todo!()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`OperationError::NotRunning`] and others.
    pub async fn kill(&self, _container: &str, _signal: Signal) -> Result<(), OperationError> {
        todo!()
    }

    /// Stops, if it runs, and starts.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn restart(
        &self,
        _container: &str,
        _signal: Option<Signal>,
        _timeout: Option<i64>,
    ) -> Result<(), OperationError> {
        todo!()
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn pause(&self, _container: &str) -> Result<(), OperationError> {
        todo!()
    }

    /// Thaws them.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn unpause(&self, _container: &str) -> Result<(), OperationError> {
        todo!()
    }

    /// Registers a wait; it is there when this returns.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn wait(
        &self,
        _container: &str,
        _condition: WaitCondition,
    ) -> Result<WaitHandle, LookupError> {
        todo!()
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// [`RenameError`].
    pub async fn rename(&self, _container: &str, _name: &str) -> Result<(), RenameError> {
        todo!()
    }

    /// Changes limits and the restart policy.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn update(
        &self,
        _container: &str,
        _update: Update,
    ) -> Result<Vec<String>, OperationError> {
        todo!()
    }

    /// Removes a container, with its anonymous volumes if asked; `force` kills it first.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove(
        &self,
        _container: &str,
        _force: bool,
        _volumes: bool,
    ) -> Result<(), RemoveError> {
        todo!()
    }

    /// Removes all containers that do not run and that `filter` lets through.
    pub async fn prune(&self, _filter: impl Fn(&Container) -> bool + Send) -> Pruned {
        todo!()
    }

    /// All containers, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Container>> {
        Vec::new()
    }

    /// One container.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn inspect(&self, container: &str) -> Result<Arc<Container>, LookupError> {
        Err(LookupError::NotFound(container.to_owned()))
    }

    /// Bytes that the container's writable layer and its image take.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn sizes(&self, container: &str) -> Result<(u64, u64), LookupError> {
        Err(LookupError::NotFound(container.to_owned()))
    }

    /// Joins a client with a container, also with one that is not started yet.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn attach(
        &self,
        _container: &str,
        _options: AttachOptions,
        _client: OwnedFd,
    ) -> Result<(), OperationError> {
        todo!()
    }

    /// Prepares one more process in a running container.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn exec_create(
        &self,
        _container: &str,
        _spec: ExecSpec,
    ) -> Result<ExecId, ExecError> {
        todo!()
    }

    /// Starts it; with a client it returns as soon as the process runs.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn exec_start(
        &self,
        _exec: &str,
        _options: ExecStartOptions,
    ) -> Result<(), ExecError> {
        todo!()
    }

    /// One exec.
    ///
    /// # Errors
    /// [`ExecError::NotFound`].
    pub fn exec_inspect(&self, exec: &str) -> Result<ExecView, ExecError> {
        Err(ExecError::NotFound(exec.to_owned()))
    }

    /// Changes the size of an exec's terminal.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn exec_resize(
        &self,
        _exec: &str,
        _height: u16,
        _width: u16,
    ) -> Result<(), ExecError> {
        todo!()
    }

    /// Changes the size of a container's terminal.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn resize(
        &self,
        _container: &str,
        _height: u16,
        _width: u16,
    ) -> Result<(), OperationError> {
        todo!()
    }

    /// Reads the log.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn logs(
        &self,
        _container: &str,
        _options: LogsOptions,
    ) -> Result<LogStream, OperationError> {
        todo!()
    }

    /// Counters of a running container; none if it does not run.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn stats(&self, _container: &str) -> Result<Option<Stats>, OperationError> {
        todo!()
    }

    /// The processes of a running container, as `ps` with these arguments shows them.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn top(&self, _container: &str, _arguments: &str) -> Result<Top, OperationError> {
        todo!()
    }

    /// Counts for `info`.
    #[must_use]
    pub fn overview(&self) -> Overview {
        Overview::default()
    }

    /// Stops taking work and lets go of the supervisors; containers run on.
    pub async fn shutdown(&self) {}
}
