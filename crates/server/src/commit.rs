//! What a container changed: `GET …/changes`, `GET …/export` and `POST /commit`.

use crate::app::App;
use crate::convert::show;
use crate::error::chain;
use crate::jobs::{Archive, blocking};
use crate::reply::{self, Reply, SERVER_VERSION};
use crate::request::Call;
use crate::{ApiError, images};
use docker_api::types::{CommitResponse, ContainerConfig, ContainerCreateBody, Empty, FilesystemChange, HealthConfig};
use engine::{Container, EventKind, Status};
use http::StatusCode;
use image::{ChangeKind, CommitError, CommitOptions, ImageId, LoadError, SnapshotError};
use oci::ImageRef;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What `POST /commit` asks for.
struct Wanted {
    container: Arc<Container>,
    name: Option<ImageRef>,
    pause: bool,
    options: CommitOptions,
}

impl App {
    pub(crate) async fn container_changes(&self, name: &str) -> Result<Reply, ApiError> {
        let id = self.lookup(name)?.id.to_string();
        let images = Arc::clone(&self.images);
        let changes = blocking(move || images.changes(&id).map_err(|cause| snapshot_error(&cause))).await??;
        let rows: Vec<FilesystemChange> = changes
            .into_iter()
            .map(|change| FilesystemChange {
                path: change.path,
                kind: match change.kind {
                    ChangeKind::Modified => 0,
                    ChangeKind::Added => 1,
                    ChangeKind::Deleted => 2,
                },
            })
            .collect();
        Ok(reply::json(StatusCode::OK, &(!rows.is_empty()).then_some(rows)))
    }

    pub(crate) async fn container_export(&self, name: &str) -> Result<Reply, ApiError> {
        let container = self.lookup(name)?;
        if matches!(container.status, Status::Dead | Status::Removing) {
            let state = if container.status == Status::Dead { "is dead" } else { "is being removed" };
            return Err(ApiError::conflict(format!("You cannot export container {} which {state}", container.id)));
        }
        self.container_event(&container, "export", &[]);
        let (pieces, answer) = reply::stream("application/octet-stream");
        let (started, first) = oneshot::channel();
        let images = Arc::clone(&self.images);
        tokio::task::spawn_blocking(move || {
            let mut archive = Archive::new(pieces, started);
            let exported = images.export(&container.id.to_string(), &mut archive);
            // Behind the head a broken archive shows itself by its missing end.
            if let (Err(cause), Some(started)) = (exported, archive.into_started()) {
                let _ = started.send(Err(snapshot_error(&cause)));
            }
        });
        match first.await {
            Ok(result) => result.map(|()| answer),
            Err(_) => Ok(answer),
        }
    }

    /// Makes an image of a container.
    pub(crate) async fn commit(&self, mut call: Call) -> Result<Reply, ApiError> {
        let body = call.json_with(|text| serde_json::from_slice::<serde_json::Value>(text)).await?.unwrap_or_default();
        let query = &call.query;
        let name = query.text("container");
        if name.is_empty() {
            return Err(ApiError::invalid("invalid name or ID supplied: \"\""));
        }
        let container = self.lookup(name)?;
        let tagged = match query.text("repo") {
            "" => None,
            repository => Some(images::reference(repository, query.text("tag"))?),
        };
        let parse = |body| ContainerCreateBody::from_value(body).map_err(|cause| ApiError::invalid(cause.to_string()));
        let given = (!body.is_null()).then(|| parse(body)).transpose()?.map(|body| body.config);
        let state = match container.status {
            Status::Dead => Some("is Dead"),
            Status::Removing => Some("is being removed"),
            Status::Created | Status::Running | Status::Paused | Status::Restarting | Status::Exited => None,
        };
        if let Some(state) = state {
            return Err(ApiError::conflict(format!("You cannot commit container {} which {state}", container.id)));
        }
        let own = show::config(&container.spec.config);
        let changes: Vec<String> = query.all("changes").map(str::to_owned).collect();
        let config = merge(change(given.unwrap_or_else(|| own.clone()), &changes)?, &own);
        let json = |config: &ContainerConfig| serde_json::to_value(config).map_err(|cause| ApiError::internal(cause.to_string()));
        let options = CommitOptions {
            steps_before: Vec::new(),
            author: query.text("author").to_owned(),
            comment: query.text("comment").to_owned(),
            created_by: own.cmd.clone().unwrap_or_default().join(" "),
            container: container.id.to_string(),
            config: json(&config)?,
            container_config: json(&own)?,
            engine_version: SERVER_VERSION.to_owned(),
            created_at: None,
        };
        let wanted = Wanted { container, name: tagged, pause: query.flag_or("pause", true), options };
        let app = self.clone();
        // A task of its own: a client that hangs up must not leave the container frozen.
        let done = tokio::spawn(async move { app.commit_now(wanted).await });
        let id = done.await.map_err(|cause| ApiError::internal(cause.to_string()))??;
        Ok(reply::json(StatusCode::CREATED, &CommitResponse { id: id.to_string() }))
    }

