//! Why an operation on networks failed: one type an operation.

use std::io;
use std::net::IpAddr;

use crate::name::{EndpointId, LinkName};
use crate::netlink::Refused;
use crate::port::BindError;

/// Why the networks could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel refused a message.
    #[error("cannot {what}")]
    Kernel {
        /// What we tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A directory of records cannot be used.
    #[error("cannot open the records of networks")]
    Records {
        /// Why.
        source: store::OpenError,
    },
    /// A record cannot be written.
    #[error("cannot record a network")]
    Put {
        /// Why.
        source: store::PutError,
    },
    /// The default bridge's address is not one of its subnet's hosts.
    #[error("bad address {address} for bridge `{bridge}`")]
    BadAddress {
        /// The bridge.
        bridge: LinkName,
        /// The address.
        address: crate::address::Subnet,
    },
    /// No pool has room for the default bridge.
    #[error("no subnet is free for bridge `{bridge}`")]
    NoSubnet {
        /// The bridge.
        bridge: LinkName,
    },
}

/// Why a policy could not be made, replaced or removed.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The name is taken.
    #[error("network policy {name} already exists")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// There is none.
    #[error("network policy {name} not found")]
    NotFound {
        /// The name.
        name: String,
    },
    /// It speaks of a network that is not there.
    #[error("network {name} not found")]
    NoNetwork {
        /// The network's name.
        name: String,
    },
    /// What was asked about means nothing.
    #[error("no running container or service is called {text}, and it is no address")]
    Unknown {
        /// What was given.
        text: String,
    },
    /// It makes no sense as it is written.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// There are too many differences among containers.
    #[error("cannot compile the network policies")]
    TooMany {
        /// Why.
        source: io::Error,
    },
    /// The record cannot be written.
    #[error("cannot record the policy")]
    Put {
        /// Why.
        source: store::PutError,
    },
    /// The record cannot be removed.
    #[error("cannot remove the record of the policy")]
    Remove {
        /// Why.
        source: store::RemoveError,
    },
    /// The kernel refused a message.
    #[error("cannot {what}")]
    Kernel {
        /// What we tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why a network was not found.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// There is none.
    #[error("network {reference} not found")]
    NotFound {
        /// What was given.
        reference: String,
    },
    /// The beginning of an identity fits several.
    #[error("network {reference} is ambiguous ({count} matches found on ID prefix)")]
    Ambiguous {
        /// What was given.
        reference: String,
        /// How many fit.
        count: usize,
    },
}

/// Why a network could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The name is taken.
    #[error("network with name {name} already exists")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The request cannot be met as it is written.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
    /// The subnet is used by another network; the beginning of the text is Docker's.
    #[error("invalid pool request: Pool overlaps with other one on this address space: {subnet} and {own} of network {other}")]
    Overlap {
        /// The subnet that was asked for.
        subnet: String,
        /// The other network.
        other: String,
        /// Its subnet.
        own: String,
    },
    /// No pool has room.
    #[error("all predefined address pools have been fully subnetted")]
    NoSubnet,
    /// A record cannot be written.
    #[error("cannot record the network")]
    Put {
        /// Why.
        source: store::PutError,
    },
    /// The kernel refused a message.
    #[error("cannot {what}")]
    Kernel {
        /// What we tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why a network could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// It does not exist.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// `bridge`, `host` and `none` stay.
    #[error("{name} is a pre-defined network and cannot be removed")]
    Predefined {
        /// The name.
        name: String,
    },
    /// Containers use it.
    #[error("error while removing network: network {name} has active endpoints ({holders})")]
    InUse {
        /// The name.
        name: String,
        /// The containers.
        holders: String,
    },
    /// Its record cannot be deleted.
    #[error("cannot delete the record of network {name}")]
    Record {
        /// The name.
        name: String,
        /// Why.
        source: store::RemoveError,
    },
    /// The kernel refused a message.
    #[error("cannot {what}")]
    Kernel {
        /// What we tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why a container could not be attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The network was not found.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// `host` and `none` have no endpoints.
    #[error("network {network} has no endpoints")]
    NotBridge {
        /// The network.
        network: String,
    },
    /// The container is in the network already.
    #[error("endpoint with name {container_name} already exists in network {network}")]
    AlreadyAttached {
        /// The container.
        container_name: String,
        /// The network.
        network: String,
    },
    /// All addresses are taken.
    #[error("no available IPv4 addresses on this network's address pools: {network}")]
    PoolExhausted {
        /// The network.
        network: String,
    },
    /// The wanted address is taken.
    #[error("Address already in use")]
    AddressInUse,
    /// The wanted address is outside of the subnet.
    #[error("no configured subnet contains IP address {address}")]
    AddressOutside {
        /// The address.
        address: IpAddr,
    },
    /// Packets to such an interface do not pass the host's queues.
    #[error(
        "cannot limit what a container receives in network {network}: only bridge networks can; limit what it sends, with teu.bandwidth.send"
    )]
    ReceiveLimit {
        /// The network.
        network: String,
    },
    /// The container has an interface of that name.
    #[error("error renaming interface to \"{interface}\": file exists")]
    InterfaceTaken {
        /// The name.
        interface: String,
    },
    /// A port could not be published.
    #[error("driver failed programming external connectivity on endpoint {container_name} ({endpoint}): {source}")]
    Bind {
        /// The container.
        container_name: String,
        /// The endpoint.
        endpoint: EndpointId,
        /// Why.
        source: BindError,
    },
    /// A record cannot be written.
    #[error("cannot record the endpoint")]
    Put {
        /// Why.
        source: store::PutError,
    },
    /// The kernel refused a message.
    #[error("cannot {what}")]
    Kernel {
        /// What we tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why a container could not be taken out of a network.
#[derive(Debug, thiserror::Error)]
pub enum DisconnectError {
    /// The network was not found.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The container is not in it.
    #[error("container {holder} is not connected to network {network}")]
    NotAttached {
        /// The container.
        holder: String,
        /// The network.
        network: String,
    },
    /// The kernel refused a message.
    #[error("cannot {what}")]
    Kernel {
        /// What we tried.
        what: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Why leftovers could not be swept.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct SweepError {
    /// What we tried.
    pub what: String,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Why bridges and rules could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}")]
pub struct CloseError {
    /// What we tried.
    pub what: String,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Turns a refused message into the variant of an operation.
macro_rules! from_refused {
    ($($error:ident),+) => {$(
        impl From<Refused> for $error {
            fn from(refused: Refused) -> Self {
                Self::Kernel { what: refused.what.to_owned(), source: refused.source }
            }
        }
    )+};
}
from_refused!(OpenError, CreateError, RemoveError, AttachError, DisconnectError, PolicyError);

impl From<Refused> for SweepError {
    fn from(refused: Refused) -> Self {
        Self { what: refused.what.to_owned(), source: refused.source }
    }
}

impl From<Refused> for CloseError {
    fn from(refused: Refused) -> Self {
        Self { what: refused.what.to_owned(), source: refused.source }
    }
}
