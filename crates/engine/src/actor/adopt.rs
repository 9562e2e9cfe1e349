//! A container that an earlier engine left.

use std::os::fd::AsFd;
use std::time::Duration;

use supervisor::protocol::{Event, Message, Phase};
use tokio::sync::oneshot;

use super::Actor;
use crate::connection::Connection;
use crate::spec::Signal;
use crate::state::{Input, State};
use crate::view::Health;

/// Longest that a supervisor may take to tell its state.
const STATE_MAX: Duration = Duration::from_secs(5);

impl Actor {
    /// Finds out what has become of it, says so, and goes on as its owner.
    pub(crate) async fn adopt(mut self, ready: oneshot::Sender<()>) {
        self.find_out().await;
        self.publish();
        // The opener may have stopped waiting.
        let _ = ready.send(());
        let policy = self.record.spec.host.restart_policy;
        let idle = matches!(self.record.life.state, State::Created | State::Exited { .. });
        if self.gone {
            return;
        }
        if idle && self.record.spec.host.auto_remove {
            // What could not be removed is found again at the next start.
            let _ = self.remove_now(true).await;
        } else if idle && self.record.life.wants_start_with_engine(policy) {
            // The error stands in the record.
            let _ = self.start_by_hand().await;
        }
        self.run().await;
    }

    async fn find_out(&mut self) {
        if self.record.life.state == State::Removing {
            self.record.life.state = State::Exited { code: 0 };
        }
        if let Ok(socket) = supervisor::connect(&self.control_path())
            && let Ok(connection) = Connection::new(socket)
        {
            self.connection = Some(connection);
            match tokio::time::timeout(STATE_MAX, self.hear_state()).await {
                Ok(Some(true)) => return,
                Ok(Some(false)) => {
                    // It was made but not started, and who wanted it has gone.
                    self.signal(Signal::KILL, true);
                    self.wait_for_end().await;
                }
                Ok(None) | Err(_) => {}
            }
            self.connection = None;
        }
        self.take_exit().await;
    }

    /// Hears what the supervisor says first: true if the container runs, none if it has ended.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other messages wait for the main loop")]
    async fn hear_state(&mut self) -> Option<bool> {
        loop {
            let received = self.connection.as_ref()?.receive().await.ok()??;
            match received.message {
                Message::Event(Event::State(state)) => match state.phase {
                    Phase::Creating | Phase::Created => return Some(false),
                    Phase::Exited => return None,
                    Phase::Running => {
                        self.take_running(&state);
                        return Some(true);
                    }
                },
                other => self.backlog.push(other),
            }
        }
    }

    fn take_running(&mut self, state: &supervisor::protocol::State) {
        let since = state.started_at.unwrap_or_else(crate::now);
        self.pid = state.pid;
        self.oom_killed = state.oom_killed;
        self.record.started_at = Some(since);
        self.record.error.clear();
        for point in self.record.mounts.iter().filter(|point| point.kind == "volume") {
            if let Ok(name) = point.name.parse() {
                self.deps.volumes.adopt_user(&name, &self.record.id.to_string());
            }
        }
        self.record.life.state = if state.paused { State::Paused { since } } else { State::Running { since } };
        self.take_endpoints();
        if let Ok(netns) = self.own_netns() {
            let id = self.record.id.to_string();
            // Most are served already; names alone are missing otherwise.
            drop(self.deps.networks.restore_names(&network::endpoint::Sandbox { holder: &id, netns: netns.as_fd() }));
        }
        let check = self.record.spec.config.healthcheck.as_ref();
        if crate::health::is_enabled(check) {
            self.health = Some(Health::default());
            self.schedule_first_probe();
        }
    }

    async fn wait_for_end(&mut self) {
        let Some(connection) = &self.connection else {
            return;
        };
        let end = async { while let Ok(Some(_)) = connection.receive().await {} };
        // One that does not end is lost to us; a start finds out.
        let _ = tokio::time::timeout(STATE_MAX, end).await;
    }

    /// There is no supervisor: the exit record tells how it ended, if it ran at all.
    async fn take_exit(&mut self) {
        let exit = supervisor::read_exit(&self.exit_path()).ok().flatten();
        let news = exit.as_ref().map(|exit| exit.finished_at) != self.record.death.as_ref().map(|death| death.finished_at);
        let alive = matches!(self.record.life.state, State::Starting | State::Running { .. } | State::Paused { .. });
        match (exit, alive) {
            (Some(exit), true) => self.take_end(exit),
            // A run that began after the record was written.
            (Some(exit), false) if news && exit.started_at.is_some() => {
                let since = exit.started_at.unwrap_or_default();
                self.record.life.state = State::Running { since };
                self.take_end(exit);
            }
            (None, true) => self.take_end(supervisor::protocol::Exit {
                code: 137,
                started_at: self.record.started_at,
                finished_at: crate::now(),
                ..supervisor::protocol::Exit::default()
            }),
            (Some(_) | None, false) => {
                if let State::Waiting { .. } = self.record.life.state {
                    return;
                }
            }
        }
        self.detach_network();
    }

    /// As an exit that is announced, without the policy's delay: the engine's start decides.
    fn take_end(&mut self, exit: supervisor::protocol::Exit) {
        let code = exit.code;
        self.record.started_at = exit.started_at.or(self.record.started_at);
        self.oom_killed = exit.oom_killed;
        self.record.death = Some(exit);
        self.step(Input::Ended { code });
        self.event("die", &[("exitCode", &code.to_string())]);
        if !self.record.spec.host.auto_remove {
            // The exit record says the same.
            let _ = self.save(store::Durability::Volatile);
        }
    }
}
