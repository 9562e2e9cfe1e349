//! Engines of other hosts: through TLS, or through a program that `ssh` runs there.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use docker_api::client::Connect;
use rustix::event::{PollFd, PollFlags};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Failure, Outcome};

/// Files of an encrypted connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Whom to trust.
    pub ca: Option<PathBuf>,
    /// Who we are.
    pub cert: Option<PathBuf>,
    /// What proves it.
    pub key: Option<PathBuf>,
    /// Whether anybody is believed to be the host.
    pub skip_verify: bool,
}

/// A host that is reached through TLS.
#[derive(Debug)]
struct Tls {
    address: String,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

/// A host that is reached through `ssh`.
#[derive(Debug)]
struct Ssh {
    host: String,
    arguments: Vec<String>,
}

/// Run on the other host. The pieces are one word each for the shell there.
const DIAL: &str = "if command -v teu >/dev/null 2>&1; then exec teu system dial-stdio; else exec docker system dial-stdio; fi";

/// Prepares the way to `tcp://…` with keys.
///
/// # Errors
/// A file cannot be read, or the host has no name that a certificate could bear.
pub fn tls(address: &str, keys: &Keys) -> Outcome<Arc<dyn Connect>> {
    let address = address.trim_end_matches('/');
    let has_port = address.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let whole = if has_port { address.to_owned() } else { format!("{address}:2376") };
    let host = whole.rsplit_once(':').map_or(whole.as_str(), |(host, _)| host).trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host.clone()).map_err(|_| Failure::new(format!("no certificate can be for the host `{host}`")))?;
    Ok(Arc::new(Tls { address: whole, name, config: Arc::new(config(keys)?) }))
}

