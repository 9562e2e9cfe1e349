//! The handle that faces use.

mod execs;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use image::Images;
use network::Networks;
use oci::Platform;
use supervisor::protocol;
use supervisor::spawner::Spawner;
use tokio::sync::oneshot;
use volume::Volumes;

use crate::actor::Order;
use crate::deps::Deps;
use crate::error::{ConnectError, CreateError, LookupError, OpenError, OperationError, RemoveError, RenameError, StartError};
use crate::event::Events;
use crate::id::{ContainerId, ContainerName, ParseNameError};
use crate::registry::Cell;
use crate::spec::{EndpointSettings, Signal, Spec};
use crate::types::{
    AttachOptions, Created, LogStream, LogsOptions, Overview, Pruned, RunOptions, Top, Update, WaitCondition, WaitHandle, Waited,
};
use crate::view::{Container, Stats, Status};

/// What an engine is made of.
#[derive(Debug)]
pub struct Options {
    /// Directory of durable state.
    pub root: PathBuf,
    /// Directory of state that a reboot may take.
    pub run: PathBuf,
    /// Control group above those of the containers that name none, from the root of the hierarchies.
    pub cgroup_parent: String,
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
pub struct Engine(pub(crate) Arc<Deps>);

/// A container that waits for its client and then runs; dropped, it is removed again.
#[derive(Debug)]
pub struct PreparedRun {
    cell: Arc<Cell>,
    auto_remove: bool,
    used: bool,
    pub(crate) warnings: Vec<String>,
}

impl PreparedRun {
    /// The container's id.
    #[must_use]
    pub fn id(&self) -> ContainerId {
        self.cell.id
    }

    /// Attaches the client (it always gets frames), starts the program and waits for its end; with
    /// auto-remove the name and the id are free again then. The caller keeps a descriptor of its
    /// own for a last frame.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn run(mut self, client: Option<OwnedFd>, attach: AttachOptions) -> Result<Waited, StartError> {
        self.used = true;
        let condition = if self.auto_remove { WaitCondition::Removed } else { WaitCondition::NextExit };
        let waiting = self.cell.wait(condition);
        let mut attach = attach_command(&attach, true).map_err(StartError::Refused)?;
        // The caller has a last frame of its own.
        attach.keep_open = true;
        let client = client.map(|client| (attach, client));
        let (reply, answer) = oneshot::channel();
        let gone = || LookupError::NotFound(self.cell.id.to_string());
        let sent = self.cell.mailbox.send(Order::Go { client, reply }).await;
        sent.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())??;
        waiting.wait().await.ok_or(StartError::ShuttingDown)
    }
}

impl Drop for PreparedRun {
    fn drop(&mut self) {
        if !self.used {
            let cell = self.cell.clone();
            // The mailbox may be full for a moment, so a task waits for it.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { cell.mailbox.send(Order::Abandon).await });
            }
        }
    }
}

/// What the supervisor hears of an attached client.
pub(crate) fn attach_command(options: &AttachOptions, multiplexed: bool) -> Result<protocol::Attach, String> {
    Ok(protocol::Attach {
        keep_open: false,
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
        multiplexed,
        detach_keys: crate::actor::detach_keys(&options.detach_keys)?,
    })
}

impl Engine {
    /// Opens the state, finds what still runs, and starts what should.
    ///
    /// # Errors
    /// [`OpenError`]; a damaged record is no error, it is set aside and shown.
    pub async fn open(options: Options) -> Result<Self, OpenError> {
        crate::open::open(options).await
    }