    async fn commit_now(&self, wanted: Wanted) -> Result<ImageId, ApiError> {
        let Wanted { container, name, pause, options } = wanted;
        let id = container.id.to_string();
        let labels = options.config.get("Labels").cloned();
        let labels: BTreeMap<String, String> = labels.and_then(|labels| serde_json::from_value(labels).ok()).unwrap_or_default();
        // One that has ended meanwhile needs no pause.
        let paused = pause && container.status == Status::Running && self.engine.pause(&id).await.is_ok();
        let comment = options.comment.clone();
        let (images, holder) = (Arc::clone(&self.images), id.clone());
        let made = blocking(move || images.commit_snapshot(&holder, options).map_err(|cause| commit_error(&cause))).await;
        if paused {
            // It may have been removed meanwhile.
            let _ = self.engine.unpause(&id).await;
        }
        let image = made??;
        self.image_event_with("create", &image, &image.to_string(), labels.clone());
        let mut reference = String::new();
        if let Some(name) = name {
            self.images.tag(&image, &name).map_err(|cause| images::tag_error(&cause))?;
            reference = name.familiar();
            self.image_event_with("tag", &image, &reference, labels);
        }
        self.container_event(&container, "commit", &[("comment", &comment), ("imageID", &image.to_string()), ("imageRef", &reference)]);
        Ok(image)
    }

