//! One task per container that owns its life; all changes come through its mailbox.

mod adopt;
mod exec;
mod exit;
mod facts;
mod join;
mod mailbox;
mod mounts;
mod orders;
mod probes;
mod start;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use image::Snapshot;
use supervisor::Received;
use supervisor::protocol::{self, Event, Message, Outcome};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::connection::Connection;
use crate::deps::Deps;
use crate::error::{ExecError, OperationError, RemoveError};
use crate::event::EventKind;
use crate::id::ExecId;
use crate::record::Record;
use crate::registry::{Cell, lock};
use crate::spec::Signal;
use crate::state::State;
use crate::types::Waited;
use crate::view::{Container, Endpoint, Health, Process, Stats, Status};

pub(crate) use exec::detach_keys;
pub(crate) use exit::clear;
pub(crate) use facts::RootFiles;
pub(crate) use mailbox::{MAILBOX_MAX, Order, Reply};

/// Who waits for a reply of the supervisor.
#[derive(Debug)]
enum Pending {
    Nobody,
    Done(Reply<(), OperationError>),
    Pause(Reply<(), OperationError>),
    Unpause(Reply<(), OperationError>),
    Exec(ExecId, Reply<(), ExecError>),
    ProbeExec(String),
    Stats(Reply<Option<Stats>, OperationError>),
    Processes(Reply<Vec<Process>, OperationError>),
}

/// A stop that is under way.
#[derive(Debug)]
struct Stopping {
    deadline: Option<Instant>,
    restart: bool,
    replies: Vec<(bool, Reply<(), OperationError>)>,
}

/// The owner of one container.
#[derive(Debug)]
pub(crate) struct Actor {
    cell: Arc<Cell>,
    deps: Arc<Deps>,
    record: Record,
    mailbox: mpsc::Receiver<Order>,
    connection: Option<Connection>,
    snapshot: Option<Snapshot>,
    pid: Option<i32>,
    oom_killed: bool,
    endpoints: Vec<Endpoint>,
    health: Option<Health>,
    probing: probes::Probing,
    waiting_clients: Vec<(protocol::Attach, OwnedFd)>,
    pending: HashMap<u64, Pending>,
    /// Messages that came while a start waited for another.
    backlog: Vec<Message>,
    stopping: Option<Stopping>,
    remove_after: Option<(bool, Vec<Reply<(), RemoveError>>)>,
    detaching: Option<JoinHandle<()>>,
    /// A network namespace made in advance, until the container has joined it.
    netns: Option<OwnedFd>,
    gone: bool,
}

enum Next {
    Order(Option<Order>),
    Message(std::io::Result<Option<Received>>),
    Timer,
}

impl Actor {
    pub(crate) fn new(
        cell: Arc<Cell>,
        deps: Arc<Deps>,
        record: Record,
        mailbox: mpsc::Receiver<Order>,
        snapshot: Option<Snapshot>,
    ) -> Self {
        Self {
            cell,
            deps,
            record,
            mailbox,
            connection: None,
            snapshot,
            pid: None,
            oom_killed: false,
            endpoints: Vec::new(),
            health: None,
            probing: probes::Probing::default(),
            waiting_clients: Vec::new(),
            pending: HashMap::new(),
            backlog: Vec::new(),
            stopping: None,
            remove_after: None,
            detaching: None,
            netns: None,
            gone: false,
        }
    }

    /// Works until the container is removed or the engine lets go.
    pub(crate) async fn run(mut self) {
        while !self.gone {
            for message in std::mem::take(&mut self.backlog) {
                self.message(message).await;
            }
            if self.gone {
                break;
            }
            let deadline = self.deadline();
            let next = {
                let Self { mailbox, connection, .. } = &mut self;
                tokio::select! {
                    biased;
                    message = receive(connection.as_ref()) => Next::Message(message),
                    order = mailbox.recv() => Next::Order(order),
                    () = sleep_until(deadline) => Next::Timer,
                }
            };
            match next {
                Next::Message(Ok(Some(received))) => self.message(received.message).await,
                // The supervisor is gone without a word.
                Next::Message(Ok(None) | Err(_)) => self.lost().await,
                Next::Order(Some(order)) => self.order(order).await,
                Next::Order(None) => break,
                Next::Timer => self.timer().await,
            }
        }
    }

