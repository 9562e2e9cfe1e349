//! `/images/…`: listing, loading, naming and removing.

mod import;
mod manifests;

use crate::app::App;
use crate::jobs::{Archive, blocking, told_job};
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::upload::Upload;
use crate::{ApiError, error, glob, time};
use docker_api::filters::Filters;
use docker_api::types::{
    Empty, GraphDriver, HealthConfig, ImageDeleteItem, ImageHistoryItem, ImageInspect, ImageInspectConfig, ImageMetadata, ImageSummary,
    ImagesPruneReport, Progress, ProgressDetail, RootFs,
};
use docker_api::version::ApiVersion;
use http::StatusCode;
use image::{Image, ImageId, RemoveOptions, Removed};
use oci::{ImageRef, Platform};
use std::collections::{BTreeMap, HashSet};
use tokio::sync::oneshot;

impl App {
    pub(crate) fn image_list(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["dangling", "label", "label!", "before", "since", "until", "reference"])?;
        let dangling = filters.flag("dangling")?;
        let bound = |name: &str| -> Result<Option<Image>, ApiError> {
            match filters.get(name).first() {
                Some(image) => Ok(Some(self.resolve(image)?)),
                None => Ok(None),
            }
        };
        let (before, since) = (bound("before")?, bound("since")?);
        let until = match filters.get("until").first() {
            Some(text) => time::moment(text)?,
            None => None,
        };
        let mut rows = Vec::new();
        for mut image in self.images.list() {
            let nanos = image.created.map_or(0, time::unix_nanos);
            let bounds = before.as_ref().is_none_or(|other| image.created < other.created)
                && since.as_ref().is_none_or(|other| image.created > other.created)
                && until.is_none_or(|until| nanos < until)
                && dangling.is_none_or(|wanted| wanted == image.repo_tags.is_empty())
                && filters.labels_match(&image.config.config.labels);
            if bounds && keep_references(&mut image, &filters) {
                let mut row = summary(&image, call.version);
                if call.version >= ApiVersion::v1(48) {
                    row.descriptor = self.descriptor_of(&image);
                }
                if call.version >= ApiVersion::v1(47) && call.query.flag("manifests") {
                    row.manifests = Some(self.manifests_of(&image));
                }
                rows.push(row);
            }
        }
        let mut answer = reply::json(StatusCode::OK, &rows);
        if let Ok(value) = http::HeaderValue::from_str(&damaged_header(&self.images.damaged()))
            && !value.is_empty()
        {
            answer.headers_mut().insert("teu-damaged", value);
        }
        Ok(answer)
    }

    pub(crate) fn image_inspect(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let image = self.resolve_for(name, call)?;
        let mut shown = inspect(&image, call.version);
        let wants_manifests = call.query.flag("manifests");
        if wants_manifests && !call.query.text("platform").is_empty() {
            return Err(ApiError::invalid("conflicting options: manifests and platform options cannot both be set"));
        }
        if call.version >= ApiVersion::v1(48) {
            shown.descriptor = self.descriptor_of(&image);
            shown.manifests = wants_manifests.then(|| self.manifests_of(&image));
        }
        shown.graph_driver.data = Some(layer_paths(&self.images.layer_paths(&image.id)));
        Ok(reply::json(StatusCode::OK, &shown))
    }

    /// Finds an image, of several platforms the one that is asked for.
    fn resolve_for(&self, name: &str, call: &Call) -> Result<Image, ApiError> {
        let wanted = platform(call.query.text("platform"))?;
        self.images.resolve_for(name, wanted.as_ref()).map_err(|cause| resolve_error(&cause))
    }

    /// Says which of some layers are here: a client leaves them out of what it loads.
    pub(crate) async fn known_layers(&self, mut call: Call) -> Result<Reply, ApiError> {
        let asked: Vec<String> = call.json().await?;
        let asked: Vec<oci::Digest> = asked.iter().filter_map(|text| text.parse().ok()).collect();
        let known: Vec<String> = self.images.known_layers(&asked).iter().map(ToString::to_string).collect();
        Ok(reply::json(StatusCode::OK, &known))
    }

    pub(crate) fn image_history(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let image = self.resolve_for(name, call)?;
        let history = self.images.history(&image.id).map_err(|cause| not_found(&cause))?;
        let rows: Vec<ImageHistoryItem> = history
            .into_iter()
            .map(|entry| ImageHistoryItem {
                comment: entry.comment,
                created: entry.created.map_or(0, |at| time::unix_nanos(at) / 1_000_000_000),
                created_by: entry.created_by,
                id: entry.id.map_or_else(|| "<missing>".to_owned(), |id| id.to_string()),
                size: i64::try_from(entry.size).unwrap_or(i64::MAX),
                tags: (!entry.tags.is_empty()).then(|| entry.tags.iter().map(ImageRef::familiar).collect()),
            })
            .collect();
        Ok(reply::json(StatusCode::OK, &rows))
    }

    pub(crate) fn image_tag(&self, name: &str, call: &Call) -> Result<Reply, ApiError> {
        let image = self.resolve(name)?;
        let target = reference(call.query.text("repo"), call.query.text("tag"))?;
        self.images.tag(&image.id, &target).map_err(|cause| tag_error(&cause))?;
        self.image_event("tag", &image.id, &target.familiar());
        Ok(reply::empty(StatusCode::CREATED))
    }

    pub(crate) async fn image_remove(&self, name: String, call: &Call) -> Result<Reply, ApiError> {
        let options = RemoveOptions { force: call.query.flag("force"), no_prune: call.query.flag("noprune") };
        let running = self.running_holders();
        let images = std::sync::Arc::clone(&self.images);
        let platforms: Vec<Platform> =
            call.query.all("platforms").map(platform).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        let removed = blocking(move || {
            let running = |holder: &str| running.contains(holder);
            if platforms.is_empty() {
                return images.remove(&name, options, &running).map_err(|cause| remove_error(&cause));
            }
            let mut removed = Vec::new();
            for platform in &platforms {
                removed.extend(images.remove_platform(&name, platform, options, &running).map_err(|cause| remove_error(&cause))?);
            }
            Ok(removed)
        })
        .await??;
        self.removal_events(&removed);
        self.empty_image_trash();
        Ok(reply::json(StatusCode::OK, &removed_rows(removed)))
    }

    pub(crate) async fn image_prune(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["dangling", "label", "label!", "until"])?;
        let dangling = filters.flag("dangling")?.unwrap_or(true);
        let until = match filters.get("until").first() {
            Some(text) => time::moment(text)?,
            None => None,
        };
        let images = std::sync::Arc::clone(&self.images);
        let pruned = blocking(move || {
            let keep = |image: &Image| {
                let nanos = image.created.map_or(0, time::unix_nanos);
                !filters.labels_match(&image.config.config.labels) || until.is_some_and(|until| nanos >= until)
            };
            images.prune(dangling, &keep).map_err(|cause| remove_error(&cause))
        })
        .await??;
        self.removal_events(&pruned.removed);
        self.empty_image_trash();
        let rows = removed_rows(pruned.removed);
        let report = ImagesPruneReport { images_deleted: (!rows.is_empty()).then_some(rows), space_reclaimed: pruned.reclaimed };
        Ok(reply::json(StatusCode::OK, &report))
    }

    /// Gives the space of what was removed back, after the answer.
    fn empty_image_trash(&self) {
        let images = std::sync::Arc::clone(&self.images);
        // What cannot be deleted now is tried again by the next one.
        drop(tokio::task::spawn_blocking(move || drop(images.empty_trash())));
    }

    pub(crate) async fn image_load(&self, call: Call) -> Result<Reply, ApiError> {
        let quiet = call.query.flag("quiet");
        let platform = platform(call.query.text("platform"))?;
        let upload = Upload::new(call.into_body());
        let app = self.clone();
        told_job(move |output| {
            let mut progress = |step: image::Progress| {
                if !quiet && let Some(line) = load_progress(&step) {
                    output.hint(&line);
                }
            };
            let loaded = app.images.load(upload, platform.as_ref(), &mut progress).map_err(|cause| load_error(&cause))?;
            let mut told = HashSet::new();
            for image in loaded {
                // The platforms of an index have one name.
                for name in image.names.iter().filter(|name| told.insert((*name).clone())) {
                    output.line(&stream_text(format!("Loaded image: {}\n", name.familiar())));
                }
                if image.names.is_empty() {
                    output.line(&stream_text(format!("Loaded image ID: {}\n", image.id)));
                }
                app.image_event("load", &image.id, &image.id.to_string());
            }
            Ok(())
        })
        .await
    }

    pub(crate) async fn image_save(&self, name: Option<String>, call: &Call) -> Result<Reply, ApiError> {
        let names: Vec<String> = match name {
            Some(name) => vec![name],
            None => call.query.all("names").flat_map(|names| names.split(',')).map(str::to_owned).collect(),
        };
        let wanted = platform(call.query.text("platform"))?;
        for name in &names {
            let image = self.images.resolve_for(name, wanted.as_ref()).map_err(|cause| match cause {
                image::ResolveError::NotFound { .. } => ApiError::not_found(format!("No such image: {name}")),
                image::ResolveError::Platform { wanted, .. } => {
                    ApiError::not_found(format!("no suitable export target found for platform {wanted}"))
                }
                cause @ (image::ResolveError::Ambiguous { .. } | image::ResolveError::Name(_)) => resolve_error(&cause),
            })?;
            self.image_event("save", &image.id, &image.id.to_string());
        }
        let (pieces, answer) = reply::stream("application/x-tar");
        let (started, first) = oneshot::channel();
        let images = std::sync::Arc::clone(&self.images);
        tokio::task::spawn_blocking(move || {
            let mut archive = Archive::new(pieces, started);
            let saved = images.save(&names, wanted.as_ref(), &mut archive);
            // Behind the head a broken archive shows itself by its missing end.
            if let (Err(cause), Some(started)) = (saved, archive.into_started()) {
                let _ = started.send(Err(ApiError::internal(error::chain(&cause))));
            }
        });
        match first.await {
            Ok(result) => result.map(|()| answer),
            Err(_) => Ok(answer),
        }
    }

    pub(crate) fn resolve(&self, name: &str) -> Result<Image, ApiError> {
        self.images.resolve(name).map_err(|cause| resolve_error(&cause))
    }

    fn removal_events(&self, removed: &[Removed]) {
        // Layers are deleted behind their image; the first digest is the image's.
        let id = removed.iter().find_map(|effect| match effect {
            Removed::Deleted(digest) => Some(ImageId(*digest)),
            Removed::Untagged(_) => None,
        });
        for effect in removed {
            if let Removed::Untagged(name) = effect
                && let Some(id) = id.or_else(|| self.images.identify(&name.familiar()).ok())
            {
                self.image_event("untag", &id, &name.familiar());
            }
        }
        if let Some(id) = id {
            self.image_event("delete", &id, &id.to_string());
            // Only now the space is free again; nobody waits for it.
            let images = std::sync::Arc::clone(&self.images);
            drop(tokio::task::spawn_blocking(move || drop(images.empty_trash())));
        }
    }
}

