//! Docker's Engine API over HTTP: routes, hijacked streams and the conversion to domain types.

mod connection;
mod error;
mod query;
mod reply;
mod request;
mod router;

pub use error::ApiError;
