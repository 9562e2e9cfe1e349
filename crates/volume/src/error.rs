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
    /// Its record is damaged and its files are not where a volume's are.
    #[error("the record of volume `{name}` is damaged and was set aside as `{}`: remove the volume first", .path.display())]
    Damaged {
        /// Its name.
        name: Name,
        /// Where the record is.
        path: PathBuf,
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

/// Says why the files of a volume cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// It does not exist.
    #[error(transparent)]
    NotFound(#[from] GetError),
    /// What its options name cannot be mounted.
    #[error("error while mounting volume '{}': failed to mount local volume: mount {what}", .path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// Device, place and options, without a password.
        what: String,
        /// The cause.
        source: io::Error,
    },
    /// Its limit cannot be set.
    #[error("cannot limit the size of volume `{name}`")]
    Quota {
        /// Its name.
        name: Name,
        /// The cause.
        source: io::Error,
    },
}

/// Says why no copy of a volume was made.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The source's files cannot be reached.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The copy's volume cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// The name is taken.
    #[error("volume `{name}` exists already: choose another name, or remove it first")]
    Taken {
        /// The name.
        name: Name,
    },
    /// A volume of other files than its own cannot be filled.
    #[error("the files of volume `{name}` are elsewhere (its driver options say so): import them there")]
    Elsewhere {
        /// The name.
        name: Name,
    },
    /// It has files that are not to be replaced.
    #[error("volume `{name}` has files already: replace them with --force, or choose another name")]
    NotEmpty {
        /// The name.
        name: Name,
    },
    /// Holders use it.
    #[error("volume `{name}` is in use by {}: stop and remove these first", .holders.join(", "))]
    InUse {
        /// The name.
        name: Name,
        /// The holders.
        holders: Vec<String>,
    },
    /// A file cannot be read or written.
    #[error("cannot copy `{}` into volume `{name}`", .path.display())]
    Copy {
        /// The new volume.
        name: Name,
        /// Path below the copied directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
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
    /// What is mounted on it cannot be unmounted.
    #[error("cannot unmount volume `{name}`: a process of the host uses its files")]
    Mounted {
        /// Its name.
        name: Name,
        /// The cause.
        source: io::Error,
    },
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
    /// Its files cannot be reached.
    #[error(transparent)]
    Mount(#[from] MountError),
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
