//! Endpoints and names of a container.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How a container is joined with one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSettings {
    /// Further names in this network.
    pub aliases: Vec<String>,
    /// Links, as written.
    pub links: Vec<String>,
    /// A fixed address.
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed address.
    pub ipv6: Option<Ipv6Addr>,
    /// Further link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// A fixed hardware address, `02:42:ac:11:00:02`.
    pub mac: Option<String>,
    /// Options of the driver.
    pub driver_options: BTreeMap<String, String>,
    /// The endpoint with the highest one has the default route.
    pub gateway_priority: i64,
    /// The network's identity when the container was last in it; empty before.
    pub network_id: String,
}

/// A line of `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExtraHost {
    /// Name.
    pub name: String,
    /// Address; none is `host-gateway`, the host's address in the container's network.
    pub address: Option<IpAddr>,
}

/// A line that is not `name:address`; the texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseExtraHostError {
    /// No colon.
    #[error("bad format for add-host: \"{0}\"")]
    Format(String),
    /// No address.
    #[error("invalid IP address in add-host: \"{0}\"")]
    Address(String),
}

impl FromStr for ExtraHost {
    type Err = ParseExtraHostError;
    fn from_str(text: &str) -> Result<Self, ParseExtraHostError> {
        let (name, address) =
            text.split_once(':').filter(|(name, _)| !name.is_empty()).ok_or_else(|| ParseExtraHostError::Format(text.to_owned()))?;
        let address = match address {
            "host-gateway" => None,
            text => Some(
                text.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| ParseExtraHostError::Address(text.to_owned()))?,
            ),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

impl fmt::Display for ExtraHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(address) => write!(f, "{}:{address}", self.name),
            None => write!(f, "{}:host-gateway", self.name),
        }
    }
}

impl TryFrom<String> for ExtraHost {
    type Error = ParseExtraHostError;
    fn try_from(text: String) -> Result<Self, ParseExtraHostError> {
        text.parse()
    }
}

impl From<ExtraHost> for String {
    fn from(host: ExtraHost) -> Self {
        host.to_string()
    }
}
