//! The JSON bodies of the Engine API, field for field.
//!
//! Names, order and the choice between `null`, empty and absent are Docker's,
//! so the fields bear no comments of their own.
//! Times are RFC 3339 texts unless a number of seconds is said.
//! **Source:** Docker Engine API v1.51.
#![allow(missing_docs, reason = "the API's reference explains each field")]

mod container;
mod event;
mod exec;
mod explore;
mod host_config;
mod image;
mod network;
mod policy;
mod stats;
mod system;
mod volume;
mod why;

pub use container::*;
pub use event::*;
pub use exec::*;
pub use explore::*;
pub use host_config::*;
pub use image::*;
pub use network::*;
pub use policy::*;
pub use stats::*;
pub use system::*;
pub use volume::*;
pub use why::*;

use serde::{Deserialize, Serialize};

/// An empty object, the value type of Go's string sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// The zero of Go's `time.Time`.
pub const TIME_ZERO: &str = "0001-01-01T00:00:00Z";

/// The body of each error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    pub message: String,
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

pub(crate) fn time_zero() -> String {
    TIME_ZERO.to_owned()
}
