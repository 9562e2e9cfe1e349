//! `/teu/policies…`: network policies, which Docker has not. `docs/network-policy.md` says what they mean.

use std::sync::Arc;

use docker_api::types::{
    NetworkPolicy, NetworkPolicyResponse, PolicyAction, PolicyDirection, PolicyPath, PolicyRule, PolicySelector, PolicyTestBody,
    PolicyVerdict,
};
use http::StatusCode;
use network::PolicyError;
use network::endpoint::bandwidth;
use network::policy::{Action, Block, Direction, Policy, Ports, Rule, Selector};

use crate::ApiError;
use crate::app::App;
use crate::jobs::blocking;
use crate::reply::{self, Reply};
use crate::request::Call;
use crate::router::PolicyAct;

/// Protocols that have names here. Source: IANA, "Protocol Numbers".
const PROTOCOLS: [(&str, u8); 5] = [("tcp", 6), ("udp", 17), ("sctp", 132), ("icmp", 1), ("icmpv6", 58)];

impl App {
    pub(crate) async fn policy(&self, act: PolicyAct, call: Call) -> Result<Reply, ApiError> {
        match act {
            PolicyAct::List => self.policy_list(&call),
            PolicyAct::Put(name) => self.policy_put(name, call).await,
            PolicyAct::Inspect(name) => self.policy_inspect(&name),
            PolicyAct::Remove(name) => self.policy_remove(name).await,
            PolicyAct::Test => self.policy_test(call).await,
            PolicyAct::Paths => Ok(self.policy_paths()),
        }
    }

    fn policy_list(&self, call: &Call) -> Result<Reply, ApiError> {
        let filters = call.query.filters()?;
        filters.only(&["label", "label!", "name"])?;
        let policies = self.networks.policies().into_iter();
        let fitting =
            policies.filter(|policy| filters.labels_match(&policy.labels) && filters.matches("name", |name| policy.name.contains(name)));
        Ok(reply::json(StatusCode::OK, &fitting.map(|policy| json(&policy)).collect::<Vec<_>>()))
    }

    fn policy_inspect(&self, name: &str) -> Result<Reply, ApiError> {
        let found = self.networks.policies().into_iter().find(|policy| policy.name == name);
        let policy = found.ok_or_else(|| refused(&PolicyError::NotFound { name: name.to_owned() }))?;
        Ok(reply::json(StatusCode::OK, &json(&policy)))
    }

    /// Makes a policy; with a name in the path it replaces the one that is there.
    async fn policy_put(&self, name: Option<String>, mut call: Call) -> Result<Reply, ApiError> {
        let body: NetworkPolicy = call.json().await?;
        let replace = name.is_some();
        if name.as_ref().is_some_and(|name| !body.name.is_empty() && *name != body.name) {
            return Err(ApiError::invalid("the policy's name is not the one of the path"));
        }
        let policy = parse(NetworkPolicy { name: name.unwrap_or(body.name), ..body })?;
        let networks = Arc::clone(&self.networks);
        let warnings = blocking(move || networks.put_policy(policy, replace)).await?.map_err(|cause| refused(&cause))?;
        let status = if replace { StatusCode::OK } else { StatusCode::CREATED };
        Ok(reply::json(status, &NetworkPolicyResponse { warnings }))
    }

    async fn policy_remove(&self, name: String) -> Result<Reply, ApiError> {
        let networks = Arc::clone(&self.networks);
        blocking(move || networks.remove_policy(&name)).await?.map_err(|cause| refused(&cause))?;
        Ok(reply::empty(StatusCode::NO_CONTENT))
    }

    async fn policy_test(&self, mut call: Call) -> Result<Reply, ApiError> {
        let body: PolicyTestBody = call.json().await?;
        let ports = ports(&body.port)?;
        if ports.range.start() != ports.range.end() && has_ports(ports.protocol) {
            return Err(ApiError::invalid(format!("invalid port {}: a test asks about one port", body.port)));
        }
        let verdicts = self.networks.test(&body.from, &body.to, (ports.protocol, *ports.range.start()));
        let verdicts = verdicts.map_err(|cause| refused(&cause))?.into_iter().map(|verdict| {
            let (policy, rule) = verdict.decided_by.unwrap_or_default();
            let rule = rule.map(|rule| rule_json(&rule).to_string()).unwrap_or_default();
            PolicyVerdict { from: verdict.from, to: verdict.to, allowed: verdict.allowed, policy, rule, reason: verdict.reason }
        });
        Ok(reply::json(StatusCode::OK, &verdicts.collect::<Vec<_>>()))
    }

