//! `GET /teu/why/{name}`: what is known of a container's end.

use crate::ApiError;
use crate::app::App;
use crate::reply::{self, Reply};
use docker_api::types::{Death, Why};
use engine::{Container, Exit, HealthStatus, Sender};
use http::StatusCode;

fn seconds(unix: Option<u64>) -> i64 {
    unix.and_then(|nanos| i64::try_from(nanos / 1_000_000_000).ok()).unwrap_or(0)
}

impl App {
    pub(crate) fn why(&self, name: &str) -> Result<Reply, ApiError> {
        let container = self.lookup(name)?;
        Ok(reply::json(StatusCode::OK, &why(&container)))
    }
}

fn why(container: &Container) -> Why {
    let host = &container.spec.host;
    let health = container.health.as_ref();
    let probe = health.and_then(|health| health.log.iter().rev().find(|probe| probe.exit_code != 0));
    Why {
        name: container.name.to_string(),
        id: container.id.to_string(),
        image: container.spec.config.image.clone(),
        status: container.status.name().to_owned(),
        error: container.error.clone(),
        started_at: seconds(container.started_at),
        finished_at: seconds(container.finished_at),
        death: container.death.as_ref().map(death),
        restart_count: container.restart_count,
        restart_policy: host.restart_policy.to_string(),
        restarts_max: host.restart_policy.retries_max(),
        memory_limit: host.resources.memory,
        health: health.map_or("", |health| HealthStatus::name(health.status)).to_owned(),
        failing_streak: health.map_or(0, |health| health.failing_streak),
        probe_output: probe.map(|probe| probe.output.trim().to_owned()).unwrap_or_default(),
    }
}

fn death(exit: &Exit) -> Death {
    let biggest = exit.biggest_process.clone().unwrap_or_default();
    let sender = match exit.sender {
        Some(Sender::OutOfMemory) => "kernel",
        Some(Sender::Engine { .. }) => "engine",
        None => "",
    };
    Death {
        exit_code: exit.code,
        signal: exit.signal.unwrap_or(0),
        sender: sender.to_owned(),
        oom_killed: exit.oom_killed,
        memory_limit: exit.memory_limit.unwrap_or(0),
        memory_peak: exit.memory_peak.unwrap_or(0),
        biggest_process: biggest.command,
        biggest_pid: biggest.pid,
        biggest_memory: biggest.memory,
        last_log_lines: exit.last_log_lines.clone(),
        started_at: seconds(exit.started_at),
        finished_at: seconds(Some(exit.finished_at)),
    }
}
