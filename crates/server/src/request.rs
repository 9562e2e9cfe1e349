//! What a handler gets to know of a request.

use crate::ApiError;
use crate::query::Query;
use bytes::Bytes;
use docker_api::version::ApiVersion;
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE, USER_AGENT};
use http::request::Parts;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;

/// How many bytes a JSON body may have. A create body with a thousand labels has 100 KiB.
const JSON_BYTES_MAX: usize = 16 << 20;

/// A request behind its route.
#[derive(Debug)]
pub(crate) struct Call {
    /// The version that the path names, or the newest.
    pub version: ApiVersion,
    /// The decoded query.
    pub query: Query,
    parts: Parts,
    body: Incoming,
}

impl Call {
    pub(crate) fn new(version: ApiVersion, parts: Parts, body: Incoming) -> Self {
        let query = Query::parse(parts.uri.query().unwrap_or(""));
        Self { version, query, parts, body }
    }

    /// Tells whether the client asks to leave HTTP with a 101.
    pub(crate) fn wants_upgrade(&self) -> bool {
        let connection = self.header(CONNECTION).to_ascii_lowercase();
        connection.contains("upgrade") && self.parts.headers.contains_key(UPGRADE)
    }

    /// Tells whether the client loses bytes that follow the head too soon.
    pub(crate) fn wants_hold(&self) -> bool {
        self.header(USER_AGENT).contains("docker-sdk-python")
    }

    /// Gives a header's text, or the empty one.
    pub(crate) fn header(&self, name: http::HeaderName) -> &str {
        let value = self.parts.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Gives all texts of a header that may stand several times.
    pub(crate) fn header_all(&self, name: http::HeaderName) -> Vec<String> {
        self.parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
    }

    /// Takes the descriptors that came with the request.
    pub(crate) fn take_passed(&self) -> Vec<std::os::fd::OwnedFd> {
        let passed = self.parts.extensions.get::<crate::connection::Passed>();
        let take =
            |passed: &crate::connection::Passed| std::mem::take(&mut *passed.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        passed.map(take).unwrap_or_default()
    }

    /// Takes the body for streaming.
    pub(crate) fn into_body(self) -> Incoming {
        self.body
    }

    /// Reads a JSON body; an empty one gives `None`.
    ///
    /// # Errors
    /// 400 in Docker's words.
    /// **Source:** moby, `httputils.ReadJSON`.
    pub(crate) async fn json_with<T>(&mut self, decode: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>) -> Result<Option<T>, ApiError> {
        let text = self.body_bytes().await?;
        let content_type = self.header(CONTENT_TYPE);
        if text.is_empty() {
            return Ok(None);
        }
        let media = content_type.split(';').next().unwrap_or("").trim();
        if media.is_empty() {
            return Err(ApiError::invalid("malformed Content-Type header (): mime: no media type"));
        }
        if !media.eq_ignore_ascii_case("application/json") {
            return Err(ApiError::invalid(format!("unsupported Content-Type header ({content_type}): must be 'application/json'")));
        }
        match decode(&text) {
            Ok(value) => Ok(Some(value)),
            Err(cause) if cause.is_eof() && text.iter().all(u8::is_ascii_whitespace) => {
                Err(ApiError::invalid("invalid JSON: got EOF while reading request body"))
            }
            Err(cause) => Err(ApiError::invalid(format!("invalid JSON: {cause}"))),
        }
    }

    /// Reads a JSON body by Go's rules; an empty one gives the default.
    ///
    /// # Errors
    /// 400 in Docker's words.
    pub(crate) async fn json<T: DeserializeOwned + Default>(&mut self) -> Result<T, ApiError> {
        let value = self.json_with(docker_api::json::from_slice).await?;
        Ok(value.unwrap_or_default())
    }

    async fn body_bytes(&mut self) -> Result<Bytes, ApiError> {
        if self.body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let body = Limited::new(&mut self.body, JSON_BYTES_MAX).collect().await;
        match body {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(cause) => Err(ApiError::invalid(format!("cannot read the request body: {cause}"))),
        }
    }
}
