//! The words of OCI: digests, image references, manifests, image configuration, runtime specification.

pub mod capability;
mod digest;
pub mod fuzz;
pub mod image;
mod platform;
mod reference;
pub mod runtime;

pub use digest::{Digest, ParseDigestError};
pub use platform::{ParsePlatformError, Platform};
pub use reference::{ImageRef, ParseReferenceError};
