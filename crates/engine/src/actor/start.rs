//! From created to running.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use supervisor::protocol::{self, Command, Event, Launch, Log, LogDriver, Message, Outcome, Stdin};

use super::{Actor, Pending, Reply};
use crate::connection::Connection;
use crate::deps::{Deps, make_directory};
use crate::error::StartError;
use crate::record::Record;
use crate::state::{Input, State};
use crate::view::Health;
use crate::writer;

/// Longest that a supervisor may take to create a container.
const CREATE_MAX: Duration = Duration::from_secs(60);

/// The current log file; empty if nothing is kept.
pub(crate) fn log_path(record: &Record, deps: &Deps) -> PathBuf {
    let directory = deps.data_directory(&record.id);
    match log_driver(record) {
        LogDriver::JsonFile => directory.join(format!("{}-json.log", record.id)),
        LogDriver::Local => directory.join("container.log"),
        LogDriver::None => PathBuf::new(),
    }
}

pub(crate) fn log_driver(record: &Record) -> LogDriver {
    match record.spec.host.log.driver.as_str() {
        "none" => LogDriver::None,
        "local" => LogDriver::Local,
        _ => LogDriver::JsonFile,
    }
}

/// Devices that are asked for by name.
fn cdi_names(spec: &crate::spec::Spec) -> Vec<String> {
    let requests = spec.host.resources.device_requests.iter().filter(|request| request.driver == "cdi");
    requests.flat_map(|request| request.device_ids.clone()).collect()
}

fn log(record: &Record, deps: &Deps) -> Log {
    let config = &record.spec.host.log;
    let listed = |option: &str| -> Vec<String> {
        let names = config.options.get(option).map_or("", String::as_str);
        let names = names.split(',').filter(|name| !name.is_empty());
        names.map(ToOwned::to_owned).collect()
    };
    let labels = &record.spec.config.labels;
    let by_label = listed("labels").into_iter();
    let mut attributes: std::collections::BTreeMap<_, _> =
        by_label.filter_map(|name| labels.get(&name).map(|value| (name, value.clone()))).collect();
    for name in listed("env") {
        let prefix = format!("{name}=");
        let entries = record.spec.config.env.iter();
        attributes.extend(entries.filter_map(|e| e.strip_prefix(&prefix)).map(|v| (name.clone(), v.to_owned())));
    }
    Log {
        driver: log_driver(record),
        path: log_path(record, deps),
        // Both were checked at the face.
        bytes_max: config.bytes_max().unwrap_or_default(),
        files_max: config.files_max().unwrap_or(1),
        attributes,
    }
}

impl Actor {
    /// A person's start.
    pub(super) async fn start_by_hand(&mut self) -> Result<(), StartError> {
        self.may_start()?;
        self.step(Input::Start);
        self.start().await
    }

    /// The first half of a person's start.
    pub(super) async fn prepare_by_hand(&mut self) -> Result<(), StartError> {
        self.may_start()?;
        self.step(Input::Start);
        let result = self.create().await;
        self.after_start(result).await
    }

    fn may_start(&self) -> Result<(), StartError> {
        match self.record.life.state {
            State::Created | State::Exited { .. } => Ok(()),
            State::Starting | State::Running { .. } | State::Waiting { .. } => Err(StartError::AlreadyStarted),
            State::Paused { .. } => Err(StartError::Refused("cannot start a paused container, try unpause instead".to_owned())),
            State::Removing => Err(StartError::Refused("container is marked for removal and cannot be started".to_owned())),
        }
    }

    /// The delay of the restart policy is over.
    pub(super) async fn restart_due(&mut self) {
        if self.step(Input::Due) {
            // The error stands in the record, for people to see.
            let _ = self.start().await;
        }
    }

    /// Creates and starts; the life is at `Starting`.
    async fn start(&mut self) -> Result<(), StartError> {
        let mut result = self.create().await;
        if result.is_ok() {
            result = self.go().await;
        }
        self.after_start(result).await
    }

