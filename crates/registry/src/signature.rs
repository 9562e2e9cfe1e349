//! Signatures of cosign, verified with a key: over a simple signing payload, or in a Sigstore bundle with a DSSE envelope.
//!
//! What a certificate of Fulcio or an entry of Rekor says is not looked at: who has the key is trusted, as with
//! `cosign verify --key … --insecure-ignore-tlog`.
//! **Source:** cosign, `specs/SIGNATURE_SPEC.md` and `specs/BUNDLE_SPEC.md`; containers/image, `docs/signature-protocols.md`;
//! DSSE, `protocol.md`, section "Signature Definition".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Digest, ImageRef};
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

/// Begin of a subject public key info: `ecPublicKey`, `prime256v1`. **Source:** RFC 5480, section 2.
const P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01,
    0x07, 0x03, 0x42, 0x00,
];
/// `ecPublicKey`, `secp384r1`.
const P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22, 0x03, 0x62,
    0x00,
];
/// `Ed25519`. **Source:** RFC 8410, section 4.
const EDWARDS: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// What a payload says it is.
const COSIGN: &str = "cosign container image signature";

/// Says why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Its file cannot be read.
    #[error("{0}")]
    Read(#[source] std::io::Error),
    /// It is no base64.
    #[error("it is not in base64")]
    Encoding,
    /// It is no PEM.
    #[error("it is no public key in PEM")]
    Pem,
    /// It is for something else.
    #[error("its kind is not supported: ECDSA P-256, ECDSA P-384 and Ed25519 are")]
    Kind,
}

/// Says why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// It cannot be read.
    #[error("it makes no sense: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
    /// No key fits.
    #[error("it was made with another key, or its payload was changed")]
    Key,
    /// It is over something else.
    #[error("it is for the digest {signed}")]
    Digest {
        /// What was signed.
        signed: String,
    },
    /// It is for another name.
    #[error("it is for the name `{signed}`{}", hint(.signed))]
    Name {
        /// What was signed.
        signed: String,
    },
}

/// Cosign signs the repository without its tag unless it is told otherwise.
fn hint(signed: &str) -> &'static str {
    match signed.parse::<ImageRef>() {
        Ok(name) if name.tag().is_none() => ", which has no tag: `\"signedIdentity\": {\"type\": \"matchRepository\"}` accepts that",
        _ => "",
    }
}

/// A public key.
#[derive(Clone)]
pub struct Key {
    algorithm: &'static dyn VerificationAlgorithm,
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}

impl Key {
    /// Reads a key as `cosign generate-key-pair` and `openssl ec -pubout` write it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| KeyError::Pem)?;
        let known: [(&[u8], &'static dyn VerificationAlgorithm, usize); 3] =
            [(P256, &ECDSA_P256_SHA256_ASN1, 65), (P384, &ECDSA_P384_SHA384_ASN1, 97), (EDWARDS, &ED25519, 32)];
        for (prefix, algorithm, length) in known {
            if let Some(bytes) = der.as_ref().strip_prefix(prefix).filter(|bytes| bytes.len() == length) {
                return Ok(Self { algorithm, bytes: bytes.to_vec() });
            }
        }
        Err(KeyError::Kind)
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(self.algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

/// A signature as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// A payload, with the signature over it in base64.
    Simple {
        /// The JSON document.
        payload: Vec<u8>,
        /// Base64.
        signature: String,
    },
    /// A Sigstore bundle.
    Bundle(Vec<u8>),
}

/// What a signature was found to be about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    /// A digest of a manifest or index.
    pub(crate) digest: Digest,
    /// The image's name; a bundle has none.
    pub(crate) name: Option<String>,
}

impl Signature {
    /// Checks that one of `keys` made it; tells what was signed.
    pub(crate) fn verify(&self, keys: &[Key]) -> Result<Vec<Signed>, SignatureError> {
        match self {
            Self::Simple { payload, signature } => {
                let signature = decode(signature)?;
                if !keys.iter().any(|key| key.verifies(payload, &signature)) {
                    return Err(SignatureError::Key);
                }
                let Simple { critical } = parse(payload)?;
                if critical.kind != COSIGN {
                    return Err(SignatureError::Invalid { reason: format!("its type is `{}`", critical.kind.escape_debug()) });
                }
                Ok(vec![Signed { digest: critical.image.digest, name: Some(critical.identity.reference) }])
            }
            Self::Bundle(bundle) => {
                let Bundle { envelope } = parse(bundle)?;
                let payload = decode(&envelope.payload)?;
                let message =
                    [format!("DSSEv1 {} {} {} ", envelope.kind.len(), envelope.kind, payload.len()).as_bytes(), &payload].concat();
                let signatures = envelope.signatures.iter().map(|signature| decode(&signature.sig)).collect::<Result<Vec<_>, _>>()?;
                if !signatures.iter().any(|signature| keys.iter().any(|key| key.verifies(&message, signature))) {
                    return Err(SignatureError::Key);
                }
                let statement: Statement = parse(&payload)?;
                if statement.predicate_type != "https://sigstore.dev/cosign/sign/v1" {
                    let reason = format!("it says `{}`, which is no signature of an image", statement.predicate_type.escape_debug());
                    return Err(SignatureError::Invalid { reason });
                }
                let digests = statement.subject.iter().filter_map(|subject| Digest::from_hex(&subject.digest.sha256).ok());
                Ok(digests.map(|digest| Signed { digest, name: None }).collect())
            }
        }
    }
}

fn decode(text: &str) -> Result<Vec<u8>, SignatureError> {
    STANDARD.decode(text).map_err(|_| SignatureError::Invalid { reason: "it is not in base64".to_owned() })
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, SignatureError> {
    serde_json::from_slice(bytes).map_err(|error| SignatureError::Invalid { reason: error.to_string() })
}

#[derive(Deserialize)]
struct Simple {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: WrittenIdentity,
    image: WrittenImage,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct WrittenIdentity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Deserialize)]
struct WrittenImage {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "dsseEnvelope")]
    envelope: Envelope,
}

