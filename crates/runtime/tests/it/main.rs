//! Real containers from a busybox root, each in namespaces of its own.
#![allow(clippy::unwrap_used, reason = "tests may panic, with their helpers")]

mod bundle;
mod escapes;
mod isolation;
mod joins;
mod life;
mod limits;
mod mounts;
mod notify;
