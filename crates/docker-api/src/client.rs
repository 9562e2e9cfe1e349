//! A small blocking client of the Engine API: one connection at a time, hijacked streams, JSON.
//!
//! Blocking, because a command line does one thing after another: no runtime to start, one millisecond saved.

mod http;

use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;

pub use http::{Body, Hijacked, Make, Stream};

/// A way to an engine that needs more than a socket.
pub trait Connect: std::fmt::Debug + Send + Sync {
    /// Opens a stream of bytes to the engine.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn connect(&self) -> io::Result<UnixStream>;

    /// How people write this way.
    fn name(&self) -> String;
}

/// Where an engine listens.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Behind something else, such as TLS.
    Through(Arc<dyn Connect>),
    /// A socket of this machine.
    Unix(PathBuf),
    /// A host and port, unencrypted.
    Tcp(String),
}

/// A host that cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("unable to parse docker host `{0}`")]
pub struct ParseEndpointError(String);

impl std::str::FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(host: &str) -> Result<Self, Self::Err> {
        if let Some(path) = host.strip_prefix("unix://").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        if let Some(rest) = host.strip_prefix("tcp://").or_else(|| host.strip_prefix("http://")).filter(|rest| !rest.is_empty()) {
            let address = rest.trim_end_matches('/');
            return Ok(Self::Tcp(if address.contains(':') { address.to_owned() } else { format!("{address}:2375") }));
        }
        Err(ParseEndpointError(host.to_owned()))
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Through(way) => f.write_str(&way.name()),
        }
    }
}

/// A request that brought no answer of use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("Cannot connect to the Docker daemon at {endpoint}. Is the docker daemon running?")]
    Connect {
        /// Where.
        endpoint: Endpoint,
        /// Why not.
        source: io::Error,
    },
    /// The engine refused; the text is its own.
    #[error("Error response from daemon: {message}")]
    Api {
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The connection broke or the answer makes no sense.
    #[error("error during connect: {0}")]
    Broken(#[from] io::Error),
    /// The answer is not the JSON it should be.
    #[error("unexpected answer of the daemon")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// HTTP status, if the engine answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        if let Self::Api { status, .. } = self { Some(*status) } else { None }
    }
}

/// What the engine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ping {
    /// Highest version of its API.
    pub api_version: String,
    /// Its `Server` header.
    pub server: String,
}

/// Highest version of the API this client speaks.
pub const VERSION: &str = "1.51";

/// A client of one engine.
#[derive(Debug)]
pub struct Client {
    endpoint: Endpoint,
    version: String,
    headers: Arc<str>,
    idle: Option<http::Connection>,
    /// Credentials for a registry, as `X-Registry-Auth` carries them.
    registry_auth: Option<String>,
}

impl Client {
    /// A client that has not spoken yet. `version` fixes the API version; without it [`Client::negotiate`] lowers it if needed.
    #[must_use]
    pub fn new(endpoint: Endpoint, version: Option<String>) -> Self {
        Self { endpoint, version: version.unwrap_or_else(|| VERSION.to_owned()), headers: "".into(), idle: None, registry_auth: None }
    }

