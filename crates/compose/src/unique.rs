//! Lists in which a later entry takes the place of an earlier one with the same name or target.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::error::{Error, Trail};
use crate::node::{Map, Node, Value};
use crate::short;

/// How an entry of a list is recognised.
type Key = fn(&Node) -> Option<String>;

/// Lists of a service, and how their entries are recognised.
const SERVICE: &[(&str, Key)] = &[
    ("annotations", name),
    ("cap_add", name),
    ("cap_drop", name),
    ("configs", |node| mount(node, "")),
    ("devices", device),
    ("dns", name),
    ("dns_opt", name),
    ("dns_search", name),
    ("environment", name),
    ("env_file", env_file),
    ("expose", expose),
    ("labels", name),
    ("links", name),
    ("ports", port),
    ("profiles", name),
    ("secrets", |node| mount(node, "/run/secrets")),
    ("sysctls", name),
    ("tmpfs", name),
    ("volumes", volume),
];

/// Lists of a build.
const BUILD: &[&str] = &["args", "additional_contexts", "tags", "labels"];

/// Takes out entries that later ones replace.
pub(crate) fn enforce(root: &mut Map) -> Result<(), Error> {
    let top = Trail::ROOT;
    for kind in ["services", "jobs"] {
        let kinds = top.then(kind);
        for (key, node) in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flatten() {
            if let Some(map) = node.as_map_mut() {
                service(map, &kinds.then(key))?;
            }
        }
    }
    for node in members(root, "networks") {
        list(node.get_mut("labels"), name);
    }
    Ok(())
}

fn members<'a>(root: &'a mut Map, key: &str) -> impl Iterator<Item = &'a mut Node> {
    root.get_mut(key).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut())
}

/// Takes out entries of one service that later ones replace.
pub(crate) fn service(map: &mut Map, path: &Trail<'_>) -> Result<(), Error> {
    for (attribute, key) in SERVICE {
        if let Some(node) = map.get_mut(*attribute) {
            if let Some(bad) = node.as_list().into_iter().flatten().find(|node| matches!(node.value, Value::Map(_)) && key(node).is_none())
            {
                let missing = if *attribute == "env_file" { "path" } else { "target" };
                return Err(Error::at(bad.span, path.then(attribute), format!("an entry has no `{missing}`")));
            }
            list(Some(node), *key);
        }
    }
    if let Some(build) = map.get_mut("build") {
        for attribute in BUILD {
            list(build.get_mut(attribute), name);
        }
    }
    if let Some(deploy) = map.get_mut("deploy") {
        list(deploy.get_mut("labels"), name);
    }
    if let Some(networks) = map.get_mut("networks").and_then(Node::as_map_mut) {
        for network in networks.values_mut() {
            list(network.get_mut("aliases"), name);
            list(network.get_mut("link_local_ips"), name);
        }
    }
    Ok(())
}

/// Keeps one entry for each key, at the place of the first.
fn list(node: Option<&mut Node>, key: Key) {
    let Some(list) = node.and_then(Node::as_list_mut) else {
        return;
    };
    if list.len() < 2 {
        return;
    }
    let mut places = std::collections::HashMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(list.len());
    for node in list.drain(..) {
        let Some(place) = key(&node).map(|name| *places.entry(name).or_insert(kept.len())) else {
            kept.push(node);
            continue;
        };
        match kept.get_mut(place) {
            Some(known) => *known = node,
            None => kept.push(node),
        }
    }
    *list = kept;
}

/// What stands before `=`.
fn name(node: &Node) -> Option<String> {
    node.as_str().map(|text| text.split('=').next().unwrap_or_default().to_owned())
}

fn env_file(node: &Node) -> Option<String> {
    node.as_str().or_else(|| node.get("path")?.as_str()).map(str::to_owned)
}

fn expose(node: &Node) -> Option<String> {
    Some(node.sprint())
}

fn mount(node: &Node, folder: &str) -> Option<String> {
    let in_folder = |source: &str| format!("{folder}/{source}");
    match node.get("target").and_then(Node::as_str) {
        Some(target) => Some(target.to_owned()),
        None => node.as_str().or_else(|| node.get("source")?.as_str()).map(in_folder),
    }
}

fn device(node: &Node) -> Option<String> {
    match node.as_str() {
        Some(text) => text.split(':').nth(usize::from(text.contains(':'))).map(str::to_owned),
        None => node.get("target").or_else(|| node.get("source"))?.as_str().map(str::to_owned),
    }
}

fn volume(node: &Node) -> Option<String> {
    match node.as_str() {
        Some(text) => short::volume_target(text),
        None => node.get("target")?.as_str().map(str::to_owned),
    }
}

fn port(node: &Node) -> Option<String> {
    if node.as_map().is_none() {
        return Some(node.sprint());
    }
    let field = |key: &str, other: &str| node.get(key).map_or_else(|| other.to_owned(), Node::sprint);
    let target = node.get("target")?.sprint();
    Some(format!("{}:{}:{target}/{}", field("host_ip", "0.0.0.0"), field("published", "<nil>"), field("protocol", "tcp")))
}
