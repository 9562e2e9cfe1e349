//! One supervisor: creates a container, serves it until it ends, and records how it ended.
//!
//! A single thread that waits for descriptors. The order at the end is what others rely on: output
//! goes into the log, then the exit record to the disk, then the exit is announced, then the
//! cgroup is removed and slow clients get their rest.

mod death;
mod exec;
mod launch;
mod request;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitIdStatus};

use crate::connections::{Connections, Incoming};
use crate::poller::{Poller, ProcessKey, Ready, Source, Token};
use crate::protocol::{self, BiggestProcess, Event, ExecState, Message, Phase, State};
use crate::streams::{Happened, SCRATCH_BYTES, Streams};

pub(crate) use launch::main;

/// The key of the first process.
const FIRST: ProcessKey = 0;
/// How long engines have after the end to take what is queued for them.
const FAREWELL_MAX: Duration = Duration::from_secs(5);
/// Exits of execs that are kept for an engine that connects later.
const UNHEARD_MAX: usize = 256;

/// Exit code and signal of a process of which neither is known.
const UNKNOWN_EXIT: (i32, Option<i32>) = (255, None);

/// One process: the first, or an exec's.
#[derive(Debug)]
struct Process {
    exec_id: Option<String>,
    pid: Pid,
    pidfd: OwnedFd,
    /// None once it has ended.
    exit_token: Option<Token>,
    streams: Streams,
}

/// What stays of the launch.
#[derive(Debug)]
struct Settings {
    id: String,
    bundle: PathBuf,
    spec: oci::runtime::Spec,
    seccomp: Option<runtime::seccomp::Program>,
    control_path: PathBuf,
    exit_path: PathBuf,
    durable_exit: bool,
    log: protocol::Log,
}

/// Kills for want of memory.
#[derive(Debug, Default)]
struct Memory {
    watch: Option<(runtime::cgroup::OomWatch, Token)>,
    kills: u64,
    biggest_process: Option<BiggestProcess>,
}

#[derive(Debug)]
struct Supervisor {
    settings: Settings,
    poller: Poller,
    listener: OwnedFd,
    connections: Connections,
    container: runtime::Container,
    network_namespace: Option<OwnedFd>,
    phase: Phase,
    started_at: Option<u64>,
    paused: bool,
    memory: Memory,
    /// The last signal an engine sent to the first process, and who.
    last_signal: Option<(i32, protocol::Sender)>,
    processes: BTreeMap<ProcessKey, Process>,
    next_process: ProcessKey,
    unheard: Vec<ExecState>,
    /// Room for reading; empty until the first output.
    scratch: Vec<u8>,
    /// The end while it is not told yet.
    unannounced: Option<protocol::Exit>,
    farewell: Option<Instant>,
}

