//! Networks of containers: bridges, addresses, published ports, by netlink alone.

pub mod address;
mod bindings;
mod conntrack;
pub mod dns;
pub mod endpoint;
mod errors;
pub mod files;
mod ipam;
mod link;
pub mod name;
mod netlink;
pub mod network;
mod networks;
mod nft;
pub mod policy;
pub mod port;
mod queue;
mod ruleset;
mod wire;

pub use errors::{AttachError, CloseError, CreateError, DisconnectError, OpenError, PolicyError, RemoveError, ResolveError, SweepError};
pub use networks::{Networks, Options, Path, Swept, Verdict};
