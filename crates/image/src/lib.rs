//! Images on this host: loading, importing, pulling, naming, pinning, snapshots, removing.
//!
//! Words: a *layer* is the content of one tar, named by the digest of that tar (`diff id`).
//! An *image* is a configuration, named by its digest, and the layers it lists.
//! A *snapshot* is a writable layer on top of an image, owned by a *holder* (an opaque text,
//! in practice a container's id). A *pin* keeps an image while a holder uses it.

mod archive;
pub mod changes;
mod compression;
mod disk;
mod error;
pub mod fuzz;
mod images;
mod layer;
mod model;
mod overlay;
mod pull;
mod state;
mod stream;
mod tape;
mod tar;
mod tree;
mod unpack;
mod walk;

pub use compression::sniffing;
pub use error::{
    CommitError, HistoryError, ImportError, IndexError, LoadError, OpenError, PinError, PruneError, RemoveError, RemoveSnapshotError,
    ResolveError, SaveError, SnapshotError, SweepError, TagError,
};
pub use images::Images;
pub use images::indexes::{IndexPlan, Listed, ListedEntry, ListedKind, Member};
pub use layer::{Backend, ParseBackendError};
pub use model::{
    Change, ChangeKind, CommitOptions, Explored, ExploredLayer, Fault, HistoryEntry, Image, ImageId, ImportOptions, Loaded, Progress,
    Pruned, RemoveOptions, Removed, Snapshot, SnapshotOptions, Swept, Verified, Wasted,
};
pub use pull::{BlobSource, KnownBlob, Packed, PullError, PullLimits, PullPlan, PullStep, Pushable, Report};
