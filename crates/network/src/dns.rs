//! Names of containers: a small process that answers their questions and outlives the engine.
//!
//! Each container in a user-defined network has a socket at 127.0.0.11 in its own network namespace; the engine opens
//! it and hands it over. Names come from the engine, one message a change. When the engine ends and containers go on,
//! so does the process; the next engine brings a process of its own, which takes all sockets over without closing
//! any, so that no question is lost.

mod forward;
mod message;
mod sandbox;
mod server;
mod zones;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sys::fork::Fork;
use sys::seqpacket;

pub(crate) use sandbox::open as open_sandbox;

/// The resolver's address in every container. Source: moby, `libnetwork/sandbox_dns_unix.go`, `resolverIPSandbox`.
pub const ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(127, 0, 0, 11);

/// A server that answers what we do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Upstream {
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it can only be reached from the host, as a resolver on its loopback interface.
    pub(crate) from_host: bool,
}

/// A container's place in one network, as far as names go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The network's identity.
    pub(crate) id: String,
    /// The network's name.
    pub(crate) name: String,
    /// Names that only this container has for others: the alias and the other's name.
    pub(crate) links: Vec<(String, String)>,
}

/// What one container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// Its networks, the one that leads out first.
    pub(crate) networks: Vec<Place>,
    /// Who answers what we do not know.
    pub(crate) servers: Vec<Upstream>,
    /// Whether the container's options say how many dots a name needs, so that names without any stay here.
    pub(crate) ndots: bool,
}

/// The names of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The endpoint's identity.
    pub(crate) endpoint: String,
    /// The network's identity.
    pub(crate) network: String,
    /// The container's name, which its address is called.
    pub(crate) container: String,
    /// All its names in this network.
    pub(crate) names: Vec<String>,
    /// Its addresses.
    pub(crate) addresses: Vec<IpAddr>,
}

/// What the engine tells the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Order {
    /// An endpoint has these names.
    Publish(Entry),
    /// An endpoint is gone.
    Withdraw(String),
    /// A container sees this. With it come its sockets (datagrams, streams) and its namespace, if they are new.
    Serve(String, View),
    /// A container is gone.
    Forget(String),
    /// Takes over from the process of an earlier engine, whose connection comes with it if there is one, and waits
    /// at this path for the next.
    Begin(PathBuf),
    /// Answers with an empty message when all before it is done.
    Sync,
}

/// The engine's end of the process.
#[derive(Debug)]
pub struct Names {
    socket: Mutex<OwnedFd>,
}

impl Names {
    /// Forks the process; it does nothing until [`crate::Networks::open`] tells it to, and ends with the engine
    /// unless containers still need it.
    ///
    /// # Errors
    /// As fork(2); `Unsupported` if the caller has threads already.
    pub fn fork() -> io::Result<Self> {
        let (ours, theirs) = seqpacket::pair()?;
        match sys::fork::fork()? {
            Fork::Parent(_) => Ok(Self { socket: Mutex::new(ours) }),
            Fork::Child => {
                drop(ours);
                // The frames above belong to the parent and must not be returned to.
                let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    sys::fork::detach(theirs.as_fd())?;
                    rustix::thread::set_name(c"teu-names")?;
                    server::run(theirs)
                }));
                sys::process::exit_now(i32::from(!matches!(result, Ok(Ok(())))))
            }
        }
    }

    /// Serves from a thread of this process, as tests do, which cannot fork.
    ///
    /// # Errors
    /// As socketpair(2).
    pub fn spawn() -> io::Result<Self> {
        let (ours, theirs) = seqpacket::pair()?;
        std::thread::Builder::new().name("teu-names".to_owned()).spawn(move || server::run(theirs))?;
        Ok(Self { socket: Mutex::new(ours) })
    }

    /// Tells of an endpoint's names.
    pub(crate) fn publish(&self, entry: Entry) -> io::Result<()> {
        self.tell(&Order::Publish(entry), &[])
    }

    /// Tells of an endpoint's end.
    pub(crate) fn withdraw(&self, endpoint: &str) -> io::Result<()> {
        self.tell(&Order::Withdraw(endpoint.to_owned()), &[])
    }

    /// Tells what a container sees, with its sockets if they are new.
    pub(crate) fn serve(&self, holder: &str, view: View, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.tell(&Order::Serve(holder.to_owned(), view), sockets)
    }

    /// Tells of a container's end.
    pub(crate) fn forget(&self, holder: &str) -> io::Result<()> {
        self.tell(&Order::Forget(holder.to_owned()), &[])
    }

    /// Takes over from an earlier process that waits at `path`, and waits there from now on. Returns when it serves.
    pub(crate) fn begin(&self, path: &Path) -> io::Result<()> {
        let previous = seqpacket::connect(path).ok();
        let fds: Vec<BorrowedFd<'_>> = previous.iter().map(AsFd::as_fd).collect();
        self.tell(&Order::Begin(path.to_owned()), &fds)?;
        self.sync()
    }

    /// Waits until all that was told is in force.
    ///
    /// # Errors
    /// `BrokenPipe` if the process has died.
    pub fn sync(&self) -> io::Result<()> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        send(socket.as_fd(), &Order::Sync, &[])?;
        match seqpacket::receive(socket.as_fd())? {
            Some(_) => Ok(()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn tell(&self, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        send(socket.as_fd(), order, fds)
    }
}

fn send(socket: BorrowedFd<'_>, order: &Order, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    seqpacket::send(socket, &serde_json::to_vec(order)?, fds)
}