    fn container_event(&self, container: &Container, action: &str, further: &[(&str, &str)]) {
        let mut attributes = container.spec.config.labels.clone();
        let own = [("image", container.spec.config.image.as_str()), ("name", container.name.as_str())];
        attributes.extend(own.iter().chain(further).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.engine.events().publish(EventKind::Container, action, container.id.to_string(), attributes);
    }
}

/// Applies Dockerfile instructions to a configuration.
fn change(mut config: ContainerConfig, changes: &[String]) -> Result<ContainerConfig, ApiError> {
    let set = |map: BTreeMap<String, Empty>| -> BTreeMap<String, oci::image::Empty> {
        map.into_keys().map(|key| (key, oci::image::Empty {})).collect()
    };
    let back =
        |map: BTreeMap<String, oci::image::Empty>| -> BTreeMap<String, Empty> { map.into_keys().map(|key| (key, Empty {})).collect() };
    let mut image = oci::image::Config {
        user: config.user,
        exposed_ports: set(config.exposed_ports),
        env: config.env.unwrap_or_default(),
        entrypoint: config.entrypoint,
        cmd: config.cmd,
        volumes: set(config.volumes.unwrap_or_default()),
        working_dir: config.working_dir,
        labels: config.labels.unwrap_or_default(),
        on_build: config.on_build.unwrap_or_default(),
        ..oci::image::Config::default()
    };
    image::changes::apply(&mut image, changes).map_err(ApiError::invalid)?;
    let list = |list: Vec<String>| (!list.is_empty()).then_some(list);
    config.user = image.user;
    config.exposed_ports = back(image.exposed_ports);
    config.env = list(image.env);
    config.entrypoint = image.entrypoint;
    config.cmd = image.cmd;
    config.volumes = (!image.volumes.is_empty()).then(|| back(image.volumes));
    config.working_dir = image.working_dir;
    config.labels = Some(image.labels);
    config.on_build = list(image.on_build);
    config.stop_signal = image.stop_signal.unwrap_or(config.stop_signal);
    if let Some(probe) = image.healthcheck {
        config.healthcheck = Some(HealthConfig {
            test: probe.test,
            interval: probe.interval,
            timeout: probe.timeout,
            start_period: probe.start_period,
            start_interval: probe.start_interval,
            retries: probe.retries,
        });
    }
    Ok(config)
}

/// Fills what was not said from the container's own configuration.
///
/// **Source:** moby, `daemon/commit.go`, `merge`.
fn merge(mut config: ContainerConfig, own: &ContainerConfig) -> ContainerConfig {
    let take = |text: &mut String, from: &str| {
        if text.is_empty() {
            from.clone_into(text);
        }
    };
    take(&mut config.user, &own.user);
    take(&mut config.working_dir, &own.working_dir);
    take(&mut config.stop_signal, &own.stop_signal);
    config.exposed_ports.extend(own.exposed_ports.clone());
    if let Some(volumes) = &own.volumes {
        config.volumes.get_or_insert_default().extend(volumes.clone());
    }
    let key = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in own.env.iter().flatten() {
        let env = config.env.get_or_insert_default();
        if !env.iter().any(|known| key(known) == key(entry)) {
            env.push(entry.clone());
        }
    }
    for (label, value) in own.labels.iter().flatten() {
        config.labels.get_or_insert_default().entry(label.clone()).or_insert_with(|| value.clone());
    }
    let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    if none(&config.entrypoint) {
        if none(&config.cmd) {
            config.cmd.clone_from(&own.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&own.entrypoint);
        }
    }
    if let Some(probe) = &own.healthcheck {
        let mine = config.healthcheck.get_or_insert_default();
        let number = |mine: &mut i64, from: i64| {
            if *mine == 0 {
                *mine = from;
            }
        };
        if mine.test.is_empty() {
            mine.test.clone_from(&probe.test);
        }
        number(&mut mine.interval, probe.interval);
        number(&mut mine.timeout, probe.timeout);
        number(&mut mine.start_period, probe.start_period);
        number(&mut mine.start_interval, probe.start_interval);
        number(&mut mine.retries, probe.retries);
    }
    config.stop_timeout = config.stop_timeout.or(own.stop_timeout);
    if config.shell.is_none() {
        config.shell.clone_from(&own.shell);
    }
    config
}

fn snapshot_error(cause: &SnapshotError) -> ApiError {
    let status = match cause {
        SnapshotError::NotFound { .. } | SnapshotError::Image { .. } => StatusCode::NOT_FOUND,
        SnapshotError::Exists { .. } | SnapshotError::Holder { .. } | SnapshotError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, cause)
}

fn commit_error(cause: &CommitError) -> ApiError {
    match cause {
        CommitError::Snapshot(cause) => snapshot_error(cause),
        CommitError::Load(cause @ (LoadError::Io { .. } | LoadError::Record(_))) => ApiError::internal(chain(cause)),
        CommitError::Load(cause) => images::load_error(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|&word| word.to_owned()).collect())
    }

    fn applied(config: &ContainerConfig, changes: &[&str]) -> ContainerConfig {
        let changes: Vec<String> = changes.iter().map(|&line| line.to_owned()).collect();
        merge(change(config.clone(), &changes).unwrap(), config)
    }

    #[test]
    fn changes_go_on_top_of_the_container_and_what_is_unsaid_comes_back() {
        let own = ContainerConfig {
            cmd: list(&["sh"]),
            env: list(&["A=1", "B=2"]),
            labels: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
            stop_signal: "SIGINT".to_owned(),
            hostname: "box".to_owned(),
            ..ContainerConfig::default()
        };
        let config = applied(&own, &["ENV A=9 C=3", "LABEL c=d", "EXPOSE 80", "STOPSIGNAL 9", "HEALTHCHECK --interval=1s CMD x"]);
        assert_eq!(config.env, list(&["B=2", "A=9", "C=3"]));
        assert_eq!((config.cmd, config.stop_signal, config.hostname), (list(&["sh"]), "9".to_owned(), "box".to_owned()));
        assert_eq!(config.labels.unwrap().len(), 2);
        assert!(config.exposed_ports.contains_key("80/tcp"));
        assert_eq!(config.healthcheck.unwrap().interval, 1_000_000_000);
        let config = applied(&own, &["ENTRYPOINT [\"a\"]"]);
        assert_eq!((config.entrypoint, config.cmd), (list(&["a"]), None));
        let body = ContainerConfig { cmd: list(&["only"]), env: list(&["Z=1"]), ..ContainerConfig::default() };
        let config = merge(change(body, &[]).unwrap(), &own);
        assert_eq!((config.cmd, config.env), (list(&["only"]), list(&["Z=1", "A=1", "B=2"])));
    }
}