/// Damaged records in one line that a header can hold.
fn damaged_header(damaged: &[String]) -> String {
    let line = damaged.join("; ");
    line.chars().map(|letter| if letter.is_ascii_graphic() || letter == ' ' { letter } else { '?' }).collect()
}

/// `GraphDriver.Data` of an image: the topmost layer, and those below it.
fn layer_paths(paths: &[std::path::PathBuf]) -> BTreeMap<String, String> {
    let mut paths = paths.iter().map(|path| path.display().to_string());
    let mut data = BTreeMap::from([("MergedDir".to_owned(), String::new()), ("WorkDir".to_owned(), String::new())]);
    data.insert("UpperDir".to_owned(), paths.next().unwrap_or_default());
    let lower = paths.collect::<Vec<_>>().join(":");
    if !lower.is_empty() {
        data.insert("LowerDir".to_owned(), lower);
    }
    data
}

fn removed_rows(removed: Vec<Removed>) -> Vec<ImageDeleteItem> {
    removed
        .into_iter()
        .map(|effect| match effect {
            Removed::Untagged(name) => ImageDeleteItem { untagged: name.familiar(), ..ImageDeleteItem::default() },
            Removed::Deleted(digest) => ImageDeleteItem { deleted: digest.to_string(), ..ImageDeleteItem::default() },
        })
        .collect()
}

