//! Policies on record and in force.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustix::io::Errno;
use store::Durability;

use super::state::State;
use super::{Networks, bridge};
use crate::endpoint::Endpoint;
use crate::errors::PolicyError;
use crate::link::{self, BridgePort};
use crate::name::NetworkId;
use crate::netlink::{Connection, Refused, transaction};
use crate::network::Driver;
use crate::policy::compile::{Compiled, Compiler};
use crate::policy::{Policy, Selector};
use crate::ruleset::policy as rules;
use crate::wire::Batch;

/// Where the kernel shows that packets inside of bridges can be seen at all.
const BRIDGE_RULES: &str = "/proc/sys/net/bridge";

impl Networks {
    pub(super) fn put_policy_on_record(&self, policy: Policy, replace: bool) -> Result<Vec<String>, PolicyError> {
        check(&policy)?;
        let mut state = self.state();
        let mut policies = state.compiler.policies().to_vec();
        let place = policies.binary_search_by(|other| other.name.cmp(&policy.name));
        if place.is_ok() && !replace {
            return Err(PolicyError::NameTaken { name: policy.name });
        }
        if let Some(network) = named_networks(&policy).find(|name| !state.networks.iter().any(|member| member.record.name == **name)) {
            return Err(PolicyError::NoNetwork { name: network.clone() });
        }
        match place {
            Ok(place) => policies[place] = policy.clone(),
            Err(place) => policies.insert(place, policy.clone()),
        }
        let before = place.ok().and_then(|place| state.compiler.policies().get(place).cloned());
        let put = |policy: &Policy| self.policy_records.put(&policy.name, policy, Durability::Durable);
        put(&policy).map_err(|source| PolicyError::Put { source })?;
        if let Err(refused) = self.change_policies(&mut state, policies) {
            // As it was; should that be refused too, the next start decides by the record.
            let _ = match before {
                Some(before) => put(&before).map_err(drop),
                None => self.policy_records.remove(&policy.name, Durability::Durable).map(drop).map_err(drop),
            };
            return Err(refused);
        }
        Ok(warnings(&state, &policy))
    }

    pub(super) fn remove_policy_of(&self, name: &str) -> Result<Policy, PolicyError> {
        let mut state = self.state();
        let mut policies = state.compiler.policies().to_vec();
        let place = policies.iter().position(|policy| policy.name == name);
        let place = place.ok_or_else(|| PolicyError::NotFound { name: name.to_owned() })?;
        let removed = policies.remove(place);
        self.policy_records.remove(name, Durability::Durable).map_err(|source| PolicyError::Remove { source })?;
        self.change_policies(&mut state, policies)?;
        Ok(removed)
    }

    fn change_policies(&self, state: &mut State, policies: Vec<Policy>) -> Result<(), PolicyError> {
        let compiler = Compiler::new(policies).map_err(|source| PolicyError::TooMany { source: std::io::Error::other(source) })?;
        let before = std::mem::replace(&mut state.compiler, compiler);
        if let Err(refused) = self.enforce(state) {
            state.compiler = before;
            let _ = self.enforce(state);
            return Err(refused.into());
        }
        Ok(())
    }

    /// Brings the kernel to what the policies make of the endpoints as they are now.
    pub(super) fn enforce(&self, state: &mut State) -> Result<(), Refused> {
        if state.compiler.policies().is_empty() && state.enforced == rules::Enforced::default() {
            return Ok(());
        }
        let compiled = compile(state)?;
        let calling = calling(state, &compiled);
        let opened: Vec<NetworkId> = calling.difference(&state.calling).copied().collect();
        let closed: Vec<NetworkId> = state.calling.difference(&calling).copied().collect();
        self.call_rules(state, &opened, true)?;
        state.calling = calling;
        let enforced = rules::plan(&compiled, &bridges_of(state, &state.calling));
        let before = std::mem::replace(&mut state.enforced, enforced);
        let mut filter = self.filter();
        let changed = filter.commit(&transaction(|batch| rules::change(batch, self.table(), &before, &state.enforced)));
        match changed {
            Ok(()) => {}
            // Somebody has flushed the table, or an element is not as it was left.
            Err(refused) if refused.is(Errno::NOENT) || refused.is(Errno::EXIST) => self.rebuild(state, &mut filter)?,
            Err(refused) => {
                state.enforced = before;
                return Err(refused);
            }
        }
        drop(filter);
        self.call_rules(state, &closed, false)
    }

    /// Compiles at the start: the table is written whole afterwards.
    pub(super) fn enforce_first(&self, state: &mut State, route: &mut Connection) -> Result<(), Refused> {
        let compiled = compile(state)?;
        let calling = calling(state, &compiled);
        let networks: Vec<NetworkId> = calling.iter().copied().collect();
        set_calling(route, state, &networks, true)?;
        state.calling = calling;
        state.enforced = rules::plan(&compiled, &bridges_of(state, &state.calling));
        Ok(())
    }

    fn call_rules(&self, state: &State, networks: &[NetworkId], on: bool) -> Result<(), Refused> {
        if networks.is_empty() { Ok(()) } else { set_calling(&mut self.route(), state, networks, on) }
    }