    /// Sends these headers with each request, as a proxy between client and engine may want them.
    #[must_use]
    pub fn with_headers<'a>(mut self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let clean = |text: &str| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
        self.headers = headers.into_iter().map(|(name, value)| format!("{}: {}\r\n", clean(name), clean(value))).collect::<String>().into();
        self
    }

    /// Where it speaks to.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A further client of the same engine, with a connection of its own.
    #[must_use]
    pub fn another(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            version: self.version.clone(),
            headers: self.headers.clone(),
            idle: None,
            registry_auth: None,
        }
    }

    /// A further client whose requests carry credentials for a registry.
    #[must_use]
    pub fn with_registry_auth(&self, header: String) -> Self {
        Self { registry_auth: Some(header), ..self.another() }
    }

    /// Version of the API in use.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Asks the engine what it speaks and lowers the version to it.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn negotiate(&mut self) -> Result<Ping, Error> {
        let mut body = self.send("HEAD", "/_ping", None)?;
        let header = |name: &str| body.header(name).unwrap_or_default().to_owned();
        let ping = Ping { api_version: header("api-version"), server: header("server") };
        io::copy(&mut body, &mut io::sink())?;
        self.idle = body.into_connection();
        let number = |version: &str| {
            version.split_once('.').and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))
        };
        if number(&ping.api_version).is_some_and(|engine| number(&self.version).is_none_or(|own| engine < own)) {
            self.version.clone_from(&ping.api_version);
        }
        Ok(ping)
    }

    /// Sends a request with a JSON body and reads the JSON answer; an empty answer is `null`.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn call<T: DeserializeOwned>(&mut self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Result<T, Error> {
        let path = self.versioned(path);
        let body = body.map(serde_json::to_vec).transpose()?;
        let mut answer = self.send(method, &path, body.as_deref())?;
        let mut text = Vec::new();
        answer.read_to_end(&mut text)?;
        let status = answer.status();
        self.idle = answer.into_connection();
        if status >= 400 {
            return Err(api_error(status, &text));
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(serde_json::from_str("null")?);
        }
        Ok(serde_json::from_slice(&text)?)
    }

    /// As [`Client::call`] for an answer that is read as it comes.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn stream(&mut self, method: &str, path: &str, body: Option<&serde_json::Value>) -> Result<Body, Error> {
        let path = self.versioned(path);
        let body = body.map(serde_json::to_vec).transpose()?;
        check(self.send(method, &path, body.as_deref())?)
    }

    /// Sends `data` of unknown length, such as an archive, and reads the answer as it comes.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn upload(&mut self, method: &str, path: &str, content_type: &str, data: &mut dyn Read) -> Result<Body, Error> {
        let path = self.versioned(path);
        let connection = self.connect()?;
        check(connection.upload(method, &path, content_type, data)?)
    }

    /// As [`Client::upload`] for data that is made as it is sent; each write becomes a chunk, so they should be large.
    ///
    /// # Errors
    /// As [`Error`] says; an error of `make` is [`Error::Broken`].
    pub fn upload_with(&mut self, method: &str, path: &str, content_type: &str, make: http::Make<'_>) -> Result<Body, Error> {
        let path = self.versioned(path);
        let connection = self.connect()?;
        check(connection.upload_with(method, &path, content_type, &[], make)?)
    }

    /// Like [`Client::upload_with`]; the engine, which must be on this host, also gets descriptors, 16 at most.
    ///
    /// # Errors
    /// As [`Client::upload_with`]; [`Error::Broken`] where the engine is elsewhere.
    pub fn upload_passing(
        &mut self,
        path: &str,
        content_type: &str,
        passed: &[std::os::fd::BorrowedFd<'_>],
        make: http::Make<'_>,
    ) -> Result<Body, Error> {
        let path = self.versioned(path);
        let connection = self.connect()?;
        check(connection.upload_with("POST", &path, content_type, passed, make)?)
    }

    /// Asks for a raw stream; on success the connection is the stream.
    ///
    /// # Errors
    /// As [`Error`] says.
    pub fn hijack(&mut self, path: &str, body: Option<&serde_json::Value>) -> Result<Hijacked, Error> {
        let path = self.versioned(path);
        let body = body.map(serde_json::to_vec).transpose()?;
        let connection = self.connect()?;
        match connection.hijack(&path, body.as_deref())? {
            Ok(stream) => Ok(stream),
            Err(answer) => match check(answer) {
                Ok(_) => Err(Error::Broken(io::Error::new(io::ErrorKind::InvalidData, "the daemon did not upgrade the connection"))),
                Err(error) => Err(error),
            },
        }
    }

    fn versioned(&self, path: &str) -> String {
        // Our own extensions and the ping have no version.
        if path.starts_with("/teu/") || path == "/_ping" { path.to_owned() } else { format!("/v{}{path}", self.version) }
    }

    fn connect(&self) -> Result<http::Connection, Error> {
        http::Connection::open(&self.endpoint, self.headers.clone())
            .map_err(|source| Error::Connect { endpoint: self.endpoint.clone(), source })
    }

    fn send(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Body, Error> {
        let auth = self.registry_auth.clone();
        if let Some(connection) = self.idle.take() {
            // An engine that restarted meanwhile has closed it: a fresh one is tried then.
            if let Ok(answer) = connection.send(method, path, body, auth.as_deref()) {
                return Ok(answer);
            }
        }
        Ok(self.connect()?.send(method, path, body, auth.as_deref())?)
    }
}

fn check(mut answer: Body) -> Result<Body, Error> {
    let status = answer.status();
    if status < 400 {
        return Ok(answer);
    }
    let mut text = Vec::new();
    answer.read_to_end(&mut text)?;
    Err(api_error(status, &text))
}

fn api_error(status: u16, text: &[u8]) -> Error {
    let message = serde_json::from_slice::<serde_json::Value>(text).ok().and_then(|value| Some(value.get("message")?.as_str()?.to_owned()));
    Error::Api { status, message: message.unwrap_or_else(|| String::from_utf8_lossy(text).trim().to_owned()) }
}

/// Escapes a text for a query or a path.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            result.push(char::from(byte));
        } else {
            let _infallible = write!(result, "%{byte:02X}");
        }
    }
    result
}

/// Joins the pairs that have a value into a query, with its `?`; empty if there are none.
#[must_use]
pub fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut result = String::new();
    for (name, value) in pairs {
        if let Some(value) = value {
            result.push(if result.is_empty() { '?' } else { '&' });
            let _infallible = write!(result, "{name}={}", escape(value));
        }
    }
    result
}