fn stream_text(text: String) -> Progress {
    Progress { stream: text, ..Progress::default() }
}

fn load_progress(step: &image::Progress) -> Option<Progress> {
    let image::Progress::Layer { diff_id, bytes, total } = step else {
        return None;
    };
    Some(Progress {
        status: "Loading layer".to_owned(),
        id: diff_id.short(),
        progress_detail: Some(ProgressDetail {
            current: i64::try_from(*bytes).unwrap_or(i64::MAX),
            total: i64::try_from(*total).unwrap_or(i64::MAX),
        }),
        ..Progress::default()
    })
}

/// Joins a name and a tag that may also stand in the name.
pub(crate) fn reference(name: &str, tag: &str) -> Result<ImageRef, ApiError> {
    let invalid = |cause: oci::ParseReferenceError| ApiError::invalid(cause.to_string());
    let name: ImageRef = name.parse().map_err(invalid)?;
    if name.familiar_repository() == "sha256" {
        return Err(ApiError::invalid("refusing to create an ambiguous tag using digest algorithm as name"));
    }
    if tag.is_empty() {
        return Ok(name.or_latest());
    }
    match tag.parse() {
        Ok(digest) if tag.contains(':') => Ok(name.with_digest(digest)),
        _ => name.with_tag(tag).map_err(invalid),
    }
}

