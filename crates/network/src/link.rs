//! Messages of rtnetlink: links, addresses, routes. Source: rtnetlink(7), linux/if_link.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::address::{Mac, Subnet, Subnet6};
use crate::netlink::{Connection, Refused};
use crate::wire::{self, ACK, Batch, CREATE, DUMP, EXCL, REPLACE};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const AF_UNSPEC: u8 = 0;
const AF_INET: u8 = 2;
const AF_INET6: u16 = 10;
/// The same in a route's or an address' header.
const AF_INET6_ROUTE: u8 = 10;
/// No search for others with the address. Source: linux/if_addr.h.
const IFA_F_NODAD: u8 = 0x02;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const IN6_ADDR_GEN_MODE_NONE: u8 = 1;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_FLUSH: u16 = 24;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
const IFLA_BRPORT_BCAST_FLOOD: u16 = 30;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_LOCKED: u16 = 39;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_LINK: u8 = 253;

/// The index of `lo` in every network namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// A link as the kernel shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Its number in the namespace.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Bytes of the largest packet.
    pub(crate) mtu: u32,
    /// The bridge it is a port of.
    pub(crate) master: Option<u32>,
    /// `bridge`, `veth`, …; empty for hardware.
    pub(crate) kind: String,
}

/// What a pair of veth links should be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Veth<'a> {
    /// The host's end.
    pub(crate) host: &'a str,
    /// The container's end.
    pub(crate) peer: &'a str,
    /// The hardware address of the container's end.
    pub(crate) mac: Mac,
    /// Bytes of the largest packet.
    pub(crate) mtu: u32,
    /// The index of the bridge.
    pub(crate) bridge: u32,
    /// The container's network namespace.
    pub(crate) netns: BorrowedFd<'a>,
}

/// `struct ifinfomsg`.
fn ifinfomsg(index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes()); // only these flags change
    bytes
}

/// Creates a veth pair: the host's end at the bridge, the other straight in the namespace.
pub(crate) fn create_veth(batch: &mut Batch, veth: &Veth<'_>) {
    batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, "create veth pair", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, veth.host);
        batch.host32(IFLA_MTU, veth.mtu);
        batch.host32(IFLA_MASTER, veth.bridge);
        batch.nest(IFLA_LINKINFO, |batch| {
            batch.text(IFLA_INFO_KIND, "veth");
            batch.nest(IFLA_INFO_DATA, |batch| {
                batch.nest(VETH_INFO_PEER, |batch| {
                    batch.raw(&ifinfomsg(0, 0));
                    batch.text(IFLA_IFNAME, veth.peer);
                    batch.attribute(IFLA_ADDRESS, &veth.mac.0);
                    batch.host32(IFLA_MTU, veth.mtu);
                    batch.attribute(IFLA_NET_NS_FD, &veth.netns.as_raw_fd().to_ne_bytes());
                });
            });
        });
    });
}

/// Creates a bridge.
pub(crate) fn create_bridge(batch: &mut Batch, name: &str, mac: Mac, mtu: u32) {
    batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, "create bridge", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
        // A fixed address: else it would follow the lowest of the ports and neighbours lose it.
        batch.attribute(IFLA_ADDRESS, &mac.0);
        batch.host32(IFLA_MTU, mtu);
        batch.nest(IFLA_LINKINFO, |batch| batch.text(IFLA_INFO_KIND, "bridge"));
    });
}

/// Lets the IP rules see, or not, what passes inside of a bridge.
pub(crate) fn call_rules(batch: &mut Batch, name: &str, on: bool) {
    batch.message(RTM_NEWLINK, ACK, "let the rules see what passes inside of a bridge", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
        batch.nest(IFLA_LINKINFO, |batch| {
            batch.text(IFLA_INFO_KIND, "bridge");
            batch.nest(IFLA_INFO_DATA, |batch| {
                batch.attribute(IFLA_BR_NF_CALL_IPTABLES, &[u8::from(on)]);
                batch.attribute(IFLA_BR_NF_CALL_IP6TABLES, &[u8::from(on)]);
            });
        });
    });
}

