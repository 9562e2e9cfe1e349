//! Clients of other hosts: TCP, with or without TLS.
//!
//! Each is joined with a socket pair whose other end is served as a client of this host is: streams
//! are handed to supervisors as descriptors, and a TLS stream has none of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::app::{App, serve_client};

/// How long a client may take to agree on keys.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// What follows a failed accept, since most failures last a moment.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An address that clients of other hosts come to.
pub struct Remote {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("listener", &self.listener).field("tls", &self.tls.is_some()).finish()
    }
}

impl Remote {
    /// Takes over a bound listener; must be called within the runtime.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn new(listener: std::net::TcpListener, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, tls: tls.map(TlsAcceptor::from) })
    }

    /// Serves clients until the task is dropped.
    pub(crate) async fn serve(self, app: Arc<App>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    // Small answers go out at once.
                    let _ = stream.set_nodelay(true);
                    tokio::spawn(client(stream, self.tls.clone(), Arc::clone(&app)));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
}

async fn client(stream: TcpStream, tls: Option<TlsAcceptor>, app: Arc<App>) {
    match tls {
        None => join(stream, app).await,
        Some(tls) => {
            // One who does not agree on keys is let go without a word.
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_MAX, tls.accept(stream)).await {
                join(stream, app).await;
            }
        }
    }
}

async fn join(mut stream: impl AsyncRead + AsyncWrite + Unpin, app: Arc<App>) {
    let Ok((mut near, far)) = UnixStream::pair() else { return };
    let served = tokio::spawn(serve_client(app, far));
    // Each side's end of writing is passed on by itself.
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut near).await;
    drop(near);
    let _ = served.await;
}