    /// The second half of a prepared start.
    pub(super) async fn go_by_hand(&mut self, client: Option<(protocol::Attach, OwnedFd)>, reply: Reply<(), StartError>) {
        self.waiting_clients.extend(client);
        let result = self.go().await;
        let result = self.after_start(result).await;
        // A caller that has gone needs no answer.
        let _ = reply.send(result);
    }

    /// Undoes a start that failed.
    async fn after_start(&mut self, result: Result<(), StartError>) -> Result<(), StartError> {
        let Err(error) = result else { return Ok(()) };
        self.signal(crate::spec::Signal::KILL, true);
        self.connection = None;
        self.pending.clear();
        self.backlog.clear();
        self.waiting_clients.clear();
        self.pid = None;
        self.detach_network();
        self.unmount_volumes().await;
        self.record.error = crate::error::chain(&error);
        self.step(Input::Failed { code: error.exit_code() });
        self.publish();
        self.cell.notify(false, &self.waited());
        if self.record.spec.host.auto_remove {
            // What could not be removed is found again at the next start of the engine.
            let _ = self.remove_now(true).await;
        } else {
            // The cause of the failed start is what the caller hears.
            let _ = self.save(store::Durability::Volatile);
        }
        Err(error)
    }

    /// Has the supervisor create the container and sets up its network.
    async fn create(&mut self) -> Result<(), StartError> {
        if let Some(detaching) = self.detaching.take() {
            // A panic there has been shown already; the attach below finds out what is left.
            let _ = detaching.await;
        }
        let files = self.cell.files.clone();
        let _files = files.lock().await;
        self.netns = self.take_netns();
        let sources = self.prepare_mounts().await?;
        let (launch, root) = self.launch(&sources)?;
        let socket = self.deps.spawner.launch(&launch, Some(root.as_fd())).map_err(StartError::Launch)?;
        self.connection = Some(Connection::new(socket).map_err(StartError::Launch)?);
        // What was made in advance is joined while the supervisor works; its descriptor is open until that has entered it.
        let prepared = self.netns.take();
        let attached = prepared.as_ref().map(|netns| self.attach_network(Some(netns)));
        let (pid, netns) = tokio::time::timeout(CREATE_MAX, self.created()).await.map_err(|_| StartError::SupervisorLost)??;
        drop((sources, prepared));
        self.pid = Some(pid);
        // From here on its files are reached through it.
        self.publish();
        attached.unwrap_or_else(|| self.attach_network(netns.as_ref()))
    }

    /// Waits for the word that the container exists.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other messages wait for the main loop or are no failure")]
    async fn created(&mut self) -> Result<(i32, Option<OwnedFd>), StartError> {
        loop {
            let connection = self.connection.as_ref().ok_or(StartError::SupervisorLost)?;
            let received = connection.receive().await.map_err(StartError::Launch)?;
            let mut received = received.ok_or(StartError::SupervisorLost)?;
            match received.message {
                Message::Event(Event::Created { pid }) => return Ok((pid, received.fds.pop())),
                Message::Event(Event::CreateFailed { message }) => {
                    self.connection = None;
                    return Err(StartError::Failed(message));
                }
                Message::Event(Event::Exited(_)) => return Err(StartError::SupervisorLost),
                other => self.backlog.push(other),
            }
        }
    }

