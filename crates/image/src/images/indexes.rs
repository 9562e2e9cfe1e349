//! Indexes: one name for images of several platforms, with the attestations beside them.
//!
//! A name leads to one image, which is meant where no platform is asked for, and may lead to an index besides. The index is
//! kept byte for byte with those of its documents that are here; images of it that no name leads to directly live as long as
//! a name leads to the index. Attestations are small documents: their blobs are files, not layers.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use oci::image::{Descriptor, Index, Manifest, media_type};
use oci::{Digest, ImageRef, Platform};
use store::Durability;

use super::Images;
use super::naming::find;
use crate::error::{IndexError, ResolveError};
use crate::model::{Image, ImageId};
use crate::state::{IndexRecord, MemberContent, MemberRecord, State};

/// Most bytes of one document of an attestation. A bill of materials of a large image takes some MB.
pub(crate) const DOCUMENT_BYTES_MAX: u64 = 128 << 20;
/// Most documents of an index, those of indexes in it included.
const MEMBERS_MAX: usize = 10_000;
/// Deepest nesting of indexes.
const DEPTH_MAX: usize = 8;
/// Marks an attestation in an index. **Source:** BuildKit, `docs/attestations/attestation-storage.md`.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
/// Names the manifest that an attestation is about.
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// An index, with what of it comes along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexPlan {
    /// The index, byte for byte: its digest is what a registry names it by.
    pub document: String,
    /// The documents that it, or an index in it, names and that come along, in any order; those that were recorded before stay.
    pub members: Vec<Member>,
}

/// A document that an index names, with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A manifest of an image that is here.
    Image {
        /// The manifest, byte for byte.
        manifest: String,
        /// The image: the digest of the configuration that the manifest names.
        id: ImageId,
    },
    /// A manifest of an attestation or another artefact that is not unpacked.
    Artifact {
        /// The manifest, byte for byte.
        manifest: String,
        /// Its configuration and its layers, in any order.
        blobs: Vec<Vec<u8>>,
    },
    /// A further index.
    Index {
        /// The index, byte for byte.
        document: String,
    },
}

/// An index as it is at the moment of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its digest.
    pub digest: Digest,
    /// The index, byte for byte.
    pub document: String,
    /// What it lists, in its order; entries of an index in it stand where that index stands.
    pub entries: Vec<ListedEntry>,
}

/// An entry of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEntry {
    /// The entry as the index has it.
    pub descriptor: Descriptor,
    /// What it is.
    pub kind: ListedKind,
    /// Its manifest, where it is here.
    pub manifest: Option<String>,
    /// The image, where it is here.
    pub image: Option<ImageId>,
    /// Digests of an artefact's configuration and layers, where they are here; see [`Images::document`].
    pub blobs: Vec<Digest>,
    /// The index it stands in, where that is not the first one.
    pub nested_in: Option<Digest>,
}

/// What an entry of an index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListedKind {
    /// An image.
    Image,
    /// An attestation of the image with this manifest.
    Attestation(Digest),
    /// Anything else.
    Unknown,
}

