//! A layer as a directory with its files: for every kernel, and without privileges for EROFS.

use std::io::{self, Read};
use std::path::Path;

use oci::Digest;
use sha2::Digest as _;

use super::{Backend, Layer, Staged};
use crate::unpack::{Limits, Place, UnpackError, unpack};

/// Unpacks a tar into `<directory>/fs`.
pub(super) fn stage(tar: impl Read, directory: &Path, limits: Limits) -> Result<Staged, UnpackError> {
    let path = directory.join("fs");
    let tape = directory.join("tape");
    let place = prepare(directory, &path, &tape).map_err(|source| UnpackError::Prepare { source })?;
    let unpacked = unpack(tar, place, limits)?;
    Ok(Staged { backend: Backend::Dir, unpacked, path, tape })
}

/// Writes the tar once more, with the files' content as it is, and digests it.
///
/// A layer whose tar was not recorded (an entry replaced another) cannot be looked at so.
pub(super) fn fault(layer: &Layer, diff_id: &Digest) -> io::Result<Option<String>> {
    if !layer.tape.exists() {
        return Ok(None);
    }
    let mut hash = sha2::Sha256::new();
    if let Err(error) = layer.write_tar(&mut hash) {
        return Ok(Some(format!("its files cannot be read back: {error}")));
    }
    let digest = Digest::from_bytes(hash.finalize().into());
    Ok((digest != *diff_id).then(|| format!("its files were changed: digest {digest}")))
}

/// Makes the directory of the layer, owned by root with mode 0755, and what else unpacking needs.
fn prepare(directory: &Path, path: &Path, tape: &Path) -> io::Result<Place> {
    let discard = directory.join("discard");
    fs_err::create_dir(directory)?;
    fs_err::create_dir(path)?;
    fs_err::create_dir(&discard)?;
    let root = crate::disk::open_directory(path)?;
    // A data directory with set-gid would hand it down.
    rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(0o755))?;
    let discard = crate::disk::open_directory(&discard)?;
    Ok(Place { root, discard, tape: fs_err::File::create_new(tape)? })
}
