//! Why a tar is no layer.

use std::io;

use rustix::io::Errno;

use super::path::show;
use crate::tar::TarError;

/// Says why a layer was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// The stream is no sound tar.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// An entry or the target of a hard link lies above the layer.
    #[error("invalid tar archive: `{path}` leads outside of the layer")]
    Outside { path: String },
    /// An entry makes no sense.
    #[error("invalid tar archive: `{path}`: {reason}")]
    Invalid { path: String, reason: &'static str },
    /// The place for the layer cannot be made.
    #[error("cannot prepare the directory of a layer")]
    Prepare { source: io::Error },
    /// A bound was passed.
    #[error("the layer is too large: {what}")]
    Limit { what: &'static str },
    /// The tape cannot be written.
    #[error("cannot record the layer's tar")]
    Tape { source: io::Error },
    /// The kernel refused an entry.
    #[error("cannot unpack `{path}`")]
    Entry { path: String, source: io::Error },
}

/// An error that has its path already, or one of the kernel's that does not.
pub(crate) enum Failure {
    Unpack(UnpackError),
    Kernel(io::Error),
}

impl Failure {
    /// Says which entry it was.
    pub(crate) fn at(self, path: &[u8]) -> UnpackError {
        match self {
            Self::Unpack(error) => error,
            Self::Kernel(source) => UnpackError::Entry { path: show(path), source },
        }
    }
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Self {
        Self::Kernel(error.into())
    }
}
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error)
    }
}
impl From<UnpackError> for Failure {
    fn from(error: UnpackError) -> Self {
        Self::Unpack(error)
    }
}
impl From<Failure> for UnpackError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unpack(error) => error,
            Failure::Kernel(source) => Self::Entry { path: String::new(), source },
        }
    }
}
