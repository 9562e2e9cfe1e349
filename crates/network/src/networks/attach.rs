//! Attaching and detaching: the hot path.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::BorrowedFd;

use rustix::io::Errno;
use store::Durability;
use sys::netlink::Family;

use super::state::{Member, State, ports_of};
use super::{BRIDGE, Networks, bridge, parent};
use crate::address::{Mac, Subnet, Subnet6};
use crate::bindings::Wanted;
use crate::conntrack;
use crate::endpoint::{Endpoint, EndpointSpec, Resolver, Sandbox, SixAddress};
use crate::errors::{AttachError, DisconnectError, SweepError};
use crate::files;
use crate::ipam::{Number, Pool, Unavailable};
use crate::link::{self, BridgePort, LOOPBACK, Veth};
use crate::name::EndpointId;
use crate::netlink::{Connection, Refused, transaction};
use crate::network::{Bridge, Parent};
use crate::port::{BindError, PortSpec};
use crate::queue;
use crate::ruleset;
use crate::wire::Batch;

/// How a network's interfaces begin in containers. Source: moby, `libnetwork/netlabel`, `ContainerIfacePrefix`.
const IFACE_PREFIX: &str = "com.docker.network.container_iface_prefix";

/// The bridge of an endpoint that is being attached.
pub(super) struct Place {
    bridge: Bridge,
    index: u32,
    parent: Option<Parent>,
}

impl Networks {
    pub(super) fn attach_endpoint(&self, sandbox: &Sandbox<'_>, spec: &EndpointSpec) -> Result<Endpoint, AttachError> {
        if let Some(endpoint) = self.adopt(sandbox.holder, spec)? {
            return Ok(endpoint);
        }
        let (endpoint, place) = self.reserve(sandbox.holder, spec)?;
        let attached = self.connect(sandbox.netns, &endpoint, &place);
        if let Err(error) = attached {
            self.undo(&endpoint);
            return Err(error);
        }
        if let Err(refused) = self.settle_further(sandbox) {
            self.undo(&endpoint);
            return Err(refused.into());
        }
        let settled = self.endpoints(sandbox.holder).into_iter().find(|other| other.id == endpoint.id);
        Ok(settled.unwrap_or(endpoint))
    }

    /// Takes address and ports, and notes the endpoint in memory.
    fn reserve(&self, holder: &str, spec: &EndpointSpec) -> Result<(Endpoint, Place), AttachError> {
        let mut state = self.state();
        let (endpoint, place) = plan(&mut state, holder, spec)?;
        state.endpoints.entry(holder.to_owned()).or_default().push(endpoint.clone());
        Ok((endpoint, place))
    }

    /// Brings the kernel to what was reserved. The record comes first, so that a crash after any step leaves
    /// something by which `sweep` finds the rest.
    fn connect(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint, place: &Place) -> Result<(), AttachError> {
        self.record_endpoint(endpoint)?;
        // Before a packet can pass.
        self.enforce(&mut self.state())?;
        self.link_up(netns, endpoint, place)?;
        self.announce(netns, endpoint)?;
        self.publish(endpoint)
    }

    pub(super) fn record_endpoint(&self, endpoint: &Endpoint) -> Result<(), AttachError> {
        let key = endpoint.id.to_string();
        let put = self.endpoint_records.put(&key, endpoint, Durability::Volatile);
        put.map_err(|source| AttachError::Put { source })
    }

    /// Makes the links and sets the container's end up.
    pub(super) fn link_up(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint, place: &Place) -> Result<(), AttachError> {
        match &place.parent {
            Some(parent) => parent::create_child(&mut self.route(), netns, endpoint, &place.bridge, parent)?,
            None => self.create_link(netns, endpoint, place)?,
        }
        if let Some(rate) = endpoint.limits.receive {
            self.limit_link(&endpoint.link, rate)?;
        }
        let address = Subnet::new(endpoint.address, endpoint.prefix);
        let address = address.ok_or_else(|| refused("add address", io::ErrorKind::InvalidInput.into()))?;
        let alone = self.endpoints(&endpoint.holder).len() <= 1;
        sys::netlink::inside(netns, || configure(endpoint, address, alone))
            .map_err(|source| refused("enter the network namespace", source))??;
        Ok(())
    }

