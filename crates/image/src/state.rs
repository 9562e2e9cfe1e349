//! What is known of images, in memory; the tables on disk hold the same.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oci::image::ImageConfig;
use oci::{Digest, ImageRef};
use serde::{Deserialize, Serialize};

use crate::model::{Image, ImageId};

/// A layer of a recorded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub(crate) diff_id: Digest,
    /// Bytes of its files.
    pub(crate) size: u64,
    /// Whether it hides all layers below it.
    #[serde(default)]
    pub(crate) opaque_root: bool,
}

/// An image on disk, under the hex digits of its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// The configuration, byte for byte: its digest is the id.
    pub(crate) config: String,
    pub(crate) layers: Vec<LayerRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
    /// Removed by force while a snapshot still needed its layers.
    #[serde(default)]
    pub(crate) hidden: bool,
}

/// A name on disk, under the full reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub(crate) image: ImageId,
    /// Seconds since 1970.
    pub(crate) tagged: u64,
}

impl NameRecord {
    pub(crate) fn now(image: ImageId) -> Self {
        let tagged = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { image, tagged }
    }
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) record: ImageRecord,
    pub(crate) config: Arc<ImageConfig>,
}

/// Files read from images, by image and path; absent files too.
pub(crate) type FileCache = HashMap<(ImageId, PathBuf), Option<Arc<[u8]>>>;

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) images: BTreeMap<ImageId, Entry>,
    pub(crate) names: BTreeMap<ImageRef, NameRecord>,
    /// Pins by holder.
    pub(crate) pins: HashMap<String, ImageId>,
    /// Snapshots by holder.
    pub(crate) snapshots: HashMap<String, ImageId>,
    /// Layers that a running load counts on.
    pub(crate) leases: HashMap<Digest, usize>,
    pub(crate) files: FileCache,
    /// What was damaged when the tables were opened.
    pub(crate) damaged: Vec<String>,
}

impl State {
    pub(crate) fn visible(&self, id: &ImageId) -> Option<&Entry> {
        self.images.get(id).filter(|entry| !entry.record.hidden)
    }

    /// Returns the names of an image, sorted.
    pub(crate) fn names_of(&self, id: &ImageId) -> Vec<ImageRef> {
        self.names.iter().filter(|(_, record)| record.image == *id).map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn holders_of(&self, id: &ImageId) -> BTreeSet<&str> {
        let all = self.pins.iter().chain(&self.snapshots);
        all.filter(|(_, image)| *image == id).map(|(holder, _)| holder.as_str()).collect()
    }

    pub(crate) fn has_children(&self, id: &ImageId) -> bool {
        self.images.values().any(|entry| !entry.record.hidden && entry.record.parent == Some(*id))
    }

    /// Returns what is recorded of a layer by any image.
    pub(crate) fn layer(&self, diff_id: &Digest) -> Option<LayerRecord> {
        self.images.values().flat_map(|entry| &entry.record.layers).find(|layer| layer.diff_id == *diff_id).copied()
    }

    /// Finds the layer that a blob became, by the manifests that images came with.
    pub(crate) fn layer_of_blob(&self, blob: &Digest) -> Option<Digest> {
        let text = blob.to_string();
        self.images.values().find_map(|entry| {
            let manifest = entry.record.manifest.as_ref().filter(|manifest| manifest.contains(&text))?;
            let manifest: oci::image::Manifest = serde_json::from_str(manifest).ok()?;
            let index = manifest.layers.iter().position(|layer| layer.digest == *blob)?;
            Some(entry.record.layers.get(index)?.diff_id)
        })
    }

    /// Says whether an image or a running load needs a layer.
    pub(crate) fn needs(&self, diff_id: &Digest) -> bool {
        self.leases.contains_key(diff_id) || self.layer(diff_id).is_some()
    }

    pub(crate) fn image(&self, id: &ImageId) -> Option<Image> {
        let entry = self.visible(id)?;
        let names = self.names.iter().filter(|(_, record)| record.image == *id);
        let last = names.clone().map(|(_, record)| record.tagged).max();
        let (mut repo_tags, mut repo_digests) = (Vec::new(), Vec::new());
        for (name, _) in names {
            if name.digest().is_some() { repo_digests.push(name.clone()) } else { repo_tags.push(name.clone()) }
        }
        Some(Image {
            id: *id,
            config: Arc::clone(&entry.config),
            repo_tags,
            repo_digests,
            size: entry.record.layers.iter().map(|layer| layer.size).sum(),
            created: entry.config.created.as_deref().and_then(time),
            last_tagged: last.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
            layers: entry.record.layers.iter().map(|layer| layer.diff_id).collect(),
            parent: entry.record.parent.filter(|parent| self.visible(parent).is_some()),
            holders: self.holders_of(id).into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Reads an RFC 3339 time.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}
