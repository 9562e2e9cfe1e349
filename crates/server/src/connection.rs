//! One client's connection: requests one after another until it ends or is hijacked.
//!
//! A hijacked connection leaves the HTTP machinery with all bytes that were read
//! too far; its head is written alone, before anything else, since some clients
//! lose what arrives together with it.
//! **Source:** moby, `api/server/router/container/container_routes.go`, `postContainersAttach`.

use crate::reply::{self, Payload, Reply};
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};

use tokio::net::UnixStream;
use tokio::sync::Notify;

/// What happens with a connection that was taken from HTTP.
pub(crate) type Takeover = Box<dyn FnOnce(OwnedFd) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A connection that leaves HTTP.
pub(crate) struct Hijack {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The container that the request made, for clients of our own: the head's `Teu-Container`.
    pub container: Option<String>,
    /// The value of `Sec-WebSocket-Accept`, if it becomes a WebSocket.
    pub websocket: Option<String>,
    /// The protocol that the client asked for by `Upgrade`: 101, else 200.
    pub upgrade: Option<&'static str>,
    /// Whether the client must have read the head before the stream may follow: docker-py reads the head with a
    /// buffer that it then throws away.
    pub hold: bool,
    /// Who gets the socket.
    pub takeover: Takeover,
}

/// What a request led to.
pub(crate) enum Outcome {
    /// An answer.
    Reply(Reply),
    /// The end of HTTP on this connection.
    Hijack(Hijack),
}

/// What the connection's two sides share.
#[derive(Default)]
struct Shared {
    /// Set while a request may hijack: the client may end its side early.
    hold_eof: AtomicBool,
    hijack: Mutex<Option<Hijack>>,
    hijacked: Notify,
    /// Descriptors that came with what was read last.
    passed: Mutex<Vec<OwnedFd>>,
}

/// How long a client may take to read the head, before the stream follows all the same.
const HEAD_MAX: Duration = Duration::from_millis(500);
/// How often it is asked whether it has. The kernel has no event for it.
const HEAD_STEP: Duration = Duration::from_micros(200);
/// Descriptors that came with a request, from a client with the engine's own rights.
#[derive(Clone, Debug)]
pub(crate) struct Passed(pub(crate) Arc<Mutex<Vec<OwnedFd>>>);

/// Descriptors that one request may bring.
const PASSED_MAX: usize = 16;

/// Serves one connection. `handle` says of each request whether it may hijack, and answers it.
pub(crate) async fn serve<H, F>(stream: UnixStream, handle: H)
where
    H: Fn(Request<Incoming>) -> (bool, F),
    F: Future<Output = Outcome> + Send + 'static,
{
    let shared = Arc::new(Shared::default());
    let io = TokioIo::new(Io { stream, shared: Arc::clone(&shared) });
    let service = service_fn(|mut request: Request<Incoming>| {
        let passed = std::mem::take(&mut *shared.passed.lock().unwrap_or_else(PoisonError::into_inner));
        if !passed.is_empty() {
            request.extensions_mut().insert(Passed(Arc::new(Mutex::new(passed))));
        }
        let (may_hijack, outcome) = handle(request);
        shared.hold_eof.store(may_hijack, Ordering::Relaxed);
        // A task of its own: a client that goes away must not cut an act in half.
        let outcome = tokio::spawn(outcome);
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let mut reply = match outcome.await {
                Ok(Outcome::Reply(reply)) => reply,
                Ok(Outcome::Hijack(hijack)) => {
                    *shared.hijack.lock().unwrap_or_else(PoisonError::into_inner) = Some(hijack);
                    shared.hijacked.notify_one();
                    std::future::pending::<Reply>().await
                }
                Err(_) => reply::error(&crate::ApiError::internal("the request's task has ended")),
            };
            shared.hold_eof.store(false, Ordering::Relaxed);
            reply::decorate(&mut reply);
            Ok::<http::Response<Payload>, Infallible>(reply)
        })
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.title_case_headers(true).max_buf_size(64 * 1024);
    let mut connection = builder.serve_connection(io, service);
    let hijacked = tokio::select! {
        biased;
        () = shared.hijacked.notified() => true,
        _ended = poll_fn(|context| connection.poll_without_shutdown(context)) => false,
    };
    if !hijacked {
        let parts = connection.into_parts();
        let mut stream = parts.io.into_inner().stream;
        // The client may be gone; there is nobody to tell.
        let _ = stream.shutdown().await;
        return;
    }
    let hijack = shared.hijack.lock().unwrap_or_else(PoisonError::into_inner).take();
    let parts = connection.into_parts();
    if let Some(hijack) = hijack {
        hand_over(parts.io.into_inner().stream, parts.read_buf, hijack).await;
    }
}

