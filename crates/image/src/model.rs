//! What the other crates see of images.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use oci::image::ImageConfig;
use oci::{Digest, ImageRef, ParseDigestError, Platform};
use serde::{Deserialize, Serialize};

/// The digest of an image's configuration; `Display` prints `sha256:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub Digest);

impl ImageId {
    /// Returns the first twelve hex digits.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.short()
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImageId {
    type Err = ParseDigestError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// An image as it is at the moment of the call; cheap to clone.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its configuration.
    pub config: Arc<ImageConfig>,
    /// Its names with tags, sorted.
    pub repo_tags: Vec<ImageRef>,
    /// Its names with manifest digests, sorted.
    pub repo_digests: Vec<ImageRef>,
    /// Bytes of the files in all its layers.
    pub size: u64,
    /// When it was made, where the configuration says so.
    pub created: Option<SystemTime>,
    /// When a name was last given to it.
    pub last_tagged: Option<SystemTime>,
    /// The layers by the digest of their tar, the lowest first.
    pub layers: Vec<Digest>,
    /// Holders that pin it, sorted.
    pub holders: Vec<String>,
    /// The image it was made of on this host.
    pub parent: Option<ImageId>,
    /// The index that its newest name leads to, see [`crate::Images::listed`].
    pub index: Option<Digest>,
}

/// What `load` reports while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of the archive read so far.
    Read {
        /// Number of bytes.
        bytes: u64,
    },
    /// A layer is being unpacked.
    Layer {
        /// Its digest.
        diff_id: Digest,
        /// Bytes of its tar unpacked so far.
        bytes: u64,
        /// Bytes of its file in the archive.
        total: u64,
    },
    /// A layer is complete.
    LayerDone {
        /// Its digest.
        diff_id: Digest,
        /// Whether it was here before.
        existed: bool,
    },
}

/// One image that `load` brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub id: ImageId,
    /// The names it was given; empty means only the id.
    pub names: Vec<ImageRef>,
}

/// How a tar becomes an image.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Its name; `latest` is meant where the tag is missing.
    pub reference: Option<ImageRef>,
    /// Dockerfile instructions that change the configuration, such as `CMD ["sh"]`.
    pub changes: Vec<String>,
    /// Message of the history entry.
    pub message: Option<String>,
    /// Platform of the image; absent means this host's.
    pub platform: Option<Platform>,
}

/// How an image is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// Remove also when several names or stopped containers refer to it.
    pub force: bool,
    /// Keep parents that have no names.
    pub no_prune: bool,
}

/// One effect of a removal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A name was taken away.
    Untagged(ImageRef),
    /// An image or a layer was deleted.
    Deleted(Digest),
}

/// Effects of a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What was removed.
    pub removed: Vec<Removed>,
    /// Bytes of the layers that nothing uses any more.
    pub reclaimed: u64,
}

/// One line of `docker history`, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The image; the newest line has one, and those of the images it was made of on this host.
    pub id: Option<ImageId>,
    /// When the step was made.
    pub created: Option<SystemTime>,
    /// The command.
    pub created_by: String,
    /// Names of that image.
    pub tags: Vec<ImageRef>,
    /// Bytes of the step's layer.
    pub size: u64,
    /// Message.
    pub comment: String,
}

/// How a snapshot is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// Never sync its upper layer (overlay's `volatile`): for containers that are removed when they end.
    pub volatile: bool,
}

/// A writable layer on top of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Where changed files are.
    pub upper: PathBuf,
    /// Overlay's work directory.
    pub work: PathBuf,
    /// The image's layers, the topmost first: directories, or files that [`crate::Backend::Erofs`] made.
    pub lower: Vec<PathBuf>,
    /// Its changed files are never synced.
    pub volatile: bool,
    /// The image.
    pub image: ImageId,
}

impl Snapshot {
    /// Returns whom it belongs to, for errors.
    pub(crate) fn holder(&self) -> String {
        let name = self.upper.parent().and_then(|directory| directory.file_name());
        name.unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// What a start-up sweep put away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Holders whose snapshots went to the trash.
    pub snapshots: Vec<String>,
    /// Layers that no image names.
    pub layers: Vec<Digest>,
    /// Records that were damaged and set aside, with the reason.
    pub damaged: Vec<String>,
}

/// How a path of a container differs from its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It is there in both and differs, or what it holds does.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// A path of a container that differs from its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The absolute path; bytes that are no UTF-8 are replaced.
    pub path: String,
    /// How it differs.
    pub kind: ChangeKind,
}

/// What is said of an image that is made of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommitOptions {
    /// Who made it; may be empty.
    pub author: String,
    /// Message; may be empty.
    pub comment: String,
    /// What was done before without making a layer, for the history.
    pub steps_before: Vec<String>,
    /// The container's command, for the history.
    pub created_by: String,
    /// Id of the container.
    pub container: String,
    /// The image's `config`, in Docker's JSON.
    pub config: serde_json::Value,
    /// The container's configuration, in Docker's JSON.
    pub container_config: serde_json::Value,
    /// Version of the engine.
    pub engine_version: String,
    /// When it was made, in Unix seconds; none is now.
    pub created_at: Option<i64>,
}

/// What looking at everything came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Images that were looked at.
    pub images: usize,
    /// Layers that were read back.
    pub layers: usize,
    /// What is wrong.
    pub faults: Vec<Fault>,
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// An image or a layer.
    pub what: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is in the layers of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explored {
    /// The layers, the lowest first.
    pub layers: Vec<ExploredLayer>,
    /// Bytes of the files of all layers.
    pub bytes: u64,
    /// Bytes of those that a later layer replaces or removes.
    pub wasted_bytes: u64,
    /// Those files, the largest first.
    pub wasted: Vec<Wasted>,
}

/// What is in a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExploredLayer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// How it lies on the disk.
    pub backend: crate::Backend,
    /// The step that made it.
    pub created_by: String,
    /// Entries that are neither directories nor whiteouts.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Marks that remove something of the layers below.
    pub whiteouts: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Bytes of the files below that it replaces or removes.
    pub hidden_bytes: u64,
}

impl ExploredLayer {
    pub(crate) fn new(diff_id: Digest, backend: crate::Backend) -> Self {
        let (files, directories, whiteouts, bytes, hidden_bytes) = (0, 0, 0, 0, 0);
        Self { diff_id, backend, created_by: String::new(), files, directories, whiteouts, bytes, hidden_bytes }
    }
}

/// A file of which copies are in vain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wasted {
    /// Its path.
    pub path: String,
    /// How many copies are.
    pub copies: usize,
    /// Their bytes.
    pub bytes: u64,
}
