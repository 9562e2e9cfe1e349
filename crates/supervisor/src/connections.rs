//! Engines that are connected, and what is still to be sent to them.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::Serialize as _;

use crate::poller::{Poller, Ready, Source, Token};
use crate::protocol::{Event, Message, Request, codec};

/// Messages that may wait for an engine that does not read; then it is cut off, and hears the
/// state when it connects again.
const QUEUE_MAX: usize = 1024;

#[derive(Debug)]
struct Connection {
    fd: OwnedFd,
    token: Token,
    peer: sys::seqpacket::Peer,
    queue: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: BTreeMap<u64, Connection>,
    next: u64,
}

/// What a connection brought.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A request with its descriptors.
    Request(Request, Vec<OwnedFd>),
    /// Nothing at the moment, or the connection has ended.
    Nothing,
}

impl Connections {
    /// Takes over a connected, non-blocking socket.
    pub(crate) fn add(&mut self, fd: OwnedFd, poller: &mut Poller) -> io::Result<u64> {
        let id = self.next;
        self.next += 1;
        let peer = sys::seqpacket::peer(fd.as_fd())?;
        let token = poller.add(fd.as_fd(), Source::Connection(id), Ready::IN)?;
        self.open.insert(id, Connection { fd, token, peer, queue: VecDeque::new() });
        Ok(id)
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self, id: u64) -> Option<sys::seqpacket::Peer> {
        self.open.get(&id).map(|connection| connection.peer)
    }

    /// Whether nobody listens.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Whether all messages are sent.
    pub(crate) fn is_flushed(&self) -> bool {
        self.open.values().all(|connection| connection.queue.is_empty())
    }

    /// Receives one request.
    pub(crate) fn receive(&mut self, id: u64, poller: &mut Poller) -> Incoming {
        let Some(connection) = self.open.get(&id) else {
            return Incoming::Nothing;
        };
        match sys::seqpacket::receive(connection.fd.as_fd()) {
            Ok(Some((message, mut fds))) => match codec::decode(&message, &mut fds) {
                Ok(request) => return Incoming::Request(request, fds),
                // Without its number it cannot be answered, and the engine would wait for ever.
                Err(_) => self.close(id, poller),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => self.close(id, poller),
        }
        Incoming::Nothing
    }

    /// Sends to one connection.
    pub(crate) fn send(&mut self, id: u64, message: &Message, fd: Option<BorrowedFd<'_>>, poller: &mut Poller) {
        let Ok(json) = serde_json::to_vec(message) else {
            return;
        };
        self.send_json(id, json, fd, poller);
    }

    /// Sends an event to all connections.
    pub(crate) fn broadcast(&mut self, event: Event, fd: Option<BorrowedFd<'_>>, poller: &mut Poller) {
        let mut json = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut json);
        if Message::Event(event).serialize(&mut serializer).is_err() {
            return;
        }
        for id in self.open.keys().copied().collect::<Vec<_>>() {
            self.send_json(id, json.clone(), fd, poller);
        }
    }

    fn send_json(&mut self, id: u64, json: Vec<u8>, fd: Option<BorrowedFd<'_>>, poller: &mut Poller) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        let fd = fd.and_then(|fd| fd.try_clone_to_owned().ok());
        connection.queue.push_back((json, fd));
        if connection.queue.len() > QUEUE_MAX {
            return self.close(id, poller);
        }
        self.flush(id, poller);
    }

    /// Sends what the connection takes.
    pub(crate) fn flush(&mut self, id: u64, poller: &mut Poller) {
        let Some(connection) = self.open.get_mut(&id) else {
            return;
        };
        while let Some((json, fd)) = connection.queue.front() {
            let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
            match codec::send_encoded(connection.fd.as_fd(), json, &fds) {
                Ok(()) => drop(connection.queue.pop_front()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return self.close(id, poller),
            }
        }
        let interest = if connection.queue.is_empty() { Ready::IN } else { Ready::IN | Ready::OUT };
        poller.change(connection.token, connection.fd.as_fd(), interest);
    }

    fn close(&mut self, id: u64, poller: &mut Poller) {
        if let Some(connection) = self.open.remove(&id) {
            poller.remove(connection.token, connection.fd.as_fd());
        }
    }
}