/// Keeps the kernel from giving the link an IPv6 address of its own; without IPv6 there is nothing to keep it from.
pub(crate) fn no_link_local(batch: &mut Batch, name: &str) {
    batch.message(RTM_NEWLINK, ACK, "turn off link-local addresses", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
        batch.nest(IFLA_AF_SPEC, |batch| {
            batch.nest(AF_INET6, |batch| batch.attribute(IFLA_INET6_ADDR_GEN_MODE, &[IN6_ADDR_GEN_MODE_NONE]));
        });
    });
    batch.optional();
}

/// Turns a link on.
pub(crate) fn up(batch: &mut Batch, name: &str) {
    batch.message(RTM_NEWLINK, ACK, "turn link on", |batch| {
        batch.raw(&ifinfomsg(0, IFF_UP));
        batch.text(IFLA_IFNAME, name);
    });
}

/// Turns the link with that index on.
pub(crate) fn up_index(batch: &mut Batch, index: u32) {
    batch.message(RTM_NEWLINK, ACK, "turn link on", |batch| batch.raw(&ifinfomsg(index, IFF_UP)));
}

/// A setting of a bridge's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BridgePort {
    /// Packets may leave by the port they came from.
    Hairpin,
    /// Packets go between the bridge and this port only, not to other such ports.
    Isolated,
    /// Nothing passes.
    Disabled,
}

/// Changes a bridge's port.
pub(crate) fn set_port(batch: &mut Batch, name: &str, setting: BridgePort) {
    batch.message(RTM_NEWLINK, ACK, "set bridge port", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
        batch.nest(IFLA_LINKINFO, |batch| {
            batch.text(IFLA_INFO_SLAVE_KIND, "bridge");
            batch.nest(IFLA_INFO_SLAVE_DATA, |batch| match setting {
                BridgePort::Hairpin => batch.attribute(IFLA_BRPORT_MODE, &[1]),
                BridgePort::Isolated => batch.attribute(IFLA_BRPORT_ISOLATED, &[1]),
                BridgePort::Disabled => disable(batch),
            });
        });
    });
}

/// Stops a port. The state alone is not enough: the kernel turns it back when it notices, up to a second late, that
/// the link has come up. Without neighbours in its table nothing gets in by a locked port (Linux 5.18), and without
/// floods nothing gets out.
fn disable(batch: &mut Batch) {
    batch.attribute(IFLA_BRPORT_STATE, &[0]);
    let off = [IFLA_BRPORT_LEARNING, IFLA_BRPORT_UNICAST_FLOOD, IFLA_BRPORT_MCAST_FLOOD, IFLA_BRPORT_BCAST_FLOOD];
    off.iter().for_each(|kind| batch.attribute(*kind, &[0]));
    batch.attribute(IFLA_BRPORT_LOCKED, &[1]);
    batch.attribute(IFLA_BRPORT_FLUSH, &[]);
}

/// Deletes a link.
pub(crate) fn delete(batch: &mut Batch, name: &str) {
    batch.message(RTM_DELLINK, ACK, "delete link", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
    });
}

/// Gives a link an address.
pub(crate) fn add_address(batch: &mut Batch, index: u32, address: Subnet) {
    batch.message(RTM_NEWADDR, ACK | CREATE | EXCL, "add address", |batch| {
        let mut header = [AF_INET, address.prefix(), 0, 0, 0, 0, 0, 0]; // struct ifaddrmsg
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        batch.raw(&header);
        batch.attribute(IFA_LOCAL, &address.address().octets());
        batch.attribute(IFA_ADDRESS, &address.address().octets());
        if address.prefix() < 31 {
            batch.attribute(IFA_BROADCAST, &address.broadcast().octets());
        }
    });
}

/// Gives a link an IPv6 address, which is in use at once: the engine itself sees to it that nobody else has it.
pub(crate) fn add_address6(batch: &mut Batch, index: u32, address: Subnet6) {
    batch.message(RTM_NEWADDR, ACK | CREATE | REPLACE, "add address", |batch| {
        let mut header = [AF_INET6_ROUTE, address.prefix(), IFA_F_NODAD, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        batch.raw(&header);
        batch.attribute(IFA_LOCAL, &address.address().octets());
        batch.attribute(IFA_ADDRESS, &address.address().octets());
    });
}

/// Sends everything of IPv6 that has no other route through this gateway instead of another.
pub(crate) fn replace_default_route6(batch: &mut Batch, index: u32, gateway: Ipv6Addr) {
    batch.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, "replace default route", |batch| {
        batch.raw(&[AF_INET6_ROUTE, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0]);
        batch.attribute(RTA_GATEWAY, &gateway.octets());
        batch.host32(RTA_OIF, index);
    });
}

