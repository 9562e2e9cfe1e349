//! By which of its endpoints a container leads out, and is reached from outside.

use std::io;
use std::os::fd::BorrowedFd;

use store::Durability;
use sys::netlink::Family;

use super::Networks;
use super::state::ports_of;
use crate::conntrack;
use crate::endpoint::{Endpoint, Sandbox, leads_out};
use crate::link;
use crate::name::EndpointId;
use crate::netlink::{Connection, Refused, transaction};
use crate::ruleset;
use crate::wire::Batch;

impl Networks {
    /// As `settle`, for an endpoint that was just attached: the first one needs nothing more.
    pub(super) fn settle_further(&self, sandbox: &Sandbox<'_>) -> Result<(), Refused> {
        if self.endpoints(sandbox.holder).len() > 1 { self.settle(sandbox) } else { Ok(()) }
    }

    /// Brings default route and ports to the endpoint that leads out.
    pub(super) fn settle(&self, sandbox: &Sandbox<'_>) -> Result<(), Refused> {
        let endpoints = self.endpoints(sandbox.holder);
        let Some(gateway) = leads_out(&endpoints) else {
            return Ok(());
        };
        if endpoints.len() > 1 {
            let others = endpoints.iter().filter(|other| other.id != gateway.id && !other.ports.is_empty());
            for other in others {
                self.move_ports(other, gateway.id)?;
            }
        }
        route_by(sandbox.netns, gateway)
    }

    /// Gives the ports of an endpoint that is about to end to the one that leads out next.
    pub(super) fn hand_over(&self, ending: &Endpoint) -> Result<(), Refused> {
        let mut others = self.endpoints(&ending.holder);
        others.retain(|other| other.id != ending.id);
        match leads_out(&others) {
            Some(next) if !ending.ports.is_empty() => self.move_ports(ending, next.id),
            Some(_) | None => Ok(()),
        }
    }

    /// Moves published ports from one endpoint to another of the same owner; the sockets that reserve them stay.
    fn move_ports(&self, from: &Endpoint, to: EndpointId) -> Result<(), Refused> {
        let mut state = self.state();
        let Some(endpoints) = state.endpoints.get_mut(&from.holder) else {
            return Ok(());
        };
        let mut moved = Vec::new();
        for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.id == from.id) {
            moved.append(&mut endpoint.ports);
        }
        for endpoint in endpoints.iter_mut().filter(|endpoint| endpoint.id == to) {
            endpoint.ports.extend_from_slice(&moved);
        }
        let changed: Vec<Endpoint> = endpoints.iter().filter(|endpoint| endpoint.id == from.id || endpoint.id == to).cloned().collect();
        for endpoint in &changed {
            let put = self.endpoint_records.put(&endpoint.id.to_string(), endpoint, Durability::Volatile);
            put.map_err(|error| Refused { what: "record an endpoint", source: io::Error::other(error) })?;
        }
        let target = changed.iter().find(|endpoint| endpoint.id == to).cloned();
        let mut filter = self.filter();
        let old = ports_of(from);
        let new: Vec<_> = target.iter().flat_map(ports_of).filter(|(port, _)| moved.contains(port)).collect();
        let swapped = filter.commit(&transaction(|batch| {
            ruleset::delete_ports(batch, self.table(), &old);
            ruleset::add_ports(batch, self.table(), &new);
        }));
        if swapped.is_err() {
            self.rebuild(&state, &mut filter)?;
        }
        conntrack::flush(&mut filter, &moved)
    }
}

/// Points the default route of a namespace at an endpoint's gateway.
fn route_by(netns: BorrowedFd<'_>, endpoint: &Endpoint) -> Result<(), Refused> {
    let enter = |source| Refused { what: "enter the network namespace", source };
    sys::netlink::inside(netns, || {
        let mut connection = Connection::open(Family::Route).map_err(|source| Refused { what: "open a netlink socket", source })?;
        let Some(link) = link::get(&mut connection, &endpoint.interface)? else {
            return Ok(());
        };
        let mut batch = Batch::new();
        if endpoint.is_routed {
            link::replace_device_route(&mut batch, link.index);
        }
        if let Some(gateway) = endpoint.gateway {
            link::replace_default_route(&mut batch, link.index, gateway);
        }
        if let Some(gateway) = endpoint.six.and_then(|six| six.gateway) {
            link::replace_default_route6(&mut batch, link.index, gateway);
        }
        connection.run(&batch)
    })
    .map_err(enter)?
}
