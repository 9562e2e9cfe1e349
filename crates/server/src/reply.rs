//! Answers and their bodies.

use crate::ApiError;
use bytes::Bytes;
use docker_api::types::ErrorBody;
use docker_api::version::API_VERSION_MAX;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// The release of Docker whose behaviour is kept, with our name behind it.
pub const SERVER_VERSION: &str = "28.5.2+teu";

/// How many pieces of a stream may wait for a slow client.
const PIECES_MAX: usize = 32;

/// A body that is there, or that comes in pieces.
#[derive(Debug)]
pub enum Payload {
    /// All of it.
    Whole(Option<Bytes>),
    /// Pieces through a bounded channel; the end of the channel ends the body.
    Stream(mpsc::Receiver<Bytes>),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => pieces.poll_recv(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                let length = bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// A complete answer.
pub type Reply = Response<Payload>;

/// Makes an answer without a body.
pub fn empty(status: StatusCode) -> Reply {
    with_body(status, Payload::Whole(None))
}

/// Makes an answer with any body.
pub fn with_body(status: StatusCode, body: Payload) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
}

/// Makes an answer with a JSON body, ended by a newline as Go's encoder ends it.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    match serde_json::to_vec(value) {
        Ok(mut text) => {
            text.push(b'\n');
            typed(status, "application/json", Bytes::from(text))
        }
        Err(cause) => error(&ApiError::internal(cause.to_string())),
    }
}

/// Makes an answer with a body of one type.
pub fn typed(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = with_body(status, Payload::Whole(Some(body)));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// Makes an error's answer. The type is exact, for clients compare the whole text.
pub fn error(error: &ApiError) -> Reply {
    if error.status == StatusCode::NOT_MODIFIED {
        return empty(error.status);
    }
    json(error.status, &ErrorBody { message: error.message.clone() })
}

/// Makes an answer whose body follows through the channel; its head is sent at once.
pub fn stream(content_type: &'static str) -> (mpsc::Sender<Bytes>, Reply) {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let mut reply = with_body(StatusCode::OK, Payload::Stream(pieces));
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    (sender, reply)
}

/// Writes a value as one line of a JSON stream.
pub fn line<T: Serialize>(value: &T, end: &str) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.extend_from_slice(end.as_bytes());
    Bytes::from(text)
}

/// Adds the headers that each answer has.
pub fn decorate(reply: &mut Reply) {
    let headers = reply.headers_mut();
    for (name, value) in common_headers() {
        if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value)) {
            headers.insert(name, value);
        }
    }
}

/// The headers that each answer has, also a hijacked one.
pub fn common_headers() -> [(&'static str, String); 4] {
    [
        ("Api-Version", API_VERSION_MAX.to_string()),
        ("Docker-Experimental", "false".to_owned()),
        ("Ostype", "linux".to_owned()),
        ("Server", format!("Docker/{SERVER_VERSION} (linux)")),
    ]
}
