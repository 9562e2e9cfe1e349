//! Orders of people.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use supervisor::protocol::{self, Command};
use tokio::time::Instant;

use super::{Actor, Order, Pending, Reply, Stopping};
use crate::error::{OperationError, RemoveError};
use crate::id::ContainerName;
use crate::spec::Signal;
use crate::state::{Input, State};
use crate::types::Update;
use crate::validate;
use crate::writer;

/// Seconds between the stop signal and SIGKILL. **Source:** moby, `defaultStopTimeout`.
const STOP_SECONDS: i64 = 10;

impl Actor {
    #[allow(clippy::too_many_lines, reason = "one short arm for each order")]
    pub(super) async fn order(&mut self, order: Order) {
        // Answers to callers that have gone are dropped, here and below.
        match order {
            Order::Start(reply) => {
                let result = self.start_by_hand().await;
                let _ = reply.send(result);
            }
            Order::Prepare(reply) => {
                let result = self.prepare_by_hand().await;
                let _ = reply.send(result);
            }
            Order::Go { client, reply } => self.go_by_hand(client, reply).await,
            Order::Abandon => self.abandon().await,
            Order::Stop { signal, timeout, restart, reply } => {
                self.stop(signal, timeout, restart, reply).await;
            }
            Order::Kill { signal, reply } => self.kill(signal, reply).await,
            Order::Pause(reply) => self.pause(reply),
            Order::Unpause(reply) => self.unpause(reply),
            Order::Rename { name, reply } => drop(reply.send(self.rename(name))),
            Order::Update { update, reply } => self.update(*update, reply),
            Order::Remove { force, volumes, reply } => self.remove(force, volumes, reply).await,
            Order::Attach { attach, client, reply } => self.attach(attach, client, reply),
            Order::Exec { id, options, reply } => {
                self.exec(id, &options, reply);
            }
            Order::Resize { exec, height, width, reply } => {
                self.resize(exec, [height, width], reply);
            }
            Order::Settle(reply) => {
                // Without a supervisor there is nothing to hear: the reply is dropped, which is an answer.
                let _ = self.send(Command::State, &[], Pending::Done(reply));
            }
            Order::Stats(reply) => {
                if self.pid.is_none() {
                    let _ = reply.send(Ok(None));
                } else if let Err(Pending::Stats(reply)) = self.send(Command::Stats, &[], Pending::Stats(reply)) {
                    let _ = reply.send(Ok(None));
                }
            }
            Order::Processes(reply) => {
                let id = self.record.id;
                if self.pid.is_none() {
                    let _ = reply.send(Err(OperationError::NotRunning(id)));
                } else if let Err(Pending::Processes(reply)) = self.send(Command::Processes, &[], Pending::Processes(reply)) {
                    let _ = reply.send(Err(OperationError::SupervisorLost));
                }
            }
            Order::Connect { network, settings, reply } => drop(reply.send(self.connect(&network, *settings))),
            Order::Disconnect { network, force, reply } => drop(reply.send(self.disconnect(&network, force))),
            Order::ProbeDone { run, probe } => self.probe_done(run, probe),
        }
    }

    fn is_alive(&self) -> bool {
        matches!(self.record.life.state, State::Starting | State::Running { .. } | State::Paused { .. })
    }

    async fn abandon(&mut self) {
        if self.record.life.state == State::Starting {
            self.remove_after = Some((true, Vec::new()));
            self.signal(Signal::KILL, true);
        } else if matches!(self.record.life.state, State::Created | State::Exited { .. }) {
            // What could not be removed is found again at the next start of the engine.
            let _ = self.remove_now(true).await;
        }
    }

