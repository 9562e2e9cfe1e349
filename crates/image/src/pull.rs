//! Pulling: an image whose layers come as streams, and what a push needs of one.
//!
//! The bytes of a layer are written beside while they are digested, decompressed and unpacked, so that a pull that is
//! killed goes on where its bytes end. Nothing is visible before all layers are whole, checked and lasting.

mod fetch;
mod ingest;
mod known;
mod push;
mod turns;

use std::collections::BTreeMap;
use std::io::{self, Read};

use oci::image::{Descriptor, ImageConfig};
use oci::{Digest, ImageRef};

use crate::archive::Planned;
use crate::error::LoadError;
use crate::images::Images;
use crate::images::indexes::IndexPlan;
use crate::images::loading::Lease;
use crate::model::Loaded;
pub(crate) use ingest::sweep;
pub(crate) use known::Known;
pub use known::KnownBlob;
pub use push::{Packed, Pushable};
pub(crate) use turns::Turns;

/// Most layers of an image. **Source:** Linux, `fs/overlayfs/params.h`, `OVL_MAX_STACK`.
const LAYERS_MAX: usize = 500;

/// Where the bytes of layers come from.
pub trait BlobSource: Sync {
    /// Opens a blob from `offset` on; the reader waits for the network as long as that makes sense.
    ///
    /// # Errors
    /// Whatever keeps the bytes away; its text is shown to people.
    fn open(&self, blob: &Descriptor, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

/// An image to be brought in.
#[derive(Clone, Debug)]
pub struct PullPlan {
    /// Its configuration as the registry has it; its digest was checked.
    pub config: String,
    /// Its manifest as the registry has it; its digest was checked.
    pub manifest: String,
    /// The manifest's layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// Names that it gets, with tags or digests.
    pub names: Vec<ImageRef>,
    /// The repository that it comes from.
    pub repository: ImageRef,
    /// The index that its names lead to, with the documents of it that come along; the image itself is added to them.
    pub index: Option<IndexPlan>,
}

/// Bounds of a pull.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullLimits {
    /// Layers that are brought in at the same time.
    pub parallel: usize,
    /// Bytes that stay free on the disk.
    pub reserve_bytes: u64,
    /// A layer may unpack to this many times its compressed size…
    pub ratio_max: u64,
    /// …and this many bytes more.
    pub unpacked_bytes_min: u64,
}

impl Default for PullLimits {
    fn default() -> Self {
        Self { parallel: 3, reserve_bytes: 256 << 20, ratio_max: 200, unpacked_bytes_min: 4 << 30 }
    }
}

/// What happens to a layer, by the digest of its compressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullStep {
    /// It is here already.
    Exists,
    /// It will be fetched.
    Pending,
    /// It waits for others.
    Waiting,
    /// Bytes that are here.
    Downloading {
        /// So far.
        current: u64,
        /// In all.
        total: u64,
    },
    /// All bytes are here; their digest is being compared.
    Verifying,
    /// All bytes are here and right.
    Downloaded,
    /// It is unpacked.
    Complete,
}

/// Hears of steps; false ends the pull.
pub type Report<'a> = dyn Fn(&Digest, PullStep) -> bool + Sync + 'a;

/// Says why an image was not pulled; nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A layer cannot be fetched.
    #[error("{source}")]
    Fetch {
        /// The layer.
        digest: Digest,
        /// What the source says.
        source: io::Error,
    },
    /// The bytes are not those that the manifest names.
    #[error("layer {expected}: content does not match its digest: got {actual}")]
    Digest {
        /// What the manifest says.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// The unpacked bytes are not those that the configuration names.
    #[error("layer {blob}: its unpacked content does not match the image's configuration: expected {expected}, got {actual}")]
    DiffId {
        /// The layer.
        blob: Digest,
        /// What the configuration says.
        expected: Digest,
        /// What came.
        actual: Digest,
    },
    /// More or fewer bytes came than the manifest says.
    #[error("layer {digest}: {actual} bytes came, its manifest says {expected}")]
    Size {
        /// The layer.
        digest: Digest,
        /// What the manifest says.
        expected: u64,
        /// What came.
        actual: u64,
    },
    /// The manifest or the configuration makes no sense.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// A layer's content cannot be unpacked.
    #[error("failed to register layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// The cause.
        source: LoadError,
    },
    /// The disk has too little room.
    #[error("no space left on device: the image needs at least {needed} bytes, {free} are free and {reserve} are kept in reserve")]
    Space {
        /// Bytes that are still to come.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes that stay free.
        reserve: u64,
    },
    /// Nobody wants it any more.
    #[error("context canceled")]
    Cancelled,
    /// The disk cannot be used.
    #[error("cannot {act}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The image cannot be recorded.
    #[error(transparent)]
    Record(LoadError),
}

