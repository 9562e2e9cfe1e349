//! Docker's Engine API over HTTP: routes, hijacked streams and the conversion to domain types.

mod app;
mod archive;
mod build;
mod buildkit;
mod commit;
mod connection;
mod containers;
mod convert;
mod error;
mod events;
mod explore;
pub mod glob;
mod host;
mod images;
mod jobs;
mod joining;
mod networks;
mod patterns;
pub mod query;
mod registries;
mod remote;
pub mod reply;
mod request;
pub mod router;
mod stats;
mod streams;
mod system;
pub mod time;
mod upload;
mod volume_files;
mod volumes;
mod websocket;
mod why;

pub use app::{App, serve};
pub use error::ApiError;
pub use remote::Remote;
