//! The engine's one nf_tables table: fixed rules, and sets and maps for all that varies.
//!
//! | set or map | key → value | grows with |
//! |---|---|---|
//! | `nets` | bridge | networks |
//! | `masq` | bridge | networks that hide behind the host's address |
//! | `pair` | from . to → verdict | networks (traffic inside of each) |
//! | `from_net`, `to_net` | bridge → verdict | networks |
//! | `sub4` | bridge . its subnet | networks (for answers that must come back through the host) |
//! | `pub4` | protocol . port → address . port | ports published on 0.0.0.0 |
//! | `pub4ip` | host address . protocol . port → address . port | ports published on one address |
//! | `sub6`, `pub6`, `pub6ip` | the same for IPv6 | |

pub(crate) mod policy;

use std::borrow::Cow;
use std::net::IpAddr;

use self::policy::Enforced;
use crate::address::Subnet;
use crate::network::Bridge;
use crate::nft::{Ct, Element, Field, Hook, Meta, REGISTER, Set, Step, Table, Value, Values, Verdict};
use crate::port::BoundPort;
use crate::wire::Batch;

const PUB4: &str = "pub4";
const PUB4IP: &str = "pub4ip";
const PUB6: &str = "pub6";
const PUB6IP: &str = "pub6ip";

/// All sets and maps that networks and ports need.
const SETS: [Set; 11] = [
    set("nets", &[Field::Interface], Values::None, false),
    set("masq", &[Field::Interface], Values::None, false),
    set("pair", &[Field::Interface, Field::Interface], Values::Verdicts, false),
    set("from_net", &[Field::Interface], Values::Verdicts, false),
    set("to_net", &[Field::Interface], Values::Verdicts, false),
    set("sub4", &[Field::Interface, Field::Address], Values::None, true),
    set(PUB4, &[Field::Protocol, Field::Port], TARGET, false),
    set(PUB4IP, &[Field::Address, Field::Protocol, Field::Port], TARGET, false),
    set("sub6", &[Field::Interface, Field::Address6], Values::None, true),
    set(PUB6, &[Field::Protocol, Field::Port], TARGET6, false),
    set(PUB6IP, &[Field::Address6, Field::Protocol, Field::Port], TARGET6, false),
];
const TARGET: Values = Values::Fields(&[Field::Address, Field::Port]);
const TARGET6: Values = Values::Fields(&[Field::Address6, Field::Port]);

const fn set(name: &'static str, key: &'static [Field], values: Values, interval: bool) -> Set {
    Set { name: Cow::Borrowed(name), key, values, interval }
}

/// Source: linux/netfilter.h, `enum nf_inet_hooks`.
const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// `IPS_DST_NAT`. Source: linux/netfilter/nf_conntrack_common.h.
const STATUS_DESTINATION_NAT: u32 = 1 << 5;
/// Established or related.
const STATE_KNOWN: u32 = 2 | 4;
/// `RTN_LOCAL`. Source: linux/rtnetlink.h.
const TYPE_LOCAL: u32 = 2;
/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
const IPV6: u8 = 10;

/// A bridge of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The bridge.
    pub(crate) bridge: &'a Bridge,
    /// Whether it has no way out.
    pub(crate) internal: bool,
}

/// Writes the whole table anew: what was there before under its name goes in the same transaction.
pub(crate) fn write(batch: &mut Batch, table: Table<'_>, members: &[Member<'_>], ports: &[(BoundPort, IpAddr)], enforced: &Enforced) {
    table.create(batch); // so that the deletion cannot fail
    table.delete(batch);
    table.create(batch);
    for (id, set) in (1..).zip(&SETS) {
        table.create_set(batch, set, id);
    }
    write_chains(batch, table);
    for member in members {
        add_member(batch, table, member);
    }
    add_ports(batch, table, ports);
    policy::change(batch, table, &Enforced::default(), enforced);
}

/// The chain that is the administrator's: every packet between networks, or between one and the outside, passes it
/// before ours. What it drops is dropped; what it accepts still passes ours.
pub(crate) const ADMIN_CHAIN: &str = "forward";

/// Makes the administrator's table with its chain where they are missing; nothing in them is ever changed.
pub(crate) fn write_admin(batch: &mut Batch, table: Table<'_>) {
    table.create(batch);
    table.create_chain(batch, ADMIN_CHAIN, Some(Hook { kind: "filter", number: FORWARD, priority: -1 }));
}

fn write_chains(batch: &mut Batch, table: Table<'_>) {
    let hook = |kind, number, priority| Some(Hook { kind, number, priority });
    table.create_chain(batch, "publish", None);
    table.create_chain(batch, "enter_nat", None);
    table.create_chain(batch, "guard", hook("filter", PREROUTING, -300));
    // One before Docker's chains, so that the order does not depend on who started first.
    table.create_chain(batch, "prerouting", hook("nat", PREROUTING, -101));
    table.create_chain(batch, "output", hook("nat", OUTPUT, -101));
    table.create_chain(batch, "postrouting", hook("nat", POSTROUTING, 99));
    table.create_chain(batch, "forward", hook("filter", FORWARD, 0));
    for (chain, steps) in rules() {
        table.append_rule(batch, chain, &steps);
    }
}