impl Listed {
    /// Says whether more of it is here than one image.
    #[must_use]
    pub fn has_more(&self) -> bool {
        let images: std::collections::BTreeSet<ImageId> = self.entries.iter().filter_map(|entry| entry.image).collect();
        images.len() > 1 || self.entries.iter().any(|entry| !entry.blobs.is_empty())
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(&self) -> String {
        let index = serde_json::from_str::<Index>(&self.document).ok();
        index.and_then(|index| index.media_type).unwrap_or_else(|| media_type::INDEX.to_owned())
    }

    /// Makes the index anew of these entries; attestations are about the manifests that `renamed` leads to.
    #[must_use]
    pub fn rewritten(&self, mut manifests: Vec<Descriptor>, renamed: &BTreeMap<Digest, Digest>) -> Index {
        for descriptor in &mut manifests {
            if let ListedKind::Attestation(about) = ListedKind::of(descriptor)
                && let Some(now) = renamed.get(&about)
            {
                descriptor.annotations.insert(REFERENCE_DIGEST.to_owned(), now.to_string());
            }
        }
        let annotations = serde_json::from_str::<Index>(&self.document).map(|index| index.annotations).unwrap_or_default();
        Index { schema_version: 2, media_type: Some(self.media_type()), manifests, annotations }
    }
}

impl ListedKind {
    /// Says what an entry is by its annotations and platform.
    #[must_use]
    pub fn of(descriptor: &Descriptor) -> Self {
        let reference = || descriptor.annotations.get(REFERENCE_DIGEST).and_then(|digest| digest.parse().ok());
        match descriptor.annotations.get(REFERENCE_TYPE).map(String::as_str) {
            Some("attestation-manifest") => reference().map_or(Self::Unknown, Self::Attestation),
            Some(_) => Self::Unknown,
            None if descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown") => Self::Unknown,
            None => Self::Image,
        }
    }
}

impl Images {
    /// Records an index and gives it names; a name that led elsewhere is taken away from there.
    ///
    /// Images of it must be here (made by [`Images::commit_snapshot`], a load or a pull), and their manifests name their
    /// configurations. Each document must be named by the index or by an index in it. Of what the names mean where no
    /// platform is asked for, the image of this host's platform is preferred.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn put_index(&self, plan: &IndexPlan, names: &[ImageRef]) -> Result<Digest, IndexError> {
        let mut state = self.state();
        let digest = self.merge_index(&mut state, plan)?;
        let default = state.indexes.get(&digest).and_then(|index| default_image(&state, index, None));
        let default = default.ok_or_else(|| IndexError::Invalid { reason: "no image of it is here".to_owned() })?;
        for name in names {
            self.put_name(&mut state, &name.clone().or_latest(), default, Some(digest))?;
        }
        if names.is_empty() {
            self.drop_unnamed_indexes(&mut state);
        }
        Ok(digest)
    }

    /// Returns the digest of the index that a name leads to.
    #[must_use]
    pub fn index_named(&self, name: &ImageRef) -> Option<Digest> {
        self.state().names.get(&name.clone().or_latest())?.index
    }

    /// Returns an index that a name leads to.
    #[must_use]
    pub fn listed(&self, digest: &Digest) -> Option<Listed> {
        let state = self.state();
        let record = state.indexes.get(digest)?;
        let entries = list(&state, record);
        Some(Listed { digest: *digest, document: record.document.clone(), entries })
    }

