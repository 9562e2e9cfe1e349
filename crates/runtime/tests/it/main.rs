//! Real containers from a busybox root, each in namespaces of its own.

mod bundle;
mod escapes;
mod isolation;
mod joins;
mod life;
mod limits;
mod notify;