    /// The next moment at which something is due.
    fn deadline(&self) -> Option<Instant> {
        let restart = match self.record.life.state {
            State::Waiting { until, .. } => Some(Instant::now() + Duration::from_nanos(until.saturating_sub(crate::now()))),
            State::Created | State::Starting | State::Running { .. } | State::Paused { .. } | State::Exited { .. } | State::Removing => {
                None
            }
        };
        let stop = self.stopping.as_ref().and_then(|s| s.deadline);
        [restart, stop, self.probing.deadline()].into_iter().flatten().min()
    }

    async fn timer(&mut self) {
        let now = Instant::now();
        if let State::Waiting { until, .. } = self.record.life.state
            && until <= crate::now()
        {
            self.restart_due().await;
        }
        if let Some(stopping) = &mut self.stopping
            && stopping.deadline.is_some_and(|deadline| deadline <= now)
        {
            stopping.deadline = None;
            self.signal(Signal::KILL, false);
            self.event("kill", &[("signal", "9")]);
        }
        self.probe_timer(now);
    }

    async fn message(&mut self, message: Message) {
        match message {
            Message::Reply(reply) => {
                let pending = self.pending.remove(&reply.sequence);
                self.reply(pending.unwrap_or(Pending::Nobody), reply.result);
            }
            Message::Event(event) => self.supervisor_event(event).await,
        }
    }

    async fn supervisor_event(&mut self, event: Event) {
        match event {
            Event::Exited(exit) => self.ended(*exit).await,
            Event::ExecExited { exec_id, code } => self.exec_ended(&exec_id, code),
            Event::OutOfMemory(_) => {
                if !self.oom_killed {
                    self.oom_killed = true;
                    self.publish();
                }
                self.event("oom", &[]);
            }
            Event::Started { started_at } => self.record.started_at = Some(started_at),
            Event::Detached { exec_id } => {
                let id = exec_id.unwrap_or_default();
                if id.is_empty() {
                    self.event("detach", &[]);
                } else {
                    self.event("exec_detach", &[("execID", &id)]);
                }
            }
            Event::CreateFailed { .. } => self.lost().await,
            Event::Created { .. } | Event::State(_) | Event::Paused | Event::Resumed => {}
        }
    }

    /// Answers who waited for the supervisor.
    #[expect(clippy::wildcard_enum_match_arm, reason = "every answer but a failure or the one asked for is alike")]
    fn reply(&mut self, pending: Pending, outcome: Outcome) {
        let done = |outcome| match outcome {
            Outcome::Failed { message, .. } => Err(OperationError::Supervisor(message)),
            _ => Ok(()),
        };
        // A caller that has gone needs no answer: the results of `send` below are dropped.
        match pending {
            Pending::Nobody => {}
            Pending::Done(reply) => drop(reply.send(done(outcome))),
            Pending::Pause(reply) => {
                let result = done(outcome);
                if result.is_ok() {
                    self.step(crate::state::Input::Pause);
                    self.publish();
                    self.event("pause", &[]);
                }
                drop(reply.send(result));
            }
            Pending::Unpause(reply) => {
                let result = done(outcome);
                if result.is_ok() {
                    self.step(crate::state::Input::Resume);
                    self.publish();
                    self.event("unpause", &[]);
                }
                drop(reply.send(result));
            }
            Pending::Exec(id, reply) => self.exec_started(id, reply, outcome),
            Pending::ProbeExec(exec_id) => self.probe_started(&exec_id, outcome),
            Pending::Stats(reply) => drop(reply.send(match outcome {
                Outcome::Stats(stats) => Ok(Some(*stats)),
                other => done(other).map(|()| None),
            })),
            Pending::Processes(reply) => drop(reply.send(match outcome {
                Outcome::Processes(processes) => Ok(processes),
                other => done(other).map(|()| Vec::new()),
            })),
        }
    }

    /// Moves the life on; an input that is refused changes nothing.
    fn step(&mut self, input: crate::state::Input) -> bool {
        let policy = self.record.spec.host.restart_policy;
        match self.record.life.next(input, policy, crate::now()) {
            Ok(life) => {
                self.record.life = life;
                true
            }
            Err(_) => false,
        }
    }

