//! Network policies: an extension of our own, `/teu/policies`. `docs/network-policy.md` says what they mean.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::is_default;

/// Who may talk to whom: a policy, as it is asked for and as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct NetworkPolicy {
    /// Name.
    pub name: String,
    /// Whose connections it judges: containers that fit one of these; empty means every container.
    pub subjects: Vec<PolicySelector>,
    /// The directions in which what no rule allows is denied.
    pub default_deny: Vec<PolicyDirection>,
    /// What is allowed and denied; the order does not matter, as what is denied is never allowed.
    pub rules: Vec<PolicyRule>,
    /// How much each subject may send, such as `10mbit`; empty means no limit.
    pub egress_limit: String,
    /// Labels of the policy itself.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Containers or addresses: all that is said must fit; one that says nothing fits everybody.
///
/// As text: `service=web`, `network=shop,label=tier=front`, `cidr=10.0.0.0/8` or just `10.0.0.0/8`, `any`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicySelector {
    /// A network's name.
    #[serde(skip_serializing_if = "is_default")]
    pub network: String,
    /// A service of Compose, or a container's name.
    #[serde(skip_serializing_if = "is_default")]
    pub service: String,
    /// Labels of containers, `KEY` or `KEY=VALUE`.
    #[serde(skip_serializing_if = "is_default")]
    pub labels: Vec<String>,
    /// A block of addresses, of IPv4 or IPv6.
    #[serde(rename = "CIDR", skip_serializing_if = "is_default")]
    pub cidr: String,
}

/// What happens to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyAction {
    /// It may be made, unless something denies it.
    #[default]
    Allow,
    /// It is not made.
    Deny,
}

/// As the subject sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyDirection {
    /// Connections to the subject.
    #[default]
    In,
    /// Connections from the subject.
    Out,
}

/// One rule, as text `allow in service=web 5432/tcp`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyRule {
    /// Whether it allows or denies.
    pub action: PolicyAction,
    /// Whose side the subject is on.
    pub direction: PolicyDirection,
    /// Who is at the other end.
    pub peer: PolicySelector,
    /// The ports of the one that is connected to: `PORT[-PORT]/PROTOCOL` (without a protocol: TCP) or `PROTOCOL`;
    /// empty means everything.
    pub ports: Vec<String>,
}

/// The answer to a policy that was made or replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct NetworkPolicyResponse {
    /// What was asked for and has no effect now, such as a service that no container has.
    pub warnings: Vec<String>,
}

/// May FROM connect to TO?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", deny_unknown_fields)]
pub struct PolicyTestBody {
    /// A container, a service or an address.
    pub from: String,
    /// A container, a service or an address.
    pub to: String,
    /// The port, such as `5432/tcp`, or a protocol without ports, such as `icmp`.
    pub port: String,
}

/// Whether one container or address may connect to another, and what decides it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PolicyVerdict {
    /// Who connects.
    pub from: String,
    /// Who is connected to.
    pub to: String,
    /// Whether it may.
    pub allowed: bool,
    /// The policy that decides; empty if none does.
    pub policy: String,
    /// The rule that decides, as text; empty if it is a policy's default or no policy.
    pub rule: String,
    /// All of it in one sentence.
    pub reason: String,
}

/// What one container may reach of another in the same network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct PolicyPath {
    /// The network.
    pub network: String,
    /// The name of the container that connects.
    pub from: String,
    /// The name of the container that is connected to.
    pub to: String,
    /// What is allowed: `all`, or ports such as `5432/tcp`, or nothing.
    pub ports: Vec<String>,
}

/// The text is no rule or selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyTextError(String);

impl FromStr for PolicySelector {
    type Err = PolicyTextError;