/// The fixed rules in the order in which they are written.
fn rules() -> Vec<(&'static str, Vec<Step>)> {
    let mut rules = vec![
        // Nobody outside reaches what is published on 127.0.0.1, nor uses a bridge's route_localnet.
        ("guard", [vec![Step::Meta(Meta::InputName, REGISTER), not_equal(&interface("lo"))], ipv4(), loopback(16), drop()].concat()),
        ("publish", [ipv4(), published_on_address()].concat()),
        ("publish", [ipv4(), published_on_all()].concat()),
        ("publish", [ipv6(), published_on_address6()].concat()),
        ("publish", [ipv6(), published_on_all6()].concat()),
    ];
    for chain in ["prerouting", "output"] {
        let local = vec![Step::FibDestinationType, equal(&TYPE_LOCAL.to_ne_bytes())];
        rules.push((chain, [local, vec![Step::Verdict(Verdict::Jump("publish"))]].concat()));
    }
    rules.extend(postrouting_rules().into_iter().map(|steps| ("postrouting", steps)));
    rules.extend(forward_rules().into_iter().map(|steps| ("forward", steps)));
    rules.push(("enter_nat", [destination_nat(), vec![Step::Verdict(Verdict::Accept)]].concat()));
    rules.push(("enter_nat", drop()));
    rules
}

fn postrouting_rules() -> Vec<Vec<Step>> {
    let to_net = vec![Step::Meta(Meta::OutputName, REGISTER), lookup("nets")];
    let hairpin = vec![Step::Meta(Meta::OutputName, REGISTER), address(12, REGISTER + 4), lookup("sub4")];
    let outwards = vec![
        Step::Meta(Meta::InputName, REGISTER),
        lookup("masq"),
        Step::Meta(Meta::OutputName, REGISTER),
        Step::Lookup { set: Cow::Borrowed("nets"), inverted: true },
    ];
    let hairpin6 = vec![Step::Meta(Meta::OutputName, REGISTER), address6(8, REGISTER + 4), lookup("sub6")];
    let masquerade = vec![Step::Masquerade];
    vec![
        // The host's own 127.0.0.1 would not be answered.
        [ipv4(), loopback(12), to_net, masquerade.clone()].concat(),
        // The answer must come back through the host, though both are neighbours.
        [ipv4(), destination_nat(), hairpin, masquerade.clone()].concat(),
        [ipv6(), destination_nat(), hairpin6, masquerade.clone()].concat(),
        // Of both families.
        [outwards, masquerade].concat(),
    ]
}

fn forward_rules() -> Vec<Vec<Step>> {
    let known =
        vec![Step::Ct(Ct::State), Step::Mask(STATE_KNOWN.to_ne_bytes().to_vec()), not_equal(&[0; 4]), Step::Verdict(Verdict::Accept)];
    let input = Step::Meta(Meta::InputName, REGISTER);
    vec![
        known,
        vec![input.clone(), Step::Meta(Meta::OutputName, REGISTER + 4), Step::VerdictMap { set: "pair" }],
        vec![input, Step::VerdictMap { set: "from_net" }],
        vec![Step::Meta(Meta::OutputName, REGISTER), Step::VerdictMap { set: "to_net" }],
    ]
}

fn published_on_address() -> Vec<Step> {
    let key = vec![address(16, REGISTER), Step::Meta(Meta::Protocol, REGISTER + 1), port(REGISTER + 2)];
    [key, vec![Step::Map { set: PUB4IP }, Step::DestinationNat]].concat()
}

fn published_on_all() -> Vec<Step> {
    vec![Step::Meta(Meta::Protocol, REGISTER), port(REGISTER + 1), Step::Map { set: PUB4 }, Step::DestinationNat]
}

fn published_on_address6() -> Vec<Step> {
    let key = vec![address6(24, REGISTER), Step::Meta(Meta::Protocol, REGISTER + 4), port(REGISTER + 5)];
    [key, vec![Step::Map { set: PUB6IP }, Step::DestinationNat6]].concat()
}

fn published_on_all6() -> Vec<Step> {
    vec![Step::Meta(Meta::Protocol, REGISTER), port(REGISTER + 1), Step::Map { set: PUB6 }, Step::DestinationNat6]
}

fn ipv6() -> Vec<Step> {
    vec![Step::Meta(Meta::Family, REGISTER), equal(&[IPV6])]
}

/// An address of the IPv6 header: the source is at 8, the destination at 24.
fn address6(offset: u32, register: u32) -> Step {
    Step::Payload { transport: false, offset, length: 16, register }
}

fn ipv4() -> Vec<Step> {
    vec![Step::Meta(Meta::Family, REGISTER), equal(&[IPV4])]
}

/// An address of the IPv4 header: the source is at 12, the destination at 16.
fn address(offset: u32, register: u32) -> Step {
    Step::Payload { transport: false, offset, length: 4, register }
}

