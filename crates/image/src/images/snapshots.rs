//! Writable layers on top of images.
//!
//! A snapshot is a directory `snapshots/<holder>` with `diff`, overlay's upper directory, and
//! `work-<hex digits of the image's id>`, its work directory: the name says which image it is on
//! and is in the file system's journal, so it is never found half-written.

use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Images;
use crate::disk::{Disk, EMPTY, make_directory};
use crate::error::{RemoveSnapshotError, SnapshotError};
use crate::layer::Layer;
use crate::model::{ImageId, Snapshot, SnapshotOptions};
use crate::overlay::{Lower, Upper, merged, writable};
use crate::state::State;

/// Start of the name of the work directory.
const WORK: &str = "work-";
/// Longest file that `read_file` reads.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files kept in memory.
const FILES_MAX: usize = 256;

impl Images {
    /// Makes a writable layer on top of an image and pins the image.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot(&self, holder: &str, image: &ImageId, options: SnapshotOptions) -> Result<Snapshot, SnapshotError> {
        if !is_file_name(holder) {
            return Err(SnapshotError::Holder { holder: holder.to_owned() });
        }
        let lower = {
            let mut state = self.state();
            if state.visible(image).is_none() {
                return Err(SnapshotError::Image { id: *image });
            }
            if state.snapshots.contains_key(holder) {
                return Err(SnapshotError::Exists { holder: holder.to_owned() });
            }
            // The pin comes first, so that no removal comes between.
            state.snapshots.insert(holder.to_owned(), *image);
            self.lower(&state, image)
        };
        let directory = self.disk.snapshots.join(holder);
        let top = self.mountable(&lower[..1]).and_then(|top| top[0].open());
        if let Err(source) = top.and_then(|top| make(&directory, &top, image)) {
            // What was made so far is a stranger to the next sweep, too.
            let _ = self.disk.discard(&directory);
            let mut state = self.state();
            state.snapshots.remove(holder);
            self.collect_hidden(&mut state, image);
            return Err(SnapshotError::Io { holder: holder.to_owned(), source });
        }
        Ok(assemble(&directory, lower, *image, options))
    }

    /// Returns the snapshot of `holder`, also after a restart of the engine.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open_snapshot(&self, holder: &str, options: SnapshotOptions) -> Result<Snapshot, SnapshotError> {
        let state = self.state();
        let not_found = || SnapshotError::NotFound { holder: holder.to_owned() };
        let image = *state.snapshots.get(holder).ok_or_else(not_found)?;
        if !state.images.contains_key(&image) {
            return Err(SnapshotError::Image { id: image });
        }
        Ok(assemble(&self.disk.snapshots.join(holder), self.lower(&state, &image), image, options))
    }

    /// Limits the bytes of a new snapshot's own files; `project` names the limit on this file system.
    ///
    /// # Errors
    /// As quotactl(2), `ESRCH` where the file system has no limits of directories.
    pub fn limit_snapshot(&self, snapshot: &Snapshot, bytes: u64, project: u32) -> io::Result<()> {
        use std::os::fd::AsFd as _;
        for path in [&snapshot.upper, &snapshot.work] {
            let directory = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            if !sys::quota::is_enforced(directory.as_fd()) {
                return Err(Errno::SRCH.into());
            }
            sys::quota::set_limit(directory.as_fd(), project, bytes)?;
            // Overlay moves files between the two, which must be of one project for that.
            sys::quota::set_project(directory.as_fd(), project)?;
        }
        Ok(())
    }

    /// Returns the bytes of changed files in the snapshot of `holder`, by walking it.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_size(&self, holder: &str) -> Result<u64, SnapshotError> {
        if !self.state().snapshots.contains_key(holder) {
            return Err(SnapshotError::NotFound { holder: holder.to_owned() });
        }
        let directory = self.disk.snapshots.join(holder).join("diff");
        size(&directory).map_err(|source| SnapshotError::Io { holder: holder.to_owned(), source })
    }

    /// Moves the snapshot of `holder` to the trash and takes its pin away; true when there was one.
    ///
    /// # Errors
    /// [`RemoveSnapshotError`].
    pub fn remove_snapshot(&self, holder: &str) -> Result<bool, RemoveSnapshotError> {
        let mut state = self.state();
        if !is_file_name(holder) {
            return Ok(false);
        }
        let existed = self
            .disk
            .discard(&self.disk.snapshots.join(holder))
            .map_err(|source| RemoveSnapshotError { holder: holder.to_owned(), source })?;
        if let Some(image) = state.snapshots.remove(holder) {
            self.collect_hidden(&mut state, &image);
        }
        Ok(existed)
    }

    /// Mounts a snapshot, writable and detached: the root of a container, to be attached in its mount namespace.
    ///
    /// The host's table of mounts does not show it; it ends with its last user.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn mount(&self, snapshot: &Snapshot) -> Result<OwnedFd, SnapshotError> {
        let upper = Upper { path: &snapshot.upper, work: &snapshot.work, volatile: snapshot.volatile };
        let mounted = self.mountable(&snapshot.lower).and_then(|mut lower| {
            lower.push(Lower::Directory(self.disk.mark.clone()));
            writable(&lower, upper)
        });
        mounted.map_err(|source| SnapshotError::Io { holder: snapshot.holder(), source })
    }

    /// Opens the merged root directory of a snapshot, read-only: a detached overlay mount that nothing else sees.
    ///
    /// For copying image files into volumes and out of stopped containers. Open paths below it
    /// with `openat2` and `RESOLVE_IN_ROOT`; the mount ends with the last descriptor.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open_root(&self, snapshot: &Snapshot) -> Result<OwnedFd, SnapshotError> {
        let merged = self.mountable(&snapshot.lower).and_then(|mut lower| {
            lower.insert(0, Lower::Directory(snapshot.upper.clone()));
            merged(&lower)
        });
        merged.map_err(|source| SnapshotError::Io { holder: snapshot.holder(), source })
    }

    /// Opens what a snapshot stands on, without its own changes, in the same way as [`Images::open_root`].
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open_base(&self, snapshot: &Snapshot) -> Result<OwnedFd, SnapshotError> {
        let merged = self.mountable(&snapshot.lower).and_then(|lower| merged(&lower));
        merged.map_err(|source| SnapshotError::Io { holder: snapshot.holder(), source })
    }

    /// Opens the merged root directory of an image, read-only: a detached mount to be attached elsewhere.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open_image(&self, image: &ImageId) -> Result<OwnedFd, SnapshotError> {
        let mut lower = {
            let state = self.state();
            if !state.images.contains_key(image) {
                return Err(SnapshotError::Image { id: *image });
            }
            self.lower(&state, image)
        };
        // Overlay refuses a single layer.
        lower.push(self.disk.layers.join(EMPTY));
        self.mountable(&lower).and_then(|lower| merged(&lower)).map_err(|source| SnapshotError::Io { holder: image.to_string(), source })
    }

    /// Reads a small file (at most 1 MiB) of an image, such as `/etc/passwd`; nothing where there is none. Cached.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn read_file(&self, image: &ImageId, path: &Path) -> Result<Option<Arc<[u8]>>, SnapshotError> {
        let key = (*image, path.to_owned());
        let lower = {
            let state = self.state();
            if let Some(file) = state.files.get(&key) {
                return Ok(file.clone());
            }
            if !state.images.contains_key(image) {
                return Err(SnapshotError::Image { id: *image });
            }
            self.lower(&state, image)
        };
        let read = || -> io::Result<Option<Arc<[u8]>>> { read_small(&merged(&self.mountable(&lower)?)?, path) };
        let file = read().map_err(|source| SnapshotError::Io { holder: image.to_string(), source })?;
        let mut state = self.state();
        if state.files.len() < FILES_MAX && state.images.contains_key(image) {
            state.files.insert(key, file.clone());
        }
        Ok(file)
    }

    /// Returns the layers at these paths as overlay takes them.
    fn mountable(&self, lower: &[PathBuf]) -> io::Result<Vec<Lower>> {
        let one = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            match oci::Digest::from_hex(name) {
                Ok(diff_id) => {
                    let layer = Layer::find(&self.disk, &diff_id).ok_or(io::ErrorKind::NotFound)?;
                    self.mounts.lower(&diff_id, &layer)
                }
                Err(_) => Ok(Lower::Directory(path.clone())),
            }
        };
        lower.iter().map(one).collect()
    }

    /// Returns where an image's layers are, the topmost first.
    fn lower(&self, state: &State, image: &ImageId) -> Vec<PathBuf> {
        let mut lower = Vec::new();
        for layer in state.images.get(image).iter().flat_map(|entry| entry.record.layers.iter().rev()) {
            let path = self.disk.layer(&layer.diff_id);
            // The same layer twice is refused by overlay and hides nothing.
            if !lower.contains(&path) {
                lower.push(path);
            }
            if layer.opaque_root {
                break;
            }
        }
        if lower.is_empty() {
            lower.push(self.disk.layers.join(EMPTY));
        }
        lower
    }
}

