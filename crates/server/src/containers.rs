//! `/containers/…` without streams.

use crate::app::App;
use crate::convert::{create, view};
use crate::error::of_kind;
use crate::patterns::Patterns;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, host, images, time};
use docker_api::filters::Filters;
use docker_api::types::{
    ContainerCreateBody, ContainerSummary, ContainersPruneReport, CreateResponse, ExecConfig, ExecCreateResponse, TopResponse, UpdateBody,
    UpdateResponse,
};
use engine::spec::{Resources, RestartPolicy, Signal};
use engine::{Container, ExecSpec, Status, Update};
use http::StatusCode;
use std::sync::Arc;
use std::time::SystemTime;

/// Filters that lists of containers know.
const LIST_FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATUSES: [&str; 7] = ["created", "running", "paused", "restarting", "removing", "exited", "dead"];

impl App {
    pub(crate) async fn container_create(&self, mut call: Call) -> Result<Reply, ApiError> {
        let body = call.json_with(ContainerCreateBody::from_slice).await?;
        let body = body.ok_or_else(|| ApiError::invalid("invalid JSON: got EOF while reading request body"))?;
        if body.config == docker_api::types::ContainerConfig::default() {
            return Err(ApiError::invalid("config cannot be empty in order to create a container"));
        }
        let spec = create::spec(body)?;
        let platform = images::platform(call.query.text("platform"))?;
        let name = call.query.find("name").filter(|name| !name.is_empty());
        let created = self.engine.create(name, spec, platform.as_ref()).await.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let answer = CreateResponse { id: created.id.to_string(), warnings: created.warnings };
        Ok(reply::json(StatusCode::CREATED, &answer))
    }

