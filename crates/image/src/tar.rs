//! A reader of tar streams: ustar, GNU and PAX. It only parses; nothing here touches a file.
//!
//! Where archives disagree with themselves it decides as Go's `archive/tar` does, since that is
//! what wrote and checked most images.
//! **Source:** POSIX `pax`, section "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

mod entry;
mod number;
mod pax;
mod reader;
mod sparse;
pub(crate) mod write;

pub(crate) use entry::{Entry, Kind};
pub(crate) use reader::{Archive, looks_like_tar};
pub(crate) use sparse::Segment;

use std::io;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;

/// Says why a stream is no sound tar.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TarError {
    /// The bytes break the format.
    #[error("invalid tar archive: {0}")]
    Invalid(&'static str),
    /// The stream ends early.
    #[error("invalid tar archive: unexpected end")]
    Truncated,
    /// The stream cannot be read.
    #[error("cannot read the tar archive")]
    Read(#[source] io::Error),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Truncated } else { Self::Read(error) }
    }
}
