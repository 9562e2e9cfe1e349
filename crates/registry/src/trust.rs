//! Checking an image against the file of trust, before any layer of it is fetched.

use oci::image::{Descriptor, Index, Manifest};
use oci::{Digest, ImageRef};

use crate::client::Session;
use crate::error::Error;
use crate::policy::{Identity, Policy, Requirement};
use crate::signature::{Key, Signature, SignatureError};

/// Media type of a payload. **Source:** cosign, `specs/SIGNATURE_SPEC.md`.
const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// Annotation with the signature of a payload.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// Begin of the media types of Sigstore bundles.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle";
/// Most signatures of an image that are looked at.
const SIGNATURES_MAX: usize = 64;
/// Largest payload or bundle.
const SIGNATURE_BYTES_MAX: u64 = 1 << 20;

/// Says why an image is not trusted; nothing of it was fetched but its manifest.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The policy refuses it.
    #[error("the signature policy rejects {name}")]
    Rejected {
        /// The image.
        name: String,
    },
    /// It has no signature.
    #[error("the signature policy asks for a signature of {name}, but {digest} has none in its repository")]
    Unsigned {
        /// The image.
        name: String,
        /// Of its index or manifest.
        digest: Digest,
    },
    /// None of its signatures counts.
    #[error("no signature of {name} ({digest}) counts: {}", listed(.reasons))]
    Untrusted {
        /// The image.
        name: String,
        /// Of its index or manifest.
        digest: Digest,
        /// Why, for each signature.
        reasons: Vec<SignatureError>,
    },
    /// The signatures cannot be fetched.
    #[error(transparent)]
    Registry(#[from] Error),
}

fn listed(reasons: &[SignatureError]) -> String {
    let each = reasons.iter().enumerate();
    each.map(|(index, reason)| format!("signature {}: {reason}", index + 1)).collect::<Vec<_>>().join("; ")
}

impl Session {
    /// Checks `name` against the policy before anything of it is asked for.
    ///
    /// # Errors
    /// [`TrustError::Rejected`].
    pub fn permit(&self, policy: &Policy, name: &ImageRef) -> Result<(), TrustError> {
        let rejects = policy.requirements(name).iter().any(|requirement| matches!(requirement, Requirement::Reject));
        if rejects { Err(TrustError::Rejected { name: name.familiar() }) } else { Ok(()) }
    }

    /// Checks an image against the policy: all requirements must be met, each by a signature over one of `digests`, the digest
    /// that the name leads to and that of the manifest that an index leads on to.
    ///
    /// # Errors
    /// [`TrustError`].
    pub async fn trust(&self, policy: &Policy, name: &ImageRef, digests: &[Digest]) -> Result<(), TrustError> {
        self.permit(policy, name)?;
        let requirements = policy.requirements(name);
        let signed = requirements.iter().filter_map(|requirement| match requirement {
            Requirement::Signed { keys, identity } => Some((keys, identity)),
            Requirement::Accept | Requirement::Reject => None,
        });
        let wanted: Vec<(&Vec<Key>, &Identity)> = signed.collect();
        let Some(&digest) = digests.first().filter(|_| !wanted.is_empty()) else {
            return Ok(());
        };
        let mut found = Vec::new();
        for digest in digests {
            found.extend(self.signatures(name, digest).await?);
        }
        if found.is_empty() {
            return Err(TrustError::Unsigned { name: name.familiar(), digest });
        }
        for (keys, identity) in wanted {
            let checked: Vec<_> = found.iter().map(|signature| check(signature, keys, identity, name, digests)).collect();
            if checked.iter().any(Result::is_ok) {
                continue;
            }
            let reasons = checked.into_iter().filter_map(Result::err).collect();
            return Err(TrustError::Untrusted { name: name.familiar(), digest, reasons });
        }
        Ok(())
    }

    /// Fetches the signatures of a manifest: those at cosign's tag, and those that refer to it.
    async fn signatures(&self, name: &ImageRef, digest: &Digest) -> Result<Vec<Signature>, Error> {
        let mut manifests = Vec::new();
        let tagged = |suffix: &str| name.repository().with_tag(&format!("sha256-{}{suffix}", digest.hex())).ok();
        if let Some(found) = self.present(tagged(".sig")).await? {
            manifests.extend(serde_json::from_slice::<Manifest>(&found).ok());
        }
        let referrers = match self.referrers(name, digest).await? {
            Some(index) => Some(index),
            // Registries without the interface keep the list under a tag.
            None => self.present(tagged("")).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
        };
        let entries = referrers.map(|index: Index| index.manifests).unwrap_or_default();
        for entry in entries.into_iter().filter(is_signature).take(SIGNATURES_MAX) {
            if let Some(found) = self.present(Some(name.with_digest(entry.digest))).await? {
                manifests.extend(serde_json::from_slice::<Manifest>(&found).ok());
            }
        }
        let mut signatures = Vec::new();
        for layer in manifests.into_iter().flat_map(|manifest| manifest.layers).take(SIGNATURES_MAX) {
            if layer.media_type.starts_with(BUNDLE) {
                signatures.push(Signature::Bundle(self.small_blob(name, &layer, SIGNATURE_BYTES_MAX).await?.to_vec()));
            } else if let Some(signature) = layer.annotations.get(ANNOTATION).filter(|_| layer.media_type == SIMPLE) {
                let payload = self.small_blob(name, &layer, SIGNATURE_BYTES_MAX).await?.to_vec();
                signatures.push(Signature::Simple { payload, signature: signature.clone() });
            }
        }
        Ok(signatures)
    }

    /// Fetches a manifest that need not be there.
    async fn present(&self, name: Option<ImageRef>) -> Result<Option<bytes::Bytes>, Error> {
        let Some(name) = name else {
            return Ok(None);
        };
        match self.manifest(&name).await {
            Ok(document) => Ok(Some(document.bytes)),
            Err(error) if error.kind() == crate::Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn is_signature(entry: &Descriptor) -> bool {
    let kind = entry.artifact_type.as_deref().unwrap_or_default();
    kind.starts_with(BUNDLE) || kind.starts_with("application/vnd.dev.cosign.artifact.sig.")
}

fn check(signature: &Signature, keys: &[Key], identity: &Identity, name: &ImageRef, digests: &[Digest]) -> Result<(), SignatureError> {
    let signed = signature.verify(keys)?;
    let Some(found) = signed.iter().find(|signed| digests.contains(&signed.digest)) else {
        let all: Vec<String> = signed.iter().map(|signed| signed.digest.to_string()).collect();
        return Err(SignatureError::Digest { signed: all.join(", ") });
    };
    // A bundle says nothing of names: it is bound to the digest alone.
    let Some(text) = &found.name else {
        return Ok(());
    };
    let fits = text.parse::<ImageRef>().is_ok_and(|signed| identity.fits(name, &signed));
    if fits { Ok(()) } else { Err(SignatureError::Name { signed: text.clone() }) }
}
