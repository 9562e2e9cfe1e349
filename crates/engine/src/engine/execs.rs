//! Further processes in running containers.

use std::sync::Arc;

use super::Engine;
use crate::actor::Order;
use crate::error::{ExecError, OperationError};
use crate::id::ExecId;
use crate::registry::{Cell, lock};
use crate::types::ExecStartOptions;
use crate::view::{ExecSpec, ExecView, Status};

impl Engine {
    /// Prepares one more process in a running container.
    ///
    /// # Errors
    /// [`ExecError`].
    #[expect(clippy::wildcard_enum_match_arm, reason = "only a running container takes it")]
    pub async fn exec_create(&self, container: &str, spec: ExecSpec) -> Result<ExecId, ExecError> {
        let cell = self.0.registry.find(container)?;
        let view = cell.view();
        if spec.command.first().is_none_or(String::is_empty) {
            return Err(ExecError::NoCommand);
        }
        crate::actor::detach_keys(&spec.detach_keys).map_err(ExecError::Invalid)?;
        match view.status {
            Status::Running => {}
            Status::Paused => return Err(ExecError::Paused(view.name.to_string())),
            _ => return Err(ExecError::NotRunning(view.id.to_string())),
        }
        let id = ExecId::random();
        let action = format!("exec_create: {}", spec.command.join(" "));
        let exec = ExecView { id, container: cell.id, spec, running: false, exit_code: None, pid: 0 };
        lock(&cell.execs).insert(id, exec);
        lock(&self.0.execs).insert(id, cell.clone());
        crate::create::publish_event(&self.0, &view, &action, &[("execID", &id.to_string())]);
        Ok(id)
    }

    fn exec_cell(&self, exec: &str) -> Result<(ExecId, Arc<Cell>), ExecError> {
        let not_found = || ExecError::NotFound(exec.to_owned());
        let id: ExecId = exec.parse().map_err(|_| not_found())?;
        let cell = lock(&self.0.execs).get(&id).cloned();
        Ok((id, cell.ok_or_else(not_found)?))
    }

    /// Starts it; it returns as soon as the process runs.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn exec_start(&self, exec: &str, options: ExecStartOptions) -> Result<(), ExecError> {
        let (id, cell) = self.exec_cell(exec)?;
        let order = |reply| Order::Exec { id, options, reply };
        self.order(&cell, order).await
    }

    /// One exec. Who has seen the end of its output finds its exit code here.
    ///
    /// # Errors
    /// [`ExecError::NotFound`].
    pub async fn exec_inspect(&self, exec: &str) -> Result<ExecView, ExecError> {
        let (id, cell) = self.exec_cell(exec)?;
        let found = || lock(&cell.execs).get(&id).cloned().ok_or_else(|| ExecError::NotFound(exec.to_owned()));
        let view = found()?;
        if !view.running {
            return Ok(view);
        }
        // Its exit may be on the way from the supervisor; one that is lost has nothing to tell.
        let _ = self.order::<_, OperationError>(&cell, Order::Settle).await;
        found()
    }

    /// Changes the size of an exec's terminal.
    ///
    /// # Errors
    /// [`ExecError`].
    pub async fn exec_resize(&self, exec: &str, height: u16, width: u16) -> Result<(), ExecError> {
        let (id, cell) = self.exec_cell(exec)?;
        let order = |reply| Order::Resize { exec: Some(id), height, width, reply };
        let resized: Result<(), OperationError> = self.order(&cell, order).await;
        resized.map_err(|error| ExecError::Invalid(error.to_string()))
    }
}
