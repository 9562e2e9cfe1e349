//! What `/teu/images/…` says; Docker has nothing of the kind.

use serde::{Deserialize, Serialize};

/// The answer to `POST /teu/images/verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageVerification {
    /// Images that were looked at.
    pub images: usize,
    /// Layers that were read back.
    pub layers: usize,
    /// What is wrong.
    pub faults: Vec<ImageFault>,
}

/// Something that is not as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageFault {
    /// An image or a layer.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The answer to `GET /teu/images/{name}/explore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ImageExploration {
    /// Id.
    pub id: String,
    /// The layers, the lowest first.
    pub layers: Vec<ExploredLayer>,
    /// Bytes of the files of all layers.
    pub size: u64,
    /// Bytes of those that a later layer replaces or removes.
    pub wasted_size: u64,
    /// Those files, the largest first, and at most 1,000.
    pub wasted: Vec<WastedFile>,
}

/// A layer of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct ExploredLayer {
    /// Digest of its tar.
    pub diff_id: String,
    /// How it lies on the disk.
    pub backend: String,
    /// The step that made it.
    pub created_by: String,
    /// Entries that are neither directories nor whiteouts.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Marks that remove something below.
    pub whiteouts: u64,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of the files below that it replaces or removes.
    pub hidden_size: u64,
}

/// A file of which copies are in vain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct WastedFile {
    /// Its path.
    pub path: String,
    /// How many copies are.
    pub copies: usize,
    /// Their bytes.
    pub size: u64,
}
