//! A blocking HTTP/1.1 client of the Engine API: one connection per request.
//!
//! It starts no thread and no runtime, for a command's whole life is a few requests.

mod endpoint;
mod http;

pub use endpoint::{Endpoint, ParseEndpointError};
pub use http::{Body, Response, Transport, Upgraded};

use crate::version::{API_VERSION_MAX, ApiVersion};
use std::io;

/// A request that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens. The words are Docker's, for scripts look for them.
    #[error("Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?")]
    Connect {
        /// Whom we called.
        endpoint: Endpoint,
        /// Why it failed.
        source: io::Error,
    },
    /// The socket is not for us.
    #[error(
        "permission denied while trying to connect to the Docker daemon socket at {endpoint}: {source}"
    )]
    Permission {
        /// Whom we called.
        endpoint: Endpoint,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The connection broke.
    #[error("error during connect: {method} {target}: {source}")]
    Broken {
        /// The request's method.
        method: String,
        /// The request's path and query.
        target: String,
        /// Why it broke.
        source: io::Error,
    },
    /// The engine refused.
    #[error("Error response from daemon: {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The answer is no JSON.
    #[error("invalid answer of the daemon: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// The engine's status, if it answered.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Connect { .. }
            | Self::Permission { .. }
            | Self::Broken { .. }
            | Self::Json(_) => None,
        }
    }
}

/// What the ping told about the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ping {
    /// The newest API version of the engine.
    pub api_version: Option<ApiVersion>,
    /// The `Server` header.
    pub server: String,
}

/// Calls one engine.
#[derive(Debug, Clone)]
pub struct Client {
    endpoint: Endpoint,
    version: Option<ApiVersion>,
    user_agent: String,
}

impl Client {
    /// Prepares calls to `endpoint`; nothing is connected yet.
    pub fn new(endpoint: Endpoint, user_agent: &str) -> Self {
        Self {
            endpoint,
            version: None,
            user_agent: user_agent.to_owned(),
        }
    }

    /// Whom it calls.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The version that stands before each path; none means the engine's newest.
    pub fn version(&self) -> Option<ApiVersion> {
        self.version
    }

    /// Uses `version` from now on.
    pub fn set_version(&mut self, version: Option<ApiVersion>) {
        self.version = version;
    }

    /// Asks the engine what it is, and takes the newest version that both sides know.
    ///
    /// # Errors
    /// The engine cannot be reached.
    pub fn negotiate(&mut self) -> Result<Ping, Error> {
        let ping = self.ping()?;
        // An engine that tells no version is older than negotiation.
        let theirs = ping.api_version.unwrap_or(ApiVersion::v1(24));
        self.version = Some(theirs.min(API_VERSION_MAX));
        Ok(ping)
    }

    /// Sends `HEAD /_ping`.
    ///
    /// # Errors
    /// The engine cannot be reached.
    pub fn ping(&self) -> Result<Ping, Error> {
        let answer = self.exchange("HEAD", "/_ping", Body::Empty, &[])?;
        Ok(Ping {
            api_version: answer
                .header("api-version")
                .and_then(|text| text.parse().ok()),
            server: answer.header("server").unwrap_or_default().to_owned(),
        })
    }

    fn target(&self, path: &str) -> String {
        match self.version {
            Some(version) => format!("/v{version}{path}"),
            None => path.to_owned(),
        }
    }

    fn exchange(
        &self,
        method: &str,
        target: &str,
        body: Body<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let transport = self.endpoint.connect()?;
        let request = http::Request {
            method,
            target,
            body,
            headers,
            user_agent: &self.user_agent,
        };
        http::exchange(transport, request).map_err(|source| Error::Broken {
            method: method.to_owned(),
            target: target.to_owned(),
            source,
        })
    }

    /// Sends a request and gives the answer, whose body is still to be read.
    ///
    /// # Errors
    /// The engine cannot be reached, or answers with a status of 400 or more.
    pub fn send(&self, method: &str, path: &str, body: Body<'_>) -> Result<Response, Error> {
        self.send_with(method, path, body, &[])
    }

    /// As [`Client::send`], with more headers.
    ///
    /// # Errors
    /// As there.
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        body: Body<'_>,
        headers: &[(&str, &str)],
    ) -> Result<Response, Error> {
        let answer = self.exchange(method, &self.target(path), body, headers)?;
        if answer.status() >= 400 {
            return Err(refusal(answer));
        }
        Ok(answer)
    }

    /// Sends a request that turns the connection into a raw stream.
    ///
    /// # Errors
    /// The engine cannot be reached, or refuses.
    pub fn upgrade(&self, path: &str, body: Body<'_>) -> Result<Upgraded, Error> {
        let headers = [("Connection", "Upgrade"), ("Upgrade", "tcp")];
        let answer = self.send_with("POST", path, body, &headers)?;
        Ok(answer.into_upgraded())
    }

    /// Sends a `GET` and reads the whole answer.
    ///
    /// # Errors
    /// The engine cannot be reached, refuses, or breaks off.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        self.call("GET", path, Body::Empty)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// The engine cannot be reached, refuses, or breaks off.
    pub fn call(&self, method: &str, path: &str, body: Body<'_>) -> Result<Vec<u8>, Error> {
        let mut answer = self.send(method, path, body)?;
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut answer, &mut bytes).map_err(|source| Error::Broken {
            method: method.to_owned(),
            target: path.to_owned(),
            source,
        })?;
        Ok(bytes)
    }
}

fn refusal(mut answer: Response) -> Error {
    let status = answer.status();
    let mut bytes = Vec::new();
    // What was read before a break is still the best text there is.
    let _read = io::Read::read_to_end(&mut answer, &mut bytes);
    let parsed = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let message = parsed
        .as_ref()
        .and_then(|value| value.get("message"))
        .and_then(serde_json::Value::as_str)
        .map_or_else(
            || String::from_utf8_lossy(&bytes).trim().to_owned(),
            |message| message.trim().to_owned(),
        );
    let message = if message.is_empty() {
        format!("request returned {status}")
    } else {
        message
    };
    Error::Refused { status, message }
}

/// Writes `text` so that it can stand in a path or a query.
/// **Source:** RFC 3986, section 2.3, unreserved characters.
pub fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _written = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
