//! Compressed layers while they come: one file a blob, which outlives a pull that is killed.
//!
//! Nothing is synced: after a power cut the digest does not fit, and the blob is fetched from its start.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use oci::Digest;

use crate::disk::{Disk, names};

/// How long the bytes of a pull that nobody took up again are kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A blob's file.
#[derive(Debug)]
pub(super) struct Ingest {
    file: fs_err::File,
    path: PathBuf,
    /// Bytes in it.
    pub(super) length: u64,
}

fn path(disk: &Disk, digest: &Digest) -> PathBuf {
    disk.ingest.join(digest.hex())
}

impl Ingest {
    /// Opens what is there of a blob of `size` bytes.
    pub(super) fn open(disk: &Disk, digest: &Digest, size: u64) -> io::Result<Self> {
        let path = path(disk, digest);
        let file = fs_err::OpenOptions::new().create(true).append(true).read(true).open(&path)?;
        let mut length = file.metadata()?.len();
        if length > size {
            file.set_len(0)?;
            length = 0;
        }
        Ok(Self { file, path, length })
    }

    /// Reads what is there from the start.
    pub(super) fn reader(&self) -> io::Result<fs_err::File> {
        fs_err::File::open(&self.path)
    }

    /// Adds bytes at the end.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.length += u64::try_from(bytes.len()).unwrap_or_default();
        Ok(())
    }

    /// Forgets what is there: it is wrong.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.length = 0;
        self.file.set_len(0)
    }
}

/// Bytes of a blob that are here.
pub(super) fn length(disk: &Disk, digest: &Digest) -> u64 {
    fs_err::metadata(path(disk, digest)).map_or(0, |metadata| metadata.len())
}

/// Removes a blob's file; one that stays costs only room, until the engine starts again.
pub(super) fn remove(disk: &Disk, digest: &Digest) {
    let _ = fs_err::remove_file(path(disk, digest));
}

/// Removes what nobody took up again in time.
pub(crate) fn sweep(disk: &Disk, now: SystemTime) -> io::Result<()> {
    for name in names(&disk.ingest)? {
        let path = disk.ingest.join(name);
        let age = fs_err::metadata(&path)?.modified().ok().and_then(|time| now.duration_since(time).ok());
        if age.is_some_and(|age| age > KEPT) {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}
