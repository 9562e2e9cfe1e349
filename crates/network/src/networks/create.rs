//! User-defined networks: created and removed.

use std::net::{Ipv4Addr, Ipv6Addr};

use store::Durability;

use super::state::{Member, Record, State};
use super::{BRIDGE, Networks, bridge, parent, rules};
use crate::address::{Subnet, Subnet6};
use crate::errors::{CreateError, RemoveError};
use crate::ipam;
use crate::link;
use crate::name::{LinkName, NetworkId};
use crate::netlink::{Connection, Refused, transaction};
use crate::network::{Bridge, Driver, Network, NetworkSpec, Parent, Six, SixSpec};
use crate::ruleset::{self, Member as RulesetMember};
use crate::wire::Batch;

/// The networks that always exist.
const PREDEFINED: [&str; 3] = [BRIDGE, "host", "none"];
const PREFIX: &str = "com.docker.network.bridge.";
const MTU_OPTION: &str = "com.docker.network.driver.mtu";
/// The smallest packet that IPv4 must carry. Source: RFC 791.
const MTU_MIN: u32 = 68;
/// How often a random subnet may be one that a network has: once is more than likely.
const SUBNET_ATTEMPTS: u8 = 8;
/// Modes of a gateway that need rules which the table does not have. Source: moby, `libnetwork/drivers/bridge`, `gwMode`.
const MODES_REFUSED: [&str; 3] = ["routed", "isolated", "nat-unprotected"];

impl Networks {
    pub(super) fn create_network(&self, spec: NetworkSpec) -> Result<NetworkId, CreateError> {
        if !is_name(&spec.name) {
            return Err(invalid(format!(
                "invalid network name: {:?}: it must not be blank, and has neither slashes nor control characters",
                spec.name
            )));
        }
        let id = NetworkId::random().map_err(|source| Refused { what: "draw random numbers", source })?;
        let mut state = self.state();
        if state.networks.iter().any(|member| member.record.name == spec.name) {
            return Err(CreateError::NameTaken { name: spec.name });
        }
        let mut route = self.route();
        let known: Vec<(String, Bridge)> =
            state.networks.iter().filter_map(|member| Some((member.record.name.clone(), member.record.bridge.clone()?))).collect();
        let driver = spec.driver.unwrap_or(Driver::Bridge);
        let mut bridge = self.plan(&mut route, &spec, id, &known)?;
        if driver != Driver::Bridge {
            let (link, parent) = parent::plan(&state, &spec, driver, id)?;
            bridge.link = link;
            return self.create_beside(&mut state, &mut route, spec, (id, bridge, parent));
        }
        if state.members().iter().any(|member| member.bridge.link == bridge.link) || link::get(&mut route, bridge.link.as_str())?.is_some()
        {
            return Err(invalid(format!("bridge name {} already exists", bridge.link)));
        }
        let record = Record {
            bridge: Some(bridge.clone()),
            internal: spec.internal,
            attachable: spec.attachable,
            options: spec.options,
            labels: spec.labels,
            ..Record::new(id, &spec.name, Driver::Bridge)
        };
        self.records.put(&id.to_string(), &record, Durability::Durable).map_err(|source| CreateError::Put { source })?;
        let made = bridge::ensure(&mut route, &bridge).and_then(|index| {
            state.networks.push(Member::new(record, index));
            let mut filter = self.filter();
            let member = RulesetMember { bridge: &bridge, internal: spec.internal };
            // Written anew if it was flushed, else only this bridge is added.
            self.add_member(&mut filter, &member)?;
            self.ensure_rules(&state, &mut filter)
        });
        if let Err(refused) = made {
            state.networks.retain(|member| member.record.id != id);
            let mut batch = Batch::new();
            link::delete(&mut batch, bridge.link.as_str());
            // Nothing more can be done about a second refusal; the first one tells.
            let _ = route.run(&batch);
            let _ = self.rebuild(&state, &mut self.filter());
            let _ = self.records.remove(&id.to_string(), Durability::Durable);
            return Err(refused.into());
        }
        Ok(id)
    }

