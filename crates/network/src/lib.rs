//! Networks of containers: bridges, addresses, published ports, by netlink alone.

pub mod address;
pub mod endpoint;
pub mod files;
pub mod name;
pub mod network;
mod networks;
pub mod port;

pub use networks::{
    AttachError, CloseError, CreateError, DisconnectError, Networks, OpenError, Options,
    RemoveError, ResolveError, SweepError, Swept,
};
