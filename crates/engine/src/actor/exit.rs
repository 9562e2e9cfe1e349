//! From the end of a container to its removal. First everybody is told, then things are cleared.

use std::sync::Arc;

use store::Durability;
use supervisor::protocol::Exit;

use super::Actor;
use crate::deps::Deps;
use crate::error::{OperationError, RemoveError};
use crate::event::EventKind;
use crate::id::ContainerId;
use crate::registry::lock;
use crate::spec::{NetworkMode, RestartPolicy};
use crate::state::{Input, State};
use crate::types::Waited;
use crate::view::MountPoint;

impl Actor {
    /// The supervisor said how it ended.
    pub(super) async fn ended(&mut self, exit: Exit) {
        let code = exit.code;
        let seconds = exit.started_at.map_or(0, |start| exit.finished_at.saturating_sub(start) / 1_000_000_000);
        self.oom_killed = exit.oom_killed;
        self.record.started_at = exit.started_at.or(self.record.started_at);
        self.record.death = Some(exit);
        self.forget_run();
        self.step(Input::Ended { code });
        let restart = self.stopping.as_ref().is_some_and(|s| s.restart);
        self.publish();
        let (code, seconds) = (code.to_string(), seconds.to_string());
        self.event("die", &[("exitCode", &code), ("execDuration", &seconds)]);
        let removes = self.record.spec.host.auto_remove && !restart;
        if !removes && self.remove_after.is_none() {
            self.cell.notify(false, &self.waited());
        } else {
            // A wait for the removal is answered there; the others are over now.
            self.cell.notify(false, &self.waited());
        }
        self.detach_network();
        self.unmount_volumes().await;
        self.volume_events("unmount");
        if let Some(stopping) = self.stopping.take() {
            self.stopped(stopping).await;
        }
        if let Some((volumes, replies)) = self.remove_after.take() {
            self.remove_and_answer(volumes, replies).await;
        } else if removes {
            // What could not be removed is found again at the next start of the engine.
            let _ = self.remove_now(true).await;
        } else if !self.gone {
            let policy = self.record.spec.host.restart_policy != RestartPolicy::No;
            let durability = if policy { Durability::Durable } else { Durability::Volatile };
            // The supervisor's exit record says the same.
            let _ = self.save(durability);
        }
    }

    /// Answers those who asked for a stop, and starts again for those who asked for that.
    async fn stopped(&mut self, stopping: super::Stopping) {
        if self.record.life.stopped_by_hand {
            self.event("stop", &[]);
        }
        let mut started = Ok(());
        if stopping.restart && self.remove_after.is_none() {
            started = self.start_by_hand().await.map_err(|error| error.to_string());
            if started.is_ok() {
                self.event("restart", &[]);
            }
        }
        for (restart, reply) in stopping.replies {
            let result = match (&started, restart) {
                (Err(error), true) => Err(OperationError::Refused(error.clone())),
                (Ok(()) | Err(_), _) => Ok(()),
            };
            // Who has gone needs no answer.
            let _ = reply.send(result);
        }
    }

    /// Forgets what only a run has.
    fn forget_run(&mut self) {
        self.connection = None;
        self.pending.clear();
        self.pid = None;
        self.probing.stop();
        self.backlog.clear();
        let mut execs = lock(&self.cell.execs);
        for exec in execs.values_mut().filter(|exec| exec.running) {
            exec.running = false;
            exec.exit_code = exec.exit_code.or(Some(137));
        }
    }

    /// The supervisor is gone: its exit record tells how it ended, or nobody does.
    pub(super) async fn lost(&mut self) {
        self.connection = None;
        let exit = match supervisor::read_exit(&self.exit_path()) {
            Ok(Some(exit)) => exit,
            Ok(None) | Err(_) => Exit { code: 137, finished_at: crate::now(), started_at: self.record.started_at, ..Exit::default() },
        };
        let alive = matches!(self.record.life.state, State::Starting | State::Running { .. } | State::Paused { .. });
        if alive {
            self.ended(exit).await;
        }
    }

    pub(super) async fn remove_and_answer(&mut self, volumes: bool, replies: Vec<super::Reply<(), RemoveError>>) {
        let mut result = self.remove_now(volumes).await;
        for reply in replies {
            // Who has gone needs no answer; the first one hears the cause.
            let _ = reply.send(std::mem::replace(&mut result, Ok(())));
        }
    }

    /// Removes the container: the record first, so that a crash leaves only what is swept.
    pub(super) async fn remove_now(&mut self, volumes: bool) -> Result<(), RemoveError> {
        let (id, auto) = (self.record.id, self.record.spec.host.auto_remove);
        let waited = self.waited();
        if !self.step(Input::Remove) {
            return Err(RemoveError::InProgress(id.to_string()));
        }
        self.publish();
        let durability = if auto { Durability::Volatile } else { Durability::Durable };
        if let Err(error) = self.deps.table.remove(&id.to_string(), durability) {
            self.record.life.state = State::Exited { code: waited.exit_code };
            self.publish();
            return Err(error.into());
        }
        let host = &self.record.spec.host;
        let has_ports = !host.port_bindings.is_empty() || host.publish_all_ports;
        let in_network = matches!(host.network_mode, NetworkMode::Network(_))
            || self.record.spec.networks.keys().any(|name| name != "bridge" && name != "default");
        if let Some(detaching) = self.detaching.take()
            && (has_ports || in_network)
        {
            // Its ports are free when its name is, and its networks can be removed. A panic there has been shown already.
            let _ = detaching.await;
        }
        // Before the answer: its image and its volumes can be removed then.
        release(&self.deps, id, &self.record.mounts);
        self.waiting_clients.clear();
        lock(&self.deps.execs).retain(|_, cell| cell.id != id);
        self.deps.registry.remove(id, &self.record.name);
        self.event("destroy", &[]);
        self.cell.notify(true, &Waited { ..waited });
        self.gone = true;
        let (deps, mounts) = (self.deps.clone(), self.record.mounts.clone());
        tokio::task::spawn_blocking(move || clear(&deps, id, &mounts, volumes));
        Ok(())
    }
}

/// Ends the use of the image and the volumes. Nothing here fails loudly: what is left is swept later.
fn release(deps: &Deps, id: ContainerId, mounts: &[MountPoint]) {
    let holder = id.to_string();
    drop(deps.images.remove_snapshot(&holder));
    deps.images.unpin(&holder);
    for index in mounts.iter().enumerate().filter(|(_, point)| point.options.image.is_some()).map(|(index, _)| index) {
        deps.images.unpin(&crate::create::pin_of(&id, index));
    }
    deps.volumes.detach(&holder);
}

/// Gives back all that a container held, as [`release`] does.
pub(crate) fn clear(deps: &Arc<Deps>, id: ContainerId, mounts: &[MountPoint], volumes: bool) {
    release(deps, id, mounts);
    if volumes {
        for point in mounts.iter().filter(|m| m.anonymous && !m.name.is_empty()) {
            if deps.volumes.remove(&point.name, false).is_ok() {
                let attributes = [("driver".to_owned(), "local".to_owned())].into();
                let name = point.name.clone();
                deps.events.publish(EventKind::Volume, "destroy", name, attributes);
            }
        }
    }
    for directory in [deps.run_directory(&id), deps.data_directory(&id)] {
        drop(std::fs::remove_dir_all(directory));
    }
    drop(deps.images.empty_trash());
    drop(deps.volumes.empty_trash());
}
