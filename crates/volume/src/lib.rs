//! Named and anonymous volumes of the `local` driver.

mod copy;
mod error;
mod model;
mod options;
mod volumes;

pub use error::{AttachError, CreateError, GetError, OpenError, ParseNameError, PopulateError, PruneError, RemoveError};
pub use model::{Name, Pruned, Spec, Volume};
pub use volumes::Volumes;