    /// Brings the rules up, with the endpoint's ports.
    pub(super) fn publish(&self, endpoint: &Endpoint) -> Result<(), AttachError> {
        let state = self.state();
        let mut filter = self.filter();
        self.ensure_rules(&state, &mut filter)?;
        drop(state);
        if endpoint.ports.is_empty() {
            return Ok(());
        }
        let ports = ports_of(endpoint);
        match filter.commit(&transaction(|batch| ruleset::add_ports(batch, self.table(), &ports))) {
            // The table was written anew meanwhile, with this endpoint's ports.
            Err(refused) if !refused.is(Errno::EXIST) => return Err(refused.into()),
            Ok(()) | Err(_) => {}
        }
        conntrack::flush(&mut filter, &endpoint.ports)?;
        Ok(())
    }

    /// Limits what the host's end of a link sends, which is what the container receives.
    fn limit_link(&self, name: &str, rate: u64) -> Result<(), Refused> {
        let mut route = self.route();
        let found = link::get(&mut route, name)?;
        let link = found.ok_or_else(|| refused("find the host's end of the link", io::ErrorKind::NotFound.into()))?;
        let mut batch = Batch::new();
        queue::limit(&mut batch, link.index, rate);
        route.run(&batch)
    }

    /// Creates the pair of links; brings the bridge back once if somebody has taken it away.
    fn create_link(&self, netns: BorrowedFd<'_>, endpoint: &Endpoint, place: &Place) -> Result<(), Refused> {
        // Where packets inside of a bridge pass the rules, destinations are translated before the bridge looks at
        // its ports: a container's own port needs the hairpin, and the rules alone keep neighbours apart, for an
        // isolated port would drop what comes by way of a published port.
        let rules = self.calls_rules(endpoint.network);
        let hairpin = rules && !endpoint.ports.is_empty();
        let isolated = !rules && !place.bridge.icc;
        let mut route = self.route();
        let create = |index: u32, route: &mut Connection| {
            let mut batch = Batch::new();
            let veth =
                Veth { host: &endpoint.link, peer: &endpoint.interface, mac: endpoint.mac, mtu: place.bridge.mtu, bridge: index, netns };
            link::create_veth(&mut batch, &veth);
            link::no_link_local(&mut batch, &endpoint.link);
            if hairpin {
                link::set_port(&mut batch, &endpoint.link, BridgePort::Hairpin);
            }
            if isolated {
                link::set_port(&mut batch, &endpoint.link, BridgePort::Isolated);
            }
            link::up(&mut batch, &endpoint.link);
            route.run(&batch)
        };
        // Index 0 would mean no bridge at all to the kernel.
        let made = if place.index == 0 { None } else { Some(create(place.index, &mut route)) };
        if let Some(Ok(())) = made {
            return Ok(());
        }
        let index = bridge::ensure(&mut route, &place.bridge)?;
        if let (Some(Err(refused)), true) = (made, index == place.index) {
            return Err(refused);
        }
        create(index, &mut route)?;
        drop(route);
        let mut state = self.state();
        if let Some(member) = state.by_id(endpoint.network) {
            member.index = index;
        }
        // The new bridge knows nothing of policies.
        state.calling.remove(&endpoint.network);
        self.enforce(&mut state)
    }

