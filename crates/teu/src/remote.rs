//! The addresses of `-H tcp://…`, and their keys.

use std::net::{TcpListener, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Tls {
    /// `--tls`: said yes, said no, or not said.
    pub on: Option<bool>,
    /// `--tlsverify`: clients must show a certificate of our authority.
    pub verify: bool,
    /// `--tlscacert`.
    pub ca: Option<PathBuf>,
    /// `--tlscert`.
    pub cert: Option<PathBuf>,
    /// `--tlskey`.
    pub key: Option<PathBuf>,
}

/// Binds the addresses.
///
/// # Errors
/// An address is taken or wrong, a key cannot be read, or one would be open to everybody.
pub(crate) fn listen(addresses: &[String], tls: &Tls) -> anyhow::Result<Vec<server::Remote>> {
    if addresses.is_empty() {
        return Ok(Vec::new());
    }
    let encrypted = tls.verify || tls.on == Some(true) || [&tls.ca, &tls.cert, &tls.key].iter().any(|file| file.is_some());
    let config = encrypted.then(|| config(tls)).transpose()?;
    let mut remotes = Vec::new();
    for address in addresses {
        let port = if encrypted { 2376 } else { 2375 };
        let whole =
            if address.rsplit(']').next().is_some_and(|rest| rest.contains(':')) { address.clone() } else { format!("{address}:{port}") };
        let mut found = whole.to_socket_addrs().with_context(|| format!("cannot listen on tcp://{whole}"))?;
        let resolved = found.next().with_context(|| format!("cannot listen on tcp://{whole}: it has no address"))?;
        if !encrypted && !resolved.ip().is_loopback() && tls.on != Some(false) {
            bail!(
                "tcp://{whole} would give everybody who reaches it root on this host: use --tlsverify with --tlscacert, --tlscert and --tlskey, or say --tls=false if a proxy guards it"
            );
        }
        let listener = TcpListener::bind(resolved).with_context(|| format!("cannot listen on tcp://{whole}"))?;
        remotes.push(server::Remote::new(listener, config.clone())?);
    }
    Ok(remotes)
}

fn config(tls: &Tls) -> anyhow::Result<Arc<ServerConfig>> {
    let file = |given: &Option<PathBuf>, name: &str| given.clone().unwrap_or_else(|| Path::new("/etc/docker").join(name));
    let (cert, key, ca) = (file(&tls.cert, "cert.pem"), file(&tls.key, "key.pem"), file(&tls.ca, "ca.pem"));
    let chain = certificates(&cert)?;
    let private = PrivateKeyDer::from_pem_file(&key).with_context(|| format!("cannot read the key `{}`", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = if tls.verify {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca)? {
            roots.add(certificate).with_context(|| format!("cannot trust `{}`", ca.display()))?;
        }
        builder.with_client_cert_verifier(WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?)
    } else {
        builder.with_no_client_auth()
    };
    let mut config =
        builder.with_single_cert(chain, private).with_context(|| format!("`{}` and `{}` do not fit", cert.display(), key.display()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let context = || format!("cannot read the certificate `{}`", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path).with_context(context)?.collect::<Result<_, _>>().with_context(context)?;
    ensure!(!found.is_empty(), "there is no certificate in `{}`", path.display());
    Ok(found)
}
