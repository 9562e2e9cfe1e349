//! The engine's end of a connection with a supervisor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use crate::protocol::{Message, Request, codec};

/// Connects to a running supervisor, which first sends [`crate::protocol::Event::State`].
///
/// # Errors
/// As connect(2): `ConnectionRefused` or `NotFound` if the supervisor has ended.
pub fn connect(control_path: &Path) -> io::Result<OwnedFd> {
    sys::seqpacket::connect(control_path)
}

/// A connection; sending and receiving never block, so it can be waited for with epoll.
#[derive(Debug)]
pub struct Control(OwnedFd);

/// A message with the descriptors that came along.
#[derive(Debug)]
pub struct Received {
    /// The message.
    pub message: Message,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Control {
    /// Takes over a socket from [`crate::spawner::Spawner::launch`] or [`connect`].
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self(socket))
    }

    /// Sends a request, with the client's descriptor where it takes one.
    ///
    /// # Errors
    /// As sendmsg(2): `WouldBlock` if the queue is full, `BrokenPipe` if the supervisor has ended.
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        codec::send(self.0.as_fd(), request, fds)
    }

    /// Receives one message; `None` is the end of the supervisor.
    ///
    /// # Errors
    /// As recvmsg(2): `WouldBlock` if there is none; `InvalidData` if it cannot be read.
    pub fn receive(&self) -> io::Result<Option<Received>> {
        let Some((message, mut fds)) = sys::seqpacket::receive(self.0.as_fd())? else {
            return Ok(None);
        };
        let message = codec::decode(&message, &mut fds).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(Some(Received { message, fds }))
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Control {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
