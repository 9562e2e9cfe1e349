//! Layers on disk: from the stream of an uncompressed tar to something that overlay can use as a lower layer.
//!
//! [`stage`] reads the tar once and leaves a layer without a name in a staging directory; [`Staged::install`] gives it
//! its name; [`Layer`] is one that has a name. How it lies on the disk is the business of a backend: the layer itself
//! says which one made it, so that layers of different backends live side by side.

mod dir;
mod erofs;
mod mounts;

use std::fmt;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use oci::Digest;

use crate::disk::Disk;
use crate::tape;
use crate::unpack::{Limits, UnpackError, Unpacked};
pub(crate) use mounts::Mounts;

/// How a layer lies on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// A directory with its files; on every kernel.
    #[default]
    Dir,
    /// One file: the tar with an index that makes it an EROFS.
    Erofs,
}

impl Backend {
    /// Chooses what this kernel can do with files beside the new directory `directory`.
    pub(crate) fn choose(directory: &Path) -> Self {
        if erofs::probe(directory).is_ok() { Self::Erofs } else { Self::Dir }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dir => "dir",
            Self::Erofs => "erofs",
        })
    }
}

impl FromStr for Backend {
    type Err = ParseBackendError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "dir" => Ok(Self::Dir),
            "erofs" => Ok(Self::Erofs),
            _ => Err(ParseBackendError { text: text.to_owned() }),
        }
    }
}

/// The text names no backend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("storage backend `{text}` is not known: it is `erofs` or `dir`")]
pub struct ParseBackendError {
    /// The text.
    pub text: String,
}

/// What layers are stored with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storage {
    /// What new layers are made by.
    pub(crate) backend: Backend,
    /// Bounds for each layer.
    pub(crate) limits: Limits,
}

/// A layer that has no name yet; its files go with the staging directory unless it is installed.
#[derive(Debug)]
pub(crate) struct Staged {
    backend: Backend,
    unpacked: Unpacked,
    /// The directory or the file that it is.
    path: PathBuf,
    tape: PathBuf,
}

/// Makes a layer from the stream of an uncompressed tar, in the new directory `directory`.
pub(crate) fn stage(tar: impl BufRead, directory: &Path, storage: Storage) -> Result<Staged, UnpackError> {
    match storage.backend {
        Backend::Dir => dir::stage(tar, directory, storage.limits),
        Backend::Erofs => erofs::stage(tar, directory, storage.limits),
    }
}

impl Staged {
    /// Returns the bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.unpacked.bytes
    }

    /// Says whether it hides all layers below it.
    pub(crate) fn opaque_root(&self) -> bool {
        self.unpacked.opaque_root
    }

    /// Says whether a power cut can no longer change it; else its file system must be synced before it is installed.
    pub(crate) fn durable(&self) -> bool {
        match self.backend {
            Backend::Dir => false,
            Backend::Erofs => true,
        }
    }

    /// Gives the layer its name, unless a layer has it already; the directory of names must be synced afterwards.
    pub(crate) fn install(&self, disk: &Disk, diff_id: &Digest) -> io::Result<()> {
        if Layer::find(disk, diff_id).is_some() {
            return Ok(());
        }
        // The layer last: it is what counts.
        if self.backend == Backend::Dir && self.unpacked.taped {
            fs_err::rename(&self.tape, disk.tape(diff_id))?;
        }
        fs_err::rename(&self.path, disk.layer(diff_id))
    }
}

/// A layer that is here.
#[derive(Debug)]
pub(crate) struct Layer {
    backend: Backend,
    path: PathBuf,
    tape: PathBuf,
}

impl Layer {
    /// Finds a layer by the digest of its tar.
    pub(crate) fn find(disk: &Disk, diff_id: &Digest) -> Option<Self> {
        let path = disk.layer(diff_id);
        let metadata = fs_err::symlink_metadata(&path).ok()?;
        let backend = if metadata.is_dir() { Backend::Dir } else { Backend::Erofs };
        Some(Self { backend, path, tape: disk.tape(diff_id) })
    }

    /// Returns what made it.
    pub(crate) fn backend(&self) -> Backend {
        self.backend
    }

    /// Says what is wrong with it, if something is: its tar is read back and must have the digest that it had.
    pub(crate) fn fault(&self, diff_id: &Digest) -> io::Result<Option<String>> {
        match self.backend {
            Backend::Dir => dir::fault(self, diff_id),
            Backend::Erofs => erofs::fault(&self.path, diff_id),
        }
    }

    /// Returns the bytes of its tar.
    pub(crate) fn tar_bytes(&self) -> io::Result<u64> {
        match self.backend {
            Backend::Dir => tape::size(fs_err::File::open(&self.tape)?),
            Backend::Erofs => erofs::tar_bytes(&self.path),
        }
    }

    /// Writes its tar as it came and returns the bytes of it; the caller checks the digest.
    pub(crate) fn write_tar(&self, output: &mut impl Write) -> io::Result<u64> {
        match self.backend {
            Backend::Dir => {
                let root = crate::disk::open_directory(&self.path)?;
                tape::replay(fs_err::File::open(&self.tape)?, &root, output)
            }
            Backend::Erofs => erofs::write_tar(&self.path, output),
        }
    }
}

/// Does with any bytes what [`stage`] does with a tar; for fuzzing.
pub(crate) fn index_of(tar: &[u8], file: std::fs::File) {
    erofs::index_of(tar, &file);
}
