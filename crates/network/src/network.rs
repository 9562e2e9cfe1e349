//! Networks: what is asked for and what exists.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::address::{Subnet, Subnet6};
use crate::endpoint::Endpoint;
use crate::name::{LinkName, NetworkId};

/// Who moves a network's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A Linux bridge with address translation.
    Bridge,
    /// Interfaces with hardware addresses of their own beside one of the host's.
    Macvlan,
    /// Interfaces that share the hardware address of one of the host's.
    Ipvlan,
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
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
            Self::Host => "host",
            Self::Null => "null",
        }
    }
}

/// What a user-defined network should be.
#[derive(Debug, Clone, Default)]
pub struct NetworkSpec {
    /// The name.
    pub name: String,
    /// Who moves its packets; none means a bridge.
    pub driver: Option<Driver>,
    /// The subnet; none takes a free one.
    pub subnet: Option<Subnet>,
    /// The part of the subnet from which containers get addresses; none means all.
    pub ip_range: Option<Subnet>,
    /// The bridge's address; none takes the subnet's first.
    pub gateway: Option<Ipv4Addr>,
    /// Addresses that no container gets unless it asks for them, by name.
    pub auxiliary: BTreeMap<String, Ipv4Addr>,
    /// What IPv6 should be; none leaves it out.
    pub six: Option<SixSpec>,
    /// Whether the network has no way out.
    pub internal: bool,
    /// Whether containers may be connected by hand in a cluster (kept, not used).
    pub attachable: bool,
    /// Driver options, such as `com.docker.network.bridge.name`.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What a network's IPv6 should be.
#[derive(Debug, Clone, Default)]
pub struct SixSpec {
    /// The subnet; none takes a random one of those that are local to a site (RFC 4193).
    pub subnet: Option<Subnet6>,
    /// The part of the subnet from which containers get addresses; none means all.
    pub ip_range: Option<Subnet6>,
    /// The bridge's address; none takes the subnet's first.
    pub gateway: Option<Ipv6Addr>,
    /// Addresses that no container gets unless it asks for them, by name.
    pub auxiliary: BTreeMap<String, Ipv6Addr>,
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
    /// The addresses and, with the driver `bridge`, the bridge; none for `host` and `none`.
    pub bridge: Option<Bridge>,
    /// The interface beside which containers have theirs, with the drivers `macvlan` and `ipvlan`.
    pub parent: Option<Parent>,
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
    /// Addresses that no container gets unless it asks for them, by name.
    #[serde(default)]
    pub auxiliary: BTreeMap<String, Ipv4Addr>,
    /// IPv6, if the network has it.
    #[serde(default)]
    pub six: Option<Six>,
}

/// An interface of the host beside which containers have theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// How its children behave.
    pub mode: Mode,
    /// The interface of which the parent is the VLAN of that number, if the network has made it.
    pub vlan: Option<(LinkName, u16)>,
    /// Whether the network has made a parent that leads nowhere.
    pub is_dummy: bool,
}

/// How children of an interface behave. The numbers are the kernel's. Source: linux/if_link.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// `macvlan_mode`: they see neither each other nor the parent.
    Private,
    /// They see each other by way of the switch outside.
    Vepa,
    /// They see each other.
    Bridge,
    /// One child has the parent for itself.
    Passthru,
    /// `ipvlan_mode`: they are on the parent's link.
    L2,
    /// The parent routes for them.
    L3,
    /// The same with connection tracking.
    L3s,
}

impl Mode {
    /// Finds a driver's mode by its name; none means the driver's usual one.
    #[must_use]
    pub fn of(driver: Driver, name: Option<&str>) -> Option<Self> {
        Some(match (driver, name) {
            (Driver::Macvlan, None | Some("" | "bridge")) => Self::Bridge,
            (Driver::Macvlan, Some("private")) => Self::Private,
            (Driver::Macvlan, Some("vepa")) => Self::Vepa,
            (Driver::Macvlan, Some("passthru")) => Self::Passthru,
            (Driver::Ipvlan, None | Some("" | "l2")) => Self::L2,
            (Driver::Ipvlan, Some("l3")) => Self::L3,
            (Driver::Ipvlan, Some("l3s")) => Self::L3s,
            _ => return None,
        })
    }

    /// Whether containers need no gateway, as the parent routes for them.
    pub(crate) fn routes(self) -> bool {
        matches!(self, Self::L3 | Self::L3s)
    }

    /// The kind of link with its mode's attribute.
    pub(crate) fn link(self) -> (&'static str, Vec<u8>) {
        let macvlan = |mode: u32| ("macvlan", mode.to_ne_bytes().to_vec());
        let ipvlan = |mode: u16| ("ipvlan", mode.to_ne_bytes().to_vec());
        match self {
            Self::Private => macvlan(1),
            Self::Vepa => macvlan(2),
            Self::Bridge => macvlan(4),
            Self::Passthru => macvlan(8),
            Self::L2 => ipvlan(0),
            Self::L3 => ipvlan(1),
            Self::L3s => ipvlan(2),
        }
    }
}

/// IPv6 of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Six {
    /// The subnet.
    pub subnet: Subnet6,
    /// Whether the subnet was asked for.
    pub is_configured: bool,
    /// The part of the subnet from which containers get addresses.
    pub ip_range: Option<Subnet6>,
    /// The bridge's own address.
    pub gateway: Ipv6Addr,
    /// Addresses that no container gets unless it asks for them, by name.
    pub auxiliary: BTreeMap<String, Ipv6Addr>,
}
