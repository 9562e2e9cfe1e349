//! Answers requests of engines.

use std::os::fd::{AsFd, OwnedFd};

use rustix::process::Signal;
use rustix::termios::Winsize;

use super::death::{limit, peak};
use super::{FIRST, ProcessKey, Supervisor, chain};
use crate::proc;
use crate::protocol::{BlockIo, Command, Event, FailureKind, Message, Outcome, Phase, Reply, Request, Sender, Stats};
use crate::time;

/// Why a request fails.
#[derive(Debug)]
pub(super) struct Refusal {
    kind: FailureKind,
    message: String,
}

impl Refusal {
    pub(super) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        Self::new(FailureKind::Internal, chain(error))
    }
}

impl Supervisor {
    /// Carries a request out and answers it.
    pub(super) fn on_request(&mut self, connection: u64, request: Request, fds: Vec<OwnedFd>) {
        let result = self
            .act(connection, request.command, fds)
            .unwrap_or_else(|refusal| Outcome::Failed { message: refusal.message, kind: refusal.kind });
        let reply = Message::Reply(Reply { sequence: request.sequence, result });
        self.connections.send(connection, &reply, None, &mut self.poller);
    }

    fn act(&mut self, connection: u64, command: Command, mut fds: Vec<OwnedFd>) -> Result<Outcome, Refusal> {
        match command {
            Command::Start => self.start()?,
            Command::Signal { signal, all } => self.signal(connection, signal, all)?,
            Command::Pause => self.pause()?,
            Command::Resume => self.resume()?,
            Command::Update { resources } => {
                self.alive()?;
                let mut cgroup = self.container.cgroup().clone();
                cgroup.update(&resources).map_err(|error| Refusal::internal(&error))?;
            }
            Command::Attach(options) => {
                self.alive()?;
                let Some(client) = fds.pop() else {
                    return Err(Refusal::new(FailureKind::Invalid, "no client came along"));
                };
                let Some(process) = self.processes.get_mut(&FIRST) else {
                    return Ok(Outcome::Done);
                };
                let attached = process.streams.attach(client, options, &mut self.poller);
                attached.map_err(|error| Refusal::internal(&error))?;
            }
            Command::Exec(exec) => return self.exec(*exec, fds.pop()),
            Command::SignalExec { exec_id, signal } => {
                let key = self.find_exec(&exec_id)?;
                let signal = parse_signal(signal)?;
                if let Some(process) = self.processes.get(&key) {
                    rustix::process::pidfd_send_signal(&process.pidfd, signal).map_err(|error| Refusal::internal(&error))?;
                }
            }
            Command::Resize { exec_id, width, height } => self.resize(exec_id, width, height)?,
            Command::Stats => return self.stats(),
            Command::Processes => {
                self.alive()?;
                let pids = self.container.cgroup().processes();
                let pids = pids.map_err(|error| Refusal::internal(&error))?;
                return Ok(Outcome::Processes(proc::processes(&pids)));
            }
            Command::State => {
                let state = self.state();
                self.unheard.clear();
                return Ok(Outcome::State(state));
            }
        }
        Ok(Outcome::Done)
    }