/// Writes the head and gives the socket away.
async fn hand_over(mut stream: UnixStream, early: Bytes, hijack: Hijack) {
    if stream.write_all(head(&hijack).as_bytes()).await.is_err() {
        return;
    }
    if hijack.hold {
        let asked = Instant::now();
        while engine::unread_by_peer(stream.as_fd()).is_ok_and(|bytes| bytes > 0) && asked.elapsed() < HEAD_MAX {
            tokio::time::sleep(HEAD_STEP).await;
        }
    }
    if early.is_empty() {
        if let Some(fd) = into_fd(stream) {
            (hijack.takeover)(fd).await;
        }
        return;
    }
    // Bytes that belong to the stream were already read: put them back in front.
    let Ok((near, far)) = UnixStream::pair() else {
        return;
    };
    let Some(far) = into_fd(far) else { return };
    let pump = tokio::spawn(pump(stream, near, early));
    (hijack.takeover)(far).await;
    let _ = pump.await;
}

/// Makes a blocking socket of a stream, as its next owner expects.
fn into_fd(stream: UnixStream) -> Option<OwnedFd> {
    let stream = stream.into_std().ok()?;
    stream.set_nonblocking(false).ok()?;
    Some(OwnedFd::from(stream))
}

/// Carries bytes both ways, and each side's end of writing on its own.
async fn pump(client: UnixStream, near: UnixStream, early: Bytes) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_near, mut to_near) = near.into_split();
    let inwards = async move {
        if to_near.write_all(&early).await.is_ok() {
            let _ = copy(&mut from_client, &mut to_near).await;
        }
        let _ = to_near.shutdown().await;
    };
    let outwards = async move {
        let _ = copy(&mut from_near, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    let inwards = tokio::spawn(inwards);
    outwards.await;
    inwards.abort();
}

async fn copy<R, W>(from: &mut R, to: &mut W) -> io::Result<()>
where
    R: tokio::io::AsyncRead + Unpin,
    W: tokio::io::AsyncWrite + Unpin,
{
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        let Some(piece) = buffer.get(..length).filter(|piece| !piece.is_empty()) else {
            return Ok(());
        };
        to.write_all(piece).await?;
    }
}

fn head(hijack: &Hijack) -> String {
    if let Some(accept) = &hijack.websocket {
        return format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        );
    }
    let mut head = hijack.upgrade.map_or_else(
        || "HTTP/1.1 200 OK\r\n".to_owned(),
        |protocol| format!("HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n"),
    );
    if !hijack.content_type.is_empty() {
        head.push_str(&format!("Content-Type: {}\r\n", hijack.content_type));
    }
    if let Some(container) = &hijack.container {
        head.push_str(&format!("Teu-Container: {container}\r\n"));
    }
    for (name, value) in reply::common_headers() {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// The socket as HTTP sees it.
struct Io {
    stream: UnixStream,
    shared: Arc<Shared>,
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            std::task::ready!(self.stream.poll_read_ready(context))?;
            let into = buffer.initialize_unfilled();
            let count = match self.stream.try_io(Interest::READABLE, || self.receive(into)) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Poll::Ready(Err(error)),
            };
            if count == 0 && self.shared.hold_eof.load(Ordering::Relaxed) {
                return Poll::Pending;
            }
            buffer.advance(count);
            return Poll::Ready(Ok(()));
        }
    }
}

impl Io {
    /// Reads bytes and the descriptors beside them. **Source:** unix(7), `SCM_RIGHTS`.
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PASSED_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(&self.stream, &mut [io::IoSliceMut::new(into)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for message in ancillary.drain() {
            let RecvAncillaryMessage::ScmRights(fds) = message else { continue };
            // The engine reads with its own rights: it must not read for one who has fewer.
            let peer = rustix::net::sockopt::socket_peercred(&self.stream)?.uid;
            let trusted = peer.is_root() || peer == rustix::process::geteuid();
            let mut passed = self.shared.passed.lock().unwrap_or_else(PoisonError::into_inner);
            passed.extend(fds.filter(|_| trusted));
            passed.truncate(PASSED_MAX);
        }
        Ok(received.bytes)
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }
}

#[cfg(test)]
mod tests;
