//! Compose files → one canonical project.

pub mod model;
