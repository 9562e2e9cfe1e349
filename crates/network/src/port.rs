//! Published ports: what is asked for and what was bound.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// A transport protocol that can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// The protocol's number. Source: IANA, Protocol Numbers.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
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

/// One port to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// The protocol.
    pub protocol: Protocol,
    /// The host's address; 0.0.0.0 and :: mean all of their family, none means what the network says.
    pub host_ip: Option<IpAddr>,
    /// The host's port, or the range in which the first free one is taken; none lets the kernel choose.
    pub host_port: Option<RangeInclusive<u16>>,
    /// The port inside the container.
    pub container_port: u16,
}

/// One published port. Source: Docker Engine API, `PortBinding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BoundPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port inside the container.
    pub container_port: u16,
    /// The host's address; 0.0.0.0 and :: mean all of their family.
    pub host_ip: IpAddr,
    /// The host's port.
    pub host_port: u16,
}

/// Why a port could not be bound; the texts are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another container holds the port.
    #[error("Bind for {host_ip}:{host_port} failed: port is already allocated")]
    Allocated {
        /// The host's address.
        host_ip: IpAddr,
        /// The host's port.
        host_port: u16,
    },
    /// All ports of the range are taken.
    #[error("Bind for {host_ip}:{first}-{last} failed: all ports are allocated")]
    RangeAllocated {
        /// The host's address.
        host_ip: IpAddr,
        /// The range's first port.
        first: u16,
        /// The range's last port.
        last: u16,
    },
    /// The container has no address of the family of the host's address.
    #[error(
        "cannot publish port {container_port} on {host_ip}: network {network} gives the container no address of that family; use --ipv6 when you create the network"
    )]
    Family {
        /// The host's address.
        host_ip: IpAddr,
        /// The port inside the container.
        container_port: u16,
        /// The network.
        network: String,
    },
    /// The kernel does not have the protocol.
    #[error("cannot publish port {container_port}/{protocol}: the kernel has no {protocol} (on most hosts `modprobe {protocol}` loads it)")]
    Protocol {
        /// The protocol.
        protocol: Protocol,
        /// The port inside the container.
        container_port: u16,
    },
    /// The host refuses the port, mostly because a process listens on it.
    #[error(
        "failed to bind host port for {host_ip}:{host_port}:{container_ip}:{container_port}/{protocol}: {}",
        reason(.answer)
    )]
    Host {
        /// The host's address.
        host_ip: IpAddr,
        /// The host's port.
        host_port: u16,
        /// The container's address.
        container_ip: IpAddr,
        /// The port inside the container.
        container_port: u16,
        /// The protocol.
        protocol: Protocol,
        /// What the kernel answered; part of the text, and therefore no source.
        answer: std::io::Error,
    },
}

/// The kernel's answer in the words of Go's `syscall` package, which people search for.
fn reason(answer: &std::io::Error) -> String {
    let kind = answer.kind();
    if kind == std::io::ErrorKind::AddrInUse {
        "address already in use".to_owned()
    } else if kind == std::io::ErrorKind::AddrNotAvailable {
        "cannot assign requested address".to_owned()
    } else {
        answer.to_string()
    }
}