/// Reads a platform as `os[/arch[/variant]]` or as JSON.
pub(crate) fn platform(text: &str) -> Result<Option<Platform>, ApiError> {
    match text {
        "" => Ok(None),
        json if json.starts_with('{') => {
            serde_json::from_str(json).map(Some).map_err(|cause| ApiError::invalid(format!("failed to parse platform: {cause}")))
        }
        text => text.parse().map(Some).map_err(|cause: oci::ParsePlatformError| ApiError::invalid(cause.to_string())),
    }
}

/// Leaves only the names that the filter wants; tells whether the image stays.
fn keep_references(image: &mut Image, filters: &Filters) -> bool {
    let patterns = filters.get("reference");
    if patterns.is_empty() {
        return true;
    }
    let wanted = |name: &ImageRef| {
        patterns.iter().any(|pattern| {
            glob::matches(pattern, &name.familiar())
                || glob::matches(pattern, &name.familiar_repository())
                || glob::matches(pattern, &name.to_string())
        })
    };
    image.repo_tags.retain(wanted);
    image.repo_digests.retain(wanted);
    !image.repo_tags.is_empty() || !image.repo_digests.is_empty()
}

fn familiar(names: &[ImageRef]) -> Vec<String> {
    names.iter().map(ImageRef::familiar).collect()
}

/// Makes a row of a list.
pub(crate) fn summary(image: &Image, version: ApiVersion) -> ImageSummary {
    let size = i64::try_from(image.size).unwrap_or(i64::MAX);
    let (mut tags, mut digests) = (familiar(&image.repo_tags), familiar(&image.repo_digests));
    if version < ApiVersion::v1(43) && tags.is_empty() && digests.is_empty() {
        tags.push("<none>:<none>".to_owned());
        digests.push("<none>@<none>".to_owned());
    }
    let labels = &image.config.config.labels;
    ImageSummary {
        containers: i64::try_from(image.holders.len()).unwrap_or(0),
        created: image.created.map_or(0, |at| time::unix_nanos(at) / 1_000_000_000),
        id: image.id.to_string(),
        labels: (!labels.is_empty()).then(|| labels.clone()),
        parent_id: parent(image),
        repo_digests: Some(digests),
        repo_tags: Some(tags),
        shared_size: -1,
        size,
        virtual_size: (version < ApiVersion::v1(44)).then_some(size),
        manifests: None,
        descriptor: None,
    }
}

fn parent(image: &Image) -> String {
    image.parent.map(|parent| parent.to_string()).unwrap_or_default()
}

