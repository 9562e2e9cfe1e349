//! One more process in the container.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::launch::{open_null, standard_streams, terminal_ends};
use super::request::Refusal;
use super::{Process, Supervisor};
use crate::poller::{Ready, Source};
use crate::protocol::{Exec, FailureKind, Outcome, Phase};
use crate::streams::{Ends, InputEnd, Streams};

impl Supervisor {
    /// Starts a process, joined with a client if there is one; else its output is thrown away.
    pub(super) fn exec(&mut self, mut exec: Exec, client: Option<OwnedFd>) -> Result<Outcome, Refusal> {
        self.alive()?;
        if self.phase != Phase::Running || self.paused {
            let state = if self.paused { "paused, unpause the container before exec" } else { "not running" };
            let message = format!("container {} is {state}", self.settings.id);
            return Err(Refusal::new(FailureKind::Conflict, message));
        }
        if self.find_exec(&exec.exec_id).is_ok() {
            let message = format!("exec `{}` runs already", exec.exec_id);
            return Err(Refusal::new(FailureKind::Conflict, message));
        }
        // Without a value it would inherit ours, and the kernel would spare it.
        exec.process.oom_score_adj.get_or_insert(0);
        let terminal = exec.process.terminal;
        let streams = streams(terminal, exec.attach.stdin, client.is_some());
        let (stdio, ends) = streams.map_err(|error| Refusal::internal(&error))?;
        let started = runtime::exec(runtime::ExecRequest {
            id: &self.settings.id,
            bundle: &self.settings.bundle,
            pid: self.container.pid(),
            pidfd: self.container.pidfd(),
            spec: &self.settings.spec,
            process: &exec.process,
            cgroup: self.container.cgroup(),
            stdio,
            seccomp: self.settings.seccomp.as_ref(),
            preserve_fds: 0,
        })
        .map_err(|error| Refusal::internal(&error))?;
        let pid = started.pid.as_raw_nonzero().get();
        let pidfd = started.pidfd.try_clone().map_err(|error| Refusal::internal(&error))?;
        self.watch_exec(exec, started, ends, client).map_err(|error| {
            // A process that nobody looks after must not stay.
            let _ = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            Refusal::internal(&error)
        })?;
        Ok(Outcome::ExecStarted { pid })
    }

    fn watch_exec(&mut self, exec: Exec, started: runtime::ExecProcess, mut ends: Ends, client: Option<OwnedFd>) -> io::Result<()> {
        let key = self.next_process;
        self.next_process += 1;
        let terminal = started.terminal.is_some();
        if let Some(master) = started.terminal {
            ends = terminal_ends(master)?;
        }
        let end = if terminal { InputEnd::LetGo } else { InputEnd::Close };
        let mut streams = Streams::new(key, ends, end, None);
        if let Some(client) = client {
            streams.attach(client, exec.attach, &mut self.poller)?;
        }
        streams.watch_outputs(&mut self.poller)?;
        let pidfd = started.pidfd;
        let exit_token = Some(self.poller.add(pidfd.as_fd(), Source::Exit(key), Ready::IN)?);
        let exec_id = Some(exec.exec_id);
        let process = Process { exec_id, pid: started.pid, pidfd, exit_token, streams };
        self.processes.insert(key, process);
        Ok(())
    }
}

/// The streams of an exec; all three are `/dev/null` if nobody listens.
fn streams(terminal: bool, input: bool, client: bool) -> io::Result<(runtime::Stdio, Ends)> {
    if terminal || client {
        return standard_streams(terminal, input);
    }
    let (stdin, stdout, stderr) = (open_null()?, open_null()?, open_null()?);
    Ok((runtime::Stdio::Pipes { stdin, stdout, stderr }, Ends::default()))
}
