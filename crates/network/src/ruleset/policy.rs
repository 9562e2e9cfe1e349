//! Policies in the table. Without policies there is nothing of it, and no packet pays for it.
//!
//! | set or map | key → value | grows with |
//! |---|---|---|
//! | `class4`, `class6` | container's address → what is denied to its class | containers |
//! | `elsewhere4`, `elsewhere6` | protocol (any) . addresses → the same | blocks in policies |
//! | `back4`, …, `elsewhere_back4`, … | the same, for what begins in the middle of a connection | containers, blocks |
//! | `shut4_N`, `shut6_N` | addresses . protocols that class N may not reach | policies, containers |
//! | `denied4_N`, `denied6_N` | the same with ports | policies, containers |
//! | `limit4`, `limit6` | container's address → limit | containers with a limit |
//! | `policed` | bridge | networks whose containers have policies |
//!
//! What is established is looked up too, on its way forth, so that a new policy also ends what it denies.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{FORWARD, INPUT, address, address6, drop, equal, interface, ipv4, ipv6, lookup, not_equal, port, set};
use crate::nft::{Ct, Element, Field, Hook, Meta, REGISTER, Set, Step, Table, Value, Values, Verdict};
use crate::policy::compile::{Class, Compiled, Denied};
use crate::wire::Batch;

const LIMIT: [&str; 2] = ["limit4", "limit6"];
const MIDDLE: [&str; 2] = ["middle4", "middle6"];
const POLICED: &str = "policed";

/// After `forward`, and so after the administrator's.
const HOOKS: [(&str, Hook); 2] = [
    ("policy", Hook { kind: "filter", number: FORWARD, priority: 1 }),
    ("policy_host", Hook { kind: "filter", number: INPUT, priority: 1 }),
];
/// Numbers of sets within a transaction; the first ones are those of networks and ports.
const SET_FIRST: u32 = 100;
const CLASS_FIRST: u32 = 200;

/// Source: IANA, "Protocol Numbers".
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// Neighbour solicitation and advertisement, without which IPv6 does not work. Source: RFC 4861.
const NEIGHBOURS: (u8, u8) = (135, 136);
/// `NF_CT_STATE_BIT`: new and related. Source: linux/netfilter/nf_conntrack_common.h.
const STATE_NEW: u32 = 8;
const STATE_RELATED: u32 = 4;
const SYN: u8 = 2;

