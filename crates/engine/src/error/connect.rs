//! Why a container does not get into a network or out of it.

use std::io;

use super::LookupError;
use crate::id::ContainerId;

/// Why a container was not joined with a network, or taken out of one; the texts are Docker's.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The container cannot be told.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The network cannot be told.
    #[error(transparent)]
    Network(#[from] network::ResolveError),
    /// Its mode forbids it.
    #[error("{0}")]
    Refused(&'static str),
    /// The network cannot give what is asked of it; one line each.
    #[error("invalid endpoint settings:\n{0}")]
    Settings(String),
    /// It is in the network.
    #[error("endpoint with name {container} already exists in network {network}")]
    Connected {
        /// The container's name.
        container: String,
        /// The network.
        network: String,
    },
    /// It is not in the network.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// The container.
        container: ContainerId,
        /// The network.
        network: String,
    },
    /// It ended meanwhile.
    #[error("container {0} is not running")]
    NotRunning(ContainerId),
    /// Its network namespace cannot be entered.
    #[error("cannot open the network namespace of container {id}")]
    Namespace {
        /// The container.
        id: ContainerId,
        /// The cause.
        source: io::Error,
    },
    /// The network refused.
    #[error(transparent)]
    Attach(#[from] network::AttachError),
    /// The network could not be left.
    #[error(transparent)]
    Detach(#[from] network::DisconnectError),
    /// The hosts file could not be written; contains the cause.
    #[error("{0}")]
    Hosts(String),
    /// The record cannot be written.
    #[error("cannot record the container")]
    Record(#[from] store::PutError),
}