/// A holder is used as a file name, and dots at its start are ours.
fn is_file_name(holder: &str) -> bool {
    !holder.is_empty() && holder.len() <= 200 && !holder.starts_with('.') && !holder.bytes().any(|b| b == b'/' || b == 0)
}

fn make(directory: &Path, top: &OwnedFd, image: &ImageId) -> io::Result<()> {
    make_directory(directory, 0o700)?;
    let upper = directory.join("diff");
    make_directory(&upper, 0o755)?;
    make_directory(&work(directory, image), 0o700)?;
    // The merged root directory shows owner and mode of the upper one.
    let (wanted, made) = (rustix::fs::fstat(top)?, rustix::fs::stat(&upper)?);
    if (wanted.st_uid, wanted.st_gid) != (made.st_uid, made.st_gid) {
        std::os::unix::fs::chown(&upper, Some(wanted.st_uid), Some(wanted.st_gid))?;
    }
    if wanted.st_mode != made.st_mode {
        fs_err::set_permissions(&upper, std::fs::Permissions::from_mode(wanted.st_mode & 0o7777))?;
    }
    Ok(())
}

/// Overlay's work directory, whose name keeps the image's id.
fn work(directory: &Path, image: &ImageId) -> PathBuf {
    directory.join(format!("{WORK}{}", image.0.hex()))
}

/// Reads which image a snapshot is on.
pub(super) fn read_image(disk: &Disk, holder: &Path) -> Option<ImageId> {
    let names = crate::disk::names(&disk.snapshots.join(holder)).ok()?;
    let digest = |name: &std::ffi::OsString| oci::Digest::from_hex(name.to_str()?.strip_prefix(WORK)?).ok();
    names.iter().find_map(digest).map(ImageId)
}

fn assemble(directory: &Path, lower: Vec<PathBuf>, image: ImageId, options: SnapshotOptions) -> Snapshot {
    Snapshot { upper: directory.join("diff"), work: work(directory, &image), lower, volatile: options.volatile, image }
}

fn read_small(root: &OwnedFd, path: &Path) -> io::Result<Option<Arc<[u8]>>> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    // Without blocking: the path may name a pipe.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

fn size(directory: &Path) -> io::Result<u64> {
    let mut sum = 0_u64;
    for entry in fs_err::read_dir(directory)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            // The container may remove files meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if metadata.is_dir() {
            match size(&entry.path()) {
                Ok(bytes) => sum = sum.saturating_add(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        } else if metadata.is_file() {
            sum = sum.saturating_add(metadata.len());
        }
    }
    Ok(sum)
}