    /// Takes back whatever a failed attachment has done.
    pub(super) fn undo(&self, endpoint: &Endpoint) {
        let mut batch = Batch::new();
        link::delete(&mut batch, &endpoint.link);
        self.unannounce(endpoint);
        // What was not made cannot be taken back: refusals here say nothing new.
        let _ = self.route().run(&batch);
        let mut filter = self.filter();
        let _ = self.withdraw(&mut filter, endpoint);
        drop(filter);
        let _ = self.endpoint_records.remove(&endpoint.id.to_string(), Durability::Volatile);
        let mut state = self.state();
        state.forget(endpoint);
        let _ = self.enforce(&mut state);
    }

    pub(super) fn detach_holder(&self, holder: &str) -> Result<(), SweepError> {
        let mut first = Ok(());
        let unused = self.state().taken.remove(holder);
        let endpoints = self.endpoints(holder);
        for endpoint in unused.iter().chain(&endpoints) {
            let released = self.release(endpoint, Ending::WithNamespace);
            first = first.and(released);
        }
        self.close_resolver(holder, &endpoints);
        first.map_err(SweepError::from)
    }

    pub(super) fn disconnect_endpoint(
        &self,
        holder: &str,
        network: &str,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<Endpoint, DisconnectError> {
        let (id, name) = {
            let state = self.state();
            let member = state.resolve(network)?;
            (member.record.id, member.record.name.clone())
        };
        let found = self.endpoints(holder).into_iter().find(|endpoint| endpoint.network == id);
        let endpoint = found.ok_or_else(|| DisconnectError::NotAttached { holder: holder.to_owned(), network: name })?;
        // Its ports stay published if another endpoint can have them.
        self.hand_over(&endpoint)?;
        let left = self.endpoints(holder).into_iter().find(|left| left.id == endpoint.id).unwrap_or(endpoint);
        if let (true, Some(netns)) = (left.link.is_empty(), netns) {
            parent::delete_child(netns, &left)?;
        }
        self.release(&left, Ending::Now)?;
        if let Some(netns) = netns {
            self.settle(&Sandbox { holder, netns })?;
        }
        Ok(left)
    }

    /// Ends an endpoint: first in the kernel, then on record, and last in memory, for only then may another have
    /// its address and ports.
    pub(super) fn release(&self, endpoint: &Endpoint, ending: Ending) -> Result<(), Refused> {
        self.unannounce(endpoint);
        let mut batch = Batch::new();
        if !endpoint.link.is_empty() {
            match ending {
                Ending::Now => link::delete(&mut batch, &endpoint.link),
                Ending::WithNamespace => link::set_port(&mut batch, &endpoint.link, BridgePort::Disabled),
            }
            batch.optional(); // It may be gone already.
        }
        let mut result = self.route().run(&batch);
        let mut filter = self.filter();
        let withdrawn = self.withdraw(&mut filter, endpoint);
        drop(filter);
        let removed = self.endpoint_records.remove(&endpoint.id.to_string(), Durability::Volatile);
        let mut state = self.state();
        state.forget(endpoint);
        result = result.and(self.enforce(&mut state));
        if withdrawn.is_err() {
            // An element was missing and nothing of the transaction happened; the whole is right in any case.
            result = result.and(self.rebuild(&state, &mut self.filter()));
        }
        result.and(removed.map(drop).map_err(|error| refused("remove the record of an endpoint", error.source)))
    }
}

/// Takes address and ports for an endpoint of an owner.
pub(super) fn plan(state: &mut State, holder: &str, spec: &EndpointSpec) -> Result<(Endpoint, Place), AttachError> {
    let id = EndpointId::random().map_err(|source| Refused { what: "draw random numbers", source })?;
    let number = state.place(&spec.network)?;
    let member = state.networks.get_mut(number).ok_or_else(|| not_bridge(&spec.network))?;
    let Some(bridge) = member.record.bridge.clone() else {
        return Err(not_bridge(&member.record.name));
    };
    let network = member.record.name.clone();
    let others = state.endpoints.get(holder).map(Vec::as_slice).unwrap_or_default();
    if others.iter().any(|other| other.network == member.record.id) {
        return Err(AttachError::AlreadyAttached { container_name: spec.container_name.clone(), network });
    }
    if spec.limits.receive.is_some() && member.record.parent.is_some() {
        return Err(AttachError::ReceiveLimit { network });
    }
    let prefix = member.record.options.get(IFACE_PREFIX).map_or("eth", String::as_str);
    let interface = spec.interface.as_ref().map_or_else(|| free_interface(others, prefix), ToString::to_string);
    if others.iter().any(|other| other.interface == interface) {
        return Err(AttachError::InterfaceTaken { interface });
    }
    let pool = member.pool.as_mut().ok_or_else(|| not_bridge(&network))?;
    let address = take_address(pool, spec.ip, &network)?;
    let six = match take_six(member, &bridge, spec) {
        Ok(six) => six,
        Err(error) => {
            release_addresses(member, address, None);
            return Err(error);
        }
    };
    let is_routed = !member.record.internal && member.record.parent.as_ref().is_some_and(|parent| parent.mode.routes());
    let mut endpoint = Endpoint {
        holder: holder.to_owned(),
        network: member.record.id,
        network_name: network,
        id,
        container_name: spec.container_name.clone(),
        address,
        prefix: bridge.subnet.prefix(),
        gateway: (!member.record.internal && !is_routed).then_some(bridge.gateway),
        is_routed,
        limits: spec.limits,
        six,
        mac: spec.mac.unwrap_or(Mac::of(address)),
        aliases: spec.aliases.clone(),
        ports: Vec::new(),
        link: format!("veth{}", id.to_string().get(..7).unwrap_or("0000000")),
        interface,
        link_local: spec.link_local.clone(),
        gateway_priority: spec.gateway_priority,
        names: spec.names.clone(),
        links: spec.links.clone(),
        labels: spec.labels.clone(),
        resolver: if spec.network == BRIDGE { Resolver::default() } else { files::resolver(&spec.dns) },
    };
    let (index, parent) = (member.index, member.record.parent.clone());
    if parent.is_some() {
        // Its packets do not pass the host: there is nothing to publish.
        endpoint.link.clear();
        return Ok((endpoint, Place { bridge, index, parent }));
    }
    match wanted(&spec.ports, &bridge, &endpoint).and_then(|wanted| state.bindings.bind(&wanted)) {
        Ok(ports) => endpoint.ports = ports,
        Err(source) => {
            release_addresses(member, address, six);
            return Err(AttachError::Bind { container_name: spec.container_name.clone(), endpoint: id, source });
        }
    }
    Ok((endpoint, Place { bridge, index, parent }))
}

fn release_addresses(member: &mut Member, address: Ipv4Addr, six: Option<SixAddress>) {
    if let Some(pool) = &mut member.pool {
        pool.release(address);
    }
    if let (Some(pool), Some(six)) = (&mut member.pool6, six) {
        pool.release(six.address.address());
    }
}

/// Takes the wanted IPv6 address, or the next; none if the network has none.
fn take_six(member: &mut Member, bridge: &Bridge, spec: &EndpointSpec) -> Result<Option<SixAddress>, AttachError> {
    let (Some(six), Some(pool)) = (&bridge.six, &mut member.pool6) else {
        return spec.ip6.map_or(Ok(None), |address| Err(AttachError::AddressOutside { address: address.into() }));
    };
    let address = take_address(pool, spec.ip6, &member.record.name)?;
    let gateway = (!member.record.internal).then_some(six.gateway);
    Ok(Subnet6::new(address, six.subnet.prefix()).map(|address| SixAddress { address, gateway }))
}

/// What becomes of an endpoint's links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// They are deleted at once, which takes some ten milliseconds.
    Now,
    /// They pass nothing from now on and end with the container's network namespace.
    WithNamespace,
}