    /// Whether packets inside of a network's bridge pass the IP rules.
    pub(super) fn calls_rules(&self, network: NetworkId) -> bool {
        bridge::bridges_call_rules() || self.state().calling.contains(&network)
    }
}

fn compile(state: &mut State) -> Result<Compiled, Refused> {
    let State { compiler, endpoints, .. } = state;
    let compiled = compiler.compile(endpoints.values().flatten());
    compiled.map_err(|source| Refused { what: "compile the network policies", source: std::io::Error::other(source) })
}

/// The networks on whose bridges policies must see what neighbours send each other. Where neighbours are kept apart
/// there is nothing to see.
fn calling(state: &State, compiled: &Compiled) -> BTreeSet<NetworkId> {
    let talk = |id: &&NetworkId| {
        let member = state.networks.iter().find(|member| member.record.id == **id);
        let bridge = member.filter(|member| member.record.driver == Driver::Bridge).and_then(|member| member.record.bridge.as_ref());
        bridge.is_some_and(|bridge| bridge.icc)
    };
    compiled.networks.iter().filter(talk).copied().collect()
}

fn bridges_of<'a>(state: &'a State, networks: &BTreeSet<NetworkId>) -> Vec<&'a str> {
    let members = state.networks.iter().filter(|member| networks.contains(&member.record.id));
    members.filter_map(|member| Some(member.record.bridge.as_ref()?.link.as_str())).collect()
}

/// Lets the rules see, or not, what passes inside of bridges.
fn set_calling(route: &mut Connection, state: &State, networks: &[NetworkId], on: bool) -> Result<(), Refused> {
    if networks.is_empty() {
        return Ok(());
    }
    if on && !std::path::Path::new(BRIDGE_RULES).exists() {
        let source = std::io::Error::other("the kernel's module br_netfilter is missing: `modprobe br_netfilter` loads it");
        return Err(Refused { what: "let policies see what neighbours send each other", source });
    }
    let mut batch = Batch::new();
    let networks: BTreeSet<NetworkId> = networks.iter().copied().collect();
    for bridge in bridges_of(state, &networks) {
        link::call_rules(&mut batch, bridge, on);
        if !on {
            batch.optional(); // It may have been removed.
        }
    }
    // Destinations are translated before the bridge looks at its ports, so a container's own port needs the hairpin.
    for endpoint in state.endpoints.values().flatten().filter(|endpoint| on && networks.contains(&endpoint.network)) {
        if !endpoint.ports.is_empty() && !endpoint.link.is_empty() {
            link::set_port(&mut batch, &endpoint.link, BridgePort::Hairpin);
            batch.optional();
        }
    }
    route.run(&batch)
}

fn check(policy: &Policy) -> Result<(), PolicyError> {
    let invalid = |reason: String| Err(PolicyError::Invalid { reason });
    if !is_name(&policy.name) {
        return invalid(format!("invalid policy name: \"{}\": only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed", policy.name));
    }
    if policy.rules.is_empty() && policy.default_deny.is_empty() && policy.send_limit.is_none() {
        return invalid(format!("policy {} does nothing: give it a rule, a default or an egress limit", policy.name));
    }
    if policy.subjects.iter().any(|subject| subject.block.is_some()) {
        return invalid(format!("policy {}: subjects are containers; a CIDR can only be a rule's peer", policy.name));
    }
    let mixed = |peer: &Selector| peer.block.is_some() && (peer.network.is_some() || peer.service.is_some() || !peer.labels.is_empty());
    if policy.rules.iter().any(|rule| mixed(&rule.peer)) {
        return invalid(format!("policy {}: a CIDR cannot be joined with a network, service or label", policy.name));
    }
    Ok(())
}

/// A name can stand in a path and names a file.
fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn named_networks(policy: &Policy) -> impl Iterator<Item = &String> {
    selectors(policy).filter_map(|selector| selector.network.as_ref())
}

fn selectors(policy: &Policy) -> impl Iterator<Item = &Selector> {
    policy.subjects.iter().chain(policy.rules.iter().map(|rule| &rule.peer))
}

/// What of a policy has no effect now.
fn warnings(state: &State, policy: &Policy) -> Vec<String> {
    let endpoints: Vec<&Endpoint> = state.endpoints.values().flatten().collect();
    let ends = |endpoint: &&&Endpoint, selector: &Selector| {
        selector.fits(&crate::policy::Party { address: IpAddr::from(endpoint.address), endpoint: Some(**endpoint) })
    };
    let mut warnings = Vec::new();
    for selector in selectors(policy).filter(|selector| selector.block.is_none() && **selector != Selector::default()) {
        if !endpoints.iter().any(|endpoint| ends(&endpoint, selector)) {
            let warning = format!("no running container is {selector}");
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    let beyond = endpoints.iter().filter(|endpoint| endpoint.link.is_empty() && policy.judges(&crate::policy::Party::of(endpoint)));
    warnings.extend(beyond.map(|endpoint| {
        let (container, network) = (&endpoint.container_name, &endpoint.network_name);
        format!("the policy has no power over {container} in network {network}, whose packets do not pass this host's rules")
    }));
    warnings
}