    /// Sends a command and notes who waits for its reply.
    fn send(&mut self, command: protocol::Command, fds: &[std::os::fd::BorrowedFd<'_>], pending: Pending) -> Result<(), Pending> {
        let Some(connection) = &mut self.connection else {
            return Err(pending);
        };
        match connection.send(command, fds) {
            Ok(sequence) => {
                self.pending.insert(sequence, pending);
                Ok(())
            }
            Err(_) => Err(pending),
        }
    }

    fn signal(&mut self, signal: Signal, all: bool) {
        let command = protocol::Command::Signal { signal: signal.number(), all };
        // If the supervisor has ended, its end of the connection says so next.
        let _ = self.send(command, &[], Pending::Nobody);
    }

    /// Tells listeners of something that happened to this container.
    fn event(&self, action: &str, further: &[(&str, &str)]) {
        let record = &self.record;
        let mut attributes = record.spec.config.labels.clone();
        let mut set = |key: &str, value: &str| attributes.insert(key.to_owned(), value.to_owned());
        set("image", &record.spec.config.image);
        set("name", record.name.as_str());
        for (key, value) in further {
            set(key, value);
        }
        let id = record.id.to_string();
        self.deps.events.publish(EventKind::Container, action, id, attributes);
    }

    /// Writes the record, if the container outlives its end.
    fn save(&self, durability: store::Durability) -> Result<(), store::PutError> {
        let key = self.record.id.to_string();
        self.deps.table.put(&key, &self.record, durability)
    }

    /// Shows the present state to others.
    pub(crate) fn publish(&self) {
        self.cell.publish(Arc::new(self.view()));
    }

    fn view(&self) -> Container {
        let running = self.pid.is_some();
        let exec_ids = {
            let execs = lock(&self.cell.execs);
            let running = execs.values().filter(|exec| exec.running);
            running.map(|exec| exec.id).collect()
        };
        Container {
            pid: self.pid,
            oom_killed: self.oom_killed,
            endpoints: if running { self.endpoints.clone() } else { Vec::new() },
            health: self.health.clone(),
            exec_ids,
            ..view_of(&self.record, &self.deps, self.snapshot.as_ref())
        }
    }

    fn waited(&self) -> Waited {
        Waited {
            exit_code: exit_code(&self.record),
            // Who started it has heard why it failed; a wait tells only of its own failure.
            error: None,
        }
    }

    fn control_path(&self) -> PathBuf {
        self.deps.run_directory(&self.record.id).join("control")
    }

    fn exit_path(&self) -> PathBuf {
        exit_path(&self.record, &self.deps)
    }
}

/// The exit record of a throw-away container need not outlive the power.
pub(crate) fn exit_path(record: &Record, deps: &Deps) -> PathBuf {
    let directory = if record.spec.host.auto_remove { deps.run_directory(&record.id) } else { deps.data_directory(&record.id) };
    directory.join("exit.json")
}

fn exit_code(record: &Record) -> i32 {
    match record.life.state {
        State::Exited { code } | State::Waiting { code, .. } => code,
        State::Removing => record.death.as_ref().map_or(0, |exit| exit.code),
        State::Created | State::Starting | State::Running { .. } | State::Paused { .. } => 0,
    }
}

/// What a record alone shows.
#[expect(clippy::wildcard_enum_match_arm, reason = "every answer but a failure or the one asked for is alike")]
pub(crate) fn view_of(record: &Record, deps: &Deps, snapshot: Option<&Snapshot>) -> Container {
    let run = deps.run_directory(&record.id);
    let status = match record.life.state.status() {
        // Docker shows what never ran as created, with the code of the failed start.
        Status::Exited if record.started_at.is_none() => Status::Created,
        status => status,
    };
    let (path, args) = match record.command.split_first() {
        Some((path, args)) => (path.clone(), args.to_vec()),
        None => (String::new(), Vec::new()),
    };
    Container {
        id: record.id,
        name: record.name.clone(),
        created_at: record.created_at,
        spec: record.spec.clone(),
        image_id: record.image_id,
        path,
        args,
        status,
        pid: None,
        exit_code: exit_code(record),
        error: record.error.clone(),
        oom_killed: record.death.as_ref().is_some_and(|exit| exit.oom_killed),
        started_at: record.started_at,
        finished_at: record.death.as_ref().map(|exit| exit.finished_at),
        health: None,
        death: record.death.clone(),
        restart_count: record.life.restarts,
        mounts: record.mounts.clone(),
        endpoints: Vec::new(),
        exec_ids: Vec::new(),
        resolv_conf_path: run.join("resolv.conf"),
        hostname_path: run.join("hostname"),
        hosts_path: run.join("hosts"),
        log_path: start::log_path(record, deps),
        upper: snapshot.map(|s| s.upper.clone()).unwrap_or_default(),
        lower: snapshot.map(|s| s.lower.clone()).unwrap_or_default(),
        work: snapshot.map(|s| s.work.clone()).unwrap_or_default(),
    }
}

async fn receive(connection: Option<&Connection>) -> std::io::Result<Option<Received>> {
    match connection {
        Some(connection) => connection.receive().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
