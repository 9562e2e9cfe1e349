//! One error for each operation on volumes; texts are Docker's where Docker has one.

use std::io;
use std::path::PathBuf;

use crate::model::Name;

/// Says why a text names no volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// One character is not enough.
    #[error("volume name is too short, names should be at least two alphanumeric characters")]
    Short {
        /// The text.
        name: String,
    },
    /// A character is not allowed.
    #[error(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    Characters {
        /// The text.
        name: String,
    },
}

/// Says why the volumes were not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory cannot be made or read.
    #[error("cannot prepare the directory `{}`", .path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The table cannot be opened.
    #[error("cannot read the records of volumes")]
    Table(#[source] store::OpenError),
}

/// Says why a volume was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The driver is not known.
    #[error("error looking up volume plugin {driver}: plugin \"{driver}\" not found")]
    Driver {
        /// Its name.
        driver: String,
    },
    /// An option is not known or lacks its partner.
    #[error("{reason}")]
    Option {
        /// What is wrong, in Docker's words.
        reason: String,
    },
    /// The volume exists with other options.
    #[error("A volume named {name} already exists with the local driver. Choose a different volume name")]
    Exists {
        /// Its name.
        name: Name,
    },
    /// Its directory cannot be made.
    #[error("cannot make the directory of volume `{name}`")]
    Io {
        /// Its name.
        name: Name,
        /// The cause.
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot record the volume")]
    Record(#[source] store::PutError),
}

/// Says that there is no such volume.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("get {name}: no such volume")]
pub struct GetError {
    /// The name.
    pub name: String,
}

/// Says why a volume was not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It does not exist and cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
}

/// Says why a volume was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It does not exist.
    #[error(transparent)]
    NotFound(#[from] GetError),
    /// Holders use it.
    #[error("remove {name}: volume is in use - [{}]", .holders.join(", "))]
    InUse {
        /// Its name.
        name: Name,
        /// The holders.
        holders: Vec<String>,
    },
    /// The record cannot be removed.
    #[error("cannot remove the record of the volume")]
    Record(#[source] store::RemoveError),
    /// The directory cannot be moved to the trash.
    #[error("cannot remove `{}`", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Says why a prune ended early.
pub type PruneError = RemoveError;

/// Says why the files of an image were not copied into a volume.
#[derive(Debug, thiserror::Error)]
pub enum PopulateError {
    /// The volume does not exist.
    #[error(transparent)]
    NotFound(#[from] GetError),
    /// A file cannot be read or written.
    #[error("cannot copy `{}` into volume `{name}`", .path.display())]
    Copy {
        /// The volume.
        name: Name,
        /// Path below the copied directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
