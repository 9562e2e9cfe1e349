//! The exit record: how the container ended, on the disk before anyone is told.

use std::io::{self, Write};
use std::path::Path;

use crate::protocol::Exit;

/// An exit record that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadExitError {
    /// The file cannot be read.
    #[error("cannot read the exit record")]
    Read(#[source] io::Error),
    /// It is damaged.
    #[error("cannot parse the exit record")]
    Parse(#[source] serde_json::Error),
}

/// Reads an exit record; `None` if the container has not ended.
///
/// # Errors
/// [`ReadExitError`].
pub fn read_exit(path: &Path) -> Result<Option<Exit>, ReadExitError> {
    match fs_err::read(path) {
        Ok(json) => serde_json::from_slice(&json).map(Some).map_err(ReadExitError::Parse),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadExitError::Read(error)),
    }
}

/// Writes an exit record so that it is there as a whole or not at all, after a power cut too if
/// it must be durable.
///
/// # Errors
/// As open(2), write(2), fsync(2) and rename(2).
pub(crate) fn write_exit(path: &Path, exit: &Exit, durable: bool) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = fs_err::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(exit)?)?;
    if durable {
        file.sync_all()?;
    }
    drop(file);
    fs_err::rename(&temporary, path)?;
    if durable && let Some(parent) = path.parent() {
        // The new name is in the directory, which has its own pages.
        fs_err::File::open(parent)?.sync_all()?;
    }
    Ok(())
}
