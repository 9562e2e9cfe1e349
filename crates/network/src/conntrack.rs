//! Forgets the kernel's memory of UDP flows whose published port has changed.
//!
//! A flow that began before its port was published, or while another container had it, would go the old way for
//! as long as packets follow each other. Source: linux/netfilter/nfnetlink_conntrack.h.

use std::net::IpAddr;

use crate::netlink::{Connection, Refused, nfgenmsg};
use crate::port::{BoundPort, Protocol};
use crate::wire::{ACK, Batch};

const NFNL_SUBSYS_CTNETLINK: u8 = 1;
const IPCTNL_MSG_CT_DELETE: u8 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Bits of `CTA_FILTER_F_*`. Source: net/netfilter/nf_conntrack_netlink.c.
const FILTER_ADDRESS: u32 = 1 << 1;
const FILTER_PROTOCOL: u32 = 1 << 3;
const FILTER_PORT: u32 = 1 << 5;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Writes the deletion of all flows to the UDP ports among these. Kernels before 5.8 have no filter and refuse it.
fn write(batch: &mut Batch, ports: &[BoundPort]) {
    for port in ports.iter().filter(|port| port.protocol == Protocol::Udp) {
        let kind = u16::from_be_bytes([NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE]);
        let address = (!port.host_ip.is_unspecified()).then_some(port.host_ip);
        let family = if port.host_ip.is_ipv4() { AF_INET } else { AF_INET6 };
        batch.message(kind, ACK, "flush connections", |batch| {
            batch.raw(&nfgenmsg(family, 1, 0)); // version 1: the family counts
            batch.nest(CTA_TUPLE_ORIG, |batch| {
                if let Some(address) = address {
                    batch.nest(CTA_TUPLE_IP, |batch| match address {
                        IpAddr::V4(address) => batch.attribute(CTA_IP_V4_DST, &address.octets()),
                        IpAddr::V6(address) => batch.attribute(CTA_IP_V6_DST, &address.octets()),
                    });
                }
                batch.nest(CTA_TUPLE_PROTO, |batch| {
                    batch.attribute(CTA_PROTO_NUM, &[port.protocol.number()]);
                    batch.attribute(CTA_PROTO_DST_PORT, &port.host_port.to_be_bytes());
                });
            });
            let flags = FILTER_PROTOCOL | FILTER_PORT | if address.is_some() { FILTER_ADDRESS } else { 0 };
            batch.nest(CTA_FILTER, |batch| batch.host32(CTA_FILTER_ORIG_FLAGS, flags));
        });
        batch.optional();
    }
}

/// Forgets the flows to the UDP ports among these.
pub(crate) fn flush(connection: &mut Connection, ports: &[BoundPort]) -> Result<(), Refused> {
    let mut batch = Batch::new();
    write(&mut batch, ports);
    connection.run(&batch)
}