/// The maps by which a packet finds its class, of each family.
struct Way {
    class: [&'static str; 2],
    elsewhere: [&'static str; 2],
    /// The kind of chain to which they lead.
    chain: &'static str,
    is_back: bool,
}

const FORTH: Way = Way { class: ["class4", "class6"], elsewhere: ["elsewhere4", "elsewhere6"], chain: "from_", is_back: false };
const BACK: Way = Way { class: ["back4", "back6"], elsewhere: ["elsewhere_back4", "elsewhere_back6"], chain: "back_", is_back: true };

/// The maps of all policies. The protocol is in a key of ranges where addresses alone would make the
/// kernel take a tree.
const SETS: [Set; 11] = [
    set(FORTH.class[0], &[Field::Address], Values::Verdicts, false),
    set(FORTH.class[1], &[Field::Address6], Values::Verdicts, false),
    set(FORTH.elsewhere[0], &[Field::Protocol, Field::Address], Values::Verdicts, true),
    set(FORTH.elsewhere[1], &[Field::Protocol, Field::Address6], Values::Verdicts, true),
    set(BACK.class[0], &[Field::Address], Values::Verdicts, false),
    set(BACK.class[1], &[Field::Address6], Values::Verdicts, false),
    set(BACK.elsewhere[0], &[Field::Protocol, Field::Address], Values::Verdicts, true),
    set(BACK.elsewhere[1], &[Field::Protocol, Field::Address6], Values::Verdicts, true),
    set(LIMIT[0], &[Field::Address], Values::Limits, false),
    set(LIMIT[1], &[Field::Address6], Values::Limits, false),
    set(POLICED, &[Field::Interface], Values::None, false),
];

/// What of policies is in the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Enforced {
    /// Whether the chains are at their hooks.
    active: bool,
    /// Classes to which something is denied.
    classes: BTreeSet<Class>,
    elements: BTreeSet<(Cow<'static, str>, Element)>,
    limits: BTreeSet<(String, u64)>,
}

/// What must be in the kernel for compiled policies; `bridges` are those of their networks.
pub(crate) fn plan(compiled: &Compiled, bridges: &[&str]) -> Enforced {
    let mut enforced =
        Enforced { active: !compiled.elsewhere.is_empty(), classes: compiled.denied.keys().copied().collect(), ..Enforced::default() };
    let mut add = |set: Cow<'static, str>, key, key_end, value| enforced.elements.insert((set, Element { key, key_end, value }));
    for way in [FORTH, BACK] {
        let leads = |class: &Class| {
            let ends = if way.is_back { Verdict::Return } else { Verdict::Accept };
            let verdict = if compiled.denied.contains_key(class) { Verdict::Goto(way.chain, *class) } else { ends };
            Some(Value::Verdict(verdict))
        };
        for (address, class) in &compiled.from {
            add(way.class[family(*address)].into(), octets(*address), None, leads(class));
        }
        for (first, last, class) in &compiled.elsewhere {
            let bound = |protocol: u8, address: IpAddr| [vec![protocol, 0, 0, 0], octets(address)].concat();
            add(way.elsewhere[family(*first)].into(), bound(0, *first), Some(bound(u8::MAX, *last)), leads(class));
        }
    }
    for (class, denied) in &compiled.denied {
        for Denied { to, protocol, ports } in denied {
            let bound = |address: IpAddr, protocol: u8, port: Option<u16>| {
                let port = port.map_or_else(Vec::new, |port| [port.to_be_bytes().as_slice(), &[0; 2]].concat());
                [octets(address), vec![protocol, 0, 0, 0], port].concat()
            };
            let name = set_name(ports.is_some(), family(to.0), *class);
            let last = bound(to.1, protocol.1, ports.map(|ports| ports.1));
            add(name.into(), bound(to.0, protocol.0, ports.map(|ports| ports.0)), Some(last), None);
        }
    }
    for (address, (endpoint, rate)) in &compiled.limits {
        let name = format!("{}-{rate}", endpoint.short());
        add(LIMIT[family(*address)].into(), octets(*address), None, Some(Value::Limit(name)));
    }
    for bridge in bridges {
        add(POLICED.into(), interface(bridge), None, None);
    }
    enforced.limits = compiled.limits.values().map(|(endpoint, rate)| (format!("{}-{rate}", endpoint.short()), *rate)).collect();
    enforced
}

fn set_name(has_ports: bool, family: usize, class: Class) -> String {
    let kind = if has_ports { "denied" } else { "shut" };
    format!("{kind}{}_{class}", ["4", "6"][family])
}

/// Brings the table from one state to another.
pub(crate) fn change(batch: &mut Batch, table: Table<'_>, old: &Enforced, new: &Enforced) {
    if new.active && !old.active {
        begin(batch, table);
    }
    for class in new.classes.difference(&old.classes) {
        create_class(batch, table, *class);
    }
    for (set, elements) in by_set(old.elements.difference(&new.elements)) {
        table.delete_elements(batch, set, &elements);
    }
    for (name, _) in old.limits.difference(&new.limits) {
        table.delete_limit(batch, name);
    }
    for (name, rate) in new.limits.difference(&old.limits) {
        table.create_limit(batch, name, *rate);
    }
    for (set, elements) in by_set(new.elements.difference(&old.elements)) {
        table.add_elements(batch, set, &elements);
    }
    for class in old.classes.difference(&new.classes) {
        delete_class(batch, table, *class);
    }
    if old.active && !new.active {
        end(batch, table);
    }
}

/// Makes the maps and the chains at their hooks.
fn begin(batch: &mut Batch, table: Table<'_>) {
    for (id, set) in (SET_FIRST..).zip(&SETS) {
        table.create_set(batch, set, id);
    }
    for (family, chain) in MIDDLE.iter().enumerate() {
        table.create_chain(batch, chain, None);
        class_rules(&BACK, family).iter().for_each(|steps| table.append_rule(batch, chain, steps));
    }
    for (chain, hook) in HOOKS {
        table.create_chain(batch, chain, Some(hook));
        hook_rules().iter().for_each(|steps| table.append_rule(batch, chain, steps));
    }
}

/// Takes away all that `begin` has made.
fn end(batch: &mut Batch, table: Table<'_>) {
    let chains = || HOOKS.iter().map(|(chain, _)| *chain).chain(MIDDLE);
    chains().for_each(|chain| table.delete_rules(batch, chain));
    chains().for_each(|chain| table.delete_chain(batch, chain));
    SETS.iter().for_each(|set| table.delete_set(batch, &set.name));
}

/// What the sets of a class are called, of which family they are, and whether they have ports.
fn sets_of(class: Class) -> [(String, usize, bool); 4] {
    [(0, false), (0, true), (1, false), (1, true)].map(|(family, has_ports)| (set_name(has_ports, family, class), family, has_ports))
}

fn create_class(batch: &mut Batch, table: Table<'_>, class: Class) {
    let chains = [FORTH, BACK].map(|way| (format!("{}{class}", way.chain), way.is_back));
    for (chain, _) in &chains {
        table.create_chain(batch, chain, None);
    }
    for (place, (name, family, has_ports)) in (0..).zip(sets_of(class)) {
        let key: &[Field] = match (family, has_ports) {
            (0, false) => &[Field::Address, Field::Protocol],
            (0, true) => &[Field::Address, Field::Protocol, Field::Port],
            (_, false) => &[Field::Address6, Field::Protocol],
            (_, true) => &[Field::Address6, Field::Protocol, Field::Port],
        };
        let id = CLASS_FIRST + u32::from(class) * 4 + place;
        table.create_set(batch, &Set { name: Cow::Owned(name.clone()), key, values: Values::None, interval: true }, id);
        for (chain, is_back) in &chains {
            let (mut steps, next) = match (family, is_back) {
                (0, false) => ([ipv4(), vec![address(16, REGISTER)]].concat(), REGISTER + 1),
                (0, true) => ([ipv4(), vec![address(12, REGISTER)]].concat(), REGISTER + 1),
                (_, false) => ([ipv6(), vec![address6(24, REGISTER)]].concat(), REGISTER + 4),
                (_, true) => ([ipv6(), vec![address6(8, REGISTER)]].concat(), REGISTER + 4),
            };
            steps.push(Step::Meta(Meta::Protocol, next));
            if has_ports {
                let source = Step::Payload { transport: true, offset: 0, length: 2, register: next + 1 };
                steps.push(if *is_back { source } else { port(next + 1) });
            }
            steps.extend([Step::Lookup { set: Cow::Owned(name.clone()), inverted: false }, Step::Verdict(Verdict::Drop)]);
            table.append_rule(batch, chain, &steps);
        }
    }
}

fn delete_class(batch: &mut Batch, table: Table<'_>, class: Class) {
    let chains = [FORTH, BACK].map(|way| format!("{}{class}", way.chain));
    chains.iter().for_each(|chain| table.delete_rules(batch, chain));
    sets_of(class).iter().for_each(|(name, ..)| table.delete_set(batch, name));
    chains.iter().for_each(|chain| table.delete_chain(batch, chain));
}

fn by_set<'a>(elements: impl Iterator<Item = &'a (Cow<'static, str>, Element)>) -> Vec<(&'a str, Vec<Element>)> {
    let mut sets: Vec<(&str, Vec<Element>)> = Vec::new();
    for (set, element) in elements {
        match sets.last_mut() {
            Some((last, elements)) if last == set => elements.push(element.clone()),
            _ => sets.push((set, vec![element.clone()])),
        }
    }
    sets
}

fn hook_rules() -> Vec<Vec<Step>> {
    let has = |state: u32| vec![Step::Ct(Ct::State), Step::Mask(state.to_ne_bytes().to_vec()), not_equal(&[0; 4])];
    let accept = || vec![Step::Verdict(Verdict::Accept)];
    let protocol = |number| vec![Step::Meta(Meta::Protocol, REGISTER), equal(&[number])];
    let byte = |offset| Step::Payload { transport: true, offset, length: 1, register: REGISTER };
    let jump = |chain| vec![Step::Verdict(Verdict::Jump(chain))];
    let mut rules = vec![
        [ipv4(), vec![address(12, REGISTER), Step::AboveLimit { set: LIMIT[0] }], drop()].concat(),
        [ipv6(), vec![address6(8, REGISTER), Step::AboveLimit { set: LIMIT[1] }], drop()].concat(),
        [has(STATE_RELATED), accept()].concat(),
        [vec![Step::Ct(Ct::Direction), equal(&[1])], accept()].concat(),
        [ipv6(), protocol(ICMPV6), vec![byte(0), Step::Between { first: NEIGHBOURS.0, last: NEIGHBOURS.1 }], accept()].concat(),
    ];
    // Addresses of the link have no class: nobody gets around a policy by them.
    for offset in [8, 24] {
        let link_local = Step::Payload { transport: false, offset, length: 2, register: REGISTER };
        let policed = vec![Step::Meta(Meta::InputName, REGISTER), lookup(POLICED)];
        let link_local = vec![link_local, Step::Mask(vec![0xff, 0xc0]), equal(&[0xfe, 0x80])];
        let other = vec![Step::Meta(Meta::Protocol, REGISTER), not_equal(&[ICMPV6])];
        rules.push([ipv6(), policed, link_local, other, drop()].concat());
    }
    // What begins in the middle may as well be the answer to what is denied.
    let middle = [protocol(TCP), has(STATE_NEW), vec![byte(13), Step::Mask(vec![SYN]), equal(&[0])]].concat();
    rules.push([ipv4(), middle.clone(), jump(MIDDLE[0])].concat());
    rules.push([ipv6(), middle, jump(MIDDLE[1])].concat());
    rules.extend(class_rules(&FORTH, 0));
    rules.extend(class_rules(&FORTH, 1));
    rules
}

/// Finds the class of the end that connects, first among the containers.
fn class_rules(way: &Way, family: usize) -> [Vec<Step>; 2] {
    let load = |register| match (family, way.is_back) {
        (0, false) => address(12, register),
        (0, true) => address(16, register),
        (_, false) => address6(8, register),
        (_, true) => address6(24, register),
    };
    let own = if family == 0 { ipv4() } else { ipv6() };
    let elsewhere = vec![Step::Meta(Meta::Protocol, REGISTER), load(REGISTER + 1), Step::VerdictMap { set: way.elsewhere[family] }];
    [[own.clone(), vec![load(REGISTER), Step::VerdictMap { set: way.class[family] }]].concat(), [own, elsewhere].concat()]
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