/// A layer that is not here yet.
#[derive(Clone, Debug)]
struct Wanted {
    blob: Descriptor,
    diff_id: Digest,
}

impl Images {
    /// Brings an image in. Another pull of the same layers is waited for, and what it brought is used.
    ///
    /// # Errors
    /// [`PullError`]; what was fetched is kept for the next attempt.
    pub fn pull(&self, plan: PullPlan, source: &dyn BlobSource, limits: PullLimits, report: &Report<'_>) -> Result<Loaded, PullError> {
        let diff_ids = check(&plan)?;
        let _turn = self.turns.take(plan.layers.iter().map(|layer| layer.digest).collect());
        let lease = Lease::new(self);
        let mut places: BTreeMap<Digest, usize> = BTreeMap::new();
        let (mut wanted, mut layers) = (Vec::new(), Vec::new());
        for (blob, diff_id) in plan.layers.iter().zip(&diff_ids) {
            let exists = lease.take_known(diff_id);
            let step = if exists { PullStep::Exists } else { PullStep::Pending };
            if !report(&blob.digest, step) {
                return Err(PullError::Cancelled);
            }
            if !places.contains_key(diff_id) {
                places.insert(*diff_id, layers.len());
                layers.push(crate::archive::LayerBlob { diff_id: *diff_id, staged: None });
                if !exists {
                    wanted.push(Wanted { blob: blob.clone(), diff_id: *diff_id });
                }
            }
        }
        let staging = self.disk.stage().map_err(|source| PullError::Io { act: "make a staging directory", source })?;
        let job = fetch::Job { disk: &self.disk, storage: self.storage(), staging: &staging.path, wanted: &wanted, source, limits, report };
        job.check_space()?;
        for (wanted, fetched) in wanted.iter().zip(job.run()?) {
            if let Some(&place) = places.get(&wanted.diff_id) {
                layers[place] = fetched;
            }
        }
        let order = diff_ids.iter().filter_map(|diff_id| places.get(diff_id).copied()).collect();
        let (manifest, index) = (Some(plan.manifest), plan.index);
        let planned = Planned { config: plan.config, names: plan.names, layers: order, manifest, parent: None, index };
        let loaded = self.commit(&lease, &layers, vec![planned]).map_err(PullError::Record)?;
        for (blob, diff_id) in plan.layers.iter().zip(&diff_ids) {
            ingest::remove(&self.disk, &blob.digest);
            self.known.note(diff_id, KnownBlob::of(blob, &plan.repository));
        }
        loaded.into_iter().next().ok_or_else(|| PullError::Invalid { reason: "the image was not recorded".to_owned() })
    }
}

/// Checks what can be checked before anything is fetched; gives the layers' digests when unpacked.
fn check(plan: &PullPlan) -> Result<Vec<Digest>, PullError> {
    let invalid = |reason: String| PullError::Invalid { reason };
    let config: ImageConfig =
        serde_json::from_str(&plan.config).map_err(|error| invalid(format!("cannot read the image configuration: {error}")))?;
    if !matches!(config.os.as_str(), "" | "linux") {
        return Err(invalid(format!(
            "image operating system \"{}\" cannot be used on this platform: operating system is not supported",
            config.os.escape_debug()
        )));
    }
    let (expected, actual) = (config.rootfs.diff_ids.len(), plan.layers.len());
    if expected != actual {
        return Err(invalid(format!("the manifest has {actual} layers, but the image configuration {expected}")));
    }
    if actual > LAYERS_MAX {
        return Err(invalid(format!("the image has {actual} layers, at most {LAYERS_MAX} can be used")));
    }
    if let Some(foreign) =
        plan.layers.iter().find(|layer| layer.media_type.contains("foreign") || layer.media_type.contains("nondistributable"))
    {
        return Err(invalid(format!("layer {} is not in the registry and layers from elsewhere are not fetched", foreign.digest)));
    }
    Ok(config.rootfs.diff_ids)
}
