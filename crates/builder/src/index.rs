//! Digests of files that have not changed since they were last read.
//!
//! A file is known by its inode, and unchanged if size, times and mode are. The time of change (ctime) cannot be set
//! by programs, so a file that was rewritten with equal size and time is seen. One that changed a moment before it was
//! read is not kept, since a later change might fall on the same tick of the clock.
//! **Source:** git, `Documentation/technical/racy-git.txt`.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use store::{Durability, Table};

/// Entries that are kept; beyond it the index begins anew.
const ENTRIES_MAX: usize = 500_000;
/// Seconds that must have passed between a file's change and its reading.
const SETTLED_SECONDS: i64 = 2;
/// Bytes that are read at once.
const CHUNK: usize = 128 << 10;
const NAME: &str = "files";

/// What must be the same of an unchanged file: size, modification, change (seconds and nanoseconds).
type Stamp = (i64, i64, u64, i64, u64);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    device: u64,
    inode: u64,
    stamp: Stamp,
    digest: [u8; 32],
}

/// Device and number of an inode.
type Inode = (u64, u64);
/// What a file was like, and the digest of its content then.
type Known = (Stamp, [u8; 32]);

/// The digests, in memory and on the disk.
#[derive(Debug)]
pub(crate) struct Index {
    table: Table<Vec<Entry>>,
    entries: Mutex<BTreeMap<Inode, Known>>,
    changed: AtomicBool,
}

impl Index {
    pub(crate) fn open(root: &Path) -> Result<Self, store::OpenError> {
        // A damaged index costs a reading of the files.
        let (table, found, _) = Table::open(root.join("index"))?;
        let entries = found.into_iter().flat_map(|(_, entries): (String, Vec<Entry>)| entries);
        let entries = entries.map(|it| ((it.device, it.inode), (it.stamp, it.digest))).collect();
        Ok(Self { table, entries: Mutex::new(entries), changed: AtomicBool::new(false) })
    }

    /// The digest of a file's content; it is opened only where it must be read.
    pub(crate) fn digest(&self, stat: &Stat, open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<[u8; 32]> {
        let name = (stat.st_dev, stat.st_ino);
        let entries = || self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stamp, digest)) = entries().get(&name)
            && *stamp == stamp_of(stat)
        {
            return Ok(*digest);
        }
        let file = std::fs::File::from(open()?);
        let before = rustix::fs::fstat(&file)?;
        let digest = read(&file)?;
        let after = rustix::fs::fstat(&file)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        let settled = stamp_of(&before) == stamp_of(&after) && now.saturating_sub(after.st_ctime) > SETTLED_SECONDS;
        if settled && (after.st_dev, after.st_ino) == name {
            let mut entries = entries();
            if entries.len() >= ENTRIES_MAX {
                entries.clear();
            }
            entries.insert(name, (stamp_of(&after), digest));
            self.changed.store(true, Ordering::Relaxed);
        }
        Ok(digest)
    }

    /// Writes the index down where it has changed.
    pub(crate) fn save(&self) {
        if !self.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let all = entries.iter().map(|((device, inode), (stamp, digest))| Entry {
            device: *device,
            inode: *inode,
            stamp: *stamp,
            digest: *digest,
        });
        let all: Vec<Entry> = all.collect();
        drop(entries);
        // On a full disk the files are read again after a restart.
        let _ = self.table.put(NAME, &all, Durability::Volatile);
    }
}

fn stamp_of(stat: &Stat) -> Stamp {
    (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
}

/// Digests a file's content.
pub(crate) fn read(mut file: &std::fs::File) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().into()),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_equal_size_and_time_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        let index = Index::open(directory.path()).unwrap();
        let digest = |text: &str| {
            std::fs::write(&path, text).unwrap();
            std::fs::File::open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            index.digest(&rustix::fs::fstat(&file).unwrap(), || Ok(file.try_clone()?.into())).unwrap()
        };
        assert_ne!(digest("a"), digest("b"));
        assert_eq!(digest("a"), digest("a"));
    }
}