    fn from_str(text: &str) -> Result<Self, PolicyTextError> {
        let mut selector = Self::default();
        if text == "any" {
            return Ok(selector);
        }
        for part in text.split(',') {
            let (key, value) = part.split_once('=').unwrap_or(("", part));
            let field = match key {
                "network" => &mut selector.network,
                "service" => &mut selector.service,
                "cidr" => &mut selector.cidr,
                "" if value.starts_with(|first: char| first.is_ascii_hexdigit() || first == ':') && value.contains(['.', ':']) => {
                    &mut selector.cidr
                }
                "label" if !value.is_empty() => {
                    selector.labels.push(value.to_owned());
                    continue;
                }
                _ => {
                    let wanted = "write any, a CIDR, or network=NAME, service=NAME, label=KEY[=VALUE], cidr=CIDR joined by commas";
                    return Err(PolicyTextError(format!("invalid selector {text:?}: {part:?} is unknown; {wanted}")));
                }
            };
            if value.is_empty() || !field.is_empty() {
                return Err(PolicyTextError(format!("invalid selector {text:?}: {part:?} is empty or stands twice")));
            }
            value.clone_into(field);
        }
        Ok(selector)
    }
}

impl fmt::Display for PolicySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = [("network", &self.network), ("service", &self.service), ("cidr", &self.cidr)];
        let mut parts: Vec<String> =
            single.iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| format!("{key}={value}")).collect();
        parts.extend(self.labels.iter().map(|label| format!("label={label}")));
        if parts.is_empty() { f.write_str("any") } else { f.write_str(&parts.join(",")) }
    }
}

impl PolicyAction {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl PolicyDirection {
    fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::Out => "out",
        }
    }
}

impl FromStr for PolicyDirection {
    type Err = PolicyTextError;

    fn from_str(text: &str) -> Result<Self, PolicyTextError> {
        [Self::In, Self::Out]
            .into_iter()
            .find(|direction| direction.as_str() == text)
            .ok_or_else(|| PolicyTextError(format!("invalid direction {text:?}: write in or out")))
    }
}

impl fmt::Display for PolicyDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PolicyRule {
    type Err = PolicyTextError;

    fn from_str(text: &str) -> Result<Self, PolicyTextError> {
        let wrong = || PolicyTextError(format!("invalid rule {text:?}: write allow|deny in|out any|SELECTOR|CIDR [PORTS]"));
        let words: Vec<&str> = text.split_whitespace().collect();
        let (action, direction, peer, ports) = match words.as_slice() {
            [action, direction, peer] => (action, direction, peer, ""),
            [action, direction, peer, ports] => (action, direction, peer, *ports),
            _ => return Err(wrong()),
        };
        let action = [PolicyAction::Allow, PolicyAction::Deny].into_iter().find(|known| known.as_str() == *action).ok_or_else(wrong)?;
        let ports = ports.split(',').filter(|port| !port.is_empty()).map(str::to_owned).collect();
        Ok(Self { action, direction: direction.parse()?, peer: peer.parse()?, ports })
    }
}

impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.action.as_str(), self.direction, self.peer)?;
        if self.ports.is_empty() { Ok(()) } else { write!(f, " {}", self.ports.join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in [
            "allow in service=web 5432/tcp,53/udp",
            "deny out cidr=10.0.0.0/8",
            "deny in network=shop,label=tier=front icmp",
            "allow out any",
        ] {
            assert_eq!(text.parse::<PolicyRule>().expect("a rule").to_string(), text);
        }
        assert_eq!("fd00::/8".parse::<PolicySelector>().expect("a block").cidr, "fd00::/8");
        for text in [
            "",
            "allow",
            "allow in",
            "permit in any",
            "allow up any",
            "allow in web",
            "allow in service=",
            "allow in any 1 2",
            "deny in service=a,service=b",
        ] {
            assert!(text.parse::<PolicyRule>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let rule: PolicyRule = "allow in any".parse().expect("a rule");
        assert_eq!(serde_json::to_string(&rule).expect("JSON"), r#"{"Action":"allow","Direction":"in","Peer":{},"Ports":[]}"#);
        assert!(serde_json::from_str::<PolicyRule>(r#"{"Peers":{}}"#).is_err());
    }
}
