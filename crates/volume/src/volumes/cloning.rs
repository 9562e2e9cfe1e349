//! Copies of volumes, and volumes from elsewhere.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use store::Durability;

use super::filling::{copy_into, is_empty};
use super::{Volumes, find, make_directory, open_directory};
use crate::error::CloneError;
use crate::model::{Name, Spec, Volume};
use crate::options;

/// A directory for the files of a volume to be; what is left of it when it is dropped goes.
#[derive(Debug)]
pub struct Import<'a> {
    volumes: &'a Volumes,
    name: Name,
    made: bool,
    data: PathBuf,
    filling: PathBuf,
    done: bool,
}

impl Volumes {
    /// Makes up a user for [`Volumes::open_files`] that nobody else is.
    #[must_use]
    pub fn new_user(&self, act: &str) -> String {
        format!("{act}-{}", self.unique())
    }

    /// Opens the files of a volume for reading, mounted for `user` if they need it; [`Volumes::unmount`] ends that.
    ///
    /// # Errors
    /// [`CloneError::Mount`].
    pub fn open_files(&self, name: &str, user: &str) -> Result<OwnedFd, CloneError> {
        let name = {
            let state = self.state();
            find(&state, name).map(|(name, _)| name.clone()).map_err(crate::error::MountError::from)?
        };
        let data = self.mount(&name, user)?;
        open_directory(&data).map_err(|source| CloneError::Copy { name, path: data, source })
    }

    /// Makes a volume with a copy of another one's files, labels and options of size, sharing blocks where the file system can.
    ///
    /// The copy appears whole or not at all. Files that change meanwhile may be copied in any of their states:
    /// pause who writes.
    ///
    /// # Errors
    /// [`CloneError`].
    pub fn copy(&self, source: &str, spec: Spec) -> Result<Volume, CloneError> {
        let user = format!("copy-{}", self.unique());
        let result = self.copy_for(source, spec, &user);
        self.unmount(&user);
        result
    }

    fn copy_for(&self, source: &str, mut spec: Spec, user: &str) -> Result<Volume, CloneError> {
        let from = self.open_files(source, user)?;
        let original = self.get(source).map_err(crate::error::MountError::from)?;
        if let Some(size) = original.driver_opts.get("size") {
            spec.driver_opts.entry("size".to_owned()).or_insert_with(|| size.clone());
        }
        let mut labels = original.labels;
        labels.remove(crate::model::ANONYMOUS_LABEL);
        labels.append(&mut spec.labels);
        spec.labels = labels;
        if let Some(name) = &spec.name
            && self.state().volumes.contains_key(name)
        {
            return Err(CloneError::Taken { name: name.clone() });
        }
        let import = self.import(spec)?;
        let failed = |(path, source)| CloneError::Copy { name: import.name.clone(), path, source };
        copy_into(from.as_fd(), &import.filling, import.project(), true).map_err(failed)?;
        import.commit(false)
    }

    /// Prepares the files of a volume, which is made where it is missing; it must be empty of holders.
    ///
    /// # Errors
    /// [`CloneError`].
    pub fn import(&self, spec: Spec) -> Result<Import<'_>, CloneError> {
        let (volume, made) = self.make(spec)?;
        let refused = if options::needs_mount(&volume.driver_opts) {
            Some(CloneError::Elsewhere { name: volume.name.clone() })
        } else if volume.holders.is_empty() {
            None
        } else {
            Some(CloneError::InUse { name: volume.name.clone(), holders: volume.holders })
        };
        if let Some(error) = refused {
            return Err(error);
        }
        let (data, filling) = self.staging(&volume.name);
        Ok(Import { volumes: self, name: volume.name, made, data, filling, done: false })
    }
}

impl Import<'_> {
    /// Makes and opens the directory that is to be filled.
    ///
    /// # Errors
    /// [`CloneError::Copy`].
    pub fn directory(&self) -> Result<OwnedFd, CloneError> {
        let open = || -> io::Result<OwnedFd> {
            make_directory(&self.filling, 0o755)?;
            let directory = open_directory(&self.filling)?;
            if let Some(project) = self.project() {
                sys::quota::set_project(directory.as_fd(), project)?;
            }
            Ok(directory)
        };
        open().map_err(|source| CloneError::Copy { name: self.name.clone(), path: PathBuf::new(), source })
    }

    fn project(&self) -> Option<u32> {
        self.volumes.state().volumes.get(&self.name).and_then(|record| record.project)
    }

    /// Puts the files into the volume at once; with `replace` in the place of those it has.
    ///
    /// # Errors
    /// [`CloneError`]; the volume is then as it was.
    pub fn commit(mut self, replace: bool) -> Result<Volume, CloneError> {
        let result = self.put(replace);
        if result.is_ok() {
            self.done = true;
        }
        result
    }

    fn put(&self, replace: bool) -> Result<Volume, CloneError> {
        let failed = |source| CloneError::Copy { name: self.name.clone(), path: PathBuf::new(), source };
        let synced = open_directory(&self.filling).and_then(|directory| Ok(rustix::fs::syncfs(directory)?));
        synced.map_err(failed)?;
        let state = self.volumes.state();
        if let Some(holders) = state.holders.get(&self.name).filter(|holders| !holders.is_empty()) {
            return Err(CloneError::InUse { name: self.name.clone(), holders: holders.iter().cloned().collect() });
        }
        if !replace && !is_empty(&self.data).map_err(failed)? {
            return Err(CloneError::NotEmpty { name: self.name.clone() });
        }
        exchange(&self.filling, &self.data).map_err(failed)?;
        let (name, record) = find(&state, self.name.as_str()).map_err(crate::error::MountError::from)?;
        // The copy has its record on the disk before it is used.
        let put = self.volumes.records.put(name.as_str(), record, Durability::Durable);
        put.map_err(crate::error::CreateError::Record)?;
        Ok(self.volumes.volume(&state, name, record))
    }
}

/// Swaps two directories at once; the old files are then in the place of the new ones.
fn exchange(new: &Path, old: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    match rustix::fs::renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => fs_err::rename(new, old),
        result => Ok(result?),
    }
}

impl Drop for Import<'_> {
    fn drop(&mut self) {
        // The next start clears what cannot be moved away now.
        let _ = self.volumes.discard(&self.filling);
        if !self.done && self.made {
            // It was made for this import; someone who took it meanwhile keeps it.
            let _ = self.volumes.remove(self.name.as_str(), true);
        }
        let _ = self.volumes.empty_trash();
    }
}
