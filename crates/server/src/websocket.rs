//! `GET /containers/{name}/attach/ws`: a container's streams through a WebSocket.
//!
//! What the container writes comes as binary messages without the frames that name a stream, as with Docker.
//! **Source:** Docker Engine API, `ContainerAttachWebsocket`; RFC 6455.

use std::os::fd::OwnedFd;

use engine::{AttachOptions, Engine};
use futures_util::{SinkExt, StreamExt};
use http::header::SEC_WEBSOCKET_KEY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::ApiError;
use crate::app::App;
use crate::connection::{Hijack, Outcome, Takeover};
use crate::request::Call;

/// Bytes of a message at most.
const MESSAGE_BYTES_MAX: usize = 32 << 10;

impl App {
    pub(crate) fn attach_websocket(&self, name: &str, call: &Call) -> Result<Outcome, ApiError> {
        let container = self.lookup(name)?;
        let key = call.header(SEC_WEBSOCKET_KEY);
        if key.is_empty() {
            return Err(ApiError::invalid("not websocket protocol"));
        }
        let accept = derive_accept_key(key.as_bytes());
        let query = &call.query;
        let options = AttachOptions {
            stdin: query.flag("stdin"),
            stdout: query.flag("stdout"),
            stderr: query.flag("stderr"),
            logs: query.flag("logs"),
            stream: query.flag("stream"),
            multiplexed: false,
            detach_keys: query.text("detachKeys").to_owned(),
        };
        let tty = container.spec.config.tty;
        let (engine, id) = (self.engine.clone(), container.id.to_string());
        let takeover: Takeover = Box::new(move |client| {
            Box::pin(async move {
                // Nobody is left to tell if the client is gone.
                let _ = bridge(engine, id, (options, tty), client).await;
            })
        });
        Ok(Outcome::Hijack(Hijack { content_type: "", container: None, websocket: Some(accept), upgrade: None, hold: false, takeover }))
    }
}

async fn bridge(engine: Engine, id: String, (options, tty): (AttachOptions, bool), client: OwnedFd) -> std::io::Result<()> {
    let client = std::os::unix::net::UnixStream::from(client);
    client.set_nonblocking(true)?;
    let socket = WebSocketStream::from_raw_socket(UnixStream::from_std(client)?, Role::Server, None).await;
    let (near, far) = std::os::unix::net::UnixStream::pair()?;
    near.set_nonblocking(true)?;
    let (mut from, mut to) = UnixStream::from_std(near)?.into_split();
    let (mut sink, mut source) = socket.split();
    if let Err(cause) = engine.attach(&id, options, OwnedFd::from(far)).await {
        let text = crate::error::chain(&cause);
        let _ = sink.send(Message::text(text)).await;
        let _ = sink.close().await;
        return Ok(());
    }
    let inwards = tokio::spawn(async move {
        while let Some(Ok(message)) = source.next().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
            let carries = matches!(message, Message::Text(_) | Message::Binary(_));
            if carries && to.write_all(&message.into_data()).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    });
    while let Some(bytes) = piece(&mut from, tty).await {
        if sink.send(Message::Binary(bytes)).await.is_err() {
            break;
        }
    }
    let _ = sink.close().await;
    inwards.abort();
    Ok(())
}

/// The next bytes that the container has written, without the head that names their stream.
async fn piece(from: &mut OwnedReadHalf, tty: bool) -> Option<Bytes> {
    let mut left = MESSAGE_BYTES_MAX;
    if !tty {
        let mut head = [0; 8];
        from.read_exact(&mut head).await.ok()?;
        left = usize::try_from(u32::from_be_bytes([head[4], head[5], head[6], head[7]])).ok()?;
        let mut bytes = vec![0; left];
        from.read_exact(&mut bytes).await.ok()?;
        return Some(bytes.into());
    }
    let mut bytes = vec![0; left];
    let count = from.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
    bytes.truncate(count);
    Some(bytes.into())
}
