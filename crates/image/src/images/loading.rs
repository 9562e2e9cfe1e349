//! Bringing images in: `load` and `import`.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;

use oci::image::{Config, History, ImageConfig, RootFs};
use oci::{Digest, Platform};
use sha2::Digest as _;
use store::Durability;

use super::Images;
use crate::archive::{Contents, LayerBlob, Planned, Source, bad_layer, plan};
use crate::changes;
use crate::compression::{Compression, sniffing};
use crate::disk::open_directory;
use crate::error::{ImportError, IndexError, LoadError, TagError};
use crate::images::indexes::{Member, default_image};
use crate::layer::Storage;
use crate::model::{ImageId, ImportOptions, Loaded, Progress};
use crate::state::{Entry, ImageRecord, LayerRecord, State};
use crate::stream::{Feed, read_chunk};

impl Images {
    /// Loads a docker-archive or OCI archive, plain or compressed, for `platform` (absent: this host's).
    ///
    /// # Errors
    /// [`LoadError`]; nothing of a bad archive is kept.
    pub fn load(
        &self,
        archive: impl Read,
        platform: Option<&Platform>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>, LoadError> {
        let staging = self.disk.stage().map_err(|source| io_error("make a staging directory", source))?;
        let lease = Lease::new(self);
        let archive = sniffing(archive).map_err(|source| io_error("read the archive", source))?;
        let known = |digest: &Digest| lease.take_known(digest);
        let known_blob = |blob: &Digest| {
            let layer = self.state().layer_of_blob(blob);
            layer.or_else(|| self.known.layer_of(blob)).filter(|diff_id| lease.take_known(diff_id))
        };
        let source = Source { staging: &staging.path, storage: self.storage(), known: &known, known_blob: &known_blob };
        let contents = Contents::read(archive, &source, progress)?;
        let planned = plan(&contents, platform, &known)?;
        self.commit(&lease, &contents.into_layers(), planned)
    }

    /// Makes an image of one layer from a tar of a root file system, plain or compressed.
    ///
    /// # Errors
    /// [`ImportError`]; nothing of a bad tar is kept.
    pub fn import(&self, tar: impl Read, options: ImportOptions) -> Result<ImageId, ImportError> {
        let platform = options.platform.unwrap_or_else(Platform::host);
        let mut config = Config::default();
        changes::apply(&mut config, &options.changes).map_err(|reason| ImportError::Change { reason })?;
        let staging = self.disk.stage().map_err(|source| io_error("make a staging directory", source))?;
        let lease = Lease::new(self);
        let layer = stage_one(tar, staging.path.join("layer"), self.storage())?;
        let created = Some(jiff::Timestamp::now().to_string());
        let message = options.message.filter(|message| !message.is_empty());
        let comment = Some(message.unwrap_or_else(|| "Imported from -".to_owned()));
        let image = ImageConfig {
            architecture: platform.architecture,
            variant: platform.variant,
            os: platform.os,
            os_version: platform.os_version,
            created: created.clone(),
            comment: comment.clone(),
            config,
            rootfs: RootFs { diff_ids: vec![layer.diff_id], ..RootFs::default() },
            history: vec![History { created, comment, ..History::default() }],
            ..ImageConfig::default()
        };
        let config = serde_json::to_string(&image).map_err(|source| io_error("write the configuration", source.into()))?;
        let names = options.reference.map(oci::ImageRef::or_latest).into_iter().collect();
        let planned = Planned { config, names, layers: vec![0], manifest: None, parent: None, index: None };
        let loaded = self.commit(&lease, &[layer], vec![planned])?;
        Ok(loaded[0].id)
    }

    /// Makes staged layers and planned images lasting: data first, then the layers' names, then the records.
    pub(crate) fn commit(&self, lease: &Lease<'_>, layers: &[LayerBlob], planned: Vec<Planned>) -> Result<Vec<Loaded>, LoadError> {
        let used: BTreeSet<usize> = planned.iter().flat_map(|image| image.layers.iter().copied()).collect();
        let failed = |source| io_error("store the layers", source);
        let directory = open_directory(&self.disk.layers).map_err(failed)?;
        if used.iter().any(|&index| layers[index].staged.as_ref().is_some_and(|staged| !staged.layer.durable())) {
            // Before anything names the layers: a record must never lead to files that a power cut emptied.
            rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))?;
        }
        let mut state = self.state();
        for &index in &used {
            let layer = &layers[index];
            lease.take(&mut state, layer.diff_id);
            if let Some(staged) = &layer.staged {
                staged.layer.install(&self.disk, &layer.diff_id).map_err(failed)?;
            }
        }
        rustix::fs::fsync(&directory).map_err(|error| failed(error.into()))?;
        planned.into_iter().map(|image| self.record(&mut state, layers, image)).collect()
    }

    /// Says which of these layers are here.
    #[must_use]
    pub fn known_layers(&self, diff_ids: &[Digest]) -> Vec<Digest> {
        let state = self.state();
        diff_ids.iter().filter(|diff_id| state.layer(diff_id).is_some()).copied().collect()
    }

    fn record(&self, state: &mut State, layers: &[LayerBlob], planned: Planned) -> Result<Loaded, LoadError> {
        let id = ImageId(Digest::of(planned.config.as_bytes()));
        let index = planned.index.map(|mut index| {
            index.members.extend(planned.manifest.iter().map(|manifest| Member::Image { manifest: manifest.clone(), id }));
            index
        });
        if state.visible(&id).is_none() {
            let config: ImageConfig =
                serde_json::from_str(&planned.config).map_err(|error| LoadError::Invalid { reason: error.to_string() })?;
            let layer = |&index: &usize| layer_record(state, &layers[index]);
            let record = ImageRecord {
                config: planned.config,
                layers: planned.layers.iter().map(layer).collect(),
                manifest: planned.manifest,
                parent: planned.parent,
                hidden: false,
            };
            self.records.put(&id.0.hex(), &record, Durability::Durable).map_err(LoadError::Record)?;
            state.images.insert(id, Entry { record, config: Arc::new(config) });
        } else if let Some(entry) =
            state.images.get_mut(&id).filter(|entry| planned.manifest.is_some() && entry.record.manifest != planned.manifest)
        {
            // The next archive with these blobs is known by them.
            let record = ImageRecord { manifest: planned.manifest, ..entry.record.clone() };
            self.records.put(&id.0.hex(), &record, Durability::Durable).map_err(LoadError::Record)?;
            entry.record = record;
        }
        let (mut meant, mut index_digest) = (id, None);
        if let Some(index) = index {
            let digest = self.merge_index(state, &index).map_err(|error| match error {
                IndexError::Io(source) => io_error("write the documents of the index", source),
                IndexError::Record(source) => LoadError::Record(source),
                other @ (IndexError::Invalid { .. } | IndexError::Image { .. } | IndexError::Tag(_)) => {
                    LoadError::Invalid { reason: other.to_string() }
                }
            })?;
            meant = state.indexes.get(&digest).and_then(|index| default_image(state, index, Some(id))).unwrap_or(id);
            index_digest = Some(digest);
        }
        for name in &planned.names {
            self.put_name(state, name, meant, index_digest).map_err(|error| match error {
                TagError::Record { source, .. } => LoadError::Record(source),
                other @ (TagError::NotFound { .. } | TagError::Digest) => LoadError::Invalid { reason: other.to_string() },
            })?;
        }
        if index_digest.is_some() && planned.names.is_empty() {
            self.drop_unnamed_indexes(state);
        }
        Ok(Loaded { id, names: planned.names })
    }
}

