//! Later files over earlier ones, and a service over the one it extends.
//!
//! Maps are merged, lists are joined; commands are replaced; lists that name things (environment, labels …) hold
//! each name once. **Source:** Compose Specification, "Merge".

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::error::{Error, Trail};
use crate::node::{Map, Node, Value};

type Outcome = Result<Node, Error>;

/// Merges a whole file over what came before.
pub(crate) fn files(base: Map, over: Map) -> Result<Map, Error> {
    let root = Trail::ROOT;
    maps(base, over, &root, |key, base, over, path| match key {
        "services" | "jobs" => named(base, over, path, service),
        "networks" => named(base, over, path, network),
        "volumes" => named(base, over, path, |base, over, path| keyed(base, over, path, &["labels"])),
        _ => plain(base, over, path),
    })
}

/// Merges a service over the one that it extends.
pub(crate) fn service(base: Node, over: Node, path: &Trail<'_>) -> Outcome {
    records(base, over, path, |key, base, over, path| match key {
        "build" => build(base, over, path),
        "command" | "entrypoint" => Ok(over),
        "depends_on" => records(to_map(base, true), to_map(over, true), path, |_, base, over, path| plain(base, over, path)),
        "networks" | "models" => records(to_map(base, false), to_map(over, false), path, |_, base, over, path| plain(base, over, path)),
        "extra_hosts" => Ok(hosts(base, over)),
        "annotations" | "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "environment" | "labels" | "sysctls" | "tmpfs" => {
            Ok(joined(base, over))
        }
        "deploy" => keyed(base, over, path, &["labels"]),
        "healthcheck" => records(base, over, path, |key, base, over, path| if key == "test" { Ok(over) } else { plain(base, over, path) }),
        "logging" => logging(base, over, path),
        "ulimits" => records(base, over, path, |_, _, over, _| Ok(over)),
        _ => plain(base, over, path),
    })
}

fn network(base: Node, over: Node, path: &Trail<'_>) -> Outcome {
    records(base, over, path, |key, base, over, path| match key {
        "labels" => Ok(joined(base, over)),
        "ipam" => records(
            base,
            over,
            path,
            |key, base, over, path| if key == "config" { pools(base, over, path) } else { plain(base, over, path) },
        ),
        _ => plain(base, over, path),
    })
}

fn build(base: Node, over: Node, path: &Trail<'_>) -> Outcome {
    records(context(base), context(over), path, |key, base, over, path| match key {
        "args" | "additional_contexts" | "labels" => Ok(joined(base, over)),
        "extra_hosts" => Ok(hosts(base, over)),
        _ => plain(base, over, path),
    })
}

/// A build that is only its context, in the long form.
pub(crate) fn context(node: Node) -> Node {
    match node.value {
        Value::Text(_) => {
            let span = node.span;
            Node::new(span, Value::Map([("context".to_owned(), node)].into_iter().collect()))
        }
        _ => node,
    }
}

/// Options of a log driver are merged only where the driver is the same.
fn logging(base: Node, over: Node, path: &Trail<'_>) -> Outcome {
    let driver = |node: &Node| node.get("driver").and_then(Node::as_str).map(str::to_owned);
    match (driver(&base), driver(&over)) {
        (Some(old), Some(new)) if old != new => Ok(over),
        _ => plain(base, over, path),
    }
}

/// Merges two maps; `member` says how a member that both have is merged.
fn records(base: Node, over: Node, path: &Trail<'_>, member: impl Fn(&str, Node, Node, &Trail<'_>) -> Outcome) -> Outcome {
    match (base.value, over.value) {
        (Value::Map(left), Value::Map(right)) => Ok(Node { value: Value::Map(maps(left, right, path, member)?), ..base }),
        (left, Value::Null) => Ok(Node { value: left, ..base }),
        (Value::Null, right) => Ok(Node { value: right, span: over.span, mark: over.mark }),
        (left, right) => {
            let (left, right) = (Node { value: left, ..base }, Node { value: right, span: over.span, mark: over.mark });
            Err(Error::at(right.span, path, format!("cannot override a {} by a {}", left.kind(), right.kind())))
        }
    }
}

fn maps(mut base: Map, over: Map, path: &Trail<'_>, member: impl Fn(&str, Node, Node, &Trail<'_>) -> Outcome) -> Result<Map, Error> {
    for (key, node) in over {
        match base.get_mut(&key) {
            None => {
                base.insert(key, node);
            }
            Some(place) => {
                let old = std::mem::replace(place, Node::new(node.span, Value::Null));
                *place = member(&key, old, node, &path.then(&key))?;
            }
        }
    }
    Ok(base)
}

