//! Which compressed blobs a layer is known by, and where: so that a push sends only what a registry lacks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use oci::image::Descriptor;
use oci::{Digest, ImageRef};
use serde::{Deserialize, Serialize};
use store::{Durability, Table};

/// Most blobs that are remembered of a layer, and most repositories of a blob.
const REMEMBERED_MAX: usize = 16;

/// A blob that holds a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBlob {
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// Its media type in a manifest.
    pub media_type: String,
    /// Repositories that have it, with their registry.
    pub repositories: Vec<String>,
}

impl KnownBlob {
    /// A layer of a manifest that was pulled from, or pushed to, a repository.
    #[must_use]
    pub fn of(layer: &Descriptor, repository: &ImageRef) -> Self {
        let repositories = vec![repository.repository().to_string()];
        Self { digest: layer.digest, size: layer.size, media_type: layer.media_type.clone(), repositories }
    }
}

/// All that is remembered, by diff id. A record that is lost costs only a second upload, so none is synced.
#[derive(Debug)]
pub(crate) struct Known {
    table: Table<Vec<KnownBlob>>,
    blobs: Mutex<BTreeMap<Digest, Vec<KnownBlob>>>,
}

impl Known {
    /// Reads what is remembered of layers that are still here.
    pub(crate) fn open(directory: PathBuf, is_here: impl Fn(&Digest) -> bool) -> Result<Self, store::OpenError> {
        let (table, records, _) = Table::open(directory)?;
        let mut blobs = BTreeMap::new();
        for (key, record) in records {
            match Digest::from_hex(&key).ok().filter(&is_here) {
                Some(diff_id) => drop(blobs.insert(diff_id, record)),
                // It stays on disk at worst.
                None => drop(table.remove(&key, Durability::Volatile)),
            }
        }
        Ok(Self { table, blobs: Mutex::new(blobs) })
    }

    /// Gives the blobs of a layer, the newest first.
    pub(crate) fn of(&self, diff_id: &Digest) -> Vec<KnownBlob> {
        self.lock().get(diff_id).cloned().unwrap_or_default()
    }

    /// Finds the layer that a blob became.
    pub(crate) fn layer_of(&self, blob: &Digest) -> Option<Digest> {
        let all = self.lock();
        all.iter().find(|(_, blobs)| blobs.iter().any(|known| known.digest == *blob)).map(|(diff_id, _)| *diff_id)
    }

    /// Remembers a blob of a layer.
    pub(crate) fn note(&self, diff_id: &Digest, blob: KnownBlob) {
        let mut all = self.lock();
        let known = all.entry(*diff_id).or_default();
        let before = known.clone();
        let mut blob = blob;
        if let Some(place) = known.iter().position(|other| other.digest == blob.digest && other.media_type == blob.media_type) {
            let old = known.remove(place);
            let new: Vec<String> = old.repositories.into_iter().filter(|name| !blob.repositories.contains(name)).collect();
            blob.repositories.extend(new);
        }
        blob.repositories.truncate(REMEMBERED_MAX);
        known.insert(0, blob);
        known.truncate(REMEMBERED_MAX);
        if *known != before {
            // Kept in memory at worst.
            let _ = self.table.put(&diff_id.hex(), known, Durability::Volatile);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, Vec<KnownBlob>>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