#[derive(Deserialize)]
struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    kind: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    predicate_type: String,
    subject: Vec<Subject>,
}

#[derive(Deserialize)]
struct Subject {
    digest: SubjectDigest,
}

#[derive(Deserialize)]
struct SubjectDigest {
    sha256: String,
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
    use serde_json::json;

    use super::*;

    fn pair() -> (EcdsaKeyPair, Key) {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let der = [P256, pair.public_key().as_ref()].concat();
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        (pair, Key::from_pem(pem.as_bytes()).unwrap())
    }

    fn sign(pair: &EcdsaKeyPair, message: &[u8]) -> String {
        STANDARD.encode(pair.sign(&SystemRandom::new(), message).unwrap())
    }

    #[test]
    fn a_bundle_is_verified_with_its_key_alone() {
        let ((pair, key), (_, other)) = (super::tests::pair(), super::tests::pair());
        let digest = Digest::of(b"manifest");
        let bundle = |kind: &str, signed: &[u8], shown: &[u8]| {
            let message = [format!("DSSEv1 4 type {} ", signed.len()).as_bytes(), signed].concat();
            let envelope = json!({"payload": STANDARD.encode(shown), "payloadType": kind, "signatures": [{"sig": sign(&pair, &message)}]});
            Signature::Bundle(json!({"dsseEnvelope": envelope}).to_string().into_bytes())
        };
        let statement = |kind: &str| json!({"predicateType": kind, "subject": [{"digest": {"sha256": digest.hex()}}]}).to_string();
        let good = statement("https://sigstore.dev/cosign/sign/v1");
        let signed = bundle("type", good.as_bytes(), good.as_bytes());
        assert_eq!(signed.verify(std::slice::from_ref(&key)).unwrap(), [Signed { digest, name: None }]);
        assert_eq!(signed.verify(&[other]), Err(SignatureError::Key));
        let keys = [key];
        assert_eq!(bundle("typo", good.as_bytes(), good.as_bytes()).verify(&keys), Err(SignatureError::Key));
        assert_eq!(bundle("type", good.as_bytes(), b"{}").verify(&keys), Err(SignatureError::Key));
        let provenance = statement("https://slsa.dev/provenance/v1");
        let other = bundle("type", provenance.as_bytes(), provenance.as_bytes()).verify(&keys).unwrap_err();
        assert!(other.to_string().contains("no signature of an image"), "{other}");
    }

    #[test]
    fn payloads_that_make_no_sense_are_refused_after_their_signature_was_checked() {
        let (pair, key) = super::tests::pair();
        let keys = [key];
        for payload in [
            &b"{}"[..],
            b"\xff",
            br#"{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":"x"},"type":"y"}}"#,
        ] {
            let signature = Signature::Simple { payload: payload.to_vec(), signature: sign(&pair, payload) };
            assert!(matches!(signature.verify(&keys), Err(SignatureError::Invalid { .. })));
        }
        let wrong = Signature::Simple { payload: Vec::new(), signature: "?".to_owned() };
        assert!(matches!(wrong.verify(&keys), Err(SignatureError::Invalid { .. })));
        assert!(matches!(Key::from_pem(b"-----BEGIN PUBLIC KEY-----\naGVsbG8=\n-----END PUBLIC KEY-----\n"), Err(KeyError::Kind)));
    }
}
