//! What is kept of a container between two lives of the engine.

use std::sync::Arc;

use image::ImageId;
use serde::{Deserialize, Serialize};
use supervisor::protocol::Exit;

use crate::id::{ContainerId, ContainerName};
use crate::spec::Spec;
use crate::state::Life;
use crate::view::MountPoint;

/// The record of one container; times are Unix times in nanoseconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Id.
    pub(crate) id: ContainerId,
    /// Name.
    pub(crate) name: ContainerName,
    /// When it was created.
    pub(crate) created_at: u64,
    /// What was asked for, merged with the image.
    pub(crate) spec: Arc<Spec>,
    /// Image.
    pub(crate) image_id: ImageId,
    /// Program and arguments.
    pub(crate) command: Vec<String>,
    /// Its mounts.
    pub(crate) mounts: Vec<MountPoint>,
    /// Where in its life it is.
    #[serde(default)]
    pub(crate) life: Life,
    /// Why it did not start.
    #[serde(default)]
    pub(crate) error: String,
    /// When it started last.
    #[serde(default)]
    pub(crate) started_at: Option<u64>,
    /// How it ended last.
    #[serde(default)]
    pub(crate) death: Option<Exit>,
}
