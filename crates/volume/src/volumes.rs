//! The façade.

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::error::{
    AttachError, CreateError, GetError, OpenError, PopulateError, PruneError, RemoveError,
};
use crate::model::{Name, Pruned, Spec, Volume};

/// All volumes below one data directory; methods may be called from any thread.
#[derive(Debug)]
pub struct Volumes {
    #[expect(dead_code, reason = "read as soon as the bodies are in")]
    root: PathBuf,
}

impl Volumes {
    /// Opens the volumes below `root`, the engine's data directory (they are in `root/volumes/<name>/_data`).
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// Makes a volume, or returns the one of that name when its driver and options are the same.
    ///
    /// # Errors
    /// [`CreateError`].
    pub fn create(&self, _spec: Spec) -> Result<Volume, CreateError> {
        todo!()
    }

    /// Returns a volume.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn get(&self, name: &str) -> Result<Volume, GetError> {
        Err(GetError {
            name: name.to_owned(),
        })
    }

    /// Returns all volumes, sorted by name.
    #[must_use]
    pub fn list(&self) -> Vec<Volume> {
        Vec::new()
    }

    /// Removes a volume; with `force` a missing one is no error (one in use still is).
    ///
    /// # Errors
    /// [`RemoveError`].
    pub fn remove(&self, name: &str, _force: bool) -> Result<(), RemoveError> {
        Err(GetError {
            name: name.to_owned(),
        }
        .into())
    }

    /// Removes volumes without holders: the anonymous ones, or with `all` the named ones too; `keep` excepts some.
    ///
    /// # Errors
    /// [`PruneError`].
    pub fn prune(&self, _all: bool, _keep: &dyn Fn(&Volume) -> bool) -> Result<Pruned, PruneError> {
        Ok(Pruned::default())
    }

    /// Notes that `holder` uses the volume, which is made where it is missing, and returns the mount.
    ///
    /// The mount's `destination` is left empty for the caller. Type and options: `bind` with
    /// `rbind` for plain volumes, what the driver options say for others. Holders are not
    /// recorded on disk: after a restart the engine attaches again for each container it knows.
    ///
    /// # Errors
    /// [`AttachError`].
    pub fn attach(&self, _name: &Name, _holder: &str) -> Result<oci::runtime::Mount, AttachError> {
        todo!()
    }

    /// Ends the use of all volumes by `holder`.
    pub fn detach(&self, _holder: &str) {}

    /// Copies the files of an image's directory into the volume when the volume is empty; true when it copied.
    ///
    /// The directory's owner, mode and times are given to the volume too.
    ///
    /// # Errors
    /// [`PopulateError`].
    pub fn populate(
        &self,
        name: &Name,
        _image_directory: BorrowedFd<'_>,
    ) -> Result<bool, PopulateError> {
        Err(GetError {
            name: name.to_string(),
        }
        .into())
    }

    /// Returns the bytes a volume's files take, by walking it.
    ///
    /// # Errors
    /// [`GetError`].
    pub fn size(&self, name: &str) -> Result<u64, GetError> {
        Err(GetError {
            name: name.to_owned(),
        })
    }

    /// Deletes what lies in the trash; call it where time does not matter.
    ///
    /// # Errors
    /// The first error, after all has been tried.
    pub fn empty_trash(&self) -> std::io::Result<()> {
        Ok(())
    }
}
