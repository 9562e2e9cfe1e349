//! Further processes in a running container.

use std::os::fd::AsFd;

use supervisor::protocol::{self, Command, DetachKeys, Outcome};

use super::facts::RootFiles;
use super::{Actor, Pending, Reply};
use crate::error::{ExecError, OperationError};
use crate::id::ExecId;
use crate::identity;
use crate::registry::lock;
use crate::state::State;
use crate::types::ExecStartOptions;
use crate::view::ExecSpec;
use crate::writer;

impl Actor {
    pub(super) fn exec(&mut self, id: ExecId, options: &ExecStartOptions, reply: Reply<(), ExecError>) {
        let command = match self.exec_command(id, options) {
            Ok(command) => command,
            Err(error) => {
                self.exec_failed(id, &error);
                // A caller that has gone needs no answer.
                let _ = reply.send(Err(error));
                return;
            }
        };
        let fds: Vec<_> = options.client.iter().map(AsFd::as_fd).collect();
        if let Err(Pending::Exec(_, reply)) = self.send(command, &fds, Pending::Exec(id, reply)) {
            let error = ExecError::SupervisorLost;
            self.exec_failed(id, &error);
            let _ = reply.send(Err(error));
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other answer or state is treated alike")]
    fn exec_command(&self, id: ExecId, options: &ExecStartOptions) -> Result<Command, ExecError> {
        match self.record.life.state {
            State::Running { .. } => {}
            State::Paused { .. } => return Err(ExecError::Paused(self.record.name.to_string())),
            _ => return Err(ExecError::NotRunning(self.record.id.to_string())),
        }
        let mut spec = {
            let mut execs = lock(&self.cell.execs);
            let exec = execs.get_mut(&id).ok_or_else(|| ExecError::NotFound(id.to_string()))?;
            if exec.running || exec.exit_code.is_some() {
                return Err(ExecError::AlreadyStarted(id.to_string()));
            }
            exec.running = true;
            exec.spec.clone()
        };
        if options.console_size != [0, 0] {
            spec.console_size = options.console_size;
        }
        let has_client = options.client.is_some();
        let attach = protocol::Attach {
            keep_open: false,
            stdin: has_client && spec.attach_stdin,
            stdout: has_client && spec.attach_stdout,
            stderr: has_client && spec.attach_stderr,
            multiplexed: options.multiplexed,
            detach_keys: detach_keys(&spec.detach_keys).map_err(ExecError::Invalid)?,
        };
        Ok(Command::Exec(Box::new(protocol::Exec { exec_id: id.to_string(), process: self.exec_process(&spec)?, attach })))
    }

    /// The process of an exec, its user looked up in the container as it is now.
    pub(super) fn exec_process(&self, exec: &ExecSpec) -> Result<oci::runtime::Process, ExecError> {
        let spec = &self.record.spec;
        let upper = self.snapshot.as_ref().map(|s| s.upper.clone());
        let files = RootFiles { images: &self.deps.images, image: &self.record.image_id, upper: &upper.unwrap_or_default() };
        let user = if exec.user.is_empty() { &spec.config.user } else { &exec.user };
        let groups: &[String] = if exec.user.is_empty() { &spec.host.group_add } else { &[] };
        let (user, home) = identity::resolve(&files, user, groups)?;
        let mut process = writer::exec_process(spec, exec, (user, &home), &self.hostname());
        if !exec.privileged {
            let profile = super::facts::apparmor_profile(spec).map_err(|error| ExecError::Invalid(error.to_string()))?;
            process.apparmor_profile = profile;
        }
        Ok(process)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "every other answer or state is treated alike")]
    pub(super) fn exec_started(&mut self, id: ExecId, reply: Reply<(), ExecError>, outcome: Outcome) {
        let result = match outcome {
            Outcome::Failed { message, .. } => Err(ExecError::Failed(message)),
            Outcome::ExecStarted { pid } => {
                if let Some(exec) = lock(&self.cell.execs).get_mut(&id) {
                    exec.pid = pid;
                }
                Ok(())
            }
            _ => Ok(()),
        };
        match &result {
            Ok(()) => {
                let command = self.exec_text(id);
                let action = format!("exec_start: {command}");
                self.event(action.trim_end(), &[("execID", &id.to_string())]);
                self.publish();
            }
            Err(error) => self.exec_failed(id, error),
        }
        // A caller that has gone needs no answer.
        let _ = reply.send(result);
    }

    fn exec_text(&self, id: ExecId) -> String {
        let execs = lock(&self.cell.execs);
        execs.get(&id).map(|e| e.spec.command.join(" ")).unwrap_or_default()
    }

    fn exec_failed(&self, id: ExecId, error: &ExecError) {
        if matches!(error, ExecError::AlreadyStarted(_)) {
            return;
        }
        if let Some(exec) = lock(&self.cell.execs).get_mut(&id) {
            exec.running = false;
            exec.exit_code = Some(error.exit_code());
        }
    }

    pub(super) fn exec_ended(&mut self, exec_id: &str, code: i32) {
        if self.probe_ended(exec_id, code) {
            return;
        }
        let Ok(id) = exec_id.parse::<ExecId>() else {
            return;
        };
        if let Some(exec) = lock(&self.cell.execs).get_mut(&id) {
            exec.running = false;
            exec.exit_code = Some(code);
        }
        self.publish();
        let code = code.to_string();
        self.event("exec_die", &[("execID", exec_id), ("exitCode", &code)]);
    }

    pub(super) fn resize(&mut self, exec: Option<ExecId>, [height, width]: [u16; 2], reply: Reply<(), OperationError>) {
        if !self.record.life.state.status().is_running() && self.pid.is_none() {
            let _ = reply.send(Err(OperationError::NotRunning(self.record.id)));
            return;
        }
        let command = Command::Resize { exec_id: exec.map(|id| id.to_string()), width, height };
        self.ask(command, reply);
        let (height, width) = (height.to_string(), width.to_string());
        if exec.is_none() {
            self.event("resize", &[("height", &height), ("width", &width)]);
        }
    }

    /// Sends a command whose reply is only done or failed.
    pub(super) fn ask(&mut self, command: Command, reply: Reply<(), OperationError>) {
        if let Err(Pending::Done(reply)) = self.send(command, &[], Pending::Done(reply)) {
            // A caller that has gone needs no answer.
            let _ = reply.send(Err(OperationError::SupervisorLost));
        }
    }
}

/// Parses detach keys; empty takes the default.
pub(crate) fn detach_keys(text: &str) -> Result<DetachKeys, String> {
    match text {
        "" => Ok(DetachKeys::default()),
        text => DetachKeys::parse(text).map_err(|error| format!("Invalid detach keys ({text}) provided: {error}")),
    }
}