/// The destination port.
fn port(register: u32) -> Step {
    Step::Payload { transport: true, offset: 2, length: 2, register }
}

/// The address begins with 127.
fn loopback(offset: u32) -> Vec<Step> {
    vec![Step::Payload { transport: false, offset, length: 1, register: REGISTER }, equal(&[127])]
}

fn destination_nat() -> Vec<Step> {
    vec![Step::Ct(Ct::Status), Step::Mask(STATUS_DESTINATION_NAT.to_ne_bytes().to_vec()), not_equal(&[0; 4])]
}

fn drop() -> Vec<Step> {
    vec![Step::Verdict(Verdict::Drop)]
}

fn lookup(set: &'static str) -> Step {
    Step::Lookup { set: Cow::Borrowed(set), inverted: false }
}

fn equal(bytes: &[u8]) -> Step {
    Step::Compare { equal: true, bytes: bytes.to_vec() }
}

fn not_equal(bytes: &[u8]) -> Step {
    Step::Compare { equal: false, bytes: bytes.to_vec() }
}

/// The rules that let a bridge's packets pass a foreign chain.
pub(crate) fn pass_rules(bridge: &str) -> [Vec<Step>; 2] {
    [Meta::InputName, Meta::OutputName]
        .map(|direction| vec![Step::Meta(direction, REGISTER), equal(&interface(bridge)), Step::Verdict(Verdict::Accept)])
}

/// An interface's name as sixteen bytes.
fn interface(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    bytes
}

/// Adds a bridge.
pub(crate) fn add_member(batch: &mut Batch, table: Table<'_>, member: &Member<'_>) {
    for (set, element) in member_elements(member) {
        table.add_elements(batch, set, &[element]);
    }
}

/// Deletes a bridge.
pub(crate) fn delete_member(batch: &mut Batch, table: Table<'_>, member: &Member<'_>) {
    for (set, element) in member_elements(member) {
        table.delete_elements(batch, set, &[element]);
    }
}

fn member_elements(member: &Member<'_>) -> Vec<(&'static str, Element)> {
    let name = interface(member.bridge.link.as_str());
    let twice = [name.clone(), name.clone()].concat();
    let plain = |key: &[u8]| Element { key: key.to_vec(), key_end: None, value: None };
    let verdict = |key: &[u8], verdict| Element { value: Some(Value::Verdict(verdict)), ..plain(key) };
    let subnet: Subnet = member.bridge.subnet;
    let bound = |address: u32| [name.clone(), address.to_be_bytes().to_vec()].concat();
    let inside = if member.bridge.icc { Verdict::Accept } else { Verdict::Jump("enter_nat") };
    let mut elements = vec![
        ("nets", plain(&name)),
        ("pair", verdict(&twice, inside)),
        ("sub4", Element { key_end: Some(bound(subnet.last())), ..plain(&bound(subnet.first())) }),
    ];
    if let Some(six) = &member.bridge.six {
        let bound = |address: u128| [name.clone(), address.to_be_bytes().to_vec()].concat();
        let range = Element { key_end: Some(bound(six.subnet.last())), ..plain(&bound(six.subnet.first())) };
        elements.push(("sub6", range));
    }
    if member.internal {
        elements.push(("from_net", verdict(&name, Verdict::Drop)));
        elements.push(("to_net", verdict(&name, Verdict::Drop)));
    } else {
        elements.push(("to_net", verdict(&name, Verdict::Jump("enter_nat"))));
        if member.bridge.masquerade {
            elements.push(("masq", plain(&name)));
        }
    }
    elements
}

/// Publishes ports, each for a container's address.
pub(crate) fn add_ports(batch: &mut Batch, table: Table<'_>, ports: &[(BoundPort, IpAddr)]) {
    for (set, elements) in port_elements(ports) {
        table.add_elements(batch, set, &elements);
    }
}

/// Withdraws ports.
pub(crate) fn delete_ports(batch: &mut Batch, table: Table<'_>, ports: &[(BoundPort, IpAddr)]) {
    for (set, elements) in port_elements(ports) {
        table.delete_elements(batch, set, &elements);
    }
}

fn port_elements(ports: &[(BoundPort, IpAddr)]) -> [(&'static str, Vec<Element>); 4] {
    let padded_port = |port: u16| [port.to_be_bytes().as_slice(), &[0; 2]].concat();
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut sets = [PUB4, PUB4IP, PUB6, PUB6IP].map(|name| (name, Vec::new()));
    for (bound, container) in ports {
        let mut key = vec![bound.protocol.number(), 0, 0, 0];
        key.extend(padded_port(bound.host_port));
        let value = [octets(*container), padded_port(bound.container_port)].concat();
        let on_one = !bound.host_ip.is_unspecified();
        if on_one {
            key = [octets(bound.host_ip), key].concat();
        }
        let set = 2 * usize::from(bound.host_ip.is_ipv6()) + usize::from(on_one);
        sets[set].1.push(Element { key, key_end: None, value: Some(Value::Fields(value)) });
    }
    sets
}
