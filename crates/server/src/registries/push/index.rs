//! Pushing an index: its images, its attestations, then itself.

use std::collections::BTreeMap;

use bytes::Bytes;
use image::{Listed, ListedEntry, Pushable};
use oci::image::Descriptor;
use oci::{Digest, ImageRef};

use super::{Push, gone, line, plain};
use crate::ApiError;
use crate::error;
use crate::jobs::Output;

/// Pushes all of an index that is here, or in the repository already. The index stays what it is, byte for byte, unless
/// something of it is nowhere or a layer was compressed anew: then it lists what there is, and attestations are about the new
/// manifests.
pub(super) fn push(push: &Push, name: &ImageRef, listed: &Listed, output: &mut Output) -> Result<Descriptor, ApiError> {
    let mut manifests = Vec::new();
    let mut renamed: BTreeMap<Digest, Digest> = BTreeMap::new();
    let mut whole = listed.entries.iter().all(|entry| entry.nested_in.is_none());
    for entry in &listed.entries {
        let known = &entry.descriptor;
        let pushed = match (entry.image, entry.manifest.as_ref().filter(|_| !entry.blobs.is_empty())) {
            (Some(id), _) => {
                let pushable = push.app.images.pushable(&id).ok_or_else(|| gone(name))?;
                let pushable = Pushable { manifest: entry.manifest.clone(), ..pushable };
                push.manifest_of(&push.repository, &pushable, output)?
            }
            (None, Some(manifest)) => artifact(push, entry, manifest)?,
            (None, None) if is_there(push, known)? => known.clone(),
            (None, None) => {
                let what = known.platform.as_ref().map_or_else(|| known.digest.to_string(), ToString::to_string);
                line(output, format!("{what} of {} is neither here nor in the registry: it is left out", name.familiar()));
                whole = false;
                continue;
            }
        };
        if pushed.digest != known.digest {
            renamed.insert(known.digest, pushed.digest);
            whole = false;
        }
        let Descriptor { digest, size, media_type, .. } = pushed;
        manifests.push(Descriptor { digest, size, media_type, ..known.clone() });
    }
    let bytes = if whole {
        listed.document.clone().into_bytes()
    } else {
        serde_json::to_vec(&listed.rewritten(manifests, &renamed)).map_err(|cause| ApiError::internal(cause.to_string()))?
    };
    let (bytes, kind) = (Bytes::from(bytes), listed.media_type());
    let digest = push.handle.block_on(push.session.put_manifest(name, &kind, &bytes)).map_err(|cause| push.refused(&cause))?;
    Ok(plain(digest, u64::try_from(bytes.len()).unwrap_or(u64::MAX), &kind))
}

/// Pushes an attestation as it is.
fn artifact(push: &Push, entry: &ListedEntry, manifest: &str) -> Result<Descriptor, ApiError> {
    for blob in &entry.blobs {
        let bytes = push.app.images.document(blob).map_err(|cause| ApiError::internal(error::chain(&cause)))?;
        push.ensure(blob, Bytes::from(bytes))?;
    }
    let target = push.repository.with_digest(entry.descriptor.digest);
    let bytes = Bytes::from(manifest.to_owned().into_bytes());
    let stored = push.handle.block_on(push.session.put_manifest(&target, &entry.descriptor.media_type, &bytes));
    stored.map_err(|cause| push.refused(&cause))?;
    Ok(entry.descriptor.clone())
}

/// Says whether the repository has a manifest already, as where the index was pulled from it.
fn is_there(push: &Push, descriptor: &Descriptor) -> Result<bool, ApiError> {
    match push.handle.block_on(push.session.head(&push.repository.with_digest(descriptor.digest))) {
        Ok(found) => Ok(found.is_some()),
        Err(cause) if cause.kind() == registry::Kind::NotFound => Ok(false),
        Err(cause) => Err(push.refused(&cause)),
    }
}