    fn policy_paths(&self) -> Reply {
        let paths = self.networks.paths().into_iter().map(|path| {
            let open = |(protocol, first, last): &(u8, u16, u16)| ports_text(&Ports { protocol: *protocol, range: *first..=*last });
            let ports = if path.all { vec!["all".to_owned()] } else { path.open.iter().map(open).collect() };
            PolicyPath { network: path.network, from: path.from, to: path.to, ports }
        });
        reply::json(StatusCode::OK, &paths.collect::<Vec<_>>())
    }
}

fn refused(cause: &PolicyError) -> ApiError {
    let status = match cause {
        PolicyError::NameTaken { .. } => StatusCode::CONFLICT,
        PolicyError::NotFound { .. } | PolicyError::NoNetwork { .. } | PolicyError::Unknown { .. } => StatusCode::NOT_FOUND,
        PolicyError::Invalid { .. } => StatusCode::BAD_REQUEST,
        PolicyError::TooMany { .. } | PolicyError::Put { .. } | PolicyError::Remove { .. } | PolicyError::Kernel { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    };
    ApiError::from_error(status, cause)
}

fn parse(body: NetworkPolicy) -> Result<Policy, ApiError> {
    let limit = |text: &str| {
        bandwidth(text).ok_or_else(|| ApiError::invalid(format!("invalid egress limit {text}: write 500kbit, 10mbit or 1gbit")))
    };
    Ok(Policy {
        name: body.name,
        subjects: body.subjects.into_iter().map(selector).collect::<Result<_, _>>()?,
        default_deny: body.default_deny.into_iter().map(direction).collect(),
        rules: body.rules.into_iter().map(rule).collect::<Result<_, _>>()?,
        send_limit: (!body.egress_limit.is_empty()).then(|| limit(&body.egress_limit)).transpose()?,
        labels: body.labels,
    })
}

fn rule(rule: PolicyRule) -> Result<Rule, ApiError> {
    let action = match rule.action {
        PolicyAction::Allow => Action::Allow,
        PolicyAction::Deny => Action::Deny,
    };
    let ports = rule.ports.iter().map(|text| ports(text)).collect::<Result<_, _>>()?;
    Ok(Rule { action, direction: direction(rule.direction), peer: selector(rule.peer)?, ports })
}

fn direction(direction: PolicyDirection) -> Direction {
    match direction {
        PolicyDirection::In => Direction::In,
        PolicyDirection::Out => Direction::Out,
    }
}

fn selector(selector: PolicySelector) -> Result<Selector, ApiError> {
    let some = |text: String| (!text.is_empty()).then_some(text);
    let block = |text: &str| {
        let four = text.parse().map(Block::Four);
        four.or_else(|_| text.parse().map(Block::Six))
            .map_err(|_| ApiError::invalid(format!("invalid CIDR {text}: write 10.0.0.0/8 or fd00::/8")))
    };
    let label = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (text.clone(), None),
    };
    Ok(Selector {
        network: some(selector.network),
        service: some(selector.service),
        labels: selector.labels.iter().map(label).collect(),
        block: some(selector.cidr).map(|text| block(&text)).transpose()?,
    })
}

/// Parses `5432`, `5432/tcp`, `8000-8100/udp`, `tcp`, `icmp`, or a protocol's number as `47`… with a slash, `/47`.
fn ports(text: &str) -> Result<Ports, ApiError> {
    let wrong =
        || ApiError::invalid(format!("invalid port {text}: write PORT[-PORT][/PROTOCOL] or PROTOCOL: tcp, udp, sctp, icmp, icmpv6"));
    let named = |name: &str| PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    if let Some(protocol) = named(text).or_else(|| text.strip_prefix('/')?.parse().ok()) {
        return Ok(Ports { protocol, range: 0..=u16::MAX });
    }
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = named(protocol).filter(|number| has_ports(*number)).ok_or_else(wrong)?;
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
    let (first, last) = (number(first)?, number(last)?);
    if first > last { Err(wrong()) } else { Ok(Ports { protocol, range: first..=last }) }
}

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, 6 | 17 | 132)
}

