//! `/volumes/…`.

use crate::app::App;
use crate::jobs::blocking;
use crate::patterns::Patterns;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::{ApiError, time};
use docker_api::filters::Filters;
use docker_api::types::{Volume, VolumeCreateBody, VolumeListResponse, VolumeUsage, VolumesPruneReport};
use http::StatusCode;
use std::sync::Arc;

impl App {
    pub(crate) fn volume_list(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["dangling", "driver", "label", "label!", "name"])?;
        let dangling = filters.flag("dangling")?;
        let volumes = self.volumes.list();
        let names = Patterns::new(filters.get("name"));
        let rows = volumes.iter().filter(|volume| {
            dangling.is_none_or(|wanted| wanted == volume.holders.is_empty())
                && filters.matches("driver", |driver| driver == "local")
                && (!filters.contains("name") || names.matches(volume.name.as_str()))
                && filters.labels_match(&volume.labels)
        });
        let warnings = self.volumes.damaged();
        let answer = VolumeListResponse { volumes: rows.map(json).collect(), warnings: (!warnings.is_empty()).then_some(warnings) };
        Ok(reply::json(StatusCode::OK, &answer))
    }

    pub(crate) fn volume_inspect(&self, name: &str) -> Result<Reply, ApiError> {
        let volume = self.volumes.get(name);
        let volume = volume.map_err(|cause| ApiError::from_error(StatusCode::NOT_FOUND, &cause))?;
        Ok(reply::json(StatusCode::OK, &json(&volume)))
    }

    pub(crate) async fn volume_create(&self, mut call: Call) -> Result<Reply, ApiError> {
        let body: VolumeCreateBody = call.json().await?;
        let name = match body.name.as_str() {
            "" => None,
            name => Some(name.parse::<volume::Name>().map_err(|cause| ApiError::invalid(format!("create {name}: {cause}")))?),
        };
        let label = if body.name.is_empty() { String::new() } else { format!(" {}", body.name) };
        let spec = volume::Spec {
            name,
            driver: body.driver,
            driver_opts: body.driver_opts.unwrap_or_default(),
            labels: body.labels.unwrap_or_default(),
        };
        let volumes = Arc::clone(&self.volumes);
        let (volume, made) = blocking(move || volumes.make(spec)).await?.map_err(|cause| {
            let status = create_status(&cause);
            ApiError::new(status, format!("create{label}: {}", crate::error::chain(&cause)))
        })?;
        if made {
            self.volume_event("create", volume.name.as_str());
        }
        Ok(reply::json(StatusCode::CREATED, &json(&volume)))
    }

    pub(crate) async fn volume_remove(&self, name: String, call: &Call) -> Result<Reply, ApiError> {
        let force = call.query.flag("force");
        let volumes = Arc::clone(&self.volumes);
        let removed = name.clone();
        blocking(move || volumes.remove(&name, force)).await?.map_err(|cause| remove_error(&cause))?;
        self.volume_event("destroy", &removed);
        self.empty_volume_trash();
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    pub(crate) async fn volume_prune(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["label", "label!", "all"])?;
        if let Some(damaged) = self.engine.damaged().first() {
            let text = format!("container {0} may use volumes, but its record is damaged: remove it first (rm {0})", damaged.key);
            return Err(ApiError::conflict(text));
        }
        // Before 1.42 named volumes were pruned too.
        let old = call.version < docker_api::version::ApiVersion::v1(42);
        let all = filters.flag("all")?.unwrap_or(old);
        let volumes = Arc::clone(&self.volumes);
        let pruned = blocking(move || prune(&volumes, all, &filters)).await?.map_err(|cause| remove_error(&cause))?;
        self.empty_volume_trash();
        let names: Vec<String> = pruned.removed.iter().map(ToString::to_string).collect();
        let report = VolumesPruneReport { volumes_deleted: (!names.is_empty()).then_some(names), space_reclaimed: pruned.reclaimed };
        Ok(reply::json(StatusCode::OK, &report))
    }

    /// Deletes the files of removed volumes beside the answer.
    fn empty_volume_trash(&self) {
        let volumes = Arc::clone(&self.volumes);
        // What could not be deleted is tried again at the next start.
        drop(tokio::task::spawn_blocking(move || drop(volumes.empty_trash())));
    }

    /// Makes the rows of `/system/df`, with sizes.
    pub(crate) fn volume_usage(&self) -> Vec<Volume> {
        let volumes = self.volumes.list();
        let rows = volumes.iter().map(|volume| {
            // What is mounted from elsewhere takes none of this disk.
            let special = volume.driver_opts.contains_key("device");
            let size = if special { None } else { self.volumes.usage(volume.name.as_str()).ok().map(|usage| usage.bytes) };
            Volume {
                usage_data: Some(VolumeUsage {
                    ref_count: i64::try_from(volume.holders.len()).unwrap_or(-1),
                    size: size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1),
                }),
                ..json(volume)
            }
        });
        rows.collect()
    }
}

fn prune(volumes: &volume::Volumes, all: bool, filters: &Filters) -> Result<volume::Pruned, volume::RemoveError> {
    volumes.prune(all, &|volume| !filters.labels_match(&volume.labels))
}

/// The status of a volume that cannot be made.
pub(crate) fn create_status(cause: &volume::CreateError) -> StatusCode {
    use volume::CreateError as Cause;
    match cause {
        Cause::Driver { .. } => StatusCode::NOT_FOUND,
        Cause::Option { .. } => StatusCode::BAD_REQUEST,
        Cause::Damaged { .. } => StatusCode::CONFLICT,
        Cause::Io { .. } | Cause::Record(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

pub(crate) fn json(volume: &volume::Volume) -> Volume {
    Volume {
        created_at: time::rfc3339_seconds(time::unix_nanos(volume.created)),
        driver: "local".to_owned(),
        labels: (!volume.labels.is_empty()).then(|| volume.labels.clone()),
        mountpoint: volume.mountpoint.display().to_string(),
        name: volume.name.to_string(),
        options: (!volume.driver_opts.is_empty()).then(|| volume.driver_opts.clone()),
        scope: "local".to_owned(),
        status: None,
        usage_data: None,
    }
}

fn remove_error(cause: &volume::RemoveError) -> ApiError {
    let status = match cause {
        volume::RemoveError::NotFound(_) => StatusCode::NOT_FOUND,
        volume::RemoveError::InUse { .. } | volume::RemoveError::Mounted { .. } => StatusCode::CONFLICT,
        volume::RemoveError::Record(_) | volume::RemoveError::Io { .. } => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ApiError::from_error(status, cause)
}