    /// The journal of events; images, networks and volumes publish theirs through it too.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.0.events
    }

    /// Sends an order and waits for the answer.
    async fn order<T, E: From<LookupError>>(
        &self,
        cell: &Cell,
        order: impl FnOnce(oneshot::Sender<Result<T, E>>) -> Order,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        let gone = || LookupError::NotFound(cell.id.to_string());
        let sent = cell.mailbox.send(order(reply)).await;
        sent.map_err(|_| E::from(gone()))?;
        answer.await.map_err(|_| E::from(gone()))?
    }

    /// Creates a container; the name may have a leading slash.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left then.
    pub async fn create(&self, name: Option<&str>, spec: Spec, platform: Option<&Platform>) -> Result<Created, CreateError> {
        let (cell, warnings) = crate::create::create(&self.0, name, spec, platform)?;
        let id = cell.id;
        Ok(Created { id, warnings })
    }

    /// Starts a container by id, unique prefix or name.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(&self, container: &str) -> Result<(), StartError> {
        if self.0.closing.load(Ordering::Relaxed) {
            return Err(StartError::ShuttingDown);
        }
        let cell = self.0.registry.find(container)?;
        self.order(&cell, Order::Start).await
    }

    /// Creates a container up to the moment before its program runs: all errors show here.
    ///
    /// # Errors
    /// [`CreateError`] or, inside the other, [`StartError`].
    pub async fn prepare_run(&self, options: RunOptions) -> Result<Result<PreparedRun, StartError>, CreateError> {
        let auto_remove = options.spec.host.auto_remove;
        let (name, platform) = (options.name.as_deref(), options.platform.as_ref());
        let (cell, warnings) = crate::create::create(&self.0, name, options.spec, platform)?;
        let prepared: Result<(), StartError> = self.order(&cell, Order::Prepare).await;
        Ok(prepared.map(|()| PreparedRun { cell, auto_remove, used: false, warnings }))
    }

    /// Sends the stop signal, waits (seconds; negative is for ever), then kills.
    ///
    /// # Errors
    /// [`OperationError::AlreadyStopped`] and others.
    pub async fn stop(&self, container: &str, signal: Option<Signal>, timeout: Option<i64>) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        let stop = |reply| Order::Stop { signal, timeout, restart: false, reply };
        self.order(&cell, stop).await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`OperationError::NotRunning`] and others.
    pub async fn kill(&self, container: &str, signal: Signal) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        let exits = (signal == Signal::KILL).then(|| cell.wait(WaitCondition::NotRunning));
        self.order(&cell, |reply| Order::Kill { signal, reply }).await?;
        if let Some(exits) = exits {
            // Docker answers a SIGKILL when the container has ended, but not later than this.
            let limit = std::time::Duration::from_secs(10);
            let _ = tokio::time::timeout(limit, exits.wait()).await;
        }
        Ok(())
    }

    /// Stops, if it runs, and starts.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn restart(&self, container: &str, signal: Option<Signal>, timeout: Option<i64>) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        let stop = |reply| Order::Stop { signal, timeout, restart: true, reply };
        self.order(&cell, stop).await
    }

    /// Freezes all processes.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn pause(&self, container: &str) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        self.order(&cell, Order::Pause).await
    }

    /// Thaws them.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn unpause(&self, container: &str) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        self.order(&cell, Order::Unpause).await
    }

    /// Registers a wait; it is there when this returns.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn wait(&self, container: &str, condition: WaitCondition) -> Result<WaitHandle, LookupError> {
        Ok(self.0.registry.find(container)?.wait(condition))
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// [`RenameError`].
    pub async fn rename(&self, container: &str, name: &str) -> Result<(), RenameError> {
        let cell = self.0.registry.find(container)?;
        let name: ContainerName = name.parse().map_err(|ParseNameError(text)| RenameError::Name(text))?;
        let old = cell.view().name.clone();
        if name == old {
            return Err(RenameError::Same);
        }
        let taken = self.0.registry.reserve(&name, cell.id);
        taken.map_err(|holder| RenameError::NameInUse { name: name.clone(), holder })?;
        let (reply, answer) = oneshot::channel();
        let order = Order::Rename { name: name.clone(), reply };
        let sent = cell.mailbox.send(order).await;
        let gone = || RenameError::from(LookupError::NotFound(container.to_owned()));
        let renamed = match sent {
            Ok(()) => answer.await.map_err(|_| gone()).and_then(|r| r.map_err(RenameError::from)),
            Err(_) => Err(gone()),
        };
        self.0.registry.release(if renamed.is_ok() { &old } else { &name });
        renamed
    }

    /// Changes limits and the restart policy.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn update(&self, container: &str, update: Update) -> Result<Vec<String>, OperationError> {
        let cell = self.0.registry.find(container)?;
        let update = Box::new(update);
        self.order(&cell, |reply| Order::Update { update, reply }).await?;
        Ok(Vec::new())
    }

    /// Removes a container, with its anonymous volumes if asked; `force` kills it first.
    ///
    /// # Errors
    /// [`RemoveError`].
    pub async fn remove(&self, container: &str, force: bool, volumes: bool) -> Result<(), RemoveError> {
        let cell = match self.0.registry.find(container) {
            Ok(cell) => cell,
            Err(unknown) => return self.remove_damaged(container, unknown).await,
        };
        let remove = |reply| Order::Remove { force, volumes, reply };
        self.order(&cell, remove).await
    }

    /// Removes all containers that do not run and that `filter` lets through.
    pub async fn prune(&self, filter: impl Fn(&Container) -> bool + Send) -> Pruned {
        let mut pruned = Pruned::default();
        for view in self.list() {
            let idle = matches!(view.status, Status::Created | Status::Exited | Status::Dead);
            if !idle || view.pid.is_some() || !filter(&view) {
                continue;
            }
            let id = view.id.to_string();
            let bytes = self.0.images.snapshot_size(&id).unwrap_or_default();
            if self.remove(&id, false, false).await.is_ok() {
                pruned.removed.push(view.id);
                pruned.reclaimed_bytes = pruned.reclaimed_bytes.saturating_add(bytes);
            }
        }
        pruned
    }

    /// Joins a container with a network: at once if it runs, else at its next start.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(&self, container: &str, network: &str, settings: EndpointSettings) -> Result<(), ConnectError> {
        let cell = self.0.registry.find(container)?;
        let (network, settings) = (network.to_owned(), Box::new(settings));
        self.order(&cell, |reply| Order::Connect { network, settings, reply }).await
    }

    /// Takes a container out of a network; `force` also if the network has gone.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn disconnect(&self, container: &str, network: &str, force: bool) -> Result<(), ConnectError> {
        let cell = self.0.registry.find(container)?;
        let network = network.to_owned();
        self.order(&cell, |reply| Order::Disconnect { network, force, reply }).await
    }

    /// All containers, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<Container>> {
        let cells = self.0.registry.list();
        let mut views: Vec<_> = cells.iter().map(|cell| cell.view()).collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.created_at));
        views
    }

    /// One container.
    ///
    /// # Errors
    /// [`LookupError`].
    pub fn inspect(&self, container: &str) -> Result<Arc<Container>, LookupError> {
        Ok(self.0.registry.find(container)?.view())
    }

    /// Bytes that the container's writable layer takes, and those with its image.
    ///
    /// # Errors
    /// [`LookupError`].
    pub async fn sizes(&self, container: &str) -> Result<(u64, u64), LookupError> {
        let view = self.inspect(container)?;
        let (images, id) = (self.0.images.clone(), view.id.to_string());
        let measured = tokio::task::spawn_blocking(move || images.snapshot_size(&id)).await;
        let own = measured.ok().and_then(Result::ok).unwrap_or_default();
        let image = self.0.images.get(&view.image_id).map_or(0, |image| image.size);
        Ok((own, own.saturating_add(image)))
    }

    /// Joins a client with a container, also with one that is not started yet.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn attach(&self, container: &str, options: AttachOptions, client: OwnedFd) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        let frames = options.multiplexed || !cell.view().spec.config.tty;
        let attach = attach_command(&options, frames).map_err(OperationError::Invalid)?;
        let client = if options.logs { self.replay(&cell, &options, frames, client).await? } else { client };
        if !options.stream {
            return Ok(());
        }
        let order = |reply| Order::Attach { attach, client, reply };
        self.order(&cell, order).await
    }

    /// Changes the size of a container's terminal.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn resize(&self, container: &str, height: u16, width: u16) -> Result<(), OperationError> {
        let cell = self.0.registry.find(container)?;
        let order = |reply| Order::Resize { exec: None, height, width, reply };
        self.order(&cell, order).await
    }

    /// Reads the log.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn logs(&self, container: &str, options: LogsOptions) -> Result<LogStream, OperationError> {
        let cell = self.0.registry.find(container)?;
        crate::logs::read(&cell, options)
    }

    /// Counters of a running container; none if it does not run.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn stats(&self, container: &str) -> Result<Option<Stats>, OperationError> {
        let cell = self.0.registry.find(container)?;
        self.order(&cell, Order::Stats).await
    }

    /// The processes of a running container, as `ps` with these arguments shows them.
    ///
    /// # Errors
    /// [`OperationError`].
    pub async fn top(&self, container: &str, arguments: &str) -> Result<Top, OperationError> {
        let cell = self.0.registry.find(container)?;
        if cell.view().status == Status::Restarting {
            let text = format!("Container {} is restarting, wait until the container is running", cell.id);
            return Err(OperationError::Refused(text));
        }
        let processes = self.order(&cell, Order::Processes).await?;
        let view = cell.view();
        crate::create::publish_event(&self.0, &view, "top", &[]);
        crate::top::table(processes, arguments)
    }

    /// Counts for `info`.
    #[must_use]
    pub fn overview(&self) -> Overview {
        let views = self.list();
        let count = |status| views.iter().filter(|view| view.status == status).count();
        let (running, paused) = (count(Status::Running), count(Status::Paused));
        Overview {
            containers: views.len(),
            running,
            paused,
            stopped: views.len().saturating_sub(running).saturating_sub(paused),
            damaged: self.damaged(),
        }
    }

    /// Takes no more starts; containers run on under their supervisors.
    pub async fn shutdown(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }
}