fn ports_text(ports: &Ports) -> String {
    let known = PROTOCOLS.iter().find(|(_, number)| *number == ports.protocol).map(|(name, _)| *name);
    let (first, last) = (ports.range.start(), ports.range.end());
    match known {
        None => format!("/{}", ports.protocol),
        Some(name) if (*first, *last) == (0, u16::MAX) => name.to_owned(),
        Some(name) if first == last => format!("{first}/{name}"),
        Some(name) => format!("{first}-{last}/{name}"),
    }
}

fn json(policy: &Policy) -> NetworkPolicy {
    NetworkPolicy {
        name: policy.name.clone(),
        subjects: policy.subjects.iter().map(selector_json).collect(),
        default_deny: policy.default_deny.iter().map(|direction| direction_json(*direction)).collect(),
        rules: policy.rules.iter().map(rule_json).collect(),
        egress_limit: policy.send_limit.map(bandwidth_text).unwrap_or_default(),
        labels: policy.labels.clone(),
    }
}

fn rule_json(rule: &Rule) -> PolicyRule {
    let action = match rule.action {
        Action::Allow => PolicyAction::Allow,
        Action::Deny => PolicyAction::Deny,
    };
    let ports = rule.ports.iter().map(ports_text).collect();
    PolicyRule { action, direction: direction_json(rule.direction), peer: selector_json(&rule.peer), ports }
}

fn direction_json(direction: Direction) -> PolicyDirection {
    match direction {
        Direction::In => PolicyDirection::In,
        Direction::Out => PolicyDirection::Out,
    }
}

fn selector_json(selector: &Selector) -> PolicySelector {
    let label = |(key, value): &(String, Option<String>)| match value {
        Some(value) => format!("{key}={value}"),
        None => key.clone(),
    };
    let block = |block: Block| match block {
        Block::Four(block) => block.to_string(),
        Block::Six(block) => block.to_string(),
    };
    PolicySelector {
        network: selector.network.clone().unwrap_or_default(),
        service: selector.service.clone().unwrap_or_default(),
        labels: selector.labels.iter().map(label).collect(),
        cidr: selector.block.map(block).unwrap_or_default(),
    }
}

/// Bits a second in the largest unit that loses nothing.
fn bandwidth_text(bytes: u64) -> String {
    let bits = bytes.saturating_mul(8);
    let units = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1000)];
    let unit = units.iter().find(|(_, size)| bits.is_multiple_of(*size)).unwrap_or(&units[2]);
    format!("{}{}", bits / unit.1, unit.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_they_are_written() {
        for text in ["5432/tcp", "8000-8100/udp", "tcp", "icmp", "/47", "0-7/sctp"] {
            assert_eq!(ports_text(&ports(text).expect("ports")), text);
        }
        assert_eq!(ports_text(&ports("80").expect("ports")), "80/tcp");
        for text in ["", "x", "80/icmp", "9-8", "70000", "/300", "80/", "-1", "1-2-3"] {
            assert_eq!(ports(text).expect_err(text).status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn a_policy_is_shown_as_it_was_asked_for() {
        let body = NetworkPolicy {
            name: "p".to_owned(),
            subjects: vec!["service=db,network=shop".parse().expect("a selector")],
            default_deny: vec![PolicyDirection::In],
            rules: vec![
                "allow in label=tier=front,label=x 5432/tcp,icmp".parse().expect("a rule"),
                "deny out fd00::/8".parse().expect("a rule"),
            ],
            egress_limit: "1500kbit".to_owned(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
        };
        assert_eq!(json(&parse(body.clone()).expect("a policy")), body);
        assert!(parse(NetworkPolicy { egress_limit: "10".to_owned(), ..body }).is_err());
    }
}
