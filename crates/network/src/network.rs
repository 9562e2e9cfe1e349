//! Networks: what is asked for and what exists.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::address::Subnet;
use crate::endpoint::Endpoint;
use crate::name::{LinkName, NetworkId};

/// Who moves a network's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge with address translation.
    Bridge,
    /// The host's own network namespace.
    Host,
    /// Nothing but the loopback interface.
    Null,
}

impl Driver {
    /// Docker's name of the driver.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// What a user-defined bridge network should be.
#[derive(Debug, Clone, Default)]
pub struct NetworkSpec {
    /// The name.
    pub name: String,
    /// The subnet; none takes a free one.
    pub subnet: Option<Subnet>,
    /// The part of the subnet from which containers get addresses; none means all.
    pub ip_range: Option<Subnet>,
    /// The bridge's address; none takes the subnet's first.
    pub gateway: Option<Ipv4Addr>,
    /// Whether the network has no way out.
    pub internal: bool,
    /// Whether containers may be connected by hand in a cluster (kept, not used).
    pub attachable: bool,
    /// Driver options, such as `com.docker.network.bridge.name`.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A network as it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The identity.
    pub id: NetworkId,
    /// The name.
    pub name: String,
    /// Who moves its packets.
    pub driver: Driver,
    /// When it was created.
    pub created: SystemTime,
    /// The bridge; none for `host` and `none`.
    pub bridge: Option<Bridge>,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether containers may be connected by hand in a cluster.
    pub attachable: bool,
    /// Driver options as they were given.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The endpoints, by owner.
    pub endpoints: Vec<Endpoint>,
}

/// The bridge of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// The interface.
    pub link: LinkName,
    /// The subnet.
    pub subnet: Subnet,
    /// Whether the subnet was asked for, so that containers may ask for addresses in it.
    #[serde(default)]
    pub is_configured: bool,
    /// The part of the subnet from which containers get addresses.
    pub ip_range: Option<Subnet>,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// Bytes of the largest packet.
    pub mtu: u32,
    /// Whether containers may talk to each other.
    pub icc: bool,
    /// Whether packets to the outside get the host's address.
    pub masquerade: bool,
    /// The host's address for ports that are published without one.
    pub host_ip: Ipv4Addr,
}
