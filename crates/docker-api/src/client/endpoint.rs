//! Where an engine listens.

use super::{Error, Transport};
use std::fmt;
use std::io;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of an engine, as `DOCKER_HOST` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A host and a port, without encryption.
    Tcp(String),
}

/// An address that is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseEndpointError {
    /// It has no scheme.
    #[error("unable to parse docker host `{0}`")]
    Malformed(String),
    /// Its scheme is not served.
    #[error("unable to resolve docker endpoint: scheme of `{0}` is not supported yet")]
    Unsupported(String),
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, address) = text
            .split_once("://")
            .ok_or_else(|| ParseEndpointError::Malformed(text.to_owned()))?;
        match scheme {
            "unix" if address.is_empty() => Ok(Self::Unix("/var/run/docker.sock".into())),
            "unix" => Ok(Self::Unix(address.into())),
            "tcp" | "http" => {
                let address = address.trim_end_matches('/');
                let (host, port) = match address.rsplit_once(':') {
                    Some((host, port)) if !port.contains(']') => (host, port),
                    _ => (address, ""),
                };
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                let port = if port.is_empty() { "2375" } else { port };
                Ok(Self::Tcp(format!("{host}:{port}")))
            }
            _ => Err(ParseEndpointError::Unsupported(text.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl Endpoint {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens, or we are not allowed.
    pub fn connect(&self) -> Result<Transport, Error> {
        let connected = match self {
            Self::Unix(path) => UnixStream::connect(path).map(Transport::Unix),
            Self::Tcp(address) => TcpStream::connect(address.as_str()).map(|stream| {
                // Latency only; without it the stream works as well.
                let _set = stream.set_nodelay(true);
                Transport::Tcp(stream)
            }),
        };
        connected.map_err(|source| {
            let endpoint = self.clone();
            if source.kind() == io::ErrorKind::PermissionDenied {
                Error::Permission { endpoint, source }
            } else {
                Error::Connect { endpoint, source }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_docker_reads_them() {
        let read = |text: &str| {
            text.parse::<Endpoint>()
                .map(|endpoint| endpoint.to_string())
        };
        assert_eq!(read("unix:///a/b.sock").unwrap(), "unix:///a/b.sock");
        assert_eq!(read("unix://").unwrap(), "unix:///var/run/docker.sock");
        assert_eq!(read("tcp://:1").unwrap(), "tcp://127.0.0.1:1");
        assert_eq!(read("tcp://h").unwrap(), "tcp://h:2375");
        assert_eq!(read("tcp://[::1]:9/").unwrap(), "tcp://[::1]:9");
        assert!(matches!(
            read("ssh://h"),
            Err(ParseEndpointError::Unsupported(_))
        ));
        assert!(matches!(read("h:1"), Err(ParseEndpointError::Malformed(_))));
    }
}