/// Sends everything that has no other route through a gateway.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, gateway: Ipv4Addr) {
    batch.message(RTM_NEWROUTE, ACK | CREATE | EXCL, "add default route", |batch| {
        // struct rtmsg: family, destination's and source's prefix, tos, table, protocol, scope, type, flags
        batch.raw(&[AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0]);
        batch.attribute(RTA_GATEWAY, &gateway.octets());
        batch.host32(RTA_OIF, index);
    });
}

/// Sends everything that has no other route through this gateway instead of another.
pub(crate) fn replace_default_route(batch: &mut Batch, index: u32, gateway: Ipv4Addr) {
    batch.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, "replace default route", |batch| {
        batch.raw(&[AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, 0, RTN_UNICAST, 0, 0, 0, 0]);
        batch.attribute(RTA_GATEWAY, &gateway.octets());
        batch.host32(RTA_OIF, index);
    });
}

/// Sends everything that has no other route to a link, without a gateway.
pub(crate) fn replace_device_route(batch: &mut Batch, index: u32) {
    batch.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, "replace default route", |batch| {
        batch.raw(&[AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_LINK, RTN_UNICAST, 0, 0, 0, 0]);
        batch.host32(RTA_OIF, index);
    });
}

/// A child of an interface, made straight in a container's namespace.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Child<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its hardware address; none shares the parent's.
    pub(crate) mac: Option<Mac>,
    /// The kind of link.
    pub(crate) kind: &'a str,
    /// The attribute of its mode.
    pub(crate) mode: &'a [u8],
    /// The parent's index.
    pub(crate) parent: u32,
    /// Bytes of the largest packet.
    pub(crate) mtu: u32,
    /// The container's network namespace.
    pub(crate) netns: BorrowedFd<'a>,
}

/// Creates a child of an interface.
pub(crate) fn create_child(batch: &mut Batch, child: &Child<'_>) {
    batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, "create the container's interface", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, child.name);
        batch.host32(IFLA_LINK, child.parent);
        batch.host32(IFLA_MTU, child.mtu);
        if let Some(mac) = child.mac {
            batch.attribute(IFLA_ADDRESS, &mac.0);
        }
        batch.attribute(IFLA_NET_NS_FD, &child.netns.as_raw_fd().to_ne_bytes());
        batch.nest(IFLA_LINKINFO, |batch| {
            batch.text(IFLA_INFO_KIND, child.kind);
            batch.nest(IFLA_INFO_DATA, |batch| batch.attribute(1, child.mode)); // IFLA_MACVLAN_MODE, IFLA_IPVLAN_MODE
        });
    });
}

/// Creates a VLAN of an interface.
pub(crate) fn create_vlan(batch: &mut Batch, name: &str, parent: u32, number: u16) {
    batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, "create VLAN interface", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
        batch.host32(IFLA_LINK, parent);
        batch.nest(IFLA_LINKINFO, |batch| {
            batch.text(IFLA_INFO_KIND, "vlan");
            batch.nest(IFLA_INFO_DATA, |batch| batch.attribute(1, &number.to_ne_bytes())); // IFLA_VLAN_ID
        });
    });
}

/// Creates an interface that leads nowhere.
pub(crate) fn create_dummy(batch: &mut Batch, name: &str) {
    batch.message(RTM_NEWLINK, ACK | CREATE | EXCL, "create dummy interface", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
        batch.nest(IFLA_LINKINFO, |batch| batch.text(IFLA_INFO_KIND, "dummy"));
    });
}

/// Gives a link an address that counts on the link only.
pub(crate) fn add_link_local(batch: &mut Batch, index: u32, address: IpAddr) {
    batch.message(RTM_NEWADDR, ACK | CREATE | EXCL, "add link-local address", |batch| {
        let (family, prefix, octets) = match address {
            IpAddr::V4(address) => (AF_INET, 16, address.octets().to_vec()),
            IpAddr::V6(address) => (AF_INET6_ROUTE, 64, address.octets().to_vec()),
        };
        let mut header = [family, prefix, 0, 0, 0, 0, 0, 0];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        batch.raw(&header);
        batch.attribute(IFA_LOCAL, &octets);
        batch.attribute(IFA_ADDRESS, &octets);
    });
}

