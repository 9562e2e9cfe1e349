//! Ports of containers and where they are published.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Port {
    /// Its number, not 0.
    pub number: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A port that cannot be parsed; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePortError {
    /// Not a number from 1 to 65535.
    #[error("invalid port specification: \"{0}\"")]
    Number(String),
    /// Not `tcp`, `udp` or `sctp`.
    #[error("invalid proto: {0}")]
    Protocol(String),
    /// A range that ends before it begins or has other signs in it.
    #[error("invalid range format: {0}")]
    Range(String),
    /// Not an address.
    #[error("invalid IP address: {0}")]
    Address(String),
}

impl FromStr for Port {
    type Err = ParsePortError;
    /// Takes `80` and `80/tcp`.
    fn from_str(text: &str) -> Result<Self, ParsePortError> {
        let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let protocol = match protocol.to_ascii_lowercase().as_str() {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return Err(ParsePortError::Protocol(protocol.to_owned())),
        };
        match number.parse() {
            Ok(0) | Err(_) => Err(ParsePortError::Number(text.to_owned())),
            Ok(number) => Ok(Self { number, protocol }),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.protocol)
    }
}

impl TryFrom<String> for Port {
    type Error = ParsePortError;
    fn try_from(text: String) -> Result<Self, ParsePortError> {
        text.parse()
    }
}

impl From<Port> for String {
    fn from(port: Port) -> Self {
        port.to_string()
    }
}

/// Ports of the host, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// First.
    pub first: u16,
    /// Last, not below the first.
    pub last: u16,
}

/// Where a port is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortBinding {
    /// Address of the host; none is all.
    pub host_ip: Option<IpAddr>,
    /// One port, or a range of which a free one is taken; none takes any free one.
    pub host_port: Option<PortRange>,
}

impl PortBinding {
    /// Parses an address and a port as Docker's API has them; both may be empty.
    ///
    /// # Errors
    /// [`ParsePortError`].
    pub fn parse(host_ip: &str, host_port: &str) -> Result<Self, ParsePortError> {
        let host_ip = match host_ip {
            "" => None,
            text => Some(text.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| ParsePortError::Address(text.to_owned()))?),
        };
        let number = |text: &str| text.parse::<u16>().map_err(|_| ParsePortError::Number(host_port.to_owned()));
        let host_port = match host_port.split_once('-') {
            None if host_port.is_empty() || host_port == "0" => None,
            None => {
                let first = number(host_port)?;
                Some(PortRange { first, last: first })
            }
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last)?);
                if first == 0 || last < first {
                    return Err(ParsePortError::Range(host_port.to_owned()));
                }
                Some(PortRange { first, last })
            }
        };
        Ok(Self { host_ip, host_port })
    }

    /// The port as Docker's API writes it; empty for any free one.
    #[must_use]
    pub fn host_port_text(&self) -> String {
        match self.host_port {
            None => String::new(),
            Some(range) if range.first == range.last => range.first.to_string(),
            Some(range) => format!("{}-{}", range.first, range.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_bindings_parse() {
        assert_eq!("80".parse::<Port>().unwrap().to_string(), "80/tcp");
        assert_eq!("53/udp".parse::<Port>().unwrap().to_string(), "53/udp");
        assert_eq!("80/foo".parse::<Port>().unwrap_err().to_string(), "invalid proto: foo");
        assert!("0".parse::<Port>().is_err());
        assert!("70000".parse::<Port>().is_err());
        let range = PortBinding::parse("127.0.0.1", "8000-8010").unwrap();
        assert_eq!(range.host_port_text(), "8000-8010");
        assert!(PortBinding::parse("", "9-8").is_err());
        assert!(PortBinding::parse("nosuch", "9").is_err());
        assert_eq!(PortBinding::parse("", "").unwrap(), PortBinding::default());
    }
}
