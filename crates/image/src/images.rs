//! The façade.

mod building;
mod changed;
mod exploring;
pub(crate) mod indexes;
pub(crate) mod loading;
mod naming;
mod removing;
mod saving;
mod snapshots;
mod verifying;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use oci::image::ImageConfig;
use store::Table;

use crate::disk::{Disk, names};
use crate::error::{HistoryError, OpenError, PinError, SweepError};
use crate::layer::{Backend, Layer, Mounts, Storage};
use crate::model::{HistoryEntry, Image, ImageId, Swept};
use crate::pull::{Known, Turns};
use crate::state::{Entry, ImageRecord, IndexRecord, NameRecord, State, time};
use crate::tree::Limits;

/// All images below one data directory; methods may be called from any thread.
#[derive(Debug)]
pub struct Images {
    pub(crate) disk: Disk,
    backend: OnceLock<Backend>,
    mounts: Mounts,
    records: Table<ImageRecord>,
    names: Table<NameRecord>,
    indexes: Table<IndexRecord>,
    state: Mutex<State>,
    /// Who fetches which blobs now.
    pub(crate) turns: Turns,
    /// Compressed blobs of layers.
    pub(crate) known: Known,
}

impl Images {
    /// Opens the images below `root`, the engine's data directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`OpenError`] when a directory cannot be used; damaged records are set aside, see [`Images::sweep`].
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Self::open_with(root, None)
    }

    /// Opens the images below `root`, with new layers made by `backend`; absent, what suits the kernel and the disk is chosen
    /// when the first layer comes. Layers that are here stay as they are.
    ///
    /// # Errors
    /// As [`Images::open`].
    pub fn open_with(root: &Path, backend: Option<Backend>) -> Result<Self, OpenError> {
        let disk = Disk::open(root).map_err(|(path, source)| OpenError::Directory { path, source })?;
        let (records, images, damaged) = Table::open(disk.images.join("records")).map_err(OpenError::Table)?;
        let mut state = State::default();
        state.damaged.extend(damaged.into_iter().map(|bad| format!("image {}: {}", bad.key, bad.reason)));
        for (key, record) in images {
            match read_record(&disk, &key, record) {
                Ok((id, entry)) => drop(state.images.insert(id, entry)),
                Err(reason) => state.damaged.push(format!("image {key}: {reason}")),
            }
        }
        let (name_table, name_records, damaged) = Table::<NameRecord>::open(disk.images.join("names")).map_err(OpenError::Table)?;
        state.damaged.extend(damaged.into_iter().map(|bad| format!("name {}: {}", bad.key, bad.reason)));
        for (key, record) in name_records {
            match key.parse() {
                Ok(name) if state.images.contains_key(&record.image) => {
                    let _ = state.names.insert(name, record);
                }
                Ok(_) => state.damaged.push(format!("name {key}: its image {} is missing", record.image)),
                Err(error) => state.damaged.push(format!("name {key}: {error}")),
            }
        }
        let indexes = open_indexes(&disk, &mut state)?;
        let holders = names(&disk.snapshots);
        let holders = holders.map_err(|source| OpenError::Directory { path: disk.snapshots.clone(), source })?;
        for holder in holders {
            if let Some(image) = snapshots::read_image(&disk, Path::new(&holder))
                && let Ok(holder) = holder.into_string()
            {
                state.snapshots.insert(holder, image);
            }
        }
        let known = Known::open(disk.images.join("blobs"), |diff_id| state.needs(diff_id)).map_err(OpenError::Table)?;
        crate::pull::sweep(&disk, SystemTime::now()).map_err(|source| OpenError::Directory { path: disk.ingest.clone(), source })?;
        Ok(Self {
            disk,
            backend: backend.map(OnceLock::from).unwrap_or_default(),
            mounts: Mounts::default(),
            records,
            names: name_table,
            indexes,
            state: Mutex::new(state),
            turns: Turns::default(),
            known,
        })
    }

    /// Returns the images, the newest first; of the platforms of an index the one that its name means, see [`Images::listed`].
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        let state = self.state();
        let primary = state.images.keys().filter(|id| !state.is_secondary(id));
        let mut images: Vec<Image> = primary.filter_map(|id| state.image(id)).collect();
        images.sort_by(|one, other| other.created.cmp(&one.created).then(one.id.cmp(&other.id)));
        images
    }

    /// Returns the image with this id.
    #[must_use]
    pub fn get(&self, id: &ImageId) -> Option<Image> {
        self.state().image(id)
    }

    /// Returns the damaged records that were set aside, with the reason.
    #[must_use]
    pub fn damaged(&self) -> Vec<String> {
        self.state().damaged.clone()
    }

    /// Returns where the layers of an image are, the topmost first.
    #[must_use]
    pub fn layer_paths(&self, id: &ImageId) -> Vec<std::path::PathBuf> {
        let state = self.state();
        let entry = state.images.get(id);
        entry.into_iter().flat_map(|entry| entry.record.layers.iter().rev()).map(|layer| self.disk.layer(&layer.diff_id)).collect()
    }

    /// Returns the configuration of an image as it was written, whose digest is its id.
    #[must_use]
    pub fn raw_config(&self, id: &ImageId) -> Option<String> {
        self.state().visible(id).map(|entry| entry.record.config.clone())
    }

    /// Returns the steps an image was made in, the newest first.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn history(&self, id: &ImageId) -> Result<Vec<HistoryEntry>, HistoryError> {
        let state = self.state();
        let entry = state.visible(id).ok_or(HistoryError { id: *id })?;
        let mut sizes = entry.record.layers.iter().map(|layer| layer.size);
        let mut steps: Vec<HistoryEntry> = Vec::new();
        for step in &entry.config.history {
            steps.push(HistoryEntry {
                id: None,
                created: step.created.as_deref().and_then(time),
                created_by: step.created_by.clone().unwrap_or_default(),
                tags: Vec::new(),
                size: if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) },
                comment: step.comment.clone().unwrap_or_default(),
            });
        }
        steps.reverse();
        // Images made on this host know what they were made of; other steps have no image.
        let mut ancestor = Some(*id);
        for step in &mut steps {
            let Some((id, entry)) = ancestor.and_then(|id| Some((id, state.visible(&id)?))) else { break };
            step.id = Some(id);
            step.tags = state.names_of(&id).into_iter().filter(|name| name.tag().is_some()).collect();
            ancestor = entry.record.parent;
        }
        Ok(steps)
    }

    /// Keeps an image while `holder` needs it, until [`Images::unpin`] or the engine ends. A snapshot pins by itself.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn pin(&self, holder: &str, id: &ImageId) -> Result<(), PinError> {
        let mut state = self.state();
        if state.visible(id).is_none() {
            return Err(PinError { id: *id });
        }
        state.pins.insert(holder.to_owned(), *id);
        Ok(())
    }

    /// Takes a pin away; nothing happens where there is none.
    pub fn unpin(&self, holder: &str) {
        let mut state = self.state();
        if let Some(image) = state.pins.remove(holder) {
            self.collect_hidden(&mut state, &image);
        }
    }

    /// Deletes what lies in the trash; call it where time does not matter.
    ///
    /// # Errors
    /// [`SweepError`] after all has been tried.
    pub fn empty_trash(&self) -> Result<(), SweepError> {
        self.disk.empty_trash().map_err(|(path, source)| SweepError { path, source })
    }

    /// Moves to the trash what nothing owns: snapshots of others than `holders`, layers no image names.
    ///
    /// # Errors
    /// [`SweepError`].
    pub fn sweep(&self, holders: &[&str]) -> Result<Swept, SweepError> {
        let mut state = self.state();
        let mut swept = Swept { damaged: state.damaged.clone(), ..Swept::default() };
        let list = |path: &Path| names(path).map_err(|source| SweepError { path: path.to_owned(), source });
        let discard = |path: &Path| match self.disk.discard(path) {
            Ok(_) => Ok(()),
            Err(source) => Err(SweepError { path: path.to_owned(), source }),
        };
        for name in list(&self.disk.snapshots)? {
            if name.to_str().is_some_and(|name| holders.contains(&name)) {
                continue;
            }
            discard(&self.disk.snapshots.join(&name))?;
            let name = name.to_string_lossy().into_owned();
            state.snapshots.remove(&name);
            swept.snapshots.push(name);
        }
        let hidden: Vec<ImageId> = state.images.keys().copied().collect();
        for id in hidden {
            self.collect_hidden(&mut state, &id);
        }
        // A damaged record may be repaired later: its layers are then still wanted.
        if swept.damaged.is_empty() {
            for name in list(&self.disk.layers)? {
                let digest = name.to_str().and_then(|hex| oci::Digest::from_hex(hex).ok());
                if name == crate::disk::EMPTY || digest.is_some_and(|digest| state.needs(&digest)) {
                    continue;
                }
                discard(&self.disk.layers.join(&name))?;
                swept.layers.extend(digest);
            }
            for name in list(&self.disk.tapes)? {
                let digest = name.to_str().and_then(|hex| oci::Digest::from_hex(hex).ok());
                if !digest.is_some_and(|digest| state.needs(&digest)) {
                    discard(&self.disk.tapes.join(&name))?;
                }
            }
        }
        Ok(swept)
    }

    /// Returns what new layers are made by.
    #[must_use]
    pub fn backend(&self) -> Backend {
        *self.backend.get_or_init(|| match self.disk.stage() {
            Ok(staging) => Backend::choose(&staging.path.join("probe")),
            Err(_) => Backend::Dir,
        })
    }

    /// Returns what new layers are stored with.
    pub(crate) fn storage(&self) -> Storage {
        Storage { backend: self.backend(), limits: Limits::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything can panic, so a poisoned state is still sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the indexes that names lead to, as far as what they name is here; other indexes and their documents are deleted.
fn open_indexes(disk: &Disk, state: &mut State) -> Result<Table<IndexRecord>, OpenError> {
    let (table, records, damaged) = Table::<IndexRecord>::open(disk.images.join("indexes")).map_err(OpenError::Table)?;
    state.damaged.extend(damaged.into_iter().map(|bad| format!("index {}: {}", bad.key, bad.reason)));
    for (key, mut record) in records {
        let digest = oci::Digest::of(record.document.as_bytes());
        let is_named = state.names.values().any(|name| name.index == Some(digest));
        if !is_named || digest.hex() != key {
            // It stays on disk at worst.
            let _ = table.remove(&key, store::Durability::Volatile);
            continue;
        }
        indexes::mend(state, &mut record, |file| disk.document(file).exists());
        state.indexes.insert(digest, record);
    }
    let directory = |source| OpenError::Directory { path: disk.documents.clone(), source };
    for name in names(&disk.documents).map_err(directory)? {
        let digest = name.to_str().and_then(|hex| oci::Digest::from_hex(hex).ok());
        let is_owned = digest.is_some_and(|digest| state.indexes.values().flat_map(IndexRecord::files).any(|file| *file == digest));
        // A damaged record may be repaired later: its documents are then still wanted.
        if !is_owned && state.damaged.is_empty() {
            fs_err::remove_file(disk.documents.join(name)).map_err(directory)?;
        }
    }
    Ok(table)
}

/// Checks a record against its key and the layers on disk.
fn read_record(disk: &Disk, key: &str, record: ImageRecord) -> Result<(ImageId, Entry), String> {
    let id = oci::Digest::of(record.config.as_bytes());
    if id.hex() != key {
        return Err("its configuration has another digest".to_owned());
    }
    for layer in &record.layers {
        if Layer::find(disk, &layer.diff_id).is_none() {
            return Err(format!("its layer {} is missing", layer.diff_id));
        }
    }
    let config: ImageConfig = serde_json::from_str(&record.config).map_err(|error| error.to_string())?;
    Ok((ImageId(id), Entry { record, config: Arc::new(config) }))
}
