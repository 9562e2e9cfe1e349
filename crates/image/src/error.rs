//! One error for each operation on images; texts are Docker's where Docker has one.

use std::io;
use std::path::PathBuf;

use oci::{Digest, ParseReferenceError};

use crate::model::ImageId;

/// Says why the images were not opened.
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
    /// A table cannot be opened.
    #[error("cannot read the records of images")]
    Table(#[source] store::OpenError),
}

/// Says why a name did not lead to an image.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No image has this name or id.
    #[error("No such image: {name}")]
    NotFound {
        /// The name, with the tag that was looked for.
        name: String,
    },
    /// Several ids begin so.
    #[error("ambiguous image id prefix: {prefix}")]
    Ambiguous {
        /// The digits given.
        prefix: String,
    },
    /// The name leads to images of other platforms alone.
    #[error("image with reference {name} was found but its platform ({offered}) does not match the specified platform ({wanted})")]
    Platform {
        /// The name.
        name: String,
        /// The platform of the image that is here.
        offered: String,
        /// The platform that was asked for.
        wanted: String,
    },
    /// The text is no name.
    #[error(transparent)]
    Name(#[from] ParseReferenceError),
}

/// Says why an index was not recorded; nothing of it is visible.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The index, or a document of it, is not what it should be.
    #[error("cannot record the index: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// An image of it is not here.
    #[error("No such image: {id}")]
    Image {
        /// Its id.
        id: ImageId,
    },
    /// A document cannot be written.
    #[error("cannot write the documents of the index")]
    Io(#[source] io::Error),
    /// A record cannot be written.
    #[error("cannot record the index")]
    Record(#[source] store::PutError),
    /// A name cannot be given.
    #[error(transparent)]
    Tag(#[from] TagError),
}

/// Says why an archive was not loaded; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive, or a layer in it, is not what it should be.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// A digest does not fit the content.
    #[error("content does not match its digest: expected {expected}, got {actual}")]
    Digest {
        /// What the archive says.
        expected: Digest,
        /// What the bytes give.
        actual: Digest,
    },
    /// No image in the archive is for the wanted platform.
    #[error("no image in the archive is for platform {platform}")]
    Platform {
        /// The platform.
        platform: String,
    },
    /// The archive cannot be read, or the disk cannot be written.
    #[error("cannot {act}")]
    Io {
        /// What was tried.
        act: String,
        /// The cause.
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot record the image")]
    Record(#[source] store::PutError),
}

/// Says why a tar was not imported; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A change instruction is wrong.
    #[error("{reason}")]
    Change {
        /// What is wrong, in Docker's words.
        reason: String,
    },
    /// The tar is bad or cannot be stored.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Says why an image was not named.
#[derive(Debug, thiserror::Error)]
pub enum TagError {
    /// The image is not known.
    #[error("No such image: {id}")]
    NotFound {
        /// Its id.
        id: ImageId,
    },
    /// The name has a digest, or is one.
    #[error("refusing to create a tag with a digest reference")]
    Digest,
    /// The record cannot be written.
    #[error("cannot record the name `{name}`")]
    Record {
        /// The name.
        name: String,
        /// The cause.
        source: store::PutError,
    },
}

/// Says why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The name leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Something still needs it; the text is Docker's.
    #[error("conflict: {text}")]
    Conflict {
        /// The text after `conflict: `.
        text: String,
    },
    /// A name cannot lead to another platform.
    #[error(transparent)]
    Name(TagError),
    /// A record cannot be removed.
    #[error("cannot remove the record of the image")]
    Record(#[source] store::RemoveError),
    /// A directory cannot be moved to the trash.
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

/// Says why there is no history.
#[derive(Debug, thiserror::Error)]
#[error("No such image: {id}")]
pub struct HistoryError {
    /// The id.
    pub id: ImageId,
}

/// Says why an image was not pinned.
#[derive(Debug, thiserror::Error)]
#[error("No such image: {id}")]
pub struct PinError {
    /// The id.
    pub id: ImageId,
}

/// Says why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The image is not known.
    #[error("No such image: {id}")]
    Image {
        /// Its id.
        id: ImageId,
    },
    /// The holder is no file name.
    #[error("`{holder}` cannot hold a snapshot")]
    Holder {
        /// The holder.
        holder: String,
    },
    /// The holder has no snapshot.
    #[error("no snapshot is held by `{holder}`")]
    NotFound {
        /// The holder.
        holder: String,
    },
    /// The holder has one already.
    #[error("`{holder}` holds a snapshot already")]
    Exists {
        /// The holder.
        holder: String,
    },
    /// The directories cannot be made.
    #[error("cannot make the snapshot of `{holder}`")]
    Io {
        /// The holder.
        holder: String,
        /// The cause.
        source: io::Error,
    },
}

/// Says why no image was made of a container; nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The container's files cannot be found.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The layer cannot be read or stored.
    #[error(transparent)]
    Load(LoadError),
}

/// Says why a snapshot was not removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove the snapshot of `{holder}`")]
pub struct RemoveSnapshotError {
    /// The holder.
    pub holder: String,
    /// The cause.
    pub source: io::Error,
}

/// Says why the trash or the sweep was not finished.
#[derive(Debug, thiserror::Error)]
#[error("cannot put `{}` away", .path.display())]
pub struct SweepError {
    /// The directory.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Says why an archive was not written.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// A name leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A layer cannot be read, or the archive cannot be written.
    #[error("cannot {act}")]
    Io {
        /// What was tried.
        act: String,
        /// The cause.
        source: io::Error,
    },
}
