//! Policies: who may connect to whom. Pure: what they mean, not how the kernel is told.
//!
//! A connection is judged at both ends, at the one that connects (`Out`) and at the one that is connected to (`In`),
//! by the policies whose subject that end is. What a rule denies is denied; else what a rule allows is allowed; else
//! a policy's default denies. So the order of policies and rules has no meaning, and each end has a veto.

pub(crate) mod compile;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::address::{Subnet, Subnet6};
use crate::endpoint::Endpoint;

/// The label by which Compose names a container's service. Source: docs.docker.com/reference/compose-file.
const SERVICE_LABEL: &str = "com.docker.compose.service";

/// A policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The name.
    pub name: String,
    /// Whose connections it judges: endpoints that fit one of these; none means every container.
    pub subjects: Vec<Selector>,
    /// The directions in which what no rule allows is denied.
    pub default_deny: Vec<Direction>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Bytes a second that each subject may send at most.
    pub send_limit: Option<u64>,
    /// Labels of the policy itself.
    pub labels: BTreeMap<String, String>,
}

/// One rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What happens.
    pub action: Action,
    /// On which side the subject is.
    pub direction: Direction,
    /// Who is on the other side.
    pub peer: Selector,
    /// The ports of the one that is connected to; none means everything.
    pub ports: Vec<Ports>,
}

/// Whom a policy means: all that is said must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// The network's name.
    pub network: Option<String>,
    /// The Compose service, or the container's name.
    pub service: Option<String>,
    /// Labels of the container; without a value every value fits.
    pub labels: Vec<(String, Option<String>)>,
    /// The block of the address.
    pub block: Option<Block>,
}

/// A block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Block {
    /// Of IPv4.
    Four(Subnet),
    /// Of IPv6.
    Six(Subnet6),
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// It lets pass what a default would deny.
    Allow,
    /// It denies.
    Deny,
}

/// The way of a connection as the subject sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Direction {
    /// To the subject.
    In,
    /// From the subject.
    Out,
}

/// Ports of one transport protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Its number. Source: IANA, "Protocol Numbers".
    pub protocol: u8,
    /// The ports; all for protocols without.
    pub range: RangeInclusive<u16>,
}

/// What is known of one end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party<'a> {
    /// The address.
    pub(crate) address: IpAddr,
    /// The container's place in a network, if it is one.
    pub(crate) endpoint: Option<&'a Endpoint>,
}

impl<'a> Party<'a> {
    /// A container by its IPv4 address.
    pub(crate) fn of(endpoint: &'a Endpoint) -> Self {
        Self { address: endpoint.address.into(), endpoint: Some(endpoint) }
    }
}

/// What decides about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision<'a> {
    /// No policy says anything.
    Nothing,
    /// A rule allows it, and nothing denies it.
    Allowed(&'a Policy, &'a Rule),
    /// A rule denies it.
    Denied(&'a Policy, &'a Rule),
    /// No rule allows it, and a policy denies what no rule allows.
    Default(&'a Policy, Direction),
}

impl Decision<'_> {
    /// Whether the connection may be made.
    pub(crate) fn allows(self) -> bool {
        matches!(self, Self::Nothing | Self::Allowed(..))
    }
}

impl Block {
    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Self::Four(block), IpAddr::V4(address)) => block.contains(address),
            (Self::Six(block), IpAddr::V6(address)) => block.contains(address),
            (Self::Four(_) | Self::Six(_), _) => false,
        }
    }
}

impl Selector {
    /// Whether it fits one end of a connection.
    pub(crate) fn fits(&self, party: &Party<'_>) -> bool {
        let inside = self.block.is_none_or(|block| block.contains(party.address));
        inside && (!self.is_of_containers() || party.endpoint.is_some_and(|endpoint| self.fits_container(endpoint)))
    }

    /// Whether it says something that only containers have.
    fn is_of_containers(&self) -> bool {
        self.network.is_some() || self.service.is_some() || !self.labels.is_empty()
    }

    fn fits_container(&self, endpoint: &Endpoint) -> bool {
        let has = |(key, value): &(String, Option<String>)| {
            endpoint.labels.get(key).is_some_and(|own| value.as_ref().is_none_or(|value| value == own))
        };
        let serves = |service: &String| endpoint.labels.get(SERVICE_LABEL) == Some(service) || endpoint.container_name == *service;
        self.network.as_ref().is_none_or(|network| *network == endpoint.network_name)
            && self.service.as_ref().is_none_or(serves)
            && self.labels.iter().all(has)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.network.iter().map(|network| format!("network={network}")));
        parts.extend(self.service.iter().map(|service| format!("service={service}")));
        parts.extend(self.block.iter().map(|block| match block {
            Block::Four(block) => format!("cidr={block}"),
            Block::Six(block) => format!("cidr={block}"),
        }));
        parts.extend(self.labels.iter().map(|(key, value)| match value {
            Some(value) => format!("label={key}={value}"),
            None => format!("label={key}"),
        }));
        if parts.is_empty() { f.write_str("any") } else { f.write_str(&parts.join(",")) }
    }
}

impl Policy {
    /// Whether it judges the connections of this end.
    pub(crate) fn judges(&self, party: &Party<'_>) -> bool {
        party.endpoint.is_some() && (self.subjects.is_empty() || self.subjects.iter().any(|subject| subject.fits(party)))
    }
}

impl Rule {
    /// Whether it speaks of this protocol and port.
    pub(crate) fn covers(&self, protocol: u8, port: u16) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|ports| ports.protocol == protocol && ports.range.contains(&port))
    }
}

/// Decides whether `from` may connect to a port of `to`.
pub(crate) fn decide<'a>(policies: &'a [Policy], from: &Party<'_>, to: &Party<'_>, (protocol, port): (u8, u16)) -> Decision<'a> {
    let ends = [(Direction::Out, from, to), (Direction::In, to, from)];
    let mut fallback = Decision::Nothing;
    let mut denied = None;
    for (direction, subject, peer) in ends {
        let speaks = |rule: &Rule| rule.direction == direction && rule.covers(protocol, port) && rule.peer.fits(peer);
        let judging = policies.iter().filter(|policy| policy.judges(subject));
        let found: Vec<_> = judging
            .map(|policy| {
                let first = |action| policy.rules.iter().find(|rule| rule.action == action && speaks(rule));
                (policy, direction, first(Action::Deny), first(Action::Allow))
            })
            .collect();
        if let Some(decision) = found.iter().find_map(|(policy, _, deny, _)| Some(Decision::Denied(policy, (*deny)?))) {
            return decision;
        }
        if let Some(decision) = found.iter().find_map(|(policy, _, _, allow)| Some(Decision::Allowed(policy, (*allow)?))) {
            fallback = decision;
        } else if let Some((policy, direction, ..)) = found.iter().find(|(policy, direction, ..)| policy.default_deny.contains(direction)) {
            denied = denied.or(Some(Decision::Default(policy, *direction)));
        }
    }
    denied.unwrap_or(fallback)
}

/// The least that a policy lets a container send, in bytes a second; none means no limit.
pub(crate) fn send_limit(policies: &[Policy], party: &Party<'_>) -> Option<u64> {
    policies.iter().filter(|policy| policy.judges(party)).filter_map(|policy| policy.send_limit).min()
}