/// Merges each named member in the same way.
fn named(base: Node, over: Node, path: &Trail<'_>, member: impl Fn(Node, Node, &Trail<'_>) -> Outcome) -> Outcome {
    records(base, over, path, |_, base, over, path| member(base, over, path))
}

/// Merges two maps of which some members are lists of names.
fn keyed(base: Node, over: Node, path: &Trail<'_>, lists: &[&str]) -> Outcome {
    records(base, over, path, |key, base, over, path| if lists.contains(&key) { Ok(joined(base, over)) } else { plain(base, over, path) })
}

/// Merges without rules of its own.
fn plain(base: Node, over: Node, path: &Trail<'_>) -> Outcome {
    match (base.value, over.value) {
        (left, Value::Null) => Ok(Node { value: left, ..base }),
        (Value::Map(left), Value::Map(right)) => {
            Ok(Node { value: Value::Map(maps(left, right, path, |_, base, over, path| plain(base, over, path))?), ..base })
        }
        (Value::List(mut left), Value::List(right)) => {
            left.extend(right);
            Ok(Node { value: Value::List(left), ..base })
        }
        (left @ (Value::Map(_) | Value::List(_)), right) => {
            let (left, right) = (Node { value: left, ..base }, Node { value: right, span: over.span, mark: over.mark });
            Err(Error::at(right.span, path, format!("cannot override a {} by a {}", left.kind(), right.kind())))
        }
        (_, right) => Ok(Node { value: right, span: over.span, mark: over.mark }),
    }
}

/// A list `key=value` of what may be a map.
pub(crate) fn to_list(node: Node) -> Vec<Node> {
    let span = node.span;
    match node.value {
        Value::Map(map) => {
            let mut list = Vec::new();
            for (key, node) in map {
                match &node.value {
                    Value::Null => list.push(Node::text(node.span, key)),
                    Value::List(values) => {
                        list.extend(values.iter().map(|value| Node::text(node.span, format!("{key}={}", value.sprint()))))
                    }
                    _ => list.push(Node::text(node.span, format!("{key}={}", node.sprint()))),
                }
            }
            list.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
            list
        }
        Value::List(list) => list,
        Value::Text(text) => vec![Node::text(span, text)],
        _ => Vec::new(),
    }
}

fn joined(base: Node, over: Node) -> Node {
    let span = base.span;
    let mut list = to_list(base);
    list.extend(to_list(over));
    Node::new(span, Value::List(list))
}

fn hosts(base: Node, over: Node) -> Node {
    let span = base.span;
    let mut list = to_list(base);
    for node in to_list(over) {
        if !list.iter().any(|known| known.value == node.value) {
            list.push(node);
        }
    }
    Node::new(span, Value::List(list))
}

/// A map of what may be a list of names.
fn to_map(node: Node, dependency: bool) -> Node {
    let Value::List(list) = node.value else {
        return node;
    };
    let entry = |node: &Node| {
        let value = if dependency { started(node) } else { Node::new(node.span, Value::Null) };
        node.as_str().map(|name| (name.to_owned(), value))
    };
    Node::new(node.span, Value::Map(list.iter().filter_map(entry).collect()))
}

/// The long form of a dependency that is only a name.
pub(crate) fn started(node: &Node) -> Node {
    let entry = |key: &str, value| (key.to_owned(), Node::new(node.span, value));
    let map = [entry("condition", Value::Text("service_started".to_owned())), entry("required", Value::Bool(true))];
    Node::new(node.span, Value::Map(map.into_iter().collect()))
}

/// Address ranges are merged by their subnet.
fn pools(base: Node, over: Node, path: &Trail<'_>) -> Outcome {
    let span = base.span;
    let (Some(left), Some(right)) = (base.as_list(), over.as_list()) else {
        return Err(Error::at(over.span, path, "must be a list of address ranges"));
    };
    let subnet = |node: &Node| node.get("subnet").and_then(Node::as_str).map(str::to_owned);
    let mut merged: Vec<Node> = Vec::new();
    for old in left {
        for new in right {
            if subnet(new) != subnet(old) && !merged.iter().any(|known| subnet(known) == subnet(new)) {
                merged.push(new.clone());
                continue;
            }
            let both = plain(old.clone(), new.clone(), path)?;
            match merged.iter_mut().find(|known| subnet(known) == subnet(&both)) {
                Some(known) => *known = both,
                None => merged.push(both),
            }
        }
    }
    Ok(Node::new(span, Value::List(merged)))
}