    /// Refuses what makes no sense after the end.
    pub(super) fn alive(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Created | Phase::Running => Ok(()),
            Phase::Creating | Phase::Exited => {
                let message = format!("container {} is not running", self.settings.id);
                Err(Refusal::new(FailureKind::Conflict, message))
            }
        }
    }

    fn start(&mut self) -> Result<(), Refusal> {
        if self.phase != Phase::Created {
            return Err(Refusal::new(FailureKind::Conflict, "the container has been started already"));
        }
        let started_at = time::now();
        // If this fails the process has ended; its exit is told like every other.
        self.container.start().map_err(|error| Refusal::internal(&error))?;
        self.phase = Phase::Running;
        self.started_at = Some(started_at);
        self.announce(Event::Started { started_at });
        Ok(())
    }

    fn signal(&mut self, connection: u64, number: i32, all: bool) -> Result<(), Refusal> {
        self.alive()?;
        let signal = parse_signal(number)?;
        if let Some(peer) = self.connections.peer(connection) {
            let sender = Sender::Engine { pid: peer.pid, uid: peer.uid };
            self.last_signal = Some((number, sender));
        }
        if all {
            self.container.cgroup().signal_all(signal).map_err(|error| Refusal::internal(&error))?;
        } else {
            match rustix::process::pidfd_send_signal(self.container.pidfd(), signal) {
                // It has ended, and this will be told in a moment.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(Refusal::internal(&error)),
            }
        }
        // In a frozen cgroup of version 1 even SIGKILL waits for the thaw.
        if self.paused && signal == Signal::KILL {
            self.resume()?;
        }
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Refusal> {
        self.alive()?;
        if self.phase != Phase::Running || self.paused {
            let state = if self.paused { "already paused" } else { "not running" };
            return Err(Refusal::new(FailureKind::Conflict, format!("the container is {state}")));
        }
        self.container.cgroup().freeze().map_err(|error| Refusal::internal(&error))?;
        self.paused = true;
        self.announce(Event::Paused);
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Refusal> {
        self.alive()?;
        if !self.paused {
            return Err(Refusal::new(FailureKind::Conflict, "the container is not paused"));
        }
        self.container.cgroup().thaw().map_err(|error| Refusal::internal(&error))?;
        self.paused = false;
        self.announce(Event::Resumed);
        Ok(())
    }

    fn resize(&mut self, exec_id: Option<String>, width: u16, height: u16) -> Result<(), Refusal> {
        let key = match exec_id {
            Some(exec_id) => self.find_exec(&exec_id)?,
            None => FIRST,
        };
        let terminal = self.processes.get(&key).and_then(|process| process.streams.terminal());
        let Some(terminal) = terminal else {
            return Err(Refusal::new(FailureKind::Invalid, "the process has no terminal"));
        };
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(terminal.as_fd(), size).map_err(|error| Refusal::internal(&error))
    }

    /// Finds a running exec.
    pub(super) fn find_exec(&self, exec_id: &str) -> Result<ProcessKey, Refusal> {
        let named = |process: &super::Process| process.exec_id.as_deref() == Some(exec_id) && process.exit_token.is_some();
        let found = self.processes.iter().find(|(_, process)| named(process));
        found.map(|(key, _)| *key).ok_or_else(|| Refusal::new(FailureKind::NotFound, format!("no running exec `{exec_id}`")))
    }

    fn stats(&self) -> Result<Outcome, Refusal> {
        self.alive()?;
        let cgroup = self.container.cgroup();
        let stats = cgroup.stats();
        Ok(Outcome::Stats(Box::new(Stats {
            read_at: time::now(),
            cpu_total_ns: stats.cpu_total,
            cpu_each_ns: stats.cpu_each,
            cpu_user_ns: stats.cpu_user,
            cpu_kernel_ns: stats.cpu_system,
            cpu_periods: stats.cpu_periods,
            cpu_throttled_periods: stats.cpu_throttled_periods,
            cpu_throttled_ns: stats.cpu_throttled,
            memory_usage: stats.memory_usage,
            memory_peak: peak(stats.memory_peak),
            memory_limit: limit(stats.memory_limit),
            memory_failures: stats.memory_failures,
            memory_stat: crate::memory::counters(cgroup),
            pids_current: stats.pids,
            pids_limit: limit(stats.pids_limit),
            block_io_bytes: block_io(stats.block_bytes),
            block_io_operations: block_io(stats.block_operations),
            networks: proc::interfaces(self.container.pid()),
        })))
    }
}

/// The counters of reads and writes, which are all that Docker shows.
fn block_io(counts: Vec<runtime::cgroup::BlockCount>) -> Vec<BlockIo> {
    let shown = counts.into_iter().filter(|count| matches!(count.operation.as_str(), "Read" | "Write"));
    shown.map(|count| BlockIo { major: count.major, minor: count.minor, operation: count.operation, value: count.value }).collect()
}

/// Real-time signals included.
fn parse_signal(number: i32) -> Result<Signal, Refusal> {
    sys::signalfd::by_number(number).ok_or_else(|| Refusal::new(FailureKind::Invalid, format!("{number} is no signal")))
}
