//! Directories below the data root.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use rustix::fs::{Mode, OFlags};

/// Where things are. Layers and snapshots are moved to `trash` by rename, which is atomic, and deleted from there.
#[derive(Debug)]
pub(crate) struct Disk {
    /// One directory a layer, named by the hex digits of its diff id.
    pub(crate) layers: PathBuf,
    /// One file a layer, from which its tar is written again, named as the layer.
    pub(crate) tapes: PathBuf,
    /// One directory a snapshot, named by its holder.
    pub(crate) snapshots: PathBuf,
    /// Records of images and names.
    pub(crate) images: PathBuf,
    /// What is being unpacked.
    pub(crate) staging: PathBuf,
    /// What waits to be deleted.
    pub(crate) trash: PathBuf,
    /// Compressed layers while they come, one file a blob, named by its digest.
    pub(crate) ingest: PathBuf,
    /// Configurations and layers of attestations, one file each, named by its digest.
    pub(crate) documents: PathBuf,
    /// The lowest directory of every running container: its empty `/.dockerenv` tells programs where they run. A layer that all
    /// share costs a start less than a file in each snapshot. **Source:** moby, `daemon/initlayer/setup_unix.go`.
    pub(crate) mark: PathBuf,
    serial: AtomicU64,
}

impl Disk {
    /// Makes the directories (0710 for the root, 0700 below), and moves what a crash left in staging to the trash.
    pub(crate) fn open(root: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let make = |path: PathBuf, mode: u32| match make_directory(&path, mode) {
            Ok(()) => Ok(path),
            Err(source) => Err((path, source)),
        };
        make(root.to_owned(), 0o710)?;
        let disk = Self {
            layers: make(root.join("layers"), 0o700)?,
            tapes: make(root.join("tapes"), 0o700)?,
            snapshots: make(root.join("snapshots"), 0o700)?,
            images: make(root.join("images"), 0o700)?,
            staging: make(root.join("staging"), 0o700)?,
            trash: make(root.join("trash"), 0o700)?,
            ingest: make(root.join("ingest"), 0o700)?,
            documents: make(root.join("images/documents"), 0o700)?,
            mark: make(root.join("mark"), 0o755)?,
            serial: AtomicU64::new(0),
        };
        for name in names(&disk.staging).map_err(|source| (disk.staging.clone(), source))? {
            let path = disk.staging.join(name);
            disk.discard(&path).map_err(|source| (path, source))?;
        }
        // An image without layers still needs a lower directory.
        make(disk.layers.join(EMPTY), 0o755)?;
        let file = disk.mark.join(".dockerenv");
        let made = fs_err::OpenOptions::new().mode(0o755).append(true).create(true).open(&file);
        made.map_err(|source| (file, source))?;
        Ok(disk)
    }

    /// Returns the directory of a layer.
    pub(crate) fn layer(&self, diff_id: &oci::Digest) -> PathBuf {
        self.layers.join(diff_id.hex())
    }

    /// Returns the tape of a layer.
    pub(crate) fn tape(&self, diff_id: &oci::Digest) -> PathBuf {
        self.tapes.join(diff_id.hex())
    }

    /// Returns the file of an attestation's document.
    pub(crate) fn document(&self, digest: &oci::Digest) -> PathBuf {
        self.documents.join(digest.hex())
    }

    /// Makes a new staging directory.
    pub(crate) fn stage(&self) -> io::Result<Staging<'_>> {
        let path = self.staging.join(self.unique());
        make_directory(&path, 0o700)?;
        Ok(Staging { disk: self, path })
    }

    /// Moves `path` to the trash; false when it does not exist.
    pub(crate) fn discard(&self, path: &Path) -> io::Result<bool> {
        let place = self.trash.join(self.unique());
        match fs_err::rename(path, place) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes what lies in the trash, all it can, and returns the first failure.
    pub(crate) fn empty_trash(&self) -> Result<(), (PathBuf, io::Error)> {
        let mut failure = None;
        for name in names(&self.trash).map_err(|source| (self.trash.clone(), source))? {
            let path = self.trash.join(name);
            if let Err(source) = remove_tree(&path) {
                failure.get_or_insert((path, source));
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Names that no other call and no former run of the engine used.
    fn unique(&self) -> String {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        format!("{:x}-{:x}-{serial:x}", time.tv_sec, time.tv_nsec)
    }
}

/// The lower directory of images without layers.
pub(crate) const EMPTY: &str = "empty";

/// A directory for unpacking that is deleted when it is dropped.
#[derive(Debug)]
pub(crate) struct Staging<'a> {
    disk: &'a Disk,
    pub(crate) path: PathBuf,
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // First out of the way at once; what cannot be deleted now goes with the trash later.
        let place = self.disk.trash.join(self.disk.unique());
        if fs_err::rename(&self.path, &place).is_ok() {
            let _ = remove_tree(&place);
        }
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs_err::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs_err::remove_dir_all(path),
        Ok(_) => fs_err::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a directory and those above it; one that exists keeps its mode.
pub(crate) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(path)
}

/// Lists the names in a directory, sorted.
pub(crate) fn names(path: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = fs_err::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Opens a directory for use with `*at` calls, syncing and attributes.
pub(crate) fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}
