//! When health is probed, and what follows from it.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use supervisor::protocol::{self, Command, DetachKeys, Outcome};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Actor, Order, Pending};
use crate::health::{self, OUTPUT_BYTES_MAX, Times};
use crate::id::ExecId;
use crate::spec::{NetworkMode, RestartPolicy, Signal};
use crate::state::{Input, State};
use crate::view::{ExecSpec, HealthStatus, Probe};

/// The probe of a container that is under way or comes next.
#[derive(Debug, Default)]
pub(super) struct Probing {
    /// Counts probes, so that the result of an old one is known as such.
    run: u64,
    next: Option<Instant>,
    timeout: Option<Instant>,
    started_at: u64,
    exec: Option<(String, JoinHandle<String>)>,
    own: Option<JoinHandle<()>>,
}

impl Probing {
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.next, self.timeout].into_iter().flatten().min()
    }

    pub(super) fn stop(&mut self) {
        if let Some((_, output)) = self.exec.take() {
            output.abort();
        }
        if let Some(own) = self.own.take() {
            own.abort();
        }
        *self = Self { run: self.run + 1, ..Self::default() };
    }
}

impl Actor {
    fn times(&self) -> Option<Times> {
        self.health.as_ref()?;
        self.record.spec.config.healthcheck.as_ref().map(Times::of)
    }

    fn age(&self) -> Duration {
        let since = self.record.started_at.unwrap_or_default();
        Duration::from_nanos(crate::now().saturating_sub(since))
    }

    pub(super) fn schedule_first_probe(&mut self) {
        self.probing.stop();
        self.schedule();
    }

    fn schedule(&mut self) {
        let status = self.health.as_ref().map(|health| health.status);
        if let (Some(times), Some(status)) = (self.times(), status) {
            self.probing.next = Some(Instant::now() + times.pause(self.age(), status));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only a running container is probed")]
    pub(super) fn probe_timer(&mut self, now: Instant) {
        if self.probing.timeout.is_some_and(|at| at <= now) {
            self.probe_timed_out();
        }
        if self.probing.next.is_some_and(|at| at <= now) {
            self.probing.next = None;
            match self.record.life.state {
                State::Running { .. } => self.probe(),
                // A frozen container is not asked.
                _ => self.schedule(),
            }
        }
    }

    fn probe(&mut self) {
        let Some(times) = self.times() else { return };
        let Some(check) = &self.record.spec.config.healthcheck else {
            return;
        };
        self.probing.run += 1;
        self.probing.started_at = crate::now();
        self.probing.timeout = Some(Instant::now() + times.timeout);
        let words: Vec<String> = check.test.clone();
        let (kind, rest) = words.split_first().map_or(("", &[][..]), |(k, r)| (k.as_str(), r));
        let first = rest.first().cloned().unwrap_or_default();
        match kind {
            "CMD" => self.probe_by_exec(rest.to_vec()),
            "CMD-SHELL" => {
                let shell = self.record.spec.config.shell.clone();
                let mut command = shell.unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into()]);
                command.push(first);
                self.probe_by_exec(command);
            }
            "HTTP" => {
                let address = self.address();
                self.probe_by_engine(async move { health::probe_http(address, &first).await });
            }
            "TCP" => {
                let (address, port) = (self.address(), first.parse().unwrap_or_default());
                self.probe_by_engine(async move { health::probe_tcp(address, port).await });
            }
            _ => {}
        }
    }

    /// Where the engine reaches the container.
    fn address(&self) -> IpAddr {
        if self.record.spec.host.network_mode == NetworkMode::Host {
            return Ipv4Addr::LOCALHOST.into();
        }
        let own = self.endpoints.iter().find_map(|endpoint| endpoint.ip);
        // Nothing answers at the unspecified address of this container: it has no network.
        own.unwrap_or(Ipv4Addr::new(240, 0, 0, 1).into())
    }

    fn probe_by_engine(&mut self, probe: impl Future<Output = (i32, String)> + Send + 'static) {
        let (mailbox, run, start) = (self.cell.mailbox.clone(), self.probing.run, self.probing.started_at);
        self.probing.own = Some(tokio::spawn(async move {
            let (exit_code, output) = probe.await;
            let probe = Probe { start, end: crate::now(), exit_code, output };
            // The container may have gone meanwhile.
            let _ = mailbox.send(Order::ProbeDone { run, probe }).await;
        }));
    }