    async fn stop(&mut self, signal: Option<Signal>, timeout: Option<i64>, restart: bool, reply: Reply<(), OperationError>) {
        if !self.is_alive() {
            let waiting = matches!(self.record.life.state, State::Waiting { .. });
            if waiting {
                self.step(Input::Stop { last_run: true });
                self.publish();
                self.cell.notify(false, &self.waited());
                // The state in memory is right; a restart of the engine may start it once more.
                let _ = self.save(store::Durability::Durable);
            }
            let result = if restart {
                let started = self.start_by_hand().await;
                if started.is_ok() {
                    self.event("restart", &[]);
                }
                started.map_err(OperationError::from)
            } else if waiting {
                Ok(())
            } else {
                Err(OperationError::AlreadyStopped)
            };
            let _ = reply.send(result);
            return;
        }
        let config = &self.record.spec.config;
        let seconds = timeout.or(config.stop_timeout).unwrap_or(STOP_SECONDS);
        let signal = signal.or(config.stop_signal).unwrap_or(Signal::TERM);
        self.step(Input::Stop { last_run: true });
        self.signal_by_hand(signal);
        // Negative waits for ever.
        let deadline = u64::try_from(seconds).ok().map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let stopping = self.stopping.get_or_insert(Stopping { deadline, restart: false, replies: Vec::new() });
        stopping.deadline = match (stopping.deadline, deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        stopping.restart |= restart;
        stopping.replies.push((restart, reply));
    }

    /// Sends a signal that a person asked for; a frozen container is thawed to hear it.
    fn signal_by_hand(&mut self, signal: Signal) {
        self.signal(signal, false);
        self.event("kill", &[("signal", &signal.number().to_string())]);
        if matches!(self.record.life.state, State::Paused { .. }) {
            self.step(Input::Resume);
            // The supervisor's end, if it is near, says itself.
            let _ = self.send(Command::Resume, &[], Pending::Nobody);
            self.publish();
        }
    }

    async fn kill(&mut self, signal: Signal, reply: Reply<(), OperationError>) {
        if matches!(self.record.life.state, State::Waiting { .. }) {
            self.stop(None, None, false, reply).await;
            return;
        }
        if !self.is_alive() {
            let _ = reply.send(Err(OperationError::NotRunning(self.record.id)));
            return;
        }
        // **Source:** moby, `daemon/kill.go`, `killWithSignal`.
        let ends = match self.record.spec.config.stop_signal {
            Some(stop) if signal != Signal::KILL => signal == stop,
            Some(_) | None => true,
        };
        self.step(Input::Stop { last_run: ends });
        self.event("kill", &[("signal", &signal.number().to_string())]);
        let command = Command::Signal { signal: signal.number(), all: false };
        self.ask(command, reply);
        if ends && matches!(self.record.life.state, State::Paused { .. }) {
            self.step(Input::Resume);
            let _ = self.send(Command::Resume, &[], Pending::Nobody);
            self.publish();
        }
    }

    fn pause(&mut self, reply: Reply<(), OperationError>) {
        let error = match self.record.life.state {
            State::Running { .. } => {
                if let Err(Pending::Pause(reply)) = self.send(Command::Pause, &[], Pending::Pause(reply)) {
                    let _ = reply.send(Err(OperationError::SupervisorLost));
                }
                return;
            }
            State::Paused { .. } => OperationError::AlreadyPaused(self.record.name.clone()),
            State::Waiting { .. } => {
                OperationError::Refused(format!("Container {} is restarting, wait until the container is running", self.record.id))
            }
            State::Created | State::Starting | State::Exited { .. } | State::Removing => OperationError::NotRunning(self.record.id),
        };
        let _ = reply.send(Err(error));
    }

    fn unpause(&mut self, reply: Reply<(), OperationError>) {
        if !matches!(self.record.life.state, State::Paused { .. }) {
            let _ = reply.send(Err(OperationError::NotPaused(self.record.id)));
        } else if let Err(Pending::Unpause(reply)) = self.send(Command::Resume, &[], Pending::Unpause(reply)) {
            let _ = reply.send(Err(OperationError::SupervisorLost));
        }
    }

    fn rename(&mut self, name: ContainerName) -> Result<(), store::PutError> {
        let old = std::mem::replace(&mut self.record.name, name);
        if let Err(error) = self.save(store::Durability::Durable) {
            self.record.name = old;
            return Err(error);
        }
        let id = self.record.id.to_string();
        // It keeps its old name in its networks until its next start then.
        drop(self.deps.networks.rename(&id, self.record.name.as_str()));
        self.publish();
        self.event("rename", &[("oldName", &format!("/{old}"))]);
        Ok(())
    }

    fn update(&mut self, update: Update, reply: Reply<(), OperationError>) {
        let mut spec = (*self.record.spec).clone();
        let own = &mut spec.host.resources;
        if update.resources.memory != 0 && update.resources.memory < crate::validate::MEMORY_MIN {
            let _ = reply.send(Err(OperationError::Invalid(crate::error::InvalidSpec::MemoryTooSmall.to_string())));
            return;
        }
        if let Err(text) = crate::update::merge(own, &update.resources) {
            let text = format!("Cannot update container {}: {text}", self.record.id);
            let _ = reply.send(Err(OperationError::Refused(text)));
            return;
        }
        if let Err(error) = validate::check_resources(own) {
            let _ = reply.send(Err(OperationError::Invalid(error.to_string())));
            return;
        }
        if let Some(policy) = update.restart_policy {
            if spec.host.auto_remove && policy != crate::spec::RestartPolicy::No {
                let text = "Restart policy cannot be updated because AutoRemove is enabled for the container";
                let _ = reply.send(Err(OperationError::Invalid(text.to_owned())));
                return;
            }
            spec.host.restart_policy = policy;
        }
        let facts = writer::Facts::default();
        let mut limits = writer::resources(&spec, &facts);
        // Devices do not change.
        limits.devices.clear();
        self.record.spec = Arc::new(spec);
        if let Err(error) = self.save(store::Durability::Durable) {
            let _ = reply.send(Err(error.into()));
            return;
        }
        self.publish();
        self.event("update", &[]);
        let changes = update.resources != crate::spec::Resources::default();
        if self.is_alive() && changes {
            let resources = Box::new(limits);
            self.ask(Command::Update { resources }, reply);
        } else {
            let _ = reply.send(Ok(()));
        }
    }

    async fn remove(&mut self, force: bool, volumes: bool, reply: Reply<(), RemoveError>) {
        let running = |status, hint| RemoveError::Running { name: self.record.name.clone(), status, hint };
        let refusal = match self.record.life.state {
            State::Created | State::Exited { .. } => None,
            State::Starting | State::Running { .. } => Some(running("running", "stop the container before removing or force remove")),
            State::Paused { .. } => Some(running("paused", "unpause and then stop the container before removing or force remove")),
            State::Waiting { .. } => Some(running("restarting", "stop the container before removing or force remove")),
            State::Removing => Some(RemoveError::InProgress(self.record.id.to_string())),
        };
        match refusal {
            None => self.remove_and_answer(volumes, vec![reply]).await,
            Some(error) if !force || self.record.life.state == State::Removing => {
                let _ = reply.send(Err(error));
            }
            Some(_) if matches!(self.record.life.state, State::Waiting { .. }) => {
                self.step(Input::Stop { last_run: true });
                self.remove_and_answer(volumes, vec![reply]).await;
            }
            Some(_) => {
                self.step(Input::Stop { last_run: true });
                let after = self.remove_after.get_or_insert((volumes, Vec::new()));
                after.0 |= volumes;
                after.1.push(reply);
                self.signal_by_hand(Signal::KILL);
            }
        }
    }

    fn attach(&mut self, attach: protocol::Attach, client: OwnedFd, reply: Reply<(), OperationError>) {
        self.event("attach", &[]);
        let alive = self.connection.is_some() && self.pid.is_some();
        if !alive {
            if self.record.life.state == State::Removing {
                let text = "container is marked for removal and cannot be attached to".to_owned();
                let _ = reply.send(Err(OperationError::Refused(text)));
                return;
            }
            // It hears everything from the next start on.
            self.waiting_clients.push((attach, client));
            let _ = reply.send(Ok(()));
            return;
        }
        let fds = [client.as_fd()];
        let sent = self.send(Command::Attach(attach), &fds, Pending::Done(reply));
        if let Err(Pending::Done(reply)) = sent {
            let _ = reply.send(Err(OperationError::SupervisorLost));
        }
    }
}
