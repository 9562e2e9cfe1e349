//! A supervisor's connection as tokio sees it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use supervisor::Control;
use supervisor::Received;
use supervisor::protocol::{Command, Request};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub(crate) struct Connection {
    control: AsyncFd<Control>,
    sequence: u64,
}

impl Connection {
    /// Takes over a socket of a supervisor.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self { control: watch(Control::new(socket)?)?, sequence: 0 })
    }

    /// Sends a command; answers the number that its reply will have.
    ///
    /// # Errors
    /// The queue is full or the supervisor has ended.
    pub(crate) fn send(&mut self, command: Command, fds: &[BorrowedFd<'_>]) -> io::Result<u64> {
        self.sequence += 1;
        let sequence = self.sequence;
        let request = Request { sequence, command };
        self.control.get_ref().send(&request, fds)?;
        Ok(sequence)
    }

    /// Receives the next message; none at the supervisor's end. It may be dropped half-way.
    ///
    /// # Errors
    /// As recvmsg(2).
    pub(crate) async fn receive(&self) -> io::Result<Option<Received>> {
        loop {
            let mut guard = self.control.readable().await?;
            if let Ok(result) = guard.try_io(|control| control.get_ref().receive()) {
                return result;
            }
        }
    }
}

/// Registers a descriptor's owner with the runtime.
///
/// # Errors
/// As epoll_ctl(2).
#[expect(deprecated, reason = "its successor is unsafe; our owners keep one descriptor for life")]
pub(crate) fn watch<T: std::os::fd::AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, Interest::READABLE)
}