/// Finds a link by name.
pub(crate) fn get(connection: &mut Connection, name: &str) -> Result<Option<Link>, Refused> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, ACK, "look at link", |batch| {
        batch.raw(&ifinfomsg(0, 0));
        batch.text(IFLA_IFNAME, name);
    });
    match connection.query(&batch) {
        Ok(found) => Ok(found.iter().find_map(|body| parse_link(body))),
        Err(refused) if refused.is(rustix::io::Errno::NODEV) => Ok(None),
        Err(refused) => Err(refused),
    }
}

/// Lists all links.
pub(crate) fn list(connection: &mut Connection) -> Result<Vec<Link>, Refused> {
    let mut batch = Batch::new();
    batch.message(RTM_GETLINK, DUMP, "list links", |batch| batch.raw(&ifinfomsg(0, 0)));
    Ok(connection.query(&batch)?.iter().filter_map(|body| parse_link(body)).collect())
}

fn parse_link(body: &[u8]) -> Option<Link> {
    let attributes = body.get(16..)?;
    let number = |kind| wire::find(attributes, kind).and_then(|value| wire::u32_at(value, 0));
    let kind = wire::find(attributes, IFLA_LINKINFO).and_then(|info| wire::find(info, IFLA_INFO_KIND));
    Some(Link {
        index: wire::u32_at(body, 4)?,
        name: wire::string(wire::find(attributes, IFLA_IFNAME)?),
        mtu: number(IFLA_MTU).unwrap_or(1500),
        master: number(IFLA_MASTER),
        kind: kind.map(wire::string).unwrap_or_default(),
    })
}

/// Lists all IPv4 addresses with the index of their link.
pub(crate) fn addresses(connection: &mut Connection) -> Result<Vec<(u32, Subnet)>, Refused> {
    let mut batch = Batch::new();
    batch.message(RTM_GETADDR, DUMP, "list addresses", |batch| batch.raw(&[AF_INET, 0, 0, 0, 0, 0, 0, 0]));
    let found = connection.query(&batch)?;
    Ok(found.iter().filter_map(|body| parse_address(body)).collect())
}

fn parse_address(body: &[u8]) -> Option<(u32, Subnet)> {
    let attributes = body.get(8..)?;
    let value = wire::find(attributes, IFA_LOCAL).or_else(|| wire::find(attributes, IFA_ADDRESS))?;
    let octets: [u8; 4] = value.try_into().ok()?;
    Some((wire::u32_at(body, 4)?, Subnet::new(Ipv4Addr::from(octets), *body.get(1)?)?))
}

/// A route of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) destination: Subnet,
    /// The link's index.
    pub(crate) link: Option<u32>,
}

/// Lists the IPv4 routes of the main table.
pub(crate) fn routes(connection: &mut Connection) -> Result<Vec<Route>, Refused> {
    let mut batch = Batch::new();
    batch.message(RTM_GETROUTE, DUMP, "list routes", |batch| {
        batch.raw(&[AF_INET, 0, 0, 0, AF_UNSPEC, 0, 0, 0, 0, 0, 0, 0]);
    });
    Ok(connection.query(&batch)?.iter().filter_map(|body| parse_route(body)).collect())
}

fn parse_route(body: &[u8]) -> Option<Route> {
    let (prefix, table, kind) = (*body.get(1)?, *body.get(4)?, *body.get(7)?);
    if table != RT_TABLE_MAIN || kind != RTN_UNICAST {
        return None;
    }
    let attributes = body.get(12..)?;
    let octets: [u8; 4] = match wire::find(attributes, RTA_DST) {
        Some(value) => value.try_into().ok()?,
        None => [0; 4],
    };
    let link = wire::find(attributes, RTA_OIF).and_then(|value| wire::u32_at(value, 0));
    Some(Route { destination: Subnet::new(Ipv4Addr::from(octets), prefix)?, link })
}
