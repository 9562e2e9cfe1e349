//! Results of steps by what went into them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use image::ImageId;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Durability, Table};

/// What a step depends on, digested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) [u8; 32]);

impl Key {
    /// The key of what stands on an image.
    pub(crate) fn of_image(image: &ImageId) -> Self {
        Self(Sha256::digest(image.to_string().as_bytes()).into())
    }

    /// The key after one more step; parts are kept apart.
    pub(crate) fn then(&self, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        for part in parts {
            hash.update(part.len().to_le_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    fn text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    image: ImageId,
    /// Unix time in seconds.
    used_at: u64,
}

/// What `builder prune` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Keys of the entries that were forgotten.
    pub entries: Vec<String>,
    /// Bytes of cache mounts that were deleted.
    pub reclaimed: u64,
}

/// A table of results; images that are gone are no results.
#[derive(Debug)]
pub(crate) struct Cache {
    table: Table<Entry>,
    entries: Mutex<BTreeMap<String, Entry>>,
}

impl Cache {
    pub(crate) fn open(root: &Path) -> Result<Self, store::OpenError> {
        // A damaged entry is a step done again.
        let (table, entries, _) = Table::open(root.join("cache"))?;
        Ok(Self { table, entries: Mutex::new(entries.into_iter().collect()) })
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The result of a step, if `exists` says that it is still there.
    pub(crate) fn get(&self, key: &Key, exists: impl FnOnce(&ImageId) -> bool) -> Option<ImageId> {
        let mut entries = self.entries();
        let entry = entries.get_mut(&key.text())?;
        entry.used_at = now();
        exists(&entry.image).then_some(entry.image)
    }

    /// Remembers a result. A lost entry costs a step, so nothing waits for the disk.
    pub(crate) fn put(&self, key: &Key, image: ImageId) {
        let entry = Entry { image, used_at: now() };
        // On a full disk the build goes on without its cache.
        let _ = self.table.put(&key.text(), &entry, Durability::Volatile);
        self.entries().insert(key.text(), entry);
    }

    /// Forgets the entries that `keep` does not hold on to: their last use in Unix seconds and their image.
    pub(crate) fn forget(&self, keep: &dyn Fn(u64, &ImageId) -> bool) -> Vec<(String, ImageId)> {
        let mut entries = self.entries();
        let gone: Vec<_> = entries.iter().filter(|(_, it)| !keep(it.used_at, &it.image)).map(|(key, it)| (key.clone(), it.image)).collect();
        for (key, _) in &gone {
            entries.remove(key);
            // It is forgotten at the next start where it cannot be deleted now.
            let _ = self.table.remove(key, Durability::Volatile);
        }
        gone
    }
}

/// What selections of files in images came to: whether the destination is a directory, and their digest.
#[derive(Debug, Default)]
pub(crate) struct Selections(Mutex<BTreeMap<[u8; 32], Selected>>);

/// Whether the destination is a directory, and the digest of the files.
type Selected = (bool, [u8; 32]);

/// Selections that are kept; beyond it they are forgotten, which costs a reading of the files.
const SELECTIONS_MAX: usize = 100_000;

impl Selections {
    pub(crate) fn get(&self, selection: &[u8; 32]) -> Option<(bool, [u8; 32])> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(selection).copied()
    }

    pub(crate) fn put(&self, selection: [u8; 32], digest: (bool, [u8; 32])) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SELECTIONS_MAX {
            all.clear();
        }
        all.insert(selection, digest);
    }
}

/// Steps that are done right now: whoever needs the same result waits for it instead of doing it again.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<[u8; 32], Weak<Flight>>>);

/// One step's turn.
pub(crate) type Flight = tokio::sync::Mutex<()>;

impl Flights {
    /// The turn of a step.
    pub(crate) fn of(&self, key: &Key) -> Arc<Flight> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = all.get(&key.0).and_then(Weak::upgrade) {
            return flight;
        }
        all.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::new(Flight::default());
        all.insert(key.0, Arc::downgrade(&flight));
        flight
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs())
}
