//! From policies to what the kernel looks up: who connects has a class, and a class has what is denied to it.
//!
//! Addresses that no policy tells apart are of one class. So one more container of a known class is one more address,
//! and one more in what is denied to each class that may not reach it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Action, Block, Direction, Party, Policy, Rule, decide, send_limit};
use crate::endpoint::Endpoint;
use crate::name::{EndpointId, NetworkId};

/// The number of a class; 0 is that of addresses of which no policy speaks.
pub(crate) type Class = u16;

/// What the policies make of the endpoints.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    /// The classes of the containers' addresses.
    pub(crate) from: BTreeMap<IpAddr, Class>,
    /// The classes of all other addresses: ranges without gaps.
    pub(crate) elsewhere: Vec<(IpAddr, IpAddr, Class)>,
    /// What is denied to a class that connects; no two have a connection in common.
    pub(crate) denied: BTreeMap<Class, Vec<Denied>>,
    /// Bytes a second that an endpoint may send, by its addresses.
    pub(crate) limits: BTreeMap<IpAddr, (EndpointId, u64)>,
    /// The networks whose containers have policies.
    pub(crate) networks: BTreeSet<NetworkId>,
}

/// Connections that are denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Denied {
    /// The first and last address that is connected to.
    pub(crate) to: (IpAddr, IpAddr),
    /// The first and last protocol.
    pub(crate) protocol: (u8, u8),
    /// The first and last port; none means everything.
    pub(crate) ports: Option<(u16, u16)>,
}

/// The first and last protocol, and the first and last port.
type Kind = ((u8, u8), Option<(u16, u16)>);

/// Which policies judge an end, and whose peer it is: ends that are alike in this are of one class.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Signature {
    judging: Vec<bool>,
    fitting: Vec<bool>,
}

/// The policies together with the classes that were seen under them.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    policies: Vec<Policy>,
    numbers: BTreeMap<Signature, Class>,
    signatures: Vec<Signature>,
    /// What is denied from each class to each class.
    between: Vec<Vec<Vec<Kind>>>,
    elsewhere: Vec<(IpAddr, IpAddr, Class)>,
}

/// There are more classes than numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policies tell more than 65535 kinds of containers and addresses apart")]
pub(crate) struct TooMany;

impl Compiler {
    pub(crate) fn new(policies: Vec<Policy>) -> Result<Self, TooMany> {
        let mut compiler = Self { policies, ..Self::default() };
        if compiler.policies.is_empty() {
            return Ok(compiler);
        }
        let unspoken = compiler.rules().map(|(_, rule)| rule.peer == super::Selector::default()).collect();
        compiler.class(Signature { judging: vec![false; compiler.policies.len()], fitting: unspoken })?;
        let ranges = compiler.ranges();
        for (first, last) in ranges {
            let class = compiler.class_of(&Party { address: first, endpoint: None })?;
            match compiler.elsewhere.last_mut() {
                Some((start, end, known)) if *known == class && start.is_ipv4() == first.is_ipv4() => *end = last,
                _ => compiler.elsewhere.push((first, last, class)),
            }
        }
        Ok(compiler)
    }