fn inspect(image: &Image, version: ApiVersion) -> ImageInspect {
    let size = i64::try_from(image.size).unwrap_or(i64::MAX);
    let config = &image.config;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ImageInspect {
        id: image.id.to_string(),
        repo_tags: familiar(&image.repo_tags),
        repo_digests: familiar(&image.repo_digests),
        parent: parent(image),
        comment: config.comment.clone().or_else(|| config.history.last()?.comment.clone()).unwrap_or_default(),
        created: text(&config.created),
        docker_version: text(&config.docker_version),
        author: text(&config.author),
        architecture: config.architecture.clone(),
        variant: text(&config.variant),
        os: config.os.clone(),
        os_version: text(&config.os_version),
        size,
        virtual_size: (version < ApiVersion::v1(44)).then_some(size),
        graph_driver: GraphDriver { data: None, name: "overlay2".to_owned() },
        root_fs: RootFs { kind: "layers".to_owned(), layers: image.layers.iter().map(ToString::to_string).collect() },
        metadata: ImageMetadata { last_tag_time: time::rfc3339_or_zero(image.last_tagged.map(time::unix_nanos)) },
        config: inspect_config(&config.config),
        descriptor: None,
        manifests: None,
    }
}

fn list_or_null<T: Clone>(list: &[T]) -> Option<Vec<T>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn inspect_config(config: &oci::image::Config) -> ImageInspectConfig {
    let set =
        |map: &BTreeMap<String, oci::image::Empty>| -> BTreeMap<String, Empty> { map.keys().map(|key| (key.clone(), Empty {})).collect() };
    ImageInspectConfig {
        args_escaped: config.args_escaped,
        cmd: config.cmd.clone(),
        entrypoint: config.entrypoint.clone(),
        env: list_or_null(&config.env),
        exposed_ports: set(&config.exposed_ports),
        healthcheck: config.healthcheck.as_ref().map(|probe| HealthConfig {
            test: probe.test.clone(),
            interval: probe.interval,
            timeout: probe.timeout,
            start_period: probe.start_period,
            start_interval: probe.start_interval,
            retries: probe.retries,
        }),
        labels: (!config.labels.is_empty()).then(|| config.labels.clone()),
        on_build: list_or_null(&config.on_build),
        shell: config.shell.clone(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        user: config.user.clone(),
        volumes: (!config.volumes.is_empty()).then(|| set(&config.volumes)),
        working_dir: config.working_dir.clone(),
    }
}

fn not_found(cause: &(dyn std::error::Error + 'static)) -> ApiError {
    ApiError::from_error(StatusCode::NOT_FOUND, cause)
}

pub(crate) fn resolve_error(cause: &image::ResolveError) -> ApiError {
    let status = match cause {
        image::ResolveError::NotFound { .. } | image::ResolveError::Platform { .. } => StatusCode::NOT_FOUND,
        image::ResolveError::Ambiguous { .. } | image::ResolveError::Name(_) => StatusCode::BAD_REQUEST,
    };
    ApiError::from_error(status, cause)
}

fn remove_error(cause: &image::RemoveError) -> ApiError {
    match cause {
        image::RemoveError::Resolve(cause) => resolve_error(cause),
        image::RemoveError::Conflict { .. } => ApiError::conflict(error::chain(cause)),
        image::RemoveError::Record(_) | image::RemoveError::Name(_) | image::RemoveError::Io { .. } => {
            ApiError::internal(error::chain(cause))
        }
    }
}

pub(crate) fn tag_error(cause: &image::TagError) -> ApiError {
    let status = match cause {
        image::TagError::NotFound { .. } => StatusCode::NOT_FOUND,
        image::TagError::Digest => StatusCode::BAD_REQUEST,
        image::TagError::Record { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, cause)
}

pub(crate) fn load_error(cause: &image::LoadError) -> ApiError {
    let status = match cause {
        image::LoadError::Invalid { .. } | image::LoadError::Digest { .. } => StatusCode::BAD_REQUEST,
        image::LoadError::Platform { .. } => StatusCode::NOT_FOUND,
        image::LoadError::Io { .. } | image::LoadError::Record(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, cause)
}

impl App {
    /// Gives the containers that run now.
    fn running_holders(&self) -> HashSet<String> {
        let containers = self.engine.list();
        let running = containers.iter().filter(|container| container.status.is_running());
        running.map(|container| container.id.to_string()).collect()
    }
}
