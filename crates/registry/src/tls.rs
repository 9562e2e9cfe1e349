//! TLS: whom is trusted, and with what the client shows itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// What is special about one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSpec {
    /// Any certificate will do.
    pub(crate) skip_verify: bool,
    /// Files with further authorities.
    pub(crate) authorities: Vec<PathBuf>,
    /// Certificate and key of the client.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// A host's TLS, made when it is first needed: reading the system's authorities takes milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    spec: TlsSpec,
    made: OnceLock<Result<Arc<ClientConfig>, String>>,
}

impl Tls {
    pub(crate) fn new(spec: TlsSpec) -> Self {
        Self { spec, made: OnceLock::new() }
    }

    /// Gives the configuration, or says which file is wrong.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        self.made.get_or_init(|| make(&self.spec)).clone()
    }
}

/// The system's authorities, or the usual ones where the system has none.
fn system_authorities() -> &'static [CertificateDer<'static>] {
    static FOUND: OnceLock<Vec<CertificateDer<'static>>> = OnceLock::new();
    FOUND.get_or_init(|| rustls_native_certs::load_native_certs().certs)
}

fn make(spec: &TlsSpec) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let builder = if spec.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider.signature_verification_algorithms)))
    } else {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(system_authorities().iter().cloned());
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for file in &spec.authorities {
            let certificates = certificates(file)?;
            let (added, _) = roots.add_parsable_certificates(certificates);
            if added == 0 {
                return Err(format!("`{}` holds no certificate", file.display()));
            }
        }
        builder.with_root_certificates(roots)
    };
    let mut config = match &spec.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("cannot read `{}`: {error}", key.display()))?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("cannot use `{}`: {error}", certificate.display()))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = |error: rustls::pki_types::pem::Error| format!("cannot read `{}`: {error}", file.display());
    CertificateDer::pem_file_iter(file).map_err(read)?.collect::<Result<_, _>>().map_err(read)
}

/// Trusts whoever answers, for registries that are set to be insecure. Signatures are still checked.
#[derive(Debug)]
struct Anyone(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