impl Supervisor {
    /// Serves until the container has ended and all has been told.
    fn serve(&mut self) -> io::Result<()> {
        while !self.is_done() {
            let events = self.poller.wait(self.deadline())?;
            for (token, ready) in events {
                if let Some(source) = self.poller.source(token) {
                    // What fails for one client or engine must not end the container.
                    let _ = self.on_ready(source, ready);
                }
            }
            let now = Instant::now();
            if self.deadline().is_some_and(|deadline| now >= deadline) {
                for process in self.processes.values_mut() {
                    process.streams.expire(now, &mut self.poller)?;
                }
            }
            self.announce_end();
            // An exec stays for the sake of its clients only.
            self.processes.retain(|key, process| *key == FIRST || process.exit_token.is_some() || !process.streams.is_finished());
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let Some(farewell) = self.farewell else {
            return false;
        };
        let all = |is: fn(&Process) -> bool| self.processes.values().all(is);
        let told = all(|process| process.exit_token.is_none()) && self.connections.is_flushed();
        let over = Instant::now() >= farewell;
        all(|process| process.streams.is_finished()) && (told || over)
    }

    fn deadline(&self) -> Option<Instant> {
        let clients = self.processes.values().filter_map(|process| process.streams.deadline());
        // Once it is over, only clients are waited for.
        let farewell = self.farewell.filter(|farewell| Instant::now() < *farewell);
        clients.chain(farewell).min()
    }

    fn on_ready(&mut self, source: Source, ready: Ready) -> io::Result<()> {
        match source {
            Source::Listener => self.accept(),
            Source::Connection(id) => self.on_connection(id, ready),
            Source::Exit(key) => self.on_exit(key),
            Source::OutOfMemory => self.on_out_of_memory(),
            Source::Output(key, stream) => {
                self.with_streams(key, |streams, poller, scratch| streams.on_output(stream, poller, scratch).map(|()| Happened::Nothing))
            }
            Source::Input(key) => self.with_streams(key, Streams::on_input),
            Source::Client(key, client) => {
                self.with_streams(key, |streams, poller, scratch| streams.on_client(client, ready, poller, scratch))
            }
        }
    }

    fn with_streams(
        &mut self,
        key: ProcessKey,
        act: impl FnOnce(&mut Streams, &mut Poller, &mut [u8]) -> io::Result<Happened>,
    ) -> io::Result<()> {
        self.scratch.resize(SCRATCH_BYTES, 0);
        let Some(process) = self.processes.get_mut(&key) else {
            return Ok(());
        };
        if act(&mut process.streams, &mut self.poller, &mut self.scratch)? == Happened::Detached {
            let exec_id = process.exec_id.clone();
            self.announce(Event::Detached { exec_id });
        }
        Ok(())
    }

    /// Tells all engines.
    fn announce(&mut self, event: Event) {
        self.connections.broadcast(event, None, &mut self.poller);
    }

    /// Lets an engine in, if it is of our own user, and tells it the state.
    fn accept(&mut self) -> io::Result<()> {
        let connection = match sys::seqpacket::accept(self.listener.as_fd()) {
            Ok(connection) => connection,
            // Others who connect and leave at once, or exhausted descriptors, are no reason to end.
            Err(_) => return Ok(()),
        };
        let own = rustix::process::geteuid().as_raw();
        if sys::seqpacket::peer(connection.as_fd())?.uid != own {
            return Ok(());
        }
        let id = self.connections.add(connection, &mut self.poller)?;
        let state = Message::Event(Event::State(self.state()));
        let namespace = self.network_namespace.as_ref().map(AsFd::as_fd);
        self.connections.send(id, &state, namespace, &mut self.poller);
        self.unheard.clear();
        Ok(())
    }

    fn state(&self) -> State {
        let running = self.processes.values().filter(|process| process.exit_token.is_some());
        let execs = running.filter_map(|process| {
            let exec_id = process.exec_id.clone()?;
            Some(ExecState { exec_id, pid: process.pid.as_raw_nonzero().get(), code: None })
        });
        State {
            version: protocol::VERSION,
            id: self.settings.id.clone(),
            phase: self.phase,
            pid: Some(self.container.pid().as_raw_nonzero().get()),
            started_at: self.started_at,
            paused: self.paused,
            oom_killed: self.memory.kills > 0,
            execs: execs.chain(self.unheard.iter().cloned()).collect(),
        }
    }

    fn on_connection(&mut self, id: u64, ready: Ready) -> io::Result<()> {
        if ready.contains(Ready::OUT) {
            self.connections.flush(id, &mut self.poller);
        }
        if !ready.intersects(Ready::IN | Ready::HUP | Ready::ERR) {
            return Ok(());
        }
        if let Incoming::Request(request, fds) = self.connections.receive(id, &mut self.poller) {
            self.on_request(id, request, fds);
        }
        Ok(())
    }

    /// Reaps a process, takes the rest of its output, and tells.
    fn on_exit(&mut self, key: ProcessKey) -> io::Result<()> {
        self.scratch.resize(SCRATCH_BYTES, 0);
        let Some(process) = self.processes.get_mut(&key) else {
            return Ok(());
        };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let code = match rustix::process::waitid(WaitId::PidFd(process.pidfd.as_fd()), options) {
            Ok(Some(status)) => exit_code(&status),
            Ok(None) | Err(rustix::io::Errno::INTR) => return Ok(()),
            // Reaped by others, which is a fault of ours, but it has ended.
            Err(_) => UNKNOWN_EXIT,
        };
        if let Some(token) = process.exit_token.take() {
            self.poller.remove(token, process.pidfd.as_fd());
        }
        process.streams.drain(&mut self.poller, &mut self.scratch);
        if key == FIRST {
            self.on_end(code);
        } else {
            let code = code.0;
            let exec_id = process.exec_id.clone().unwrap_or_default();
            let pid = process.pid.as_raw_nonzero().get();
            self.announce(Event::ExecExited { exec_id: exec_id.clone(), code });
            if self.connections.is_empty() && self.unheard.len() < UNHEARD_MAX {
                self.unheard.push(ExecState { exec_id, pid, code: Some(code) });
            }
        }
        // The clients' rest is sent, or their end, only after the exit is told.
        if let Some(process) = self.processes.get_mut(&key) {
            process.streams.expire(Instant::now(), &mut self.poller)?;
        }
        Ok(())
    }

    /// Records the end of the first process and tells it.
    fn on_end(&mut self, code: (i32, Option<i32>)) {
        self.phase = Phase::Exited;
        self.paused = false;
        self.network_namespace = None;
        let exit = self.exit_record(code);
        let path = &self.settings.exit_path;
        // A full disk must not keep the exit from being told; the engine records it too.
        let _ = crate::exit::write_exit(path, &exit, self.settings.durable_exit);
        self.unannounced = Some(exit);
        self.announce_end();
        death::remove_cgroup(self.container.cgroup());
    }
}

impl Supervisor {
    /// Tells the end, once those who hold a client's connection to add a last word may do so.
    fn announce_end(&mut self) {
        let first = self.processes.get(&FIRST);
        let waits = first.is_some_and(|process| process.streams.owes_before_last_word());
        if let Some(exit) = self.unannounced.take_if(|_| !waits) {
            self.announce(Event::Exited(Box::new(exit)));
            self.farewell = Some(Instant::now() + FAREWELL_MAX);
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = rustix::fs::unlink(&self.settings.control_path);
    }
}

/// Docker's exit code, and the signal.
fn exit_code(status: &WaitIdStatus) -> (i32, Option<i32>) {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => (code, None),
        (None, Some(signal)) => (128 + signal, Some(signal)),
        (None, None) => UNKNOWN_EXIT,
    }
}

/// An error with all its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
