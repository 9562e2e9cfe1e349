//! An engine of one's own for tests, benchmarks and the demo: started, spoken to, killed and swept.
//!
//! Knows the `teu` binary by its path and its sockets only, never its crates.
#![allow(clippy::disallowed_methods, reason = "tests start real programs")]

pub mod busybox;
pub mod campaign;
pub mod daemon;
pub mod debian;
pub mod faulty;
pub mod image_campaign;
pub mod leftovers;
pub mod registry;
pub mod script;
mod sweep;
