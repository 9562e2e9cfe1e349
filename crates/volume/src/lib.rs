//! Named and anonymous volumes of the `local` driver.

mod copy;
mod error;
mod model;
mod mounting;
mod options;
pub mod tree;
mod usage;
mod volumes;

pub use error::{
    AttachError, CloneError, CreateError, GetError, MountError, OpenError, ParseNameError, PopulateError, PruneError, RemoveError,
};
pub use model::{ANONYMOUS_LABEL, Name, Pruned, Spec, Usage, Volume};
pub use options::parse_size;
pub use volumes::{Import, Volumes};
