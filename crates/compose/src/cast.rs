//! Variables of a tree, and the types that texts take on where a number or truth is wanted.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::error::{Error, Trail};
use crate::interpolate::Variables;
use crate::node::{Node, Value};
use crate::words;

/// Where in a project a value stands, as far as it matters for its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere special.
    Other,
    /// The map of services or jobs.
    Services,
    /// A service, or a job.
    Service,
    /// The map of networks, volumes, secrets or configs.
    Shared,
    /// One of these.
    Resource,
    /// An attribute of a service, and what it takes.
    Within(&'static [Rule]),
}

/// Keys from a service on, and the type of the value. `*` is any key or entry.
type Rule = (&'static [&'static str], Type);

/// A type that texts are read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Int,
    Float,
    Bool,
}

/// What is typed in a service.
const SERVICE: &[Rule] = &[
    (&["cpu_count"], Type::Int),
    (&["cpu_percent"], Type::Float),
    (&["cpu_period"], Type::Int),
    (&["cpu_quota"], Type::Int),
    (&["cpu_rt_period"], Type::Int),
    (&["cpu_rt_runtime"], Type::Int),
    (&["cpu_shares"], Type::Int),
    (&["cpus"], Type::Float),
    (&["depends_on", "*", "required"], Type::Bool),
    (&["depends_on", "*", "restart"], Type::Bool),
    (&["deploy", "placement", "max_replicas_per_node"], Type::Int),
    (&["deploy", "replicas"], Type::Int),
    (&["deploy", "restart_policy", "max_attempts"], Type::Int),
    (&["deploy", "rollback_config", "max_failure_ratio"], Type::Float),
    (&["deploy", "rollback_config", "parallelism"], Type::Int),
    (&["deploy", "update_config", "max_failure_ratio"], Type::Float),
    (&["deploy", "update_config", "parallelism"], Type::Int),
    (&["healthcheck", "disable"], Type::Bool),
    (&["healthcheck", "retries"], Type::Int),
    (&["init"], Type::Bool),
    (&["oom_kill_disable"], Type::Bool),
    (&["oom_score_adj"], Type::Int),
    (&["pids_limit"], Type::Int),
    (&["ports", "*", "target"], Type::Int),
    (&["privileged"], Type::Bool),
    (&["read_only"], Type::Bool),
    (&["scale"], Type::Int),
    (&["stdin_open"], Type::Bool),
    (&["tty"], Type::Bool),
    (&["ulimits", "*"], Type::Int),
    (&["ulimits", "*", "hard"], Type::Int),
    (&["ulimits", "*", "soft"], Type::Int),
    (&["volumes", "*", "read_only"], Type::Bool),
    (&["volumes", "*", "volume", "nocopy"], Type::Bool),
];

/// What is typed in networks, volumes, secrets and configs.
const RESOURCE: [&str; 5] = ["external", "internal", "attachable", "enable_ipv4", "enable_ipv6"];

impl Place {
    /// The place of a section of a file.
    pub(crate) fn of_section(key: &str) -> Self {
        match key {
            "services" | "jobs" => Self::Services,
            "networks" | "volumes" | "secrets" | "configs" => Self::Shared,
            _ => Self::Other,
        }
    }

    fn within(self, depth: usize, keys: &[String]) -> Option<Type> {
        let Self::Within(rules) = self else {
            return None;
        };
        let fits =
            |rule: &[&str]| rule.len() == depth && rule.iter().zip(keys).all(|(wanted, key)| *wanted == "*" || *wanted == key.as_str());
        rules.iter().find(|(rule, _)| fits(rule)).map(|(_, kind)| *kind)
    }
}

/// Puts values in the place of variables, in a value and all below it.
pub(crate) fn interpolate(node: &mut Node, variables: &Variables<'_>, path: &Trail<'_>, place: Place) -> Result<(), Error> {
    walk(node, variables, path, place, &mut Vec::new())
}

fn walk(node: &mut Node, variables: &Variables<'_>, path: &Trail<'_>, place: Place, keys: &mut Vec<String>) -> Result<(), Error> {
    let span = node.span;
    match &mut node.value {
        Value::Text(text) => {
            if text.contains('$') {
                *text = variables.substitute(text).map_err(|fault| Error::at(span, path, fault.to_string()))?;
            }
            let wanted = match place {
                Place::Within(_) => place.within(keys.len(), keys),
                Place::Resource => Some(Type::Bool),
                _ => None,
            };
            if let Some(wanted) = wanted {
                let value = typed(text, wanted).map_err(|problem| Error::at(span, path, problem))?;
                node.value = value;
            }
            Ok(())
        }
        Value::Map(map) => {
            for (key, child) in map.iter_mut() {
                let below = match place {
                    Place::Services => Place::Service,
                    Place::Service if SERVICE.iter().any(|(rule, _)| rule[0] == key) => Place::Within(SERVICE),
                    Place::Shared => Place::Resource,
                    Place::Resource => Place::Other,
                    Place::Within(rules) => Place::Within(rules),
                    Place::Service | Place::Other => Place::Other,
                };
                let path = path.then(key);
                match (place, below) {
                    (_, Place::Within(_)) => {
                        keys.push(key.clone());
                        walk(child, variables, &path, below, keys)?;
                        keys.pop();
                    }
                    (Place::Resource, _) if RESOURCE.contains(&key.as_str()) && child.as_str().is_some() => {
                        walk(child, variables, &path, Place::Resource, keys)?;
                    }
                    _ => walk(child, variables, &path, below, keys)?,
                }
            }
            Ok(())
        }
        Value::List(list) => {
            for child in list {
                keys.push("*".to_owned());
                let path = path.then("[]");
                let below = if matches!(place, Place::Within(_)) { place } else { Place::Other };
                walk(child, variables, &path, below, keys)?;
                keys.pop();
            }
            Ok(())
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
    }
}

fn typed(text: &str, wanted: Type) -> Result<Value, String> {
    let fail = |what: &str| format!("`{text}` is no {what}");
    match wanted {
        Type::Int => text.parse().map(Value::Int).map_err(|_| fail("whole number")),
        Type::Float => text.parse().map(Value::Float).map_err(|_| fail("number")),
        Type::Bool => words::truth(text).map(Value::Bool).ok_or_else(|| format!("invalid boolean: {text}")),
    }
}
