//! A client of image registries: OCI distribution 1.1 and Docker's HTTP API V2 over HTTP and TLS.
//!
//! Knows names, digests and manifests, and no disk layout: blobs come and go as streams of bytes.
//! A [`Client`] holds what the host's settings say; a [`Session`] speaks to one registry with one
//! client's credentials, through its mirrors first where there are any.
//! **Source:** OCI distribution specification 1.1, `spec.md`; distribution, `docs/spec/auth/token.md`.

mod auth;
mod blob;
mod choose;
mod client;
mod connect;
mod endpoint;
mod error;
mod hosts;
mod manifest;
mod policy;
mod proxy;
mod search;
mod send;
mod settings;
mod signature;
mod tls;
mod trust;
mod upload;
mod web;

pub use auth::Credentials;
pub use blob::Blob;
pub use choose::{ChooseError, choose};
pub use client::{Client, Session};
pub use error::{Error, Kind};
pub use manifest::{Document, Found};
pub use policy::{Identity, Policy, PolicyError, Requirement};
pub use proxy::Proxy;
pub use search::Hit;
pub use settings::{Settings, Times};
pub use signature::{Key, KeyError, SignatureError};
pub use trust::TrustError;
pub use upload::{Mounted, Upload};
pub use web::Download;
