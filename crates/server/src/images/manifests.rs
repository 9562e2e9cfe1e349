//! The platforms and attestations of an image, as the API shows them.
//!
//! **Source:** Docker Engine API 1.48, `ImageManifestSummary`, `OCIDescriptor`.

use docker_api::types::{ManifestAttestation, ManifestImage, ManifestSize, ManifestSummary, UnpackedSize};
use image::{Image, Listed, ListedEntry, ListedKind};
use oci::Digest;
use oci::image::media_type;
use serde_json::{Value, json};

use crate::app::App;

impl App {
    /// Describes what an image's name leads to: its index, or the manifest it came with.
    pub(crate) fn descriptor_of(&self, image: &Image) -> Option<Value> {
        let listed = image.index.and_then(|digest| self.images.listed(&digest));
        let (document, kind) = match listed {
            Some(listed) => (listed.document.clone(), listed.media_type()),
            None => {
                let document = self.images.pushable(&image.id)?.manifest?;
                let own = serde_json::from_str::<oci::image::Manifest>(&document).ok()?.media_type;
                (document, own.unwrap_or_else(|| media_type::MANIFEST.to_owned()))
            }
        };
        Some(json!({"mediaType": kind, "digest": Digest::of(document.as_bytes()), "size": document.len()}))
    }

    /// Lists the entries of an image's index; an image without one is its only entry, where its manifest is known.
    pub(crate) fn manifests_of(&self, image: &Image) -> Vec<ManifestSummary> {
        match image.index.and_then(|digest| self.images.listed(&digest)) {
            Some(Listed { entries, .. }) => entries.iter().map(|entry| self.manifest_row(entry)).collect(),
            None => self.descriptor_of(image).map(|descriptor| self.image_row(descriptor, image)).into_iter().collect(),
        }
    }

    fn manifest_row(&self, entry: &ListedEntry) -> ManifestSummary {
        let descriptor = serde_json::to_value(&entry.descriptor).unwrap_or_default();
        if let Some(image) = entry.image.and_then(|id| self.images.get(&id)) {
            return self.image_row(descriptor, &image);
        }
        let mut content = entry.manifest.as_ref().map_or(0, String::len);
        for blob in entry.blobs.iter().collect::<std::collections::BTreeSet<_>>() {
            content += self.images.document(blob).map_or(0, |bytes| bytes.len());
        }
        let content = i64::try_from(content).unwrap_or(i64::MAX);
        let mut row = ManifestSummary {
            id: entry.descriptor.digest.to_string(),
            descriptor,
            available: entry.manifest.is_some(),
            size: ManifestSize { content, total: content },
            ..ManifestSummary::default()
        };
        match entry.kind {
            ListedKind::Image => {
                "image".clone_into(&mut row.kind);
                let platform = serde_json::to_value(&entry.descriptor.platform).unwrap_or_default();
                row.image_data = Some(ManifestImage { platform, ..ManifestImage::default() });
            }
            ListedKind::Attestation(about) => {
                "attestation".clone_into(&mut row.kind);
                row.attestation_data = Some(ManifestAttestation { r#for: about.to_string() });
            }
            ListedKind::Unknown => "unknown".clone_into(&mut row.kind),
        }
        row
    }

    fn image_row(&self, descriptor: Value, image: &Image) -> ManifestSummary {
        let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let config = self.images.raw_config(&image.id).map_or(0, |config| config.len());
        let manifest = descriptor.get("size").and_then(Value::as_u64).unwrap_or_default();
        let content = manifest.saturating_add(u64::try_from(config).unwrap_or_default());
        ManifestSummary {
            id: descriptor.get("digest").and_then(Value::as_str).unwrap_or_default().to_owned(),
            descriptor,
            available: true,
            size: ManifestSize { content: size(content), total: size(content.saturating_add(image.size)) },
            kind: "image".to_owned(),
            image_data: Some(ManifestImage {
                platform: serde_json::to_value(image.config.platform()).unwrap_or_default(),
                containers: image.holders.clone(),
                size: UnpackedSize { unpacked: size(image.size) },
            }),
            attestation_data: None,
        }
    }
}