fn refused(what: &'static str, source: io::Error) -> Refused {
    Refused { what, source }
}

fn not_bridge(network: &str) -> AttachError {
    AttachError::NotBridge { network: network.to_owned() }
}

/// Takes the wanted address, or the next.
fn take_address<A: Number + Into<IpAddr>>(pool: &mut Pool<A>, wanted: Option<A>, network: &str) -> Result<A, AttachError> {
    let Some(address) = wanted else {
        let exhausted = || AttachError::PoolExhausted { network: network.to_owned() };
        return pool.allocate().ok_or_else(exhausted);
    };
    match pool.reserve(address) {
        Ok(()) => Ok(address),
        Err(Unavailable::Taken) => Err(AttachError::AddressInUse),
        Err(Unavailable::Outside) => Err(AttachError::AddressOutside { address: address.into() }),
    }
}

/// Says on which addresses of the host ports are published, and where each leads.
pub(super) fn wanted(ports: &[PortSpec], bridge: &Bridge, endpoint: &Endpoint) -> Result<Vec<Wanted>, BindError> {
    let all = ports.iter().map(|spec| {
        let hosts: Vec<IpAddr> = match spec.host_ip {
            // Without a choice both families, if the container has both.
            None if bridge.host_ip.is_unspecified() && endpoint.six.is_some() => {
                vec![bridge.host_ip.into(), Ipv6Addr::UNSPECIFIED.into()]
            }
            None => vec![bridge.host_ip.into()],
            Some(IpAddr::V4(address)) if address.is_unspecified() => vec![bridge.host_ip.into()],
            Some(address) => vec![address],
        };
        let lead = |host_ip: IpAddr| {
            let network = || endpoint.network_name.clone();
            let missing = || BindError::Family { host_ip, container_port: spec.container_port, network: network() };
            Ok((host_ip, endpoint.target(host_ip).ok_or_else(missing)?))
        };
        Ok(Wanted { spec: spec.clone(), addresses: hosts.into_iter().map(lead).collect::<Result<_, _>>()? })
    });
    all.collect()
}