    /// The policies in the order of their names.
    pub(crate) fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// Compiles for these endpoints.
    pub(crate) fn compile<'a>(&mut self, endpoints: impl Iterator<Item = &'a Endpoint>) -> Result<Compiled, TooMany> {
        let mut compiled = Compiled::default();
        if self.policies.is_empty() {
            return Ok(compiled);
        }
        for endpoint in endpoints {
            for address in endpoint.addresses() {
                let party = Party { address, endpoint: Some(endpoint) };
                compiled.from.insert(address, self.class_of(&party)?);
                if let Some(rate) = send_limit(&self.policies, &party) {
                    compiled.limits.insert(address, (endpoint.id, rate));
                }
                if self.policies.iter().any(|policy| policy.judges(&party)) {
                    compiled.networks.insert(endpoint.network);
                }
            }
        }
        if self.between.len() != self.signatures.len() {
            let parts = self.protocols();
            let row = |from| self.signatures.iter().map(|to| self.denied_between(&parts, from, to)).collect();
            self.between = self.signatures.iter().map(row).collect();
        }
        compiled.elsewhere.clone_from(&self.elsewhere);
        let everywhere = everywhere(&compiled);
        let denied = (0..).zip(&self.between).map(|(class, row)| (class, denied_to(row, &everywhere)));
        compiled.denied = denied.filter(|(_, denied)| !denied.is_empty()).collect();
        Ok(compiled)
    }

    fn rules(&self) -> impl Iterator<Item = (usize, &Rule)> {
        self.policies.iter().enumerate().flat_map(|(place, policy)| policy.rules.iter().map(move |rule| (place, rule)))
    }

    fn class_of(&mut self, party: &Party<'_>) -> Result<Class, TooMany> {
        let judging = self.policies.iter().map(|policy| policy.judges(party)).collect();
        let fitting = self.rules().map(|(_, rule)| rule.peer.fits(party)).collect();
        self.class(Signature { judging, fitting })
    }

    fn class(&mut self, signature: Signature) -> Result<Class, TooMany> {
        if let Some(class) = self.numbers.get(&signature) {
            return Ok(*class);
        }
        let class = Class::try_from(self.signatures.len()).map_err(|_| TooMany)?;
        self.signatures.push(signature.clone());
        self.numbers.insert(signature, class);
        Ok(class)
    }

    /// All addresses, divided where a block begins or ends.
    fn ranges(&self) -> Vec<(IpAddr, IpAddr)> {
        let blocks: Vec<Block> = self.rules().filter_map(|(_, rule)| rule.peer.block).collect();
        let mut starts = (BTreeSet::from([0_u32]), BTreeSet::from([0_u128]));
        for block in blocks {
            match block {
                Block::Four(block) => starts.0.extend([Some(block.first()), block.last().checked_add(1)].into_iter().flatten()),
                Block::Six(block) => starts.1.extend([Some(block.first()), block.last().checked_add(1)].into_iter().flatten()),
            }
        }
        let ends4 = starts.0.iter().skip(1).map(|next| next - 1).chain([u32::MAX]);
        let ends6 = starts.1.iter().skip(1).map(|next| next - 1).chain([u128::MAX]);
        let four = starts.0.iter().zip(ends4).map(|(first, last)| (Ipv4Addr::from(*first).into(), Ipv4Addr::from(last).into()));
        let six = starts.1.iter().zip(ends6).map(|(first, last)| (Ipv6Addr::from(*first).into(), Ipv6Addr::from(last).into()));
        four.chain(six).collect()
    }

    /// The protocols of which rules speak, each alone, and those between them.
    pub(crate) fn protocols(&self) -> Vec<(u8, u8)> {
        let named: BTreeSet<u8> = self.rules().flat_map(|(_, rule)| rule.ports.iter().map(|ports| ports.protocol)).collect();
        let mut parts = Vec::new();
        let mut next = Some(0);
        for protocol in named {
            if let (Some(next), Some(before)) = (next, protocol.checked_sub(1))
                && next <= before
            {
                parts.push((next, before));
            }
            parts.push((protocol, protocol));
            next = protocol.checked_add(1);
        }
        parts.extend(next.map(|next| (next, u8::MAX)));
        parts
    }

    fn denied_between(&self, parts: &[(u8, u8)], from: &Signature, to: &Signature) -> Vec<Kind> {
        let mut denied: Vec<Kind> = Vec::new();
        let ends = [(Direction::Out, from, to), (Direction::In, to, from)];
        if !ends.iter().any(|(_, subject, _)| subject.judging.contains(&true)) {
            return denied;
        }
        // The rules that speak of these two at all.
        let of_end = |direction, subject: &Signature, peer: &Signature| {
            let rules = self.rules().zip(&peer.fitting);
            let speaking = rules.filter(|((policy, rule), fits)| **fits && rule.direction == direction && subject.judging[*policy]);
            let rules: Vec<&Rule> = speaking.map(|((_, rule), _)| rule).collect();
            let judging = self.policies.iter().zip(&subject.judging).filter(|(_, judging)| **judging);
            let strict = judging.into_iter().any(|(policy, _)| policy.default_deny.contains(&direction));
            (rules, strict)
        };
        let ends = ends.map(|(direction, subject, peer)| of_end(direction, subject, peer));
        let is_denied = |protocol, port| {
            ends.iter().any(|(rules, strict)| {
                let any = |action| rules.iter().any(|rule| rule.action == action && rule.covers(protocol, port));
                any(Action::Deny) || (*strict && !any(Action::Allow))
            })
        };
        for part in parts {
            let spoken = ends.iter().flat_map(|(rules, _)| rules).flat_map(|rule| &rule.ports).filter(|ports| ports.protocol == part.0);
            let starts: BTreeSet<u16> =
                spoken.flat_map(|ports| [Some(*ports.range.start()), ports.range.end().checked_add(1)]).flatten().chain([0]).collect();
            let mut ranges: Vec<(u16, u16)> = Vec::new();
            let lasts = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
            for (first, last) in starts.iter().zip(lasts).filter(|(first, _)| is_denied(part.0, **first)) {
                match ranges.last_mut() {
                    Some((_, end)) if end.checked_add(1) == Some(*first) => *end = last,
                    _ => ranges.push((*first, last)),
                }
            }
            match (ranges.as_slice(), denied.last_mut()) {
                ([(0, u16::MAX)], Some(((_, end), None))) if end.checked_add(1) == Some(part.0) => *end = part.1,
                ([(0, u16::MAX)], _) => denied.push((*part, None)),
                (ranges, _) => denied.extend(ranges.iter().map(|range| (*part, Some(*range)))),
            }
        }
        denied
    }

    /// What of the ports of one end the other may reach: `all`, or ranges with their protocol.
    pub(crate) fn reachable(&self, from: &Endpoint, to: &Endpoint) -> Vec<(u8, u16, u16)> {
        let ends = [from, to].map(|endpoint| Party { address: endpoint.address.into(), endpoint: Some(endpoint) });
        let mut open = Vec::new();
        for part in self.protocols() {
            let spoken = self.rules().flat_map(|(_, rule)| &rule.ports).filter(|ports| ports.protocol == part.0);
            let starts: BTreeSet<u16> =
                spoken.flat_map(|ports| [Some(*ports.range.start()), ports.range.end().checked_add(1)]).flatten().chain([0]).collect();
            let lasts = starts.iter().skip(1).map(|next| next - 1).chain([u16::MAX]);
            for (first, last) in starts.iter().zip(lasts) {
                if decide(&self.policies, &ends[0], &ends[1], (part.0, *first)).allows() {
                    match open.last_mut() {
                        Some((protocol, _, end)) if *protocol == part.0 && u16::checked_add(*end, 1) == Some(*first) => *end = last,
                        _ => open.push((part.0, *first, last)),
                    }
                }
            }
        }
        open
    }
}