/// What is written of a layer: what unpacking found, or what an earlier image recorded.
fn layer_record(state: &State, layer: &LayerBlob) -> LayerRecord {
    let diff_id = layer.diff_id;
    match &layer.staged {
        Some(staged) => LayerRecord { diff_id, size: staged.layer.bytes(), opaque_root: staged.layer.opaque_root() },
        None => state.layer(&diff_id).unwrap_or(LayerRecord { diff_id, size: 0, opaque_root: false }),
    }
}

/// Unpacks a stream that is one layer.
fn stage_one(mut tar: impl Read, directory: std::path::PathBuf, storage: Storage) -> Result<LayerBlob, LoadError> {
    let read = |source| io_error("read the archive", source);
    let mut chunk = read_chunk(&mut tar).map_err(read)?;
    let compression = Compression::of(&chunk);
    if let Compression::Unsupported(kind) = compression {
        return Err(LoadError::Invalid { reason: format!("{kind} compression is not supported") });
    }
    std::thread::scope(|scope| {
        let feed = Feed::start(scope, directory, compression, storage);
        let mut hash = sha2::Sha256::new();
        while !chunk.is_empty() {
            hash.update(&chunk);
            if !feed.send(Arc::new(chunk)) {
                break;
            }
            chunk = read_chunk(&mut tar).map_err(read)?;
        }
        let staged = feed.end().wait().map_err(bad_layer)?;
        let diff_id = staged.diff_id.unwrap_or_else(|| Digest::from_bytes(hash.finalize().into()));
        Ok(LayerBlob { diff_id, staged: Some(staged) })
    })
}

/// Layers that a load or save counts on: no removal deletes them meanwhile. At the end those that nothing names are deleted.
pub(crate) struct Lease<'a> {
    images: &'a Images,
    layers: std::cell::RefCell<Vec<Digest>>,
}

impl<'a> Lease<'a> {
    pub(crate) fn new(images: &'a Images) -> Self {
        Self { images, layers: std::cell::RefCell::default() }
    }

    pub(crate) fn take_known(&self, diff_id: &Digest) -> bool {
        let mut state = self.images.state();
        let known = state.layer(diff_id).is_some();
        if known {
            self.take(&mut state, *diff_id);
        }
        known
    }

    pub(crate) fn take(&self, state: &mut State, diff_id: Digest) {
        *state.leases.entry(diff_id).or_default() += 1;
        self.layers.borrow_mut().push(diff_id);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.images.state();
        let layers = self.layers.take();
        for layer in &layers {
            if let std::collections::hash_map::Entry::Occupied(mut count) = state.leases.entry(*layer) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        self.images.collect_layers(&state, &layers);
    }
}

fn io_error(act: &str, source: std::io::Error) -> LoadError {
    LoadError::Io { act: act.to_owned(), source }
}