/// The first of `eth0`, `eth1`, … that the owner does not have.
fn free_interface(others: &[Endpoint], prefix: &str) -> String {
    let mut names = (0_u32..).map(|number| format!("{prefix}{number}"));
    let free = names.find(|name| !others.iter().any(|other| other.interface == *name));
    free.unwrap_or_default()
}

/// Sets the container's end up; runs inside its network namespace.
fn configure(endpoint: &Endpoint, address: Subnet, alone: bool) -> Result<(), Refused> {
    let mut connection = Connection::open(Family::Route).map_err(|source| refused("open a netlink socket", source))?;
    let interface = &endpoint.interface;
    let found = link::get(&mut connection, interface)?;
    let link = found.ok_or_else(|| refused("find the container's interface", io::ErrorKind::NotFound.into()))?;
    let mut batch = Batch::new();
    link::up_index(&mut batch, LOOPBACK);
    if endpoint.six.is_none() {
        link::no_link_local(&mut batch, interface);
    }
    link::add_address(&mut batch, link.index, address);
    link::up_index(&mut batch, link.index);
    if let Some(rate) = endpoint.limits.send {
        queue::limit(&mut batch, link.index, rate);
    }
    if let Some(six) = endpoint.six {
        // The namespace's default may be to have no IPv6.
        // (A refusal shows itself at the next step.)
        let _ = fs_err::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "0");
        link::add_address6(&mut batch, link.index, six.address);
        if let Some(gateway) = six.gateway.filter(|_| alone) {
            link::replace_default_route6(&mut batch, link.index, gateway);
        }
    }
    for address in &endpoint.link_local {
        link::add_link_local(&mut batch, link.index, *address);
    }
    if endpoint.is_routed && alone {
        link::replace_device_route(&mut batch, link.index);
    }
    if let Some(gateway) = endpoint.gateway {
        link::add_default_route(&mut batch, link.index, gateway);
        if !alone {
            batch.optional(); // Another endpoint may lead out already: `settle` decides.
        }
    }
    connection.run(&batch)
}
