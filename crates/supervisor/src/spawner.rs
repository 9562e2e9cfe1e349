//! The small process that is forked before the engine has threads, and forks supervisors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::protocol::{Launch, codec};

/// The engine's end of the spawner; the spawner ends when it is dropped, the supervisors do not.
#[derive(Debug)]
pub struct Spawner(OwnedFd);

/// Forks the spawner.
///
/// # Errors
/// As fork(2); and if the process has threads already, since only one of them would be there
/// afterwards, with locks that nobody opens.
pub fn start() -> io::Result<Spawner> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Spawner {
    /// Starts a supervisor that creates a container; [`crate::protocol::Event::Created`] or
    /// `CreateFailed` follows on the connection, for [`crate::Control::new`].
    ///
    /// # Errors
    /// As socketpair(2) and sendmsg(2); `BrokenPipe` if the spawner has died.
    pub fn launch(&self, launch: &Launch) -> io::Result<OwnedFd> {
        let (ours, theirs) = sys::seqpacket::pair()?;
        codec::send(self.0.as_fd(), launch, &[theirs.as_fd()])?;
        Ok(ours)
    }
}
