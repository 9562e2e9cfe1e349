//! Filling a volume so that nobody ever sees half of it.
//!
//! Everything is copied into `_new-…` first. An unshared volume then gets the whole copy by one rename. Where others may
//! look already, `_new-…` becomes `_ready-…` and its entries are moved into place one by one; a crash in between is finished by
//! [`recover`].

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use super::{DATA, Volumes, find, make_directory, open_directory};
use crate::error::PopulateError;
use crate::model::Name;
use crate::{copy, options};

/// Start of the names of directories that are being filled.
pub(super) const FILLING: &str = "_new-";
/// Start of the names of directories that are complete.
const READY: &str = "_ready-";
/// Start of both within the mounted file system of a volume, where they are among the user's files.
const HIDDEN: &str = ".teu";

type Failure = (PathBuf, io::Error);

/// Finishes or clears what a crash left of fillings in `staging`; complete ones are moved into `data`.
///
/// # Errors
/// When a directory cannot be read or moved.
pub(super) fn recover(staging: &Path, data: &Path, discard: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut waiting = Vec::new();
    for entry in fs_err::read_dir(staging)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let name = name.strip_prefix(HIDDEN).unwrap_or(name);
        if name.starts_with(FILLING) {
            waiting.push((false, entry.path()));
        } else if name.starts_with(READY) {
            waiting.push((true, entry.path()));
        }
    }
    for (ready, path) in waiting {
        if ready {
            move_entries(&path, data)?;
        }
        discard(&path)?;
    }
    Ok(())
}

/// Moves all entries of a directory; what is there already stays.
fn move_entries(from: &Path, into: &Path) -> io::Result<()> {
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        match rustix::fs::renameat_with(CWD, entry.path(), CWD, into.join(entry.file_name()), RenameFlags::NOREPLACE) {
            Ok(()) | Err(Errno::EXIST) => {}
            // File systems without the flag: what is there must not be lost.
            Err(Errno::INVAL) if into.join(entry.file_name()).symlink_metadata().is_ok() => {}
            Err(Errno::INVAL) => fs_err::rename(entry.path(), into.join(entry.file_name()))?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Whether a directory has no entries but those of fillings.
pub(super) fn is_empty(directory: &Path) -> io::Result<bool> {
    for entry in fs_err::read_dir(directory)? {
        let name = entry?.file_name();
        let ours = name.to_str().and_then(|name| name.strip_prefix(HIDDEN)).is_some_and(|name| name.starts_with(FILLING));
        // `lost+found` of a new ext4 is nobody's file. **Source:** moby, `container/container_unix.go`, `CopyImagePathContent` does not except it.
        if !ours && name != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Volumes {
    /// Copies the files of an image's directory into the volume when the volume is empty; true when it copied.
    ///
    /// The directory's owner, mode and times are given to the volume too.
    ///
    /// # Errors
    /// [`PopulateError`]; the volume is then as empty as before.
    pub fn populate(&self, name: &Name, image_directory: BorrowedFd<'_>) -> Result<bool, PopulateError> {
        let (special, durable) = {
            let state = self.state();
            let (_, record) = find(&state, name.as_str())?;
            (options::needs_mount(&record.driver_opts), !record.anonymous)
        };
        let failed = |(path, source): Failure| PopulateError::Copy { name: name.clone(), path, source };
        if !special {
            let data = self.data(name);
            return self.fill(name, &data, image_directory, durable).map_err(failed);
        }
        let user = format!("populate-{}", self.unique());
        let data = self.mount(name, &user)?;
        let result = self.fill_mounted(&data, image_directory);
        self.unmount(&user);
        result.map_err(failed)
    }

    /// Fills a volume whose files are its own.
    fn fill(&self, name: &Name, data: &Path, source: BorrowedFd<'_>, durable: bool) -> Result<bool, Failure> {
        let here = |source| (PathBuf::new(), source);
        if !is_empty(data).map_err(here)? {
            return Ok(false);
        }
        let directory = self.directory.join(name.as_str());
        let serial = self.unique();
        let filling = directory.join(format!("{FILLING}{serial}"));
        let project = self.state().volumes.get(name).and_then(|record| record.project);
        let copied = copy_into(source, &filling, project, durable);
        let result = copied.and_then(|()| self.put_in_place(name, &filling, data).map_err(here));
        if !matches!(result, Ok(true)) {
            // The next start clears what cannot be moved away now.
            let _ = self.discard(&filling);
            // Gives the disk back that a full one needs.
            let _ = self.empty_trash();
        }
        result
    }

    /// Puts a complete copy where a volume's files are, while nobody can take up or leave the volume.
    pub(super) fn put_in_place(&self, name: &Name, filling: &Path, data: &Path) -> io::Result<bool> {
        let state = self.state();
        if !is_empty(data)? {
            return Ok(false);
        }
        let shared = state.holders.get(name).is_some_and(|holders| holders.len() > 1);
        if !shared {
            fs_err::rename(filling, data)?;
            return Ok(true);
        }
        let ready = self.directory.join(name.as_str()).join(format!("{READY}{}", self.unique()));
        copy::attributes_of(&open_directory(filling)?, &open_directory(data)?)?;
        fs_err::rename(filling, &ready)?;
        move_entries(&ready, data)?;
        self.discard(&ready)?;
        Ok(true)
    }

    /// Fills a volume with a file system of its own, within that.
    fn fill_mounted(&self, data: &Path, source: BorrowedFd<'_>) -> Result<bool, Failure> {
        let here = |source| (PathBuf::new(), source);
        let discard = |path: &Path| fs_err::remove_dir_all(path);
        recover(data, data, &discard).map_err(here)?;
        if !is_empty(data).map_err(here)? {
            return Ok(false);
        }
        let serial = self.unique();
        let filling = data.join(format!("{HIDDEN}{FILLING}{serial}"));
        let ready = data.join(format!("{HIDDEN}{READY}{serial}"));
        let moved = copy_into(source, &filling, None, true).and_then(|()| {
            let attributes = open_directory(&filling).and_then(|from| copy::attributes_of(&from, &open_directory(data)?));
            attributes.map_err(here)?;
            fs_err::rename(&filling, &ready).map_err(here)?;
            move_entries(&ready, data).map_err(here)
        });
        for path in [&filling, &ready] {
            match discard(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // The next mount clears it.
                Err(_) => {}
            }
        }
        moved.map(|()| true)
    }

    /// The directory of a volume's files on the disk, and the one that fillings of it lie in.
    pub(super) fn staging(&self, name: &Name) -> (PathBuf, PathBuf) {
        let directory = self.directory.join(name.as_str());
        let filling = directory.join(format!("{FILLING}{}", self.unique()));
        (directory.join(DATA), filling)
    }
}

/// Copies a tree into a new directory; what a power cut must not halve is synced.
pub(super) fn copy_into(source: BorrowedFd<'_>, directory: &Path, project: Option<u32>, durable: bool) -> Result<(), Failure> {
    let here = |source| (PathBuf::new(), source);
    make_directory(directory, 0o755).map_err(here)?;
    let target = open_directory(directory).map_err(here)?;
    if let Some(project) = project {
        sys::quota::set_project(target.as_fd(), project).map_err(here)?;
    }
    copy::tree(source, &target)?;
    if durable && !is_empty(directory).map_err(here)? {
        rustix::fs::syncfs(&target).map_err(|error| here(error.into()))?;
    }
    Ok(())
}