    fn probe_by_exec(&mut self, command: Vec<String>) {
        let spec = ExecSpec { command, ..ExecSpec::default() };
        let started = self.exec_process(&spec).map_err(|e| e.to_string()).and_then(|process| {
            let (ours, theirs) = pair().map_err(|e| e.to_string())?;
            let exec_id = ExecId::random().to_string();
            let exec = protocol::Exec {
                exec_id: exec_id.clone(),
                process,
                attach: protocol::Attach {
                    keep_open: false,
                    stdin: false,
                    stdout: true,
                    stderr: true,
                    multiplexed: false,
                    detach_keys: DetachKeys::none(),
                },
            };
            let fds = [theirs.as_fd()];
            let pending = Pending::ProbeExec(exec_id.clone());
            let sent = self.send(Command::Exec(Box::new(exec)), &fds, pending);
            sent.map_err(|_| "the supervisor has ended".to_owned())?;
            self.probing.exec = Some((exec_id, tokio::spawn(output(ours))));
            Ok(())
        });
        if let Err(text) = started {
            self.probe_result(1, text);
        }
    }

    pub(super) fn probe_started(&mut self, exec_id: &str, outcome: Outcome) {
        let current = self.probing.exec.as_ref().is_some_and(|(id, _)| id == exec_id);
        if let (true, Outcome::Failed { message, .. }) = (current, outcome) {
            self.probing.exec = None;
            self.probe_result(-1, message);
        }
    }

    /// The exec of a probe ended; false if it was another one's.
    pub(super) fn probe_ended(&mut self, exec_id: &str, code: i32) -> bool {
        let Some((_, reader)) = self.probing.exec.take_if(|(id, _)| id == exec_id) else {
            return false;
        };
        self.probe_by_engine(async move { (code, reader.await.unwrap_or_default()) });
        true
    }

    fn probe_timed_out(&mut self) {
        self.probing.timeout = None;
        let seconds = self.times().map_or(0, |times| times.timeout.as_secs());
        if let Some((exec_id, reader)) = self.probing.exec.take() {
            reader.abort();
            let signal = Signal::KILL.number();
            // It may have ended just now.
            let _ = self.send(Command::SignalExec { exec_id, signal }, &[], Pending::Nobody);
        }
        if let Some(own) = self.probing.own.take() {
            own.abort();
        }
        self.probe_result(-1, format!("Health check exceeded timeout ({seconds}s)"));
    }

    fn probe_result(&mut self, exit_code: i32, output: String) {
        let probe = Probe { start: self.probing.started_at, end: crate::now(), exit_code, output };
        self.probe_done(self.probing.run, probe);
    }

    pub(super) fn probe_done(&mut self, run: u64, probe: Probe) {
        if run != self.probing.run {
            return;
        }
        self.probing.run += 1;
        self.probing.timeout = None;
        self.probing.own = None;
        let (Some(times), age) = (self.times(), self.age()) else {
            return;
        };
        let Some(health) = &mut self.health else {
            return;
        };
        let changed = health::take(health, probe, &times, age);
        let status = health.status;
        self.publish();
        if changed {
            self.event(&format!("health_status: {}", status.name()), &[]);
            let policy = self.record.spec.host.restart_policy;
            if status == HealthStatus::Unhealthy && matches!(policy, RestartPolicy::OnUnhealthy { .. }) {
                self.step(Input::Unhealthy);
                self.signal(Signal::KILL, false);
                self.event("kill", &[("signal", "9")]);
                return;
            }
        }
        self.schedule();
    }
}

fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// Reads what a probe writes; more than is kept is read and dropped, lest it block.
async fn output(socket: OwnedFd) -> String {
    let stream = std::os::unix::net::UnixStream::from(socket);
    if stream.set_nonblocking(true).is_err() {
        return String::new();
    }
    let Ok(mut stream) = UnixStream::from_std(stream) else {
        return String::new();
    };
    let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(buffer.get(..length.min(room)).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).into_owned()
}