    /// Reads a blob of an artefact of an index.
    ///
    /// # Errors
    /// If it is not here, or was changed.
    pub fn document(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let bytes = fs_err::read(self.disk.document(digest))?;
        let actual = Digest::of(&bytes);
        if actual != *digest {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("document {digest} was changed: digest {actual}")));
        }
        Ok(bytes)
    }

    /// Finds an image by name as [`Images::resolve`] does, and of several platforms the one that is asked for.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve_for(&self, name: &str, platform: Option<&Platform>) -> Result<Image, ResolveError> {
        let state = self.state();
        let id = find(&state, name)?;
        let found = |id: &ImageId| state.image(id).ok_or_else(|| ResolveError::NotFound { name: name.to_owned() });
        let image = found(&id)?;
        let Some(wanted) = platform else {
            return Ok(image);
        };
        let index = name.parse::<ImageRef>().ok().and_then(|name| state.names.get(&name.or_latest())?.index).or(image.index);
        let fits = |id: &ImageId| state.visible(id).is_some_and(|entry| wanted.matches(&entry.config.platform()));
        if fits(&id) {
            return Ok(image);
        }
        match index.and_then(|digest| state.indexes.get(&digest)).and_then(|index| index.images().find(fits)) {
            Some(other) => found(&other),
            None => Err(ResolveError::Platform {
                name: name.to_owned(),
                offered: image.config.platform().to_string(),
                wanted: wanted.to_string(),
            }),
        }
    }

    /// Writes an index with what comes along, and keeps what was there of it.
    pub(crate) fn merge_index(&self, state: &mut State, plan: &IndexPlan) -> Result<Digest, IndexError> {
        let digest = Digest::of(plan.document.as_bytes());
        let mut record = match state.indexes.get(&digest) {
            Some(record) => record.clone(),
            None => IndexRecord { document: plan.document.clone(), members: BTreeMap::new() },
        };
        let mut wrote = false;
        for member in &plan.members {
            let (document, content) = match member {
                Member::Image { manifest, id } => {
                    let named = parse::<Manifest>(manifest)?.config.digest;
                    if state.visible(id).is_none() {
                        return Err(IndexError::Image { id: *id });
                    }
                    if named != id.0 {
                        return Err(IndexError::Invalid { reason: format!("a manifest of image {id} names the configuration {named}") });
                    }
                    (manifest, MemberContent::Image(*id))
                }
                Member::Artifact { manifest, blobs } => {
                    let files = self.write_documents(&parse::<Manifest>(manifest)?, blobs)?;
                    wrote |= !files.is_empty();
                    (manifest, MemberContent::Artifact(files))
                }
                Member::Index { document } => (document, MemberContent::Index),
            };
            record.members.insert(Digest::of(document.as_bytes()), MemberRecord { document: document.clone(), content });
        }
        check(&record)?;
        if wrote {
            fs_err::File::open(&self.disk.documents).and_then(|directory| directory.sync_all()).map_err(IndexError::Io)?;
        }
        if state.indexes.get(&digest) != Some(&record) {
            self.indexes.put(&digest.hex(), &record, Durability::Durable).map_err(IndexError::Record)?;
            state.indexes.insert(digest, record);
        }
        Ok(digest)
    }

    /// Writes the blobs that a manifest names; their digests are compared.
    fn write_documents(&self, manifest: &Manifest, blobs: &[Vec<u8>]) -> Result<Vec<Digest>, IndexError> {
        let by_digest: BTreeMap<Digest, &Vec<u8>> = blobs.iter().map(|blob| (Digest::of(blob), blob)).collect();
        let mut files = Vec::new();
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let blob = by_digest.get(&descriptor.digest);
            let blob =
                blob.ok_or_else(|| IndexError::Invalid { reason: format!("blob {} of an artefact is missing", descriptor.digest) })?;
            if u64::try_from(blob.len()).unwrap_or(u64::MAX) != descriptor.size || descriptor.size > DOCUMENT_BYTES_MAX {
                return Err(IndexError::Invalid { reason: format!("blob {} of an artefact has a wrong size", descriptor.digest) });
            }
            self.write_document(&descriptor.digest, blob).map_err(IndexError::Io)?;
            files.push(descriptor.digest);
        }
        Ok(files)
    }

    fn write_document(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        let path = self.disk.document(digest);
        if fs_err::metadata(&path).is_ok_and(|metadata| usize::try_from(metadata.len()) == Ok(bytes.len())) {
            return Ok(());
        }
        let staging = self.disk.stage()?;
        let temporary = staging.path.join("document");
        let mut file = fs_err::File::create(&temporary)?;
        file.write_all(bytes)?;
        // Before the rename: a name must never lead to an empty file.
        file.sync_data()?;
        fs_err::rename(temporary, path)
    }

    /// Forgets indexes that no name leads to; gives the images that were in them.
    pub(super) fn drop_unnamed_indexes(&self, state: &mut State) -> Vec<ImageId> {
        let named: Vec<Digest> = state.names.values().filter_map(|record| record.index).collect();
        let unnamed: Vec<Digest> = state.indexes.keys().filter(|digest| !named.contains(digest)).copied().collect();
        let mut images = Vec::new();
        for digest in unnamed {
            // A record that stays is dropped when the engine starts again.
            let _ = self.indexes.remove(&digest.hex(), Durability::Volatile);
            if let Some(record) = state.indexes.remove(&digest) {
                images.extend(record.images());
                self.drop_documents(state, record.files());
            }
        }
        images
    }

    /// Takes an image that is deleted out of all indexes; names that led to it lead to another platform.
    pub(super) fn forget_member(&self, state: &mut State, id: &ImageId) {
        let with = state.indexes.iter_mut().filter(|(_, index)| index.images().any(|member| member == *id));
        for (digest, index) in with {
            index.members.retain(|_, member| member.content != MemberContent::Image(*id));
            // A record that says more is put right when the engine starts again.
            let _ = self.indexes.put(&digest.hex(), index, Durability::Volatile);
        }
    }

    fn drop_documents<'a>(&self, state: &State, files: impl Iterator<Item = &'a Digest>) {
        for file in files {
            if !state.indexes.values().flat_map(IndexRecord::files).any(|other| other == file) {
                // One that stays is deleted when the engine starts again.
                let _ = fs_err::remove_file(self.disk.document(file));
            }
        }
    }
}

