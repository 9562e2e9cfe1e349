//! Docker's words: the Engine API's JSON types, versions, filters and streams.

pub mod archive;
pub mod client;
pub mod filters;
pub mod fuzz;
pub mod ignore;
pub mod json;
pub mod stream;
pub mod time;
pub mod types;
pub mod version;
