//! Bridges in the kernel, and what the host must allow for them.

use std::io;
use std::net::Ipv6Addr;

use crate::address::{Mac, Subnet, Subnet6};
use crate::link;
use crate::netlink::{Connection, Refused};
use crate::network::Bridge;
use crate::wire::Batch;

/// The largest packet where no default route says otherwise.
const MTU_DEFAULT: u32 = 1500;
/// The link-local address of every bridge. Source: moby, `libnetwork/drivers/bridge`, `bridgeIPv6`.
const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// Brings a bridge up as it should be, whatever is there of it, and returns its index.
pub(super) fn ensure(route: &mut Connection, bridge: &Bridge) -> Result<u32, Refused> {
    let name = bridge.link.as_str();
    let mut batch = Batch::new();
    let found = match link::get(route, name)? {
        Some(found) if found.kind == "bridge" => found,
        Some(_) => {
            let source = io::Error::new(io::ErrorKind::AlreadyExists, "another interface has its name");
            return Err(Refused { what: "create bridge", source });
        }
        None => {
            let mut create = Batch::new();
            link::create_bridge(&mut create, name, Mac::of(bridge.gateway), bridge.mtu);
            link::no_link_local(&mut create, name);
            route.run(&create)?;
            link::get(route, name)?.ok_or_else(|| Refused { what: "create bridge", source: io::ErrorKind::NotFound.into() })?
        }
    };
    if let Some(address) = Subnet::new(bridge.gateway, bridge.subnet.prefix())
        && !link::addresses(route)?.contains(&(found.index, address))
    {
        link::add_address(&mut batch, found.index, address);
    }
    link::up_index(&mut batch, found.index);
    if let Some(six) = &bridge.six {
        set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
        set_sysctl(&format!("net/ipv6/conf/{name}/disable_ipv6"), "0")?;
        // Without the second one the kernel does not look for neighbours to which it forwards.
        let addresses = [Subnet6::new(six.gateway, six.subnet.prefix()), Subnet6::new(LINK_LOCAL, 64)];
        for address in addresses.into_iter().flatten() {
            link::add_address6(&mut batch, found.index, address);
        }
    }
    route.run(&batch)?;
    // Lets the host's 127.0.0.1 be translated to a container; the table's first chain keeps others from using it.
    set_sysctl(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    Ok(found.index)
}

/// Lets the host forward packets, which containers need to get anywhere.
pub(super) fn allow_forwarding() -> Result<(), Refused> {
    set_sysctl("net/ipv4/ip_forward", "1")
}

/// Sets a value that is not set yet; writing `ip_forward` again would reset other values.
fn set_sysctl(key: &str, value: &str) -> Result<(), Refused> {
    let path = format!("/proc/sys/{key}");
    let set = || {
        if fs_err::read_to_string(&path)?.trim() == value {
            return Ok(());
        }
        fs_err::write(&path, value)
    };
    set().map_err(|source| Refused { what: "set a sysctl of the network", source })
}

/// Whether packets inside of a bridge pass the IP rules too.
pub(super) fn bridges_call_rules() -> bool {
    fs_err::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").is_ok_and(|value| value.trim() != "0")
}

/// The bytes of the largest packet on the default route's interface.
pub(super) fn default_mtu(route: &mut Connection) -> Result<u32, Refused> {
    let routes = link::routes(route)?;
    let default = routes.iter().find(|route| route.destination.prefix() == 0).and_then(|route| route.link);
    let links = link::list(route)?;
    let found = links.iter().find(|link| Some(link.index) == default);
    Ok(found.map_or(MTU_DEFAULT, |link| link.mtu))
}

/// The subnets that the host has routes or addresses for, except by the link `own`.
pub(super) fn used_subnets(route: &mut Connection, own: u32) -> Result<Vec<Subnet>, Refused> {
    let routes = link::routes(route)?.into_iter();
    let routed = routes.filter(|route| route.destination.prefix() > 0 && route.link != Some(own));
    let addresses = link::addresses(route)?.into_iter().filter(|(index, _)| *index != own);
    Ok(routed.map(|route| route.destination).chain(addresses.map(|(_, address)| address)).collect())
}
