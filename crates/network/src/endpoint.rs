//! Endpoints: one container's place in one network.

use std::net::Ipv4Addr;
use std::os::fd::BorrowedFd;

use serde::{Deserialize, Serialize};

use crate::address::Mac;
use crate::name::{EndpointId, NetworkId};
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
    /// The hardware address; none derives it from the address.
    pub mac: Option<Mac>,
    /// Names by which others in the network may call the container.
    pub aliases: Vec<String>,
    /// The ports to publish.
    pub ports: Vec<PortSpec>,
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
    /// The hardware address of the container's interface.
    pub mac: Mac,
    /// Names by which others in the network may call the container.
    pub aliases: Vec<String>,
    /// The published ports.
    pub ports: Vec<BoundPort>,
    /// The host's end of the link.
    pub link: String,
    /// The container's end of the link, `eth0` for the first.
    pub interface: String,
}