    pub(crate) async fn container_list(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&LIST_FILTERS)?;
        let limit: Option<i64> = call.query.number("limit")?;
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
        let all = call.query.flag("all") || limit.is_some() || filters.contains("status");
        let selection = Selection::new(self, &filters)?;
        let now = SystemTime::now();
        let chosen = self
            .engine
            .list()
            .into_iter()
            .filter(|container| all || container.status.is_running() || container.status == Status::Restarting)
            .filter(|container| selection.takes(container))
            .take(limit.unwrap_or(usize::MAX));
        let mut rows = Vec::new();
        for container in chosen {
            let mut row = view::summary(&container, now);
            self.name_image(&container, &mut row);
            if call.query.flag("size") {
                self.measure(&mut row).await;
            }
            rows.push(row);
        }
        if all && filters.is_empty() && limit.is_none() {
            rows.extend(self.engine.damaged().iter().map(view::damaged));
        }
        Ok(reply::json(StatusCode::OK, &rows))
    }

    /// Shows the image's id where its name means another image by now.
    fn name_image(&self, container: &Container, row: &mut ContainerSummary) {
        let same = self.images.identify(&row.image).is_ok_and(|id| id == container.image_id);
        if !same {
            row.image = container.image_id.to_string();
        }
    }

    pub(crate) async fn measure(&self, row: &mut ContainerSummary) {
        if let Ok((own, image)) = self.engine.sizes(&row.id).await {
            let total = own.saturating_add(image);
            row.size_rw = (own != 0).then(|| i64::try_from(own).unwrap_or(i64::MAX));
            row.size_root_fs = (total != 0).then(|| i64::try_from(total).unwrap_or(i64::MAX));
        }
    }

    pub(crate) async fn container_inspect(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let container = self.lookup(name)?;
        let mut shown = view::inspect(&container, host::cgroup_v2());
        if call.query.flag("size")
            && let Ok((own, image)) = self.engine.sizes(&shown.id).await
        {
            shown.size_rw = i64::try_from(own).ok();
            shown.size_root_fs = i64::try_from(own.saturating_add(image)).ok();
        }
        Ok(reply::json(StatusCode::OK, &shown))
    }

    pub(crate) fn lookup(&self, name: &str) -> Result<Arc<Container>, ApiError> {
        self.engine.inspect(name).map_err(|cause| of_kind(cause.kind(), &cause))
    }

    pub(crate) async fn container_start(&self, name: &str) -> Result<Reply, ApiError> {
        if let Ok(container) = self.lookup(name) {
            self.joining.settled(&container.id.to_string()).await;
        }
        let started = self.engine.start(name).await;
        started.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn container_stop(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let (signal, timeout) = (optional_signal(call)?, call.query.number("t")?);
        let stopped = self.engine.stop(name, signal, timeout).await;
        done(stopped)
    }

    pub(crate) async fn container_restart(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let (signal, timeout) = (optional_signal(call)?, call.query.number("t")?);
        let restarted = self.engine.restart(name, signal, timeout).await;
        done(restarted)
    }

    pub(crate) async fn container_kill(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let signal =
            optional_signal(call).map_err(|cause| ApiError::invalid(format!("cannot kill container: {name}: {}", cause.message)))?;
        let signal = signal.unwrap_or(Signal::KILL);
        let killed = self.engine.kill(name, signal).await;
        killed.map_err(|cause| {
            if matches!(cause, engine::OperationError::NotRunning(_)) {
                return ApiError::conflict(format!("cannot kill container: {name}: {cause}"));
            }
            of_kind(cause.kind(), &cause)
        })?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn container_pause(&self, name: &str) -> Result<Reply, ApiError> {
        done(self.engine.pause(name).await)
    }

    pub(crate) async fn container_unpause(&self, name: &str) -> Result<Reply, ApiError> {
        done(self.engine.unpause(name).await)
    }

    pub(crate) async fn container_rename(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let wanted = call.query.text("name");
        if wanted.is_empty() {
            return Err(ApiError::invalid("Neither old nor new names may be empty"));
        }
        let renamed = self.engine.rename(name, wanted).await;
        renamed.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn container_update(&self, name: &str, mut call: Call) -> Result<Reply, ApiError> {
        let body: UpdateBody = call.json().await?;
        let policy = &body.restart_policy;
        let restart_policy = match policy.name.as_str() {
            "" => None,
            word => Some(RestartPolicy::parse(word, policy.maximum_retry_count).map_err(|cause| ApiError::invalid(cause.to_string()))?),
        };
        let update = Update {
            resources: Resources {
                memory: body.memory,
                memory_swap: body.memory_swap,
                memory_reservation: body.memory_reservation,
                cpu_shares: body.cpu_shares,
                cpu_period: body.cpu_period,
                cpu_quota: body.cpu_quota,
                cpu_realtime_period: body.cpu_realtime_period,
                cpu_realtime_runtime: body.cpu_realtime_runtime,
                nano_cpus: body.nano_cpus,
                cpuset_cpus: body.cpuset_cpus,
                cpuset_mems: body.cpuset_mems,
                pids_limit: body.pids_limit,
                blkio_weight: body.blkio_weight,
                ..Resources::default()
            },
            restart_policy,
        };
        let updated = self.engine.update(name, update).await;
        let warnings = updated.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let answer = UpdateResponse { warnings: (!warnings.is_empty()).then_some(warnings) };
        Ok(reply::json(StatusCode::OK, &answer))
    }

    pub(crate) async fn container_remove(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        if call.query.flag("link") {
            return Err(ApiError::unsupported("links between containers are not kept"));
        }
        let (force, volumes) = (call.query.flag("force"), call.query.flag("v"));
        let removed = self.engine.remove(name, force, volumes).await;
        removed.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn container_prune(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["label", "label!", "until"])?;
        let until = match filters.get("until").first() {
            Some(text) => time::moment(text)?,
            None => None,
        };
        let pruned = self.engine.prune(move |container: &Container| {
            let created = i64::try_from(container.created_at).unwrap_or(i64::MAX);
            until.is_none_or(|until| created < until) && filters.labels_match(&container.spec.config.labels)
        });
        let pruned = pruned.await;
        let ids: Vec<String> = pruned.removed.iter().map(ToString::to_string).collect();
        let report =
            ContainersPruneReport { containers_deleted: (!ids.is_empty()).then_some(ids), space_reclaimed: pruned.reclaimed_bytes };
        Ok(reply::json(StatusCode::OK, &report))
    }

    pub(crate) async fn container_top(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let arguments = call.query.find("ps_args").unwrap_or("-ef");
        let top = self.engine.top(name, arguments).await;
        let top = top.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let answer = TopResponse { processes: top.processes, titles: top.titles };
        Ok(reply::json(StatusCode::OK, &answer))
    }

    pub(crate) async fn container_resize(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let (height, width) = size(call)?;
        let resized = self.engine.resize(name, height, width).await;
        resized.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(reply::empty(StatusCode::OK))
    }

    pub(crate) async fn exec_create(&self, name: &str, mut call: Call) -> Result<Reply, ApiError> {
        let body: ExecConfig = call.json().await?;
        let command = body.cmd.unwrap_or_default();
        if command.is_empty() {
            return Err(ApiError::invalid("no exec command specified"));
        }
        let spec = ExecSpec {
            command,
            env: body.env.unwrap_or_default(),
            user: body.user,
            working_directory: body.working_dir,
            tty: body.tty,
            privileged: body.privileged,
            attach_stdin: body.attach_stdin,
            attach_stdout: body.attach_stdout,
            attach_stderr: body.attach_stderr,
            detach_keys: body.detach_keys,
            console_size: body.console_size.unwrap_or_default(),
        };
        let created = self.engine.exec_create(name, spec).await;
        let id = created.map_err(|cause| of_kind(cause.kind(), &cause))?;
        let answer = ExecCreateResponse { id: id.to_string() };
        Ok(reply::json(StatusCode::CREATED, &answer))
    }

    pub(crate) async fn exec_inspect(&self, id: &str) -> Result<Reply, ApiError> {
        let exec = self.engine.exec_inspect(id).await;
        let exec = exec.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(reply::json(StatusCode::OK, &view::exec(&exec)))
    }

    pub(crate) async fn exec_resize(&self, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let (height, width) = size(call)?;
        let resized = self.engine.exec_resize(id, height, width).await;
        resized.map_err(|cause| of_kind(cause.kind(), &cause))?;
        Ok(reply::empty(StatusCode::OK))
    }
}

fn done(result: Result<(), engine::OperationError>) -> Result<Reply, ApiError> {
    result.map_err(|cause| of_kind(cause.kind(), &cause))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn optional_signal(call: &Call) -> Result<Option<Signal>, ApiError> {
    match call.query.text("signal") {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|cause: engine::spec::ParseSignalError| ApiError::invalid(cause.to_string())),
    }
}

fn size(call: &Call) -> Result<(u16, u16), ApiError> {
    let side = |name: &str| -> Result<u16, ApiError> {
        let value: Option<u16> = call.query.number(name)?;
        value.ok_or_else(|| ApiError::invalid("strconv.ParseUint: parsing \"\": invalid syntax".to_owned()))
    };
    Ok((side("h")?, side("w")?))
}

/// Refuses a filter of ports that is none. **Source:** moby, `daemon/list.go`, `portOp`; go-connections, `nat.ParsePortRange`.
fn check_port(filter: &str, wanted: &str) -> Result<(), ApiError> {
    let range = wanted.split_once('/').map_or(wanted, |(range, _)| range);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match [first, last].into_iter().find(|number| number.parse::<u16>().is_err()) {
        Some(number) => Err(ApiError::internal(format!(
            "error while looking up for {filter} {wanted}: strconv.ParseUint: parsing \"{number}\": invalid syntax"
        ))),
        None => Ok(()),
    }
}

/// The filters of a list, with what they refer to looked up.
struct Selection<'a> {
    filters: &'a Filters,
    before: Option<u64>,
    since: Option<u64>,
    exited: Vec<i32>,
    ids: Patterns,
    names: Patterns,
    ancestors: Vec<(String, Option<image::ImageId>)>,
}

impl<'a> Selection<'a> {
    fn new(app: &App, filters: &'a Filters) -> Result<Self, ApiError> {
        let bound = |name: &str| -> Result<Option<u64>, ApiError> {
            match filters.get(name).first() {
                Some(container) => Ok(Some(app.lookup(container)?.created_at)),
                None => Ok(None),
            }
        };
        let bad = |name: &str, value: &str| ApiError::invalid(format!("invalid filter '{name}={value}'"));
        for status in filters.get("status") {
            if !STATUSES.contains(&status.as_str()) {
                return Err(ApiError::invalid(format!(
                    "invalid filter 'status={status}': invalid value for state ({status}): must be one of {}",
                    STATUSES.join(", ")
                )));
            }
        }
        for health in filters.get("health") {
            if !["starting", "healthy", "unhealthy", "none"].contains(&health.as_str()) {
                return Err(ApiError::invalid(format!(
                    "invalid filter 'health={health}': invalid value for health ({health}): must be one of none, starting, healthy, unhealthy"
                )));
            }
        }
        for name in ["publish", "expose"] {
            filters.get(name).iter().try_for_each(|wanted| check_port(name, wanted))?;
        }
        let exited = filters.get("exited").iter();
        Ok(Self {
            filters,
            ids: Patterns::new(filters.get("id")),
            names: Patterns::new(filters.get("name")),
            before: bound("before")?,
            since: bound("since")?,
            exited: exited.map(|code| code.parse().map_err(|_| bad("exited", code))).collect::<Result<_, _>>()?,
            ancestors: filters.get("ancestor").iter().map(|name| (name.clone(), app.images.identify(name).ok())).collect(),
        })
    }

    fn takes(&self, container: &Container) -> bool {
        let filters = self.filters;
        let spec = &container.spec;
        self.before.is_none_or(|before| container.created_at < before)
            && self.since.is_none_or(|since| container.created_at > since)
            && (!filters.contains("id") || self.ids.matches(&container.id.to_string()))
            && (!filters.contains("name")
                || self.names.matches(container.name.as_str())
                || self.names.matches(&format!("/{}", container.name)))
            && filters.matches("status", |status| status == container.status.name())
            && filters.matches("health", |health| {
                let own = container.health.as_ref();
                health == own.map_or("none", |own| own.status.name())
            })
            && filters.labels_match(&spec.config.labels)
            && (self.exited.is_empty() || container.status == Status::Exited && self.exited.contains(&container.exit_code))
            && (self.ancestors.is_empty() || self.descends(container))
            && self.is_joined(container)
    }

    fn descends(&self, container: &Container) -> bool {
        self.ancestors.iter().any(|(name, id)| *id == Some(container.image_id) || *name == container.spec.config.image)
    }

    fn is_joined(&self, container: &Container) -> bool {
        let filters = self.filters;
        let port = |wanted: &str, port: &engine::spec::Port| {
            let (range, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let inside = |first: u16, last: u16| (first..=last).contains(&port.number);
            matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if inside(first, last)) && protocol == port.protocol.to_string()
        };
        filters.matches("network", |network| {
            view::networks(container)
                .iter()
                .any(|(name, endpoint)| name == network || !endpoint.network_id.is_empty() && endpoint.network_id.starts_with(network))
        }) && filters.matches("volume", |volume| container.mounts.iter().any(|mount| mount.name == volume || mount.destination == volume))
            && filters.matches("publish", |wanted| container.spec.host.port_bindings.keys().any(|own| port(wanted, own)))
            && filters.matches("expose", |wanted| container.spec.config.exposed_ports.iter().any(|own| port(wanted, own)))
            && filters.matches("is-task", |wanted| wanted == "false")
    }
}
