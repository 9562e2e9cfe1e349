//! The three messages that give a bare container its network. **Source:** rtnetlink(7), `linux/if_link.h`.

use std::os::fd::BorrowedFd;

use anyhow::{Result, ensure};
use sys::netlink::{Family, Socket};

use super::bare::{index, number};

/// `NLM_F_REQUEST` and `NLM_F_ACK`: a change of what is there.
const CHANGE: u16 = 0x1 | 0x4;
/// The same with `NLM_F_CREATE` and `NLM_F_EXCL`.
const NEW: u16 = CHANGE | 0x400 | 0x200;

/// One message with its attributes.
struct Message(Vec<u8>);

impl Message {
    fn new(kind: u16, flags: u16, head: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(head);
        Self(bytes)
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let at = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.close(at);
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | 0x8000).to_ne_bytes());
        fill(self);
        self.close(at);
    }

    /// Writes the length of what began at `at`, and fills up to four bytes.
    fn close(&mut self, at: usize) {
        let length = u16::try_from(self.0.len() - at).unwrap_or(u16::MAX);
        self.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn send(mut self, socket: &Socket) -> Result<()> {
        let length = u32::try_from(self.0.len())?;
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        socket.send(&self.0)?;
        let mut answer = [0; 8192];
        let length = socket.receive(&mut answer)?;
        let code = answer.get(16..20).filter(|_| length >= 20).map(|code| i32::from_ne_bytes([code[0], code[1], code[2], code[3]]));
        ensure!(code == Some(0), "netlink answers {code:?}");
        Ok(())
    }
}

/// `struct ifinfomsg`.
fn link(index: u32, up: bool) -> [u8; 16] {
    let mut head = [0; 16];
    head[4..8].copy_from_slice(&index.to_ne_bytes());
    head[8] = u8::from(up);
    head[12] = u8::from(up);
    head
}

/// Makes a pair of links, this end at the bridge and up, the other in the namespace as `eth0`.
pub(super) fn pair(name: &str, bridge: &str, namespace: BorrowedFd<'_>) -> Result<()> {
    let socket = Socket::open(Family::Route)?;
    let mut message = Message::new(16, NEW, &link(0, true));
    message.attribute(3, &[name.as_bytes(), &[0]].concat());
    message.attribute(10, &index(bridge)?.to_ne_bytes());
    message.nest(18, |message| {
        message.attribute(1, b"veth\0");
        message.nest(2, |message| {
            message.nest(1, |message| {
                message.0.extend(link(0, false));
                message.attribute(3, b"eth0\0");
                message.attribute(28, &number(namespace).to_ne_bytes());
            });
        });
    });
    message.send(&socket)
}

/// Gives a link of this namespace an address and a default route, and brings it and `lo` up.
pub(super) fn address(name: &str) -> Result<()> {
    let socket = Socket::open(Family::Route)?;
    let own = rustix::net::netdevice::name_to_index(&socket, name)?;
    let mut message = Message::new(20, NEW, &[&[2, 24, 0, 0][..], &own.to_ne_bytes()].concat());
    message.attribute(2, &[198, 51, 100, 9]);
    message.attribute(1, &[198, 51, 100, 9]);
    message.send(&socket)?;
    Message::new(16, CHANGE, &link(1, true)).send(&socket)?;
    Message::new(16, CHANGE, &link(own, true)).send(&socket)?;
    let mut route = Message::new(24, NEW, &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
    route.attribute(5, &[198, 51, 100, 1]);
    route.send(&socket)
}
