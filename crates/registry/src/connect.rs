//! From an address to a connection: names, proxies, TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;

use crate::Proxy;
use crate::proxy::Hop;
use crate::tls::Tls;

/// Longest head of a proxy's answer.
const PROXY_HEAD_BYTES_MAX: usize = 16 << 10;

/// Says why there is no connection; texts are Go's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("dial tcp: lookup {host}: {reason}")]
    Resolve { host: String, reason: String },
    #[error("dial tcp {address}: connect: {reason}")]
    Dial { address: String, reason: String },
    #[error("dial tcp {address}: i/o timeout")]
    Timeout { address: String },
    #[error("tls: {reason}")]
    Tls { reason: String },
    #[error("proxyconnect tcp: {reason}")]
    Proxy { reason: String },
    #[error("{reason}")]
    Settings { reason: String },
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An open connection.
pub(crate) struct Stream {
    io: Box<dyn Io>,
    /// Requests name the whole address, for a proxy reads them.
    absolute: bool,
}

/// Makes connections for one host of settings.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    pub(crate) tls: Arc<Tls>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) timeout: Duration,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let address = uri.authority().map(ToString::to_string).unwrap_or_default();
            let timeout = connector.timeout;
            match tokio::time::timeout(timeout, connector.connect(&uri)).await {
                Ok(result) => result.map(TokioIo::new),
                Err(_) => Err(ConnectError::Timeout { address }),
            }
        })
    }
}

impl Connector {
    async fn connect(&self, uri: &Uri) -> Result<Stream, ConnectError> {
        let secure = uri.scheme_str() == Some("https");
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let hop = self.proxy.hop(secure, host, port).map_err(|reason| ConnectError::Proxy { reason })?;
        let tcp = match &hop {
            None => dial(host.trim_matches(['[', ']']), port).await?,
            Some(hop) => {
                let (name, door) = hop.authority.rsplit_once(':').unwrap_or((&hop.authority, "80"));
                let tcp = dial(name.trim_matches(['[', ']']), door.parse().unwrap_or(80)).await;
                let tcp = tcp.map_err(|error| ConnectError::Proxy { reason: error.to_string() })?;
                if secure { tunnel(tcp, &format!("{host}:{port}"), hop).await? } else { tcp }
            }
        };
        if !secure {
            return Ok(Stream { io: Box::new(tcp), absolute: hop.is_some() });
        }
        let config = self.tls.config().map_err(|reason| ConnectError::Settings { reason })?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| ConnectError::Tls { reason: error.to_string() })?;
        let connected = tokio_rustls::TlsConnector::from(config).connect(name, tcp).await;
        let io = connected.map_err(|error| ConnectError::Tls { reason: error.to_string() })?;
        Ok(Stream { io: Box::new(io), absolute: false })
    }
}

/// Connects to the first address of a name that answers.
async fn dial(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let addresses = tokio::net::lookup_host((host, port)).await;
    let addresses = addresses.map_err(|error| ConnectError::Resolve { host: host.to_owned(), reason: lookup(&error) })?;
    let mut failure = ConnectError::Resolve { host: host.to_owned(), reason: "no such host".to_owned() };
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // A failure here only makes small requests slower.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = ConnectError::Dial { address: address.to_string(), reason: plain(&error) },
        }
    }
    Err(failure)
}

fn lookup(error: &io::Error) -> String {
    let text = error.to_string();
    if text.contains("not known") || text.contains("No address") { "no such host".to_owned() } else { plain(error) }
}

/// An error of the system as Go prints it: in small letters, without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Asks a proxy for a way to `target`. **Source:** RFC 9110, section 9.3.6.
async fn tunnel(mut tcp: TcpStream, target: &str, hop: &Hop) -> Result<TcpStream, ConnectError> {
    let failed = |reason: String| ConnectError::Proxy { reason };
    let authorization = hop.authorization.as_ref().map_or(String::new(), |value| format!("Proxy-Authorization: {value}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    tcp.write_all(request.as_bytes()).await.map_err(|error| failed(plain(&error)))?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to TLS.
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tcp.read_u8().await.map_err(|error| failed(plain(&error)))?;
        head.push(byte);
        if head.len() > PROXY_HEAD_BYTES_MAX {
            return Err(failed("the proxy's answer is too long".to_owned()));
        }
    }
    let line = String::from_utf8_lossy(&head);
    let line = line.lines().next().unwrap_or_default();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(tcp),
        _ => Err(failed(line.split_once(' ').map_or(line, |(_, rest)| rest).to_owned())),
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.absolute)
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}