    /// Creates a network beside an interface of the host.
    fn create_beside(
        &self,
        state: &mut State,
        route: &mut Connection,
        spec: NetworkSpec,
        (id, addresses, parent): (NetworkId, Bridge, Parent),
    ) -> Result<NetworkId, CreateError> {
        let index = parent::ensure(route, &addresses, &parent)?;
        let record = Record {
            bridge: Some(addresses),
            parent: Some(parent),
            internal: spec.internal,
            attachable: spec.attachable,
            options: spec.options,
            labels: spec.labels,
            ..Record::new(id, &spec.name, spec.driver.unwrap_or(Driver::Macvlan))
        };
        self.records.put(&id.to_string(), &record, Durability::Durable).map_err(|source| CreateError::Put { source })?;
        state.networks.push(Member::new(record, index));
        Ok(id)
    }

    fn add_member(&self, filter: &mut Connection, member: &RulesetMember<'_>) -> Result<(), Refused> {
        let added = filter.commit(&transaction(|batch| ruleset::add_member(batch, self.table(), member)));
        match added {
            // The table is missing: `ensure_rules` writes it whole.
            Err(refused) if refused.is(rustix::io::Errno::NOENT) => Ok(()),
            other => other,
        }
    }

    /// Decides what the bridge will be.
    fn plan(&self, route: &mut Connection, spec: &NetworkSpec, id: NetworkId, known: &[(String, Bridge)]) -> Result<Bridge, CreateError> {
        let subnet = match spec.subnet {
            Some(subnet) => {
                if let Some((other, bridge)) = known.iter().find(|(_, bridge)| bridge.subnet.overlaps(subnet)) {
                    return Err(CreateError::Overlap { subnet: subnet.to_string(), other: other.clone(), own: bridge.subnet.to_string() });
                }
                subnet.network()
            }
            None => {
                let mut used = bridge::used_subnets(route, 0)?;
                used.extend(known.iter().map(|(_, bridge)| bridge.subnet));
                ipam::free_subnet(&used).ok_or(CreateError::NoSubnet)?
            }
        };
        if let Some(range) = spec.ip_range.filter(|range| !(subnet.contains(range.address()) && range.prefix() >= subnet.prefix())) {
            return Err(invalid(format!("invalid network config: ip-range {range} is not within subnet {subnet}")));
        }
        let range_first = spec.ip_range.map_or(ipam::first_host(subnet), |range| {
            if range.first() == subnet.first() { ipam::first_host(subnet) } else { Ipv4Addr::from(range.first()) }
        });
        let gateway = spec.gateway.unwrap_or(range_first);
        if !subnet.contains(gateway) {
            return Err(invalid(format!("no matching subnet for gateway {gateway}")));
        }
        if let Some(address) = spec.auxiliary.values().find(|address| !subnet.contains(**address)) {
            return Err(invalid(format!("no matching subnet for aux-address {address}")));
        }
        let six = spec.six.as_ref().map(|six| plan_six(six, known)).transpose()?;
        let option = |name: &str| spec.options.get(&format!("{PREFIX}{name}")).map(String::as_str);
        let flag = |name: &str| match option(name) {
            None | Some("true" | "1" | "t" | "T" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "F" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(invalid(format!("invalid value for {PREFIX}{name}: {other}"))),
        };
        for name in ["gateway_mode_ipv4", "gateway_mode_ipv6"] {
            match option(name) {
                None | Some("nat") => {}
                Some(mode) if MODES_REFUSED.contains(&mode) => {
                    return Err(invalid(format!("{PREFIX}{name}={mode} is not supported: only nat is")));
                }
                Some(mode) => return Err(invalid(format!("unknown gateway mode {mode}"))),
            }
        }
        let link = match option("name") {
            Some(name) => name.parse::<LinkName>(),
            None => format!("br-{}", id.short()).parse(),
        };
        let mtu = match spec.options.get(MTU_OPTION) {
            Some(text) => {
                text.parse().ok().filter(|mtu| *mtu >= MTU_MIN).ok_or_else(|| invalid(format!("invalid value for {MTU_OPTION}: {text}")))?
            }
            None => self.mtu,
        };
        let host_ip = option("host_binding_ipv4").unwrap_or("0.0.0.0");
        Ok(Bridge {
            link: link.map_err(|error| invalid(error.to_string()))?,
            subnet,
            is_configured: spec.subnet.is_some(),
            ip_range: spec.ip_range.map(Subnet::network),
            gateway,
            mtu,
            icc: flag("enable_icc")?,
            masquerade: flag("enable_ip_masquerade")?,
            host_ip: host_ip.parse().map_err(|_| invalid(format!("invalid IP address: {host_ip}")))?,
            auxiliary: spec.auxiliary.clone(),
            six,
        })
    }

    pub(super) fn remove_network(&self, reference: &str) -> Result<Network, RemoveError> {
        let mut state = self.state();
        let place = state.place(reference)?;
        let network = state.show(state.resolve(reference)?);
        if PREDEFINED.contains(&network.name.as_str()) {
            return Err(RemoveError::Predefined { name: network.name });
        }
        if !network.endpoints.is_empty() {
            let names =
                network.endpoints.iter().map(|endpoint| format!("name:\"{}\" id:\"{}\"", endpoint.container_name, endpoint.id.short()));
            return Err(RemoveError::InUse { holders: names.collect::<Vec<_>>().join(", "), name: network.name });
        }
        // The record goes first: what is left of a crash after it is a bridge that nobody uses.
        self.records
            .remove(&network.id.to_string(), Durability::Durable)
            .map_err(|source| RemoveError::Record { name: network.name.clone(), source })?;
        state.networks.remove(place);
        if let (Some(addresses), Some(parent)) = (&network.bridge, &network.parent) {
            let same = |member: &Member| member.record.bridge.as_ref().is_some_and(|other| other.link == addresses.link);
            parent::remove(&mut self.route(), addresses, parent, state.networks.iter().any(same));
            return Ok(network);
        }
        if let Some(bridge) = &network.bridge {
            let mut batch = Batch::new();
            link::delete(&mut batch, bridge.link.as_str());
            batch.optional();
            self.route().run(&batch)?;
            let mut filter = self.filter();
            rules::unpass_foreign(&mut filter, bridge.link.as_str())?;
            let member = RulesetMember { bridge, internal: network.internal };
            let deleted = transaction(|batch| ruleset::delete_member(batch, self.table(), &member));
            if filter.commit(&deleted).is_err() {
                self.rebuild(&state, &mut filter)?;
            }
        }
        Ok(network)
    }
}

/// Decides what a network's IPv6 will be.
fn plan_six(spec: &SixSpec, known: &[(String, Bridge)]) -> Result<Six, CreateError> {
    let overlapping = |subnet: Subnet6| {
        known.iter().find_map(|(name, bridge)| Some((name, bridge.six.as_ref().filter(|six| six.subnet.overlaps(subnet))?)))
    };
    let subnet = match spec.subnet {
        Some(subnet) => {
            if let Some((other, six)) = overlapping(subnet) {
                return Err(CreateError::Overlap { subnet: subnet.to_string(), other: other.clone(), own: six.subnet.to_string() });
            }
            subnet.network()
        }
        None => (0..SUBNET_ATTEMPTS)
            .filter_map(|_| unique_local().ok().filter(|subnet| overlapping(*subnet).is_none()))
            .next()
            .ok_or(CreateError::NoSubnet)?,
    };
    let outside = |range: &Subnet6| !subnet.contains(range.address()) || range.prefix() < subnet.prefix();
    if let Some(range) = spec.ip_range.filter(outside) {
        return Err(invalid(format!("invalid network config: ip-range {range} is not within subnet {subnet}")));
    }
    let first = spec.ip_range.map_or(subnet.first(), Subnet6::first);
    let gateway = spec.gateway.unwrap_or_else(|| Ipv6Addr::from(if first == subnet.first() { first + 1 } else { first }));
    if !subnet.contains(gateway) {
        return Err(invalid(format!("no matching subnet for gateway {gateway}")));
    }
    if let Some(address) = spec.auxiliary.values().find(|address| !subnet.contains(**address)) {
        return Err(invalid(format!("no matching subnet for aux-address {address}")));
    }
    Ok(Six {
        subnet,
        is_configured: spec.subnet.is_some(),
        ip_range: spec.ip_range.map(Subnet6::network),
        gateway,
        auxiliary: spec.auxiliary.clone(),
    })
}

/// Draws one of the subnets that are local to a site, with a random identity as they should have. Source: RFC 4193.
fn unique_local() -> std::io::Result<Subnet6> {
    let mut octets = [0; 16];
    rustix::rand::getrandom(&mut octets[1..8], rustix::rand::GetRandomFlags::empty())?;
    octets[0] = 0xfd;
    Subnet6::new(Ipv6Addr::from(octets), 64).ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn invalid(reason: String) -> CreateError {
    CreateError::Invalid { reason }
}

/// Docker takes any text that is not blank; one that could not stand in a path or a line is refused all the same.
fn is_name(name: &str) -> bool {
    !name.trim().is_empty() && !name.chars().any(|letter| letter == '/' || letter.is_control())
}
