//! The façade.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::{ImageRef, Platform};

use crate::error::{
    HistoryError, ImportError, LoadError, OpenError, PinError, PruneError, RemoveError,
    RemoveSnapshotError, ResolveError, SaveError, SnapshotError, SweepError, TagError,
};
use crate::model::{
    HistoryEntry, Image, ImageId, ImportOptions, Loaded, Progress, Pruned, RemoveOptions, Removed,
    Snapshot, SnapshotOptions, Swept,
};

/// All images below one data directory; methods may be called from any thread.
#[derive(Debug)]
pub struct Images {
    #[expect(dead_code, reason = "read as soon as the bodies are in")]
    root: PathBuf,
}

impl Images {
    /// Opens the images below `root`, the engine's data directory, which is made where it is missing.
    ///
    /// # Errors
    /// [`OpenError`] when a directory cannot be used; damaged records are set aside, see [`Images::sweep`].
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Loads a docker-archive or OCI archive, plain or compressed, for `platform` (absent: this host's).
    ///
    /// # Errors
    /// [`LoadError`]; nothing of a bad archive is kept.
    pub fn load(
        &self,
        _archive: impl Read,
        _platform: Option<&Platform>,
        _progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Loaded>, LoadError> {
        todo!()
    }

    /// Makes an image of one layer from a tar of a root file system, plain or compressed.
    ///
    /// # Errors
    /// [`ImportError`]; nothing of a bad tar is kept.
    pub fn import(&self, _tar: impl Read, _options: ImportOptions) -> Result<ImageId, ImportError> {
        todo!()
    }

    /// Writes images as `docker save` does: an OCI layout with Docker's `manifest.json`.
    ///
    /// # Errors
    /// [`SaveError`].
    pub fn save(&self, _names: &[String], _archive: impl Write) -> Result<(), SaveError> {
        todo!()
    }

    /// Returns all images, the newest first.
    #[must_use]
    pub fn list(&self) -> Vec<Image> {
        Vec::new()
    }

    /// Finds an image by name, tag, digest, id or the first digits of an id.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub fn resolve(&self, name: &str) -> Result<Image, ResolveError> {
        Err(ResolveError::NotFound {
            name: name.to_owned(),
        })
    }

    /// Returns the image with this id.
    #[must_use]
    pub fn get(&self, _id: &ImageId) -> Option<Image> {
        None
    }

    /// Gives an image a further name, taking it from another image where needed.
    ///
    /// # Errors
    /// [`TagError`].
    pub fn tag(&self, id: &ImageId, _name: &ImageRef) -> Result<(), TagError> {
        Err(TagError::NotFound { id: *id })
    }

    /// Removes a name, and the image with its last one; `running` says whether a holder runs now.
    ///
    /// # Errors
    /// [`RemoveError`], with Docker's texts for conflicts.
    pub fn remove(
        &self,
        _name: &str,
        _options: RemoveOptions,
        _running: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<Removed>, RemoveError> {
        todo!()
    }

    /// Removes images without holders: those without names, or with `dangling_only` false all; `keep` excepts some.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn prune(
        &self,
        _dangling_only: bool,
        _keep: &dyn Fn(&Image) -> bool,
    ) -> Result<Pruned, PruneError> {
        todo!()
    }

    /// Returns the steps an image was made in, the newest first.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn history(&self, id: &ImageId) -> Result<Vec<HistoryEntry>, HistoryError> {
        Err(HistoryError { id: *id })
    }

    /// Keeps an image while `holder` needs it, until [`Images::unpin`] or the engine ends. A snapshot pins by itself.
    ///
    /// # Errors
    /// [`PinError`].
    pub fn pin(&self, _holder: &str, id: &ImageId) -> Result<(), PinError> {
        Err(PinError { id: *id })
    }

    /// Takes a pin away; nothing happens where there is none.
    pub fn unpin(&self, _holder: &str) {}

    /// Makes a writable layer on top of an image and pins the image.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot(
        &self,
        _holder: &str,
        image: &ImageId,
        _options: SnapshotOptions,
    ) -> Result<Snapshot, SnapshotError> {
        Err(SnapshotError::Image { id: *image })
    }

    /// Returns the snapshot of `holder`, also after a restart of the engine.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn open_snapshot(
        &self,
        holder: &str,
        _options: SnapshotOptions,
    ) -> Result<Snapshot, SnapshotError> {
        Err(SnapshotError::NotFound {
            holder: holder.to_owned(),
        })
    }

    /// Returns the bytes of changed files in the snapshot of `holder`, by walking it.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn snapshot_size(&self, holder: &str) -> Result<u64, SnapshotError> {
        Err(SnapshotError::NotFound {
            holder: holder.to_owned(),
        })
    }

    /// Opens the merged root directory of a snapshot, read-only: a detached overlay mount that nothing else sees.
    ///
    /// For copying image files into volumes and out of stopped containers. Open paths below it
    /// with `openat2` and `RESOLVE_IN_ROOT`; the mount ends with the last descriptor.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open_root(&self, _snapshot: &Snapshot) -> Result<OwnedFd, SnapshotError> {
        todo!()
    }

    /// Reads a small file (at most 1 MiB) of an image, such as `/etc/passwd`; nothing where there is none. Cached.
    ///
    /// # Errors
    /// [`SnapshotError`].
    pub fn read_file(
        &self,
        image: &ImageId,
        _path: &Path,
    ) -> Result<Option<Arc<[u8]>>, SnapshotError> {
        Err(SnapshotError::Image { id: *image })
    }

    /// Moves the snapshot of `holder` to the trash and takes its pin away; true when there was one.
    ///
    /// # Errors
    /// [`RemoveSnapshotError`].
    pub fn remove_snapshot(&self, _holder: &str) -> Result<bool, RemoveSnapshotError> {
        Ok(false)
    }

    /// Deletes what lies in the trash; call it where time does not matter.
    ///
    /// # Errors
    /// [`SweepError`] after all has been tried.
    pub fn empty_trash(&self) -> Result<(), SweepError> {
        Ok(())
    }

    /// Moves to the trash what nothing owns: snapshots of others than `holders`, layers no image names.
    ///
    /// # Errors
    /// [`SweepError`].
    pub fn sweep(&self, _holders: &[&str]) -> Result<Swept, SweepError> {
        Ok(Swept::default())
    }
}
