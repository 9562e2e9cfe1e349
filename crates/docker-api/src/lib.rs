//! Docker's words: the Engine API's JSON types, versions, filters and streams.

pub mod filters;
pub mod json;
pub mod types;
pub mod version;
