//! `GET /distribution/{name}/json`, and manifests for the command line, which speaks to no registry itself.

use super::{credentials, failure, name};
use crate::ApiError;
use crate::app::App;
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;
use bytes::Bytes;
use http::StatusCode;
use oci::image::{Descriptor, ImageConfig, Index, Manifest};
use oci::{Digest, ImageRef, Platform};
use registry::{Document, Mounted, Session};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio::runtime::Handle;

/// Largest image configuration.
const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// Answer of `GET /distribution/{name}/json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect {
    descriptor: Descriptor,
    platforms: Vec<Platform>,
}

/// A manifest with what is known of it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    name: String,
    descriptor: Descriptor,
    /// The document as text.
    raw: String,
}

/// What is to be stored.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Put {
    media_type: String,
    raw: String,
    /// Manifests of the list that must be in the repository first, by their full names with digests.
    sources: Vec<String>,
}

impl App {
    pub(crate) async fn distribution(&self, text: &str, call: &Call) -> Result<Reply, ApiError> {
        let name = name(text, "")?;
        let session = self.open(&name, call)?;
        let handle = Handle::current();
        let found = blocking(move || handle.block_on(inspect(&session, &name))).await??;
        Ok(reply::json(StatusCode::OK, &found))
    }

    pub(crate) async fn manifest_get(&self, text: &str, call: &Call) -> Result<Reply, ApiError> {
        let name = name(text, "")?;
        let session = self.open(&name, call)?;
        let handle = Handle::current();
        let found = blocking(move || {
            handle.block_on(async {
                let document = session.manifest(&name).await.map_err(|cause| failure(&cause, &name))?;
                let mut descriptor = describe(&document);
                if !document.is_index() {
                    descriptor.platform = platform_of(&session, &name, &document).await?;
                }
                let raw = String::from_utf8_lossy(&document.bytes).into_owned();
                Ok::<_, ApiError>(Raw { name: name.to_string(), descriptor, raw })
            })
        });
        Ok(reply::json(StatusCode::OK, &found.await??))
    }

    pub(crate) async fn manifest_put(&self, text: &str, mut call: Call) -> Result<Reply, ApiError> {
        let name = name(text, "")?;
        let put: Put = call.json().await?;
        let session = self.open(&name, &call)?;
        let handle = Handle::current();
        let digest = blocking(move || handle.block_on(store(&session, &name, put))).await??;
        Ok(reply::json(StatusCode::OK, &serde_json::json!({"Digest": digest})))
    }

    fn open(&self, name: &ImageRef, call: &Call) -> Result<Session, ApiError> {
        self.registries.session(name.domain(), credentials(call)).map_err(|cause| failure(&cause, name))
    }
}

fn describe(document: &Document) -> Descriptor {
    Descriptor {
        media_type: document.media_type.clone(),
        digest: document.digest,
        size: u64::try_from(document.bytes.len()).unwrap_or(u64::MAX),
        urls: Vec::new(),
        annotations: BTreeMap::new(),
        platform: None,
        artifact_type: None,
    }
}

async fn inspect(session: &Session, name: &ImageRef) -> Result<Inspect, ApiError> {
    let document = session.manifest(name).await.map_err(|cause| failure(&cause, name))?;
    let platforms = if document.is_index() {
        let index: Index = parse(&document)?;
        index.manifests.into_iter().filter_map(|entry| entry.platform).collect()
    } else {
        platform_of(session, name, &document).await?.into_iter().collect()
    };
    Ok(Inspect { descriptor: describe(&document), platforms })
}

/// The platform that an image's configuration names.
async fn platform_of(session: &Session, name: &ImageRef, document: &Document) -> Result<Option<Platform>, ApiError> {
    let manifest: Manifest = parse(document)?;
    let bytes = session.small_blob(name, &manifest.config, CONFIG_BYTES_MAX).await.map_err(|cause| failure(&cause, name))?;
    let config: Option<ImageConfig> = serde_json::from_slice(&bytes).ok();
    Ok(config.map(|config| config.platform()).filter(|platform| !platform.os.is_empty()))
}

/// Stores a manifest or list; what a list names is brought from its repository on the same registry first.
async fn store(session: &Session, name: &ImageRef, put: Put) -> Result<Digest, ApiError> {
    for source in &put.sources {
        let source: ImageRef = source.parse().map_err(|cause: oci::ParseReferenceError| ApiError::invalid(cause.to_string()))?;
        let Some(digest) = source.digest().copied() else {
            return Err(ApiError::invalid(format!("{source} has no digest")));
        };
        if source.repository() == name.repository() {
            continue;
        }
        if source.domain() != name.domain() {
            return Err(ApiError::invalid(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                source.domain(),
                name.domain()
            )));
        }
        let failed = |cause: registry::Error| failure(&cause, &source);
        let document = session.manifest(&source).await.map_err(failed)?;
        let manifest: Manifest = parse(&document)?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            if session.has_blob(name, &blob.digest).await.map_err(failed)?.is_some() {
                continue;
            }
            if let Mounted::No(_) = session.upload(name, Some((&blob.digest, source.path()))).await.map_err(failed)? {
                return Err(ApiError::internal(format!(
                    "the registry did not mount {} of {source} into {}",
                    blob.digest,
                    name.repository()
                )));
            }
        }
        let target = name.with_digest(digest);
        session.put_manifest(&target, &document.media_type, &document.bytes).await.map_err(failed)?;
    }
    let bytes = Bytes::from(put.raw.into_bytes());
    session.put_manifest(name, &put.media_type, &bytes).await.map_err(|cause| failure(&cause, name))
}

fn parse<T: serde::de::DeserializeOwned>(document: &Document) -> Result<T, ApiError> {
    serde_json::from_slice(&document.bytes)
        .map_err(|cause| ApiError::internal(format!("manifest {} makes no sense: {cause}", document.digest)))
}
