//! Who reaches whom: what drivers and policies let pass.

use std::net::IpAddr;

use super::state::State;
use crate::endpoint::Endpoint;
use crate::errors::PolicyError;
use crate::network::Driver;
use crate::policy::{Decision, Direction, Party, Policy, Rule, Selector, decide};

/// Whether one end may connect to a port of another, and what decides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Who connects: a container's name or an address.
    pub from: String,
    /// Who is connected to.
    pub to: String,
    /// The policy that decides and, if it is not its default, the rule.
    pub decided_by: Option<(String, Option<Rule>)>,
    /// Whether it may.
    pub allowed: bool,
    /// Why, in one sentence.
    pub reason: String,
}

/// What one container may reach of another in the same network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The network's name.
    pub network: String,
    /// The name of the container that connects.
    pub from: String,
    /// The name of the container that is connected to.
    pub to: String,
    /// Protocols with their first and last port; a protocol stands for those after it that no rule names.
    pub open: Vec<(u8, u16, u16)>,
    /// Whether everything is open.
    pub all: bool,
}

/// One end as it was asked for.
#[derive(Debug, Clone, Copy)]
enum End<'a> {
    Container(&'a Endpoint),
    Address(IpAddr),
}

impl<'a> End<'a> {
    fn name(self) -> String {
        match self {
            Self::Container(endpoint) => endpoint.container_name.clone(),
            Self::Address(address) => address.to_string(),
        }
    }

    fn party(self, six: bool) -> Option<Party<'a>> {
        match self {
            Self::Address(address) => (address.is_ipv6() == six).then_some(Party { address, endpoint: None }),
            Self::Container(endpoint) => {
                let address = endpoint.addresses().into_iter().find(|address| address.is_ipv6() == six)?;
                Some(Party { address, endpoint: Some(endpoint) })
            }
        }
    }
}

/// Finds what a text means: an address, a container, or the containers of a service.
fn find<'a>(state: &'a State, text: &str) -> Result<Vec<End<'a>>, PolicyError> {
    let endpoints = || state.endpoints.values().flatten();
    if let Ok(address) = text.parse::<IpAddr>() {
        let owner = endpoints().find(|endpoint| endpoint.addresses().contains(&address));
        return Ok(vec![owner.map_or(End::Address(address), End::Container)]);
    }
    let service = Selector { service: Some(text.to_owned()), ..Selector::default() };
    let fits = |endpoint: &&Endpoint| {
        service.fits(&Party::of(endpoint))
            || (text.len() >= 4 && endpoint.holder.starts_with(text))
            || endpoint.aliases.iter().any(|alias| alias == text)
    };
    let found: Vec<End<'a>> = endpoints().filter(fits).map(End::Container).collect();
    if found.is_empty() { Err(PolicyError::Unknown { text: text.to_owned() }) } else { Ok(found) }
}

pub(super) fn test(state: &State, from: &str, to: &str, port: (u8, u16)) -> Result<Vec<Verdict>, PolicyError> {
    let (sources, targets) = (find(state, from)?, find(state, to)?);
    // The same two containers may meet in several networks: the best way counts.
    let mut verdicts: Vec<Verdict> = Vec::new();
    for source in sources {
        for target in &targets {
            let verdict = judge(state, source, *target, port);
            match verdicts.iter_mut().find(|other| other.from == verdict.from && other.to == verdict.to) {
                Some(other) if verdict.allowed || (!other.allowed && verdict.decided_by.is_some()) => *other = verdict,
                Some(_) => {}
                None => verdicts.push(verdict),
            }
        }
    }
    Ok(verdicts)
}

