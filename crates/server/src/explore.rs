//! `/teu/images/…`: what is in an image, and whether all images are as they were.

use docker_api::types::{ExploredLayer, ImageExploration, ImageFault, ImageVerification, WastedFile};
use http::StatusCode;

use crate::ApiError;
use crate::app::App;
use crate::jobs::blocking;
use crate::reply::{self, Reply};

/// Most files that are named.
const WASTED_MAX: usize = 1000;

impl App {
    pub(crate) async fn image_verify(&self) -> Result<Reply, ApiError> {
        let images = std::sync::Arc::clone(&self.images);
        let verified = blocking(move || images.verify()).await?.map_err(|cause| ApiError::internal(format!("cannot verify: {cause}")))?;
        let faults = verified.faults.into_iter().map(|fault| ImageFault { what: fault.what, reason: fault.reason }).collect();
        let answer = ImageVerification { images: verified.images, layers: verified.layers, faults };
        Ok(reply::json(StatusCode::OK, &answer))
    }

    pub(crate) async fn image_explore(&self, name: &str) -> Result<Reply, ApiError> {
        let id = self.resolve(name)?.id;
        let images = std::sync::Arc::clone(&self.images);
        let explored = blocking(move || images.explore(&id)).await?.map_err(|cause| ApiError::internal(crate::error::chain(&cause)))?;
        let layer = |layer: image::ExploredLayer| ExploredLayer {
            diff_id: layer.diff_id.to_string(),
            backend: layer.backend.to_string(),
            created_by: layer.created_by,
            files: layer.files,
            directories: layer.directories,
            whiteouts: layer.whiteouts,
            size: layer.bytes,
            hidden_size: layer.hidden_bytes,
        };
        let wasted = explored.wasted.into_iter().take(WASTED_MAX);
        let answer = ImageExploration {
            id: id.to_string(),
            layers: explored.layers.into_iter().map(layer).collect(),
            size: explored.bytes,
            wasted_size: explored.wasted_bytes,
            wasted: wasted.map(|file| WastedFile { path: file.path, copies: file.copies, size: file.bytes }).collect(),
        };
        Ok(reply::json(StatusCode::OK, &answer))
    }
}
