//! Networks beside an interface of the host: `macvlan` and `ipvlan`, with VLANs of 802.1Q.

use std::io;
use std::os::fd::BorrowedFd;

use sys::netlink::Family;

use super::state::State;
use crate::endpoint::Endpoint;
use crate::errors::CreateError;
use crate::link::{self, Child};
use crate::name::{LinkName, NetworkId};
use crate::netlink::{Connection, Refused};
use crate::network::{Bridge, Driver, Mode, NetworkSpec, Parent};
use crate::wire::Batch;

/// The highest number of a VLAN. Source: IEEE 802.1Q; 4095 is reserved.
const VLAN_MAX: u16 = 4094;

/// Decides which interface a network lies beside. Source: moby, `libnetwork/drivers/macvlan` and `ipvlan`.
pub(super) fn plan(state: &State, spec: &NetworkSpec, driver: Driver, id: NetworkId) -> Result<(LinkName, Parent), CreateError> {
    let invalid = |reason: String| CreateError::Invalid { reason };
    let name = driver.as_str();
    let known = ["parent".to_owned(), format!("{name}_mode"), "com.docker.network.driver.mtu".to_owned()];
    if let Some(option) = spec.options.keys().find(|option| !known.contains(option)) {
        return Err(invalid(format!("invalid option for a {name} network: {option}")));
    }
    let asked = spec.options.get(&known[1]).map(String::as_str);
    let mode =
        Mode::of(driver, asked).ok_or_else(|| invalid(format!("requested {name} mode '{}' is not valid", asked.unwrap_or_default())))?;
    let Some(text) = spec.options.get("parent").filter(|parent| !parent.is_empty()) else {
        let dummy = format!("dm-{}", id.short()).parse().map_err(|error| invalid(format!("{error}")))?;
        return Ok((dummy, Parent { mode, vlan: None, is_dummy: true }));
    };
    let parent: LinkName = text.parse().map_err(|error| invalid(format!("{error}")))?;
    let others = state.networks.iter().filter(|member| member.record.parent.is_some());
    let mut others = others.filter(|member| member.record.bridge.as_ref().is_some_and(|addresses| addresses.link == parent));
    if let Some(other) = others.find(|other| driver == Driver::Macvlan || other.record.driver == Driver::Macvlan) {
        return Err(invalid(format!("network {} is already using parent interface {parent}", other.record.name)));
    }
    let vlan = match text.rsplit_once('.') {
        Some((link, number)) => {
            let number: u16 = number
                .parse()
                .ok()
                .filter(|number| (1..=VLAN_MAX).contains(number))
                .ok_or_else(|| invalid(format!("vlan id must be between 1-{VLAN_MAX}, received: {number}")))?;
            Some((link.parse().map_err(|error| invalid(format!("{error}")))?, number))
        }
        None => None,
    };
    Ok((parent, Parent { mode, vlan, is_dummy: false }))
}

/// Finds the interface, or makes it if the network is to have one of its own; answers its index.
pub(super) fn ensure(route: &mut Connection, addresses: &Bridge, parent: &Parent) -> Result<u32, Refused> {
    let name = addresses.link.as_str();
    if let Some(found) = link::get(route, name)? {
        return Ok(found.index);
    }
    let missing = |what: &'static str| Refused { what, source: io::ErrorKind::NotFound.into() };
    let mut batch = Batch::new();
    match &parent.vlan {
        Some((link, number)) => {
            let base = link::get(route, link.as_str())?.ok_or_else(|| missing("find the parent interface"))?;
            link::create_vlan(&mut batch, name, base.index, *number);
        }
        None if parent.is_dummy => link::create_dummy(&mut batch, name),
        None => return Err(missing("find the parent interface")),
    }
    link::up(&mut batch, name);
    route.run(&batch)?;
    Ok(link::get(route, name)?.ok_or_else(|| missing("find the parent interface"))?.index)
}

/// Removes an interface that the network has made, unless others need it: then the kernel refuses.
pub(super) fn remove(route: &mut Connection, addresses: &Bridge, parent: &Parent, others: bool) {
    if !others && (parent.is_dummy || parent.vlan.is_some()) {
        let mut batch = Batch::new();
        link::delete(&mut batch, addresses.link.as_str());
        // It may have gone with the interface that it was a VLAN of.
        let _ = route.run(&batch);
    }
}

/// Makes a container's interface.
pub(super) fn create_child(
    route: &mut Connection,
    netns: BorrowedFd<'_>,
    endpoint: &Endpoint,
    addresses: &Bridge,
    parent: &Parent,
) -> Result<(), Refused> {
    let index = ensure(route, addresses, parent)?;
    let (kind, mode) = parent.mode.link();
    let shares = kind == "ipvlan" || parent.mode == Mode::Passthru;
    let mac = (!shares).then_some(endpoint.mac);
    let mut batch = Batch::new();
    let child = Child { name: &endpoint.interface, mac, kind, mode: &mode, parent: index, mtu: addresses.mtu, netns };
    link::create_child(&mut batch, &child);
    route.run(&batch)
}

/// Deletes a container's interface, which only its own namespace knows.
pub(super) fn delete_child(netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), Refused> {
    let fail = |source| Refused { what: "enter the network namespace", source };
    sys::netlink::inside(netns, || {
        let mut connection = Connection::open(Family::Route).map_err(fail)?;
        let mut batch = Batch::new();
        link::delete(&mut batch, &endpoint.interface);
        batch.optional(); // it may be gone
        connection.run(&batch)
    })
    .map_err(fail)?
}