/// Chooses what a name means where no platform is asked for: this host's, what it was, or the first.
pub(crate) fn default_image(state: &State, index: &IndexRecord, before: Option<ImageId>) -> Option<ImageId> {
    let mut images: Vec<ImageId> = list(state, index).into_iter().filter_map(|entry| entry.image).collect();
    // An image of a manifest that the index lists under no platform of its own.
    images.extend(index.images());
    let host = Platform::host();
    let fits = |id: &&ImageId| state.visible(id).is_some_and(|entry| host.matches(&entry.config.platform()));
    let here = |id: &&ImageId| state.visible(id).is_some();
    images.iter().find(fits).or_else(|| images.iter().find(|id| Some(**id) == before)).or_else(|| images.iter().find(here)).copied()
}

/// Puts the records of indexes right when they are read: members that are not here are left out.
pub(crate) fn mend(state: &State, record: &mut IndexRecord, is_here: impl Fn(&Digest) -> bool) {
    record.members.retain(|_, member| match &member.content {
        MemberContent::Image(id) => state.images.contains_key(id),
        MemberContent::Artifact(files) => files.iter().all(&is_here),
        MemberContent::Index => true,
    });
}

/// Gives the entries of an index in their order.
fn list(state: &State, record: &IndexRecord) -> Vec<ListedEntry> {
    let mut walk = Walk { state, record, entries: Vec::new() };
    walk.index(&record.document, None, DEPTH_MAX);
    walk.entries
}

struct Walk<'a> {
    state: &'a State,
    record: &'a IndexRecord,
    entries: Vec<ListedEntry>,
}

impl Walk<'_> {
    fn index(&mut self, document: &str, nested_in: Option<Digest>, depth: usize) {
        let Ok(index) = serde_json::from_str::<Index>(document) else {
            return;
        };
        for descriptor in index.manifests {
            let member = self.record.members.get(&descriptor.digest);
            if let Some(MemberRecord { document, content: MemberContent::Index }) = member {
                if depth > 0 {
                    self.index(document, Some(descriptor.digest), depth - 1);
                }
                continue;
            }
            let (image, blobs) = match member.map(|member| &member.content) {
                Some(MemberContent::Image(id)) => (Some(*id).filter(|id| self.state.visible(id).is_some()), Vec::new()),
                Some(MemberContent::Artifact(blobs)) => (None, blobs.clone()),
                Some(MemberContent::Index) | None => (None, Vec::new()),
            };
            let manifest = member.map(|member| member.document.clone());
            self.entries.push(ListedEntry { kind: ListedKind::of(&descriptor), descriptor, manifest, image, blobs, nested_in });
        }
    }
}

/// Checks that the index leads to each of its members.
fn check(record: &IndexRecord) -> Result<(), IndexError> {
    let mut open = vec![(record.document.as_str(), DEPTH_MAX)];
    let mut named = std::collections::BTreeSet::new();
    while let Some((document, depth)) = open.pop() {
        for descriptor in parse::<Index>(document)?.manifests {
            if !named.insert(descriptor.digest) {
                continue;
            }
            if named.len() > MEMBERS_MAX {
                return Err(IndexError::Invalid { reason: format!("it lists more than {MEMBERS_MAX} documents") });
            }
            if let Some(MemberRecord { document, content: MemberContent::Index }) = record.members.get(&descriptor.digest) {
                let depth = depth.checked_sub(1);
                let depth = depth.ok_or_else(|| IndexError::Invalid { reason: "indexes are nested too deep".to_owned() })?;
                open.push((document, depth));
            }
        }
    }
    match record.members.keys().find(|digest| !named.contains(digest)) {
        Some(stranger) => Err(IndexError::Invalid { reason: format!("it does not list the manifest {stranger}") }),
        None => Ok(()),
    }
}

fn parse<T: serde::de::DeserializeOwned>(document: &str) -> Result<T, IndexError> {
    serde_json::from_str(document).map_err(|error| IndexError::Invalid { reason: error.to_string() })
}
