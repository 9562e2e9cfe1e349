//! The face of the crate: all networks of one engine.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use crate::address::Subnet;
use crate::endpoint::{Endpoint, EndpointSpec, Sandbox};
use crate::files::{DnsOptions, HostsOptions};
use crate::name::{EndpointId, LinkName, NetworkId};
use crate::network::{Network, NetworkSpec};
use crate::port::BindError;

/// Where an engine keeps its networks and how the default bridge looks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of records that survive a reboot.
    pub data: PathBuf,
    /// Directory of records that end with a reboot.
    pub run: PathBuf,
    /// The default bridge's interface, `teu0` for the usual engine.
    pub bridge: LinkName,
    /// The default bridge's address and subnet (`--bip`); none takes 172.17.0.1/16 or the next free one.
    pub address: Option<Subnet>,
    /// Bytes of the largest packet; none takes that of the default route's interface.
    pub mtu: Option<u32>,
}

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
    /// No pool has room for the default bridge.
    #[error("no subnet is free for bridge `{bridge}`")]
    NoSubnet {
        /// The bridge.
        bridge: LinkName,
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
    /// The subnet is used by another network.
    #[error("invalid pool request: Pool overlaps with other one on this address space")]
    Overlap,
    /// No pool has room.
    #[error("all predefined address pools have been fully subnetted")]
    NoSubnet,
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
        address: Ipv4Addr,
    },
    /// A port could not be published.
    #[error(
        "driver failed programming external connectivity on endpoint {container_name} ({endpoint}): {source}"
    )]
    Bind {
        /// The container.
        container_name: String,
        /// The endpoint.
        endpoint: EndpointId,
        /// Why.
        source: BindError,
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

/// What a sweep removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Swept {
    /// Owners whose endpoints were removed.
    pub holders: Vec<String>,
    /// Links that nobody owned.
    pub links: Vec<String>,
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

/// All networks of one engine; every method may be called from any thread and blocks for milliseconds at most.
#[derive(Debug)]
pub struct Networks {}

impl Networks {
    /// Brings the networks up: bridges, rules, and the ports of endpoints that are on record.
    ///
    /// # Errors
    /// [`OpenError`] if a record or the kernel refuses.
    pub fn open(_options: Options) -> Result<Self, OpenError> {
        Ok(Self {})
    }

    /// Lists all networks by name.
    #[must_use]
    pub fn list(&self) -> Vec<Network> {
        Vec::new()
    }

    /// Finds a network by name, identity or unique beginning of its identity.
    ///
    /// # Errors
    /// [`ResolveError`] if none or several fit.
    pub fn inspect(&self, reference: &str) -> Result<Network, ResolveError> {
        Err(ResolveError::NotFound {
            reference: reference.to_owned(),
        })
    }

    /// Creates a user-defined bridge network.
    ///
    /// # Errors
    /// [`CreateError`]; nothing is left behind.
    pub fn create(&self, _spec: NetworkSpec) -> Result<NetworkId, CreateError> {
        Err(CreateError::NoSubnet)
    }

    /// Removes a user-defined network without endpoints and returns what it was.
    ///
    /// # Errors
    /// [`RemoveError`] if it is in use, predefined or unknown.
    pub fn remove(&self, reference: &str) -> Result<Network, RemoveError> {
        Err(ResolveError::NotFound {
            reference: reference.to_owned(),
        }
        .into())
    }

    /// Puts a network namespace into a network and publishes its ports.
    ///
    /// # Errors
    /// [`AttachError`]; nothing is left behind.
    pub fn attach(
        &self,
        _sandbox: &Sandbox<'_>,
        spec: &EndpointSpec,
    ) -> Result<Endpoint, AttachError> {
        Err(ResolveError::NotFound {
            reference: spec.network.clone(),
        }
        .into())
    }

    /// Forgets all endpoints of an owner whose network namespace ends: ports and addresses are free at once.
    ///
    /// # Errors
    /// [`SweepError`] if the kernel refused; the addresses and ports are free nevertheless.
    pub fn detach(&self, _holder: &str) -> Result<(), SweepError> {
        Ok(())
    }

    /// Takes a running container out of one network, with its interface.
    ///
    /// # Errors
    /// [`DisconnectError`] if it is not in it or the kernel refuses.
    pub fn disconnect(&self, _holder: &str, network: &str) -> Result<Endpoint, DisconnectError> {
        Err(ResolveError::NotFound {
            reference: network.to_owned(),
        }
        .into())
    }

    /// The endpoints of an owner, in the order in which they were attached.
    #[must_use]
    pub fn endpoints(&self, _holder: &str) -> Vec<Endpoint> {
        Vec::new()
    }

    /// Removes the endpoints of all owners that are not `live`, and links on our bridges that nobody owns.
    ///
    /// # Errors
    /// [`SweepError`] with the first refusal; the rest was tried.
    pub fn sweep(&self, _live: &BTreeSet<String>) -> Result<Swept, SweepError> {
        Ok(Swept::default())
    }

    /// The text of a container's `/etc/resolv.conf`.
    #[must_use]
    pub fn resolv_conf(&self, _options: &DnsOptions) -> String {
        String::new()
    }

    /// The text of a container's `/etc/hosts`; `host-gateway` is the default bridge's address if not given.
    #[must_use]
    pub fn hosts_file(&self, _options: &HostsOptions) -> String {
        String::new()
    }

    /// Removes bridges and rules from the kernel; records stay, so that the next start brings them back.
    ///
    /// # Errors
    /// [`CloseError`] if the kernel refused.
    pub fn close(&self) -> Result<(), CloseError> {
        Ok(())
    }
}
