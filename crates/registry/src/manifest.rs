//! Manifests and indexes as documents: bytes whose digest counts.

use bytes::Bytes;
use oci::Digest;
use oci::image::media_type;

/// Largest manifest or index. **Source:** OCI distribution specification, "Pushing manifests": 4 MiB.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;

/// Types that are asked for.
pub(crate) const ACCEPT: [&str; 4] = [media_type::MANIFEST, media_type::INDEX, media_type::DOCKER_MANIFEST, media_type::DOCKER_LIST];

/// What a name leads to, as the registry's headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Digest of the document.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
}

/// A manifest or index with its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Digest of the bytes.
    pub digest: Digest,
    /// Media type.
    pub media_type: String,
    /// The bytes as the registry has them.
    pub bytes: Bytes,
}

impl Document {
    /// Whether it lists manifests for several platforms.
    #[must_use]
    pub fn is_index(&self) -> bool {
        matches!(self.media_type.as_str(), media_type::INDEX | media_type::DOCKER_LIST)
    }
}

/// The type of a document: what the answer says, or what the document says of itself.
pub(crate) fn kind(header: &str, bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shape {
        media_type: Option<String>,
        #[serde(default)]
        manifests: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        layers: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        config: Option<serde::de::IgnoredAny>,
    }
    let header = header.split(';').next().unwrap_or_default().trim();
    if ACCEPT.contains(&header) {
        return Some(header.to_owned());
    }
    let shape: Shape = serde_json::from_slice(bytes).ok()?;
    match shape.media_type {
        Some(own) if ACCEPT.contains(&own.as_str()) => Some(own),
        _ if shape.manifests.is_some() => Some(media_type::INDEX.to_owned()),
        _ if shape.config.is_some() && shape.layers.is_some() => Some(media_type::MANIFEST.to_owned()),
        _ => None,
    }
}
