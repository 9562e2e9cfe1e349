//! Real containers from a busybox root, each in namespaces of its own.

mod bundle;
mod isolation;
mod life;
mod limits;