/// All addresses in their order with their classes, the containers' among the others.
fn everywhere(compiled: &Compiled) -> Vec<(IpAddr, IpAddr, Class)> {
    let mut parts = Vec::new();
    for (first, last, class) in &compiled.elsewhere {
        let mut next = Some(*first);
        for (address, own) in compiled.from.range(first..=last) {
            if let (Some(start), Some(before)) = (next, step(*address, false))
                && start <= before
            {
                parts.push((start, before, *class));
            }
            parts.push((*address, *address, *own));
            next = step(*address, true).filter(|next| next <= last);
        }
        parts.extend(next.map(|start| (start, *last, *class)));
    }
    parts
}

/// The address after or before one, in its family.
fn step(address: IpAddr, up: bool) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => {
            let number = u32::from(address);
            let next = if up { number.checked_add(1) } else { number.checked_sub(1) };
            next.map(|number| Ipv4Addr::from(number).into())
        }
        IpAddr::V6(address) => {
            let number = u128::from(address);
            let next = if up { number.checked_add(1) } else { number.checked_sub(1) };
            next.map(|number| Ipv6Addr::from(number).into())
        }
    }
}

/// What is denied to a class, by what is denied between it and each class; neighbouring addresses are joined.
fn denied_to(row: &[Vec<Kind>], everywhere: &[(IpAddr, IpAddr, Class)]) -> Vec<Denied> {
    let mut open: BTreeMap<Kind, (IpAddr, IpAddr)> = BTreeMap::new();
    let mut denied = Vec::new();
    if row.iter().all(Vec::is_empty) {
        return denied;
    }
    for (first, last, class) in everywhere {
        for kind in row.get(usize::from(*class)).into_iter().flatten() {
            match open.get_mut(kind) {
                Some((_, end)) if step(*end, true) == Some(*first) => *end = *last,
                Some(known) => {
                    denied.push(Denied { to: *known, protocol: kind.0, ports: kind.1 });
                    *known = (*first, *last);
                }
                None => {
                    open.insert(*kind, (*first, *last));
                }
            }
        }
    }
    denied.extend(open.into_iter().map(|((protocol, ports), to)| Denied { to, protocol, ports }));
    denied
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::{Ports, Rule, Selector};

    const SERVICES: [&str; 3] = ["web", "db", "cache"];
    const BLOCKS: [&str; 4] = ["10.0.0.0/8", "10.0.0.4/30", "192.0.2.0/24", "0.0.0.0/0"];

    fn endpoint(number: u8, service: usize, network: u8) -> Endpoint {
        let id = |byte: u8| format!("{byte:02x}").repeat(32);
        let json = serde_json::json!({
            "holder": id(number), "network": id(network), "network_name": format!("n{network}"), "id": id(number),
            "container_name": format!("c{number}"), "address": format!("10.0.{network}.{number}"), "prefix": 24, "gateway": null,
            "mac": "02:00:00:00:00:01", "aliases": [], "ports": [], "link": "veth0", "interface": "eth0",
            "labels": {"com.docker.compose.service": SERVICES[service]},
        });
        serde_json::from_value(json).expect("an endpoint")
    }

    fn selector(is_peer: bool) -> impl Strategy<Value = Selector> {
        let container = (proptest::option::of(0..3_usize), proptest::option::of(0..2_u8)).prop_map(|(service, network)| Selector {
            service: service.map(|service| SERVICES[service].to_owned()),
            network: network.map(|network| format!("n{network}")),
            ..Selector::default()
        });
        let block = (0..BLOCKS.len())
            .prop_map(|block| Selector { block: Some(Block::Four(BLOCKS[block].parse().expect("a block"))), ..Selector::default() });
        if is_peer { prop_oneof![container, block].boxed() } else { container.boxed() }
    }

    fn ports() -> impl Strategy<Value = Ports> {
        (prop_oneof![Just(6_u8), Just(17), Just(1)], 0..8_u16, 0..8_u16).prop_map(|(protocol, one, other)| {
            let range = if protocol == 1 { 0..=u16::MAX } else { one.min(other)..=one.max(other) };
            Ports { protocol, range }
        })
    }

    fn policy() -> impl Strategy<Value = Policy> {
        let direction = || prop_oneof![Just(Direction::In), Just(Direction::Out)];
        let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
        let rule = (action, direction(), selector(true), proptest::collection::vec(ports(), 0..3))
            .prop_map(|(action, direction, peer, ports)| Rule { action, direction, peer, ports });
        let subjects = proptest::collection::vec(selector(false), 0..3);
        let defaults = proptest::collection::vec(direction(), 0..2);
        (subjects, defaults, proptest::collection::vec(rule, 0..5)).prop_map(|(subjects, default_deny, rules)| Policy {
            subjects,
            default_deny,
            rules,
            ..Policy::default()
        })
    }

    /// What the kernel does with the sets.
    fn drops(compiled: &Compiled, from: IpAddr, to: IpAddr, (protocol, port): (u8, u16)) -> bool {
        let inside =
            |(first, last): (IpAddr, IpAddr), address: IpAddr| first.is_ipv4() == address.is_ipv4() && (first..=last).contains(&address);
        let elsewhere = || compiled.elsewhere.iter().find(|(first, last, _)| inside((*first, *last), from)).map(|(.., class)| *class);
        let class = compiled.from.get(&from).copied().or_else(elsewhere).expect("a class");
        let fits = |denied: &&Denied| {
            inside(denied.to, to)
                && (denied.protocol.0..=denied.protocol.1).contains(&protocol)
                && denied.ports.is_none_or(|(first, last)| (first..=last).contains(&port))
        };
        let fitting = compiled.denied.get(&class).into_iter().flatten().filter(fits).count();
        assert!(fitting < 2, "elements overlap");
        fitting == 1
    }

    proptest! {
        #[test]
        fn the_sets_say_what_the_policies_mean(
            policies in proptest::collection::vec(policy(), 1..4),
            containers in proptest::collection::vec((0..3_usize, 0..2_u8), 1..6),
        ) {
            let endpoints: Vec<Endpoint> =
                (2..).zip(&containers).map(|(number, (service, network))| endpoint(number, *service, *network)).collect();
            let mut compiler = Compiler::new(policies.clone()).expect("few classes");
            // One container more each time: classes that are known stay.
            for count in 0..=endpoints.len() {
                let endpoints = &endpoints[..count];
                let compiled = compiler.compile(endpoints.iter()).expect("few classes");
                let outside = ["10.9.9.9", "10.0.0.5", "192.0.2.1", "8.8.8.8"].map(|text| text.parse::<IpAddr>().expect("an address"));
                let mut parties: Vec<Party<'_>> = outside.iter().map(|address| Party { address: *address, endpoint: None }).collect();
                parties.retain(|party| !compiled.from.contains_key(&party.address));
                parties.extend(endpoints.iter().map(Party::of));
                for from in &parties {
                    for to in &parties {
                        for port in (0..9).flat_map(|port| [(6, port), (17, port)]).chain([(1, 7), (132, 3), (0, 0), (255, 9)]) {
                            let wanted = !decide(&policies, from, to, port).allows();
                            prop_assert_eq!(drops(&compiled, from.address, to.address, port), wanted);
                        }
                    }
                }
            }
        }
    }
}