    /// Lets the program run.
    async fn go(&mut self) -> Result<(), StartError> {
        for (attach, client) in std::mem::take(&mut self.waiting_clients) {
            let fds = [client.as_fd()];
            let sent = self.send(Command::Attach(attach), &fds, Pending::Nobody);
            sent.map_err(|_| StartError::SupervisorLost)?;
        }
        let connection = self.connection.as_mut().ok_or(StartError::SupervisorLost)?;
        let sequence = connection.send(Command::Start, &[]).map_err(StartError::Launch)?;
        let started = tokio::time::timeout(CREATE_MAX, self.started(sequence)).await;
        started.map_err(|_| StartError::SupervisorLost)??;
        self.record.started_at = Some(self.record.started_at.unwrap_or_else(crate::now));
        self.record.error.clear();
        self.oom_killed = false;
        self.step(Input::Started);
        self.begin_health();
        self.publish();
        self.volume_events("mount");
        self.event("start", &[]);
        self.prepare_networks();
        let host = &self.record.spec.host;
        if !host.auto_remove {
            // Whether it was ever started decides if it starts with the host.
            let policy = host.restart_policy != crate::spec::RestartPolicy::No;
            let durability = if policy { store::Durability::Durable } else { store::Durability::Volatile };
            match self.save(durability) {
                Err(error) if policy => {
                    // What is undone was never running.
                    self.record.life.state = State::Starting;
                    return Err(error.into());
                }
                // Without a policy its supervisor and its exit record tell the next engine as much.
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Waits for the reply to `Start`.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other messages wait for the main loop or are no failure")]
    async fn started(&mut self, sequence: u64) -> Result<(), StartError> {
        self.record.started_at = None;
        loop {
            let connection = self.connection.as_ref().ok_or(StartError::SupervisorLost)?;
            let received = connection.receive().await.map_err(StartError::Launch)?;
            let received = received.ok_or(StartError::SupervisorLost)?;
            match received.message {
                Message::Reply(reply) if reply.sequence == sequence => {
                    return match reply.result {
                        Outcome::Failed { message, .. } => Err(StartError::Failed(message)),
                        _ => Ok(()),
                    };
                }
                Message::Event(Event::Started { started_at }) => {
                    self.record.started_at = Some(started_at);
                }
                other => self.backlog.push(other),
            }
        }
    }

    /// Says what the supervisor is to create, and mounts its root.
    fn launch(&mut self, sources: &[super::mounts::Source]) -> Result<(Launch, OwnedFd), StartError> {
        let id = self.record.id;
        let prepare = |path: &Path, source| StartError::Prepare { path: path.display().to_string(), source };
        // The root is mounted over the bundle, inside the container's namespace: the files beside it stay in sight.
        let bundle = self.deps.run_directory(&id).join("bundle");
        make_directory(&bundle).map_err(|e| prepare(&bundle, e))?;
        let data = self.deps.data_directory(&id);
        make_directory(&data).map_err(|e| prepare(&data, e))?;
        let exit_path = self.exit_path();
        remove_if_there(&exit_path).map_err(|e| prepare(&exit_path, e))?;
        let snapshot = match &self.snapshot {
            Some(snapshot) => snapshot.clone(),
            None => {
                let options = image::SnapshotOptions { volatile: self.record.spec.host.auto_remove };
                let snapshot = self.deps.images.open_snapshot(&id.to_string(), options)?;
                self.snapshot.insert(snapshot).clone()
            }
        };
        let facts = self.facts(&snapshot, sources)?;
        let spec = &self.record.spec;
        let stdin = match (spec.config.open_stdin, spec.config.stdin_once) {
            (false, _) => Stdin::Closed,
            (true, true) => Stdin::Once,
            (true, false) => Stdin::Open,
        };
        let mut written = writer::write(&id, spec, &facts);
        crate::cdi::inject(&mut written, &cdi_names(spec)).map_err(StartError::Cdi)?;
        let launch = Launch {
            version: protocol::VERSION,
            id: id.to_string(),
            spec: written,
            bundle,
            control_path: self.control_path(),
            exit_path,
            durable_exit: !spec.host.auto_remove,
            stdin,
            log: log(&self.record, &self.deps),
            seccomp: self.deps.filter(spec).map_err(StartError::Failed)?,
            init: spec.host.init.unwrap_or(false),
        };
        // The last thing: whatever fails before leaves no mount.
        let root = self.deps.images.mount(&snapshot)?;
        Ok((launch, root))
    }

    /// Health starts anew with each run.
    fn begin_health(&mut self) {
        let check = self.record.spec.config.healthcheck.as_ref();
        self.health = crate::health::is_enabled(check).then(Health::default);
        self.schedule_first_probe();
    }
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
