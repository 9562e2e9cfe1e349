//! Endpoints: one container's place in one network.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::address::{Mac, Subnet6};
use crate::dns::Upstream;
use crate::files::DnsOptions;
use crate::name::{EndpointId, LinkName, NetworkId};
use crate::port::{BoundPort, PortSpec};

/// The network namespace to attach, and who owns the result.
#[derive(Debug, Clone, Copy)]
pub struct Sandbox<'a> {
    /// The owner's key, mostly a container's identity.
    pub holder: &'a str,
    /// The container's network namespace.
    pub netns: BorrowedFd<'a>,
}

/// What an endpoint should be.
#[derive(Debug, Clone, Default)]
pub struct EndpointSpec {
    /// The network's name, identity or unique beginning of its identity.
    pub network: String,
    /// The container's name, for error texts only.
    pub container_name: String,
    /// The address; none takes the next free one.
    pub ip: Option<Ipv4Addr>,
    /// The IPv6 address; none takes the next free one, if the network has IPv6.
    pub ip6: Option<Ipv6Addr>,
    /// The hardware address; none derives it from the address.
    pub mac: Option<Mac>,
    /// Names by which others in the network may call the container.
    pub aliases: Vec<String>,
    /// The ports to publish.
    pub ports: Vec<PortSpec>,
    /// The container's interface; none takes the first free of `eth0`, `eth1`, ….
    pub interface: Option<LinkName>,
    /// Further link-local addresses of the interface.
    pub link_local: Vec<IpAddr>,
    /// The endpoint with the highest one has the default route.
    pub gateway_priority: i64,
    /// How much it may receive and send.
    pub limits: Limits,
    /// All names by which others in the network may call the container.
    pub names: Vec<String>,
    /// Names that only this container has for others in the network: the alias and the other's name.
    pub links: Vec<(String, String)>,
    /// Who answers what the network does not know.
    pub dns: DnsOptions,
    /// The container's labels, by which policies find it.
    pub labels: BTreeMap<String, String>,
}

/// Bytes a second; none means no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// What the container receives.
    pub receive: Option<u64>,
    /// What it sends.
    pub send: Option<u64>,
}

/// Bytes a second of `500kbit`, `10mbit`, `1gbit`; none if it is nothing of the kind.
#[must_use]
pub fn bandwidth(text: &str) -> Option<u64> {
    let (number, unit) = [("kbit", 1000), ("mbit", 1_000_000), ("gbit", 1_000_000_000)]
        .into_iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
    number.parse::<u64>().ok()?.checked_mul(unit).map(|bits| bits / 8).filter(|bytes| *bytes > 0)
}

/// Whom a container's resolver asks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolver {
    /// The servers, in the order in which they are asked.
    pub(crate) servers: Vec<Upstream>,
    /// Whether the container's options say how many dots a name needs.
    pub(crate) ndots: bool,
}

/// One container's place in one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The owner's key.
    pub holder: String,
    /// The network.
    pub network: NetworkId,
    /// The network's name.
    pub network_name: String,
    /// The endpoint's identity.
    pub id: EndpointId,
    /// The container's name when it was attached.
    pub container_name: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The prefix length of the subnet.
    pub prefix: u8,
    /// The default gateway; none in internal networks.
    pub gateway: Option<Ipv4Addr>,
    /// The container's place in the network's IPv6 subnet, if it has one.
    #[serde(default)]
    pub six: Option<SixAddress>,
    /// The hardware address of the container's interface.
    pub mac: Mac,
    /// Names by which others in the network may call the container.
    pub aliases: Vec<String>,
    /// The published ports.
    pub ports: Vec<BoundPort>,
    /// The host's end of the link; empty if there is none, as with the drivers `macvlan` and `ipvlan`.
    pub link: String,
    /// The container's end of the link, `eth0` for the first.
    pub interface: String,
    /// How much it may receive and send.
    #[serde(default)]
    pub limits: Limits,
    /// Whether the container's default route leads to the interface itself, without a gateway.
    #[serde(default)]
    pub is_routed: bool,
    /// Further link-local addresses of the interface.
    #[serde(default)]
    pub link_local: Vec<IpAddr>,
    /// The endpoint with the highest one has the default route.
    #[serde(default)]
    pub gateway_priority: i64,
    /// All names by which others in the network may call the container.
    #[serde(default)]
    pub names: Vec<String>,
    /// Names that only this container has for others in the network: the alias and the other's name.
    #[serde(default)]
    pub links: Vec<(String, String)>,
    /// Who answers what the network does not know.
    #[serde(default)]
    pub resolver: Resolver,
    /// The container's labels, by which policies find it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// A container's IPv6 address in one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SixAddress {
    /// The address with the prefix length of the subnet.
    pub address: Subnet6,
    /// The default gateway; none in internal networks.
    pub gateway: Option<Ipv6Addr>,
}

impl Endpoint {
    /// All its addresses.
    #[must_use]
    pub fn addresses(&self) -> Vec<IpAddr> {
        let six = self.six.map(|six| six.address.address().into());
        std::iter::once(self.address.into()).chain(six).collect()
    }

    /// The address to which a port of this address of the host leads.
    pub(crate) fn target(&self, host_ip: IpAddr) -> Option<IpAddr> {
        self.addresses().into_iter().find(|address| address.is_ipv4() == host_ip.is_ipv4())
    }

    /// The order in which endpoints of one container lead out: the highest priority first, then by the networks'
    /// names. Source: moby, `libnetwork/sandbox.go`, `getGatewayEndpoint` and `Endpoint.Less`.
    pub(crate) fn order(&self, other: &Self) -> std::cmp::Ordering {
        other.gateway_priority.cmp(&self.gateway_priority).then_with(|| self.network_name.cmp(&other.network_name))
    }
}

/// The endpoint that leads out.
pub(crate) fn leads_out(endpoints: &[Endpoint]) -> Option<&Endpoint> {
    endpoints.iter().filter(|endpoint| endpoint.gateway.is_some() || endpoint.is_routed).min_by(|one, other| one.order(other))
}
