//! The resolver's sockets in a container, and the rules that bring port 53 to them.
//!
//! The sockets have another port, so that the container may have a name server of its own on all its addresses. The
//! rules are stateless: no connection is tracked for a question.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};

use sys::netlink::Family;

use super::ADDRESS;
use crate::netlink::{Connection, Refused, transaction};
use crate::nft::{Hook, Meta, REGISTER, Step, Table, TableFamily, Verdict};

/// The table in the container's namespace.
const TABLE: Table<'static> = Table { family: TableFamily::Ip, name: "teu-names" };
/// The sockets' port, below those that the kernel gives away.
const PORT: u16 = 15353;
const DOMAIN: u16 = 53;
/// Source: linux/netfilter.h.
const OUTPUT: u32 = 3;
/// Before connections are tracked. Source: linux/netfilter_ipv4.h, `NF_IP_PRI_RAW`.
const RAW: i32 = -300;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Opens the sockets for datagrams and for streams in a network namespace whose loopback interface is up.
pub(crate) fn open(netns: BorrowedFd<'_>) -> Result<[OwnedFd; 2], Refused> {
    let fail = |source| Refused { what: "open the resolver's sockets", source };
    sys::netlink::inside(netns, || {
        let sockets = bind().map_err(fail)?;
        let mut filter = Connection::open(Family::Netfilter).map_err(fail)?;
        filter.commit(&transaction(|batch| {
            // Rules of an earlier resolver that died may be there: twice they do the same. To delete them first would wait
            // for the kernel's readers, in every start.
            TABLE.create(batch);
            TABLE.create_chain(batch, "output", Some(Hook { kind: "filter", number: OUTPUT, priority: RAW }));
            for steps in rules() {
                TABLE.append_rule(batch, "output", &steps);
            }
        }))?;
        Ok(sockets)
    })
    .map_err(fail)?
}

fn bind() -> io::Result<[OwnedFd; 2]> {
    let datagrams = UdpSocket::bind((ADDRESS, PORT))?;
    let streams = TcpListener::bind((ADDRESS, PORT))?;
    datagrams.set_nonblocking(true)?;
    streams.set_nonblocking(true)?;
    Ok([datagrams.into(), streams.into()])
}

/// To and from the sockets, for datagrams and for streams.
fn rules() -> Vec<Vec<Step>> {
    let mut rules = Vec::new();
    for (protocol, checksum) in [(UDP, 6), (TCP, 16)] {
        // Addresses lie at 12 (source) and 16, ports at 0 and 2.
        for (address, port, from, to) in [(16, 2, DOMAIN, PORT), (12, 0, PORT, DOMAIN)] {
            rules.push(vec![
                Step::Payload { transport: false, offset: address, length: 4, register: REGISTER },
                Step::Compare { equal: true, bytes: ADDRESS.octets().to_vec() },
                Step::Meta(Meta::Protocol, REGISTER),
                Step::Compare { equal: true, bytes: vec![protocol] },
                Step::Payload { transport: true, offset: port, length: 2, register: REGISTER },
                Step::Compare { equal: true, bytes: from.to_be_bytes().to_vec() },
                Step::NoTrack,
                Step::Load(to.to_be_bytes().to_vec()),
                Step::WritePort { offset: port, checksum },
                Step::Verdict(Verdict::Accept),
            ]);
        }
    }
    rules
}
