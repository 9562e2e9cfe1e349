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
    /// The image that is meant where no platform is asked for.
    pub(crate) image: ImageId,
    /// The index that the name leads to, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<Digest>,
    /// Seconds since 1970.
    pub(crate) tagged: u64,
}

impl NameRecord {
    pub(crate) fn now(image: ImageId, index: Option<Digest>) -> Self {
        let tagged = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        Self { image, index, tagged }
    }
}

/// An index on disk, under the hex digits of its digest; it lives as long as a name leads to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct IndexRecord {
    /// The index, byte for byte.
    pub(crate) document: String,
    /// What is here of the documents that it, or an index in it, names.
    pub(crate) members: BTreeMap<Digest, MemberRecord>,
}

/// A document that an index names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MemberRecord {
    /// The document, byte for byte.
    pub(crate) document: String,
    pub(crate) content: MemberContent,
}

/// What a document of an index stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum MemberContent {
    /// An image.
    Image(ImageId),
    /// An attestation or another artefact: the digests of its configuration and its layers, which are kept as files.
    Artifact(Vec<Digest>),
    /// A further index.
    Index,
}

impl IndexRecord {
    /// The images of the index that are here.
    pub(crate) fn images(&self) -> impl Iterator<Item = ImageId> {
        self.members.values().filter_map(|member| match member.content {
            MemberContent::Image(id) => Some(id),
            MemberContent::Artifact(_) | MemberContent::Index => None,
        })
    }

    /// The files of the index's artefacts.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Digest> {
        self.members.values().flat_map(|member| match &member.content {
            MemberContent::Artifact(files) => files.as_slice(),
            MemberContent::Image(_) | MemberContent::Index => &[],
        })
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
    pub(crate) indexes: BTreeMap<Digest, IndexRecord>,
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

    /// Returns the index that the image's newest tag leads to, or where it has none, a digest of a repository.
    pub(crate) fn index_of(&self, id: &ImageId) -> Option<Digest> {
        let names = self.names.iter().filter(|(_, record)| record.image == *id);
        let newest = names.max_by_key(|(name, record)| (name.tag().is_some(), record.tagged, record.index.is_some()));
        newest.and_then(|(_, record)| record.index)
    }

    /// Says whether an image has no name of its own, but is one of several platforms of an index with a name.
    pub(crate) fn is_secondary(&self, id: &ImageId) -> bool {
        self.indexes.values().any(|index| index.images().any(|member| member == *id))
            && !self.names.values().any(|record| record.image == *id)
    }

    /// Returns the other platforms of the indexes that the names of an image lead to, which live by these names alone.
    pub(crate) fn siblings(&self, id: &ImageId) -> BTreeSet<ImageId> {
        let indexes: BTreeSet<Digest> = self.names.values().filter(|name| name.image == *id).filter_map(|name| name.index).collect();
        let members = indexes.iter().filter_map(|digest| self.indexes.get(digest)).flat_map(IndexRecord::images);
        members.filter(|member| member != id && self.visible(member).is_some() && self.is_secondary(member)).collect()
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
            index: self.index_of(id),
            parent: entry.record.parent.filter(|parent| self.visible(parent).is_some()),
            holders: self.holders_of(id).into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Reads an RFC 3339 time.
pub(crate) fn time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}