fn config(keys: &Keys) -> Outcome<ClientConfig> {
    let unread = |path: &Path, why: String| Failure::new(format!("could not read {}: {why}", path.display()));
    let certificates = |path: &Path| -> Outcome<Vec<CertificateDer<'static>>> {
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        read.map_err(|error| unread(path, error.to_string()))
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| Failure::new(error.to_string()))?;
    let builder = if keys.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let Some(ca) = &keys.ca else {
            return Err(Failure::new(
                "no certificate of an authority to trust: give one by --tlscacert, DOCKER_CERT_PATH or the context's `ca`",
            ));
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| unread(ca, error.to_string()))?;
        }
        builder.with_root_certificates(roots)
    };
    match (&keys.cert, &keys.key) {
        (Some(cert), Some(key)) => {
            let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unread(key, error.to_string()))?;
            let config = builder.with_client_auth_cert(certificates(cert)?, private);
            config.map_err(|error| Failure::new(format!("{} and {} do not fit: {error}", cert.display(), key.display())))
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

/// Believes that anybody is the host, as `--tls` without `--tlsverify` asks for.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
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
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl Connect for Tls {
    fn connect(&self) -> io::Result<UnixStream> {
        let mut stream = TcpStream::connect(self.address.as_str())?;
        stream.set_nodelay(true)?;
        let mut session = ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        let (near, far) = UnixStream::pair()?;
        std::thread::spawn(move || {
            // The other end of the pair sees the end of the stream, whatever its cause.
            let _ = Pump { session, stream, local: far, incoming: Vec::new(), local_open: true }.run();
        });
        Ok(near)
    }

    fn name(&self) -> String {
        format!("tcp://{}", self.address)
    }
}

/// Carries bytes between a TLS session and the client's end of a socket pair.
struct Pump {
    session: ClientConnection,
    stream: TcpStream,
    local: UnixStream,
    /// Decrypted bytes that the client has not taken.
    incoming: Vec<u8>,
    local_open: bool,
}

/// Decrypted bytes above which the host has to wait.
const INCOMING_BYTES_MAX: usize = 256 << 10;

impl Pump {
    fn run(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        self.local.set_nonblocking(true)?;
        let mut buffer = vec![0; 32 << 10];
        let mut host_open = true;
        loop {
            while self.session.wants_write() && ready(self.session.write_tls(&mut self.stream))?.is_some_and(|count| count > 0) {}
            while !self.incoming.is_empty() {
                let Some(count) = ready(self.local.write(&self.incoming))? else { break };
                self.incoming.drain(..count);
            }
            if !host_open && self.incoming.is_empty() {
                return self.local.shutdown(Shutdown::Both);
            }
            let from_host = host_open && self.incoming.len() < INCOMING_BYTES_MAX;
            let from_local = self.local_open && !self.session.wants_write();
            let flags = |input: bool, output: bool| {
                let input = if input { PollFlags::IN } else { PollFlags::empty() };
                input | if output { PollFlags::OUT } else { PollFlags::empty() }
            };
            let mut polled = [
                PollFd::new(&self.stream, flags(from_host, self.session.wants_write())),
                PollFd::new(&self.local, flags(from_local, !self.incoming.is_empty())),
            ];
            rustix::event::poll(&mut polled, None)?;
            let [remote, local] = polled.map(|fd| fd.revents());
            if from_host && remote.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                host_open = self.receive(&mut buffer)?;
            }
            if from_local && local.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR) {
                self.send(&mut buffer)?;
            }
        }
    }

    /// Takes what the host sent; false at its end.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        if ready(self.session.read_tls(&mut self.stream))? == Some(0) {
            return Ok(false);
        }
        self.session.process_new_packets().map_err(io::Error::other)?;
        loop {
            match self.session.reader().read(buffer) {
                Ok(0) => return Ok(false),
                Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what the client sent.
    fn send(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match ready(self.local.read(buffer))? {
            None => {}
            Some(0) => {
                self.local_open = false;
                self.session.send_close_notify();
            }
            Some(count) => self.session.writer().write_all(&buffer[..count])?,
        }
        Ok(())
    }
}

/// Nothing, where waiting would be needed.
fn ready(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Prepares the way to `ssh://[user@]host[:port]`.
/// **Source:** docker/cli, `cli/connhelper/ssh`.
///
/// # Errors
/// There is more in the URL, or something that `ssh` would take for an option.
pub fn ssh(url: &str) -> Outcome<Arc<dyn Connect>> {
    let wrong = |why: &str| Failure::new(format!("ssh host connection is not valid: {why}: {url}"));
    let rest = url.strip_prefix("ssh://").unwrap_or(url);
    let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    let host = host.trim_matches(['[', ']']);
    if user.is_some_and(|user| user.contains(':')) {
        return Err(wrong("plain-text password is not supported"));
    }
    if host.is_empty() {
        return Err(wrong("no host specified"));
    }
    if !path.is_empty() && path != "/" {
        return Err(wrong("extra path after the host"));
    }
    if host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
        return Err(wrong("a name begins with a dash"));
    }
    let mut arguments: Vec<String> = ["-o", "ConnectTimeout=30", "-T"].map(str::to_owned).into();
    for (flag, value) in [("-l", user), ("-p", port)] {
        arguments.extend(value.map(|value| [flag.to_owned(), value.to_owned()]).into_iter().flatten());
    }
    arguments.extend(["--".to_owned(), host.to_owned(), format!("sh -c '{DIAL}'")]);
    Ok(Arc::new(Ssh { host: url.to_owned(), arguments }))
}

impl Connect for Ssh {
    fn connect(&self) -> io::Result<UnixStream> {
        let (near, far) = UnixStream::pair()?;
        let (input, output) = (OwnedFd::from(far.try_clone()?), OwnedFd::from(far));
        #[allow(clippy::disallowed_methods, reason = "the way to another host is the program that people have set up for it")]
        let child = Command::new("ssh").args(&self.arguments).stdin(Stdio::from(input)).stdout(Stdio::from(output)).spawn();
        let mut child = child.map_err(|error| io::Error::new(error.kind(), format!("cannot run ssh: {error}")))?;
        std::thread::spawn(move || child.wait());
        Ok(near)
    }

    fn name(&self) -> String {
        self.host.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::ssh;

    #[test]
    fn hosts_of_ssh_are_taken_apart() {
        let shown = |url: &str| ssh(url).map(|way| format!("{way:?}")).map_err(|error| error.text("").unwrap_or_default());
        let way = shown("ssh://me@example.org:2222").unwrap();
        assert!(way.contains("\"-l\", \"me\", \"-p\", \"2222\", \"--\", \"example.org\""), "{way}");
        assert!(shown("ssh://[::1]:22").unwrap().contains("\"22\", \"--\", \"::1\""));
        assert!(shown("ssh://me:secret@host").unwrap_err().contains("plain-text password"));
        assert!(shown("ssh://-oProxyCommand=x").unwrap_err().contains("dash"));
        assert!(shown("ssh://host/path").unwrap_err().contains("extra path"));
    }
}