fn judge(state: &State, from: End<'_>, to: End<'_>, port: (u8, u16)) -> Verdict {
    let mut verdict = Verdict { from: from.name(), to: to.name(), decided_by: None, allowed: false, reason: String::new() };
    if let Err(reason) = way(state, from, to, port) {
        verdict.reason = reason;
        return verdict;
    }
    let six = matches!((from, to), (End::Address(IpAddr::V6(_)), _) | (_, End::Address(IpAddr::V6(_))));
    let (Some(source), Some(target)) = (from.party(six), to.party(six)) else {
        verdict.reason = "they have no addresses of one family".to_owned();
        return verdict;
    };
    let decision = decide(state.compiler.policies(), &source, &target, port);
    verdict.allowed = decision.allows();
    let side = |policy: &Policy, direction| {
        let subject = if direction == Direction::In { to } else { from };
        format!("policy {} (of {})", policy.name, subject.name())
    };
    let by_rule = |policy: &Policy, rule: &Rule| {
        let number = policy.rules.iter().position(|other| other == rule).map_or(0, |place| place + 1);
        format!("rule {number} of {}", side(policy, rule.direction))
    };
    (verdict.reason, verdict.decided_by) = match decision {
        Decision::Nothing => ("no policy speaks of it".to_owned(), None),
        Decision::Allowed(policy, rule) => {
            (format!("allowed by {}", by_rule(policy, rule)), Some((policy.name.clone(), Some(rule.clone()))))
        }
        Decision::Denied(policy, rule) => (format!("denied by {}", by_rule(policy, rule)), Some((policy.name.clone(), Some(rule.clone())))),
        Decision::Default(policy, direction) => {
            (format!("no rule allows it, and {} denies the rest", side(policy, direction)), Some((policy.name.clone(), None)))
        }
    };
    let beyond = [from, to].into_iter().any(|end| matches!(end, End::Container(endpoint) if endpoint.link.is_empty()));
    if beyond && !verdict.allowed {
        verdict.allowed = true;
        verdict.reason.push_str("; but its packets do not pass this host's rules, so nothing stops it");
    }
    verdict
}

/// Whether the networks let them meet at all.
fn way(state: &State, from: End<'_>, to: End<'_>, port: (u8, u16)) -> Result<(), String> {
    let member = |endpoint: &Endpoint| state.networks.iter().find(|member| member.record.id == endpoint.network);
    let internal = |endpoint: &Endpoint| member(endpoint).is_some_and(|member| member.record.internal);
    match (from, to) {
        (End::Container(from), End::Container(to)) => {
            if from.holder == to.holder {
                return Ok(());
            }
            if from.network != to.network {
                return Err(format!("{} and {} are not in one network", from.container_name, to.container_name));
            }
            let icc = member(from).and_then(|member| member.record.bridge.as_ref()).is_none_or(|bridge| bridge.icc);
            if icc { Ok(()) } else { Err(format!("network {} keeps its containers apart (enable_icc=false)", from.network_name)) }
        }
        (End::Container(from), End::Address(_)) if internal(from) => {
            Err(format!("network {} is internal: it has no way out", from.network_name))
        }
        (End::Address(_), End::Container(to)) => {
            let (protocol, port) = port;
            let published = to.ports.iter().any(|bound| bound.protocol.number() == protocol && bound.container_port == port);
            if internal(to) {
                return Err(format!("network {} is internal: nobody outside reaches it", to.network_name));
            }
            if published || to.link.is_empty() {
                return Ok(());
            }
            Err(format!("port {port} of {} is not published", to.container_name))
        }
        (End::Container(_), End::Address(_)) => Ok(()),
        (End::Address(_), End::Address(_)) => Err("neither is a container of this engine".to_owned()),
    }
}

pub(super) fn all(state: &State) -> Vec<Path> {
    let endpoints: Vec<&Endpoint> = state.endpoints.values().flatten().collect();
    let mut paths = Vec::new();
    let everything = |from: &Endpoint, to: &Endpoint| state.compiler.reachable(from, to);
    for from in &endpoints {
        for to in endpoints.iter().filter(|to| to.network == from.network && to.holder != from.holder) {
            let bridged = state.networks.iter().find(|member| member.record.id == from.network);
            let apart = bridged.filter(|member| member.record.driver == Driver::Bridge).and_then(|member| member.record.bridge.as_ref());
            let open = if apart.is_some_and(|bridge| !bridge.icc) { Vec::new() } else { everything(from, to) };
            let all = state.compiler.protocols().iter().all(|(protocol, _)| open.contains(&(*protocol, 0, u16::MAX)));
            paths.push(Path {
                network: from.network_name.clone(),
                from: from.container_name.clone(),
                to: to.container_name.clone(),
                open,
                all,
            });
        }
    }
    paths.sort_by(|one, other| (&one.network, &one.from, &one.to).cmp(&(&other.network, &other.from, &other.to)));
    paths
}
