//! Waits for many descriptors at once.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{Timespec, epoll};

pub(crate) use rustix::event::epoll::EventFlags as Ready;

use crate::logs::Stream;

/// Names a process of the container; 0 is the first one.
pub(crate) type ProcessKey = u64;

/// What a descriptor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The control socket.
    Listener,
    /// An engine.
    Connection(u64),
    /// A process's end.
    Exit(ProcessKey),
    /// A process's input.
    Input(ProcessKey),
    /// A process's output.
    Output(ProcessKey, Stream),
    /// A client of a process.
    Client(ProcessKey, u64),
    /// Kills for want of memory.
    OutOfMemory,
}

/// A registered descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token(u64);

/// An epoll instance, level-triggered.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    sources: BTreeMap<u64, Source>,
    next: u64,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, sources: BTreeMap::new(), next: 0 })
    }

    /// Registers a descriptor.
    pub(crate) fn add(&mut self, fd: BorrowedFd<'_>, source: Source, ready: Ready) -> io::Result<Token> {
        let token = self.next;
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), ready)?;
        self.next += 1;
        self.sources.insert(token, source);
        Ok(Token(token))
    }

    /// Changes what is waited for. Hang-ups and errors always are.
    pub(crate) fn change(&mut self, token: Token, fd: BorrowedFd<'_>, ready: Ready) {
        // It fails only for descriptors that are not registered.
        let _ = epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.0), ready);
    }

    /// Forgets a descriptor, which must still be open: another one of the same file keeps the
    /// registration alive otherwise.
    pub(crate) fn remove(&mut self, token: Token, fd: BorrowedFd<'_>) {
        let _ = epoll::delete(&self.epoll, fd);
        self.sources.remove(&token.0);
    }

    /// Waits until something is ready or the deadline has passed.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> io::Result<Vec<(Token, Ready)>> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = left.and_then(|left: Duration| Timespec::try_from(left).ok());
        let mut events = Vec::with_capacity(16);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().map(|event| (Token(event.data.u64()), event.flags)).collect())
    }

    /// What a token stands for; none if it was removed since.
    pub(crate) fn source(&self, token: Token) -> Option<Source> {
        self.sources.get(&token.0).copied()
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
