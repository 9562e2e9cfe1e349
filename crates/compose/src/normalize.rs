//! What a project means beyond what it says: names, the default network, implied dependencies.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::canonical::items;
use crate::error::{Error, Span, Trail};
use crate::merge;
use crate::model::Mapping;
use crate::node::{Map, Node, Value};
use crate::short;
use crate::unique;

/// Completes a project of a name.
pub(crate) fn normalize(root: &mut Map, name: &str, environment: &Mapping) -> Result<(), Error> {
    networks(root);
    for kind in ["services", "jobs"] {
        for node in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            if let Some(map) = node.as_map_mut() {
                service(map, environment)?;
            }
        }
    }
    names(root, name);
    Ok(())
}

fn service(map: &mut Map, environment: &Mapping) -> Result<(), Error> {
    if map.get("pull_policy").and_then(Node::as_str) == Some("if_not_present")
        && let Some(node) = map.get_mut("pull_policy")
    {
        node.value = Value::Text("missing".to_owned());
    }
    if let Some(build) = map.get_mut("build") {
        let span = build.span;
        if let Some(build) = build.as_map_mut() {
            if !build.contains_key("dockerfile") && !build.contains_key("dockerfile_inline") {
                build.insert("dockerfile".to_owned(), Node::text(span, "Dockerfile"));
            }
            if let Some(arguments) = build.get_mut("args") {
                from_outside(arguments, environment, false);
            }
        }
    }
    if let Some(node) = map.get_mut("environment") {
        from_outside(node, environment, true);
    }
    for volume in items(map.get_mut("volumes")) {
        if let Some(Node { value: Value::Text(target), .. }) = volume.get_mut("target") {
            *target = short::clean(target);
        }
    }
    dependencies(map);
    hooks(map)
}

/// Gives entries without a value the value that the caller's environment has.
fn from_outside(node: &mut Node, environment: &Mapping, keep: bool) {
    match &mut node.value {
        Value::List(list) => list.retain_mut(|entry| {
            let Value::Text(text) = &mut entry.value else {
                return true;
            };
            if text.contains('=') {
                return true;
            }
            match environment.get(text) {
                Some(value) => {
                    *text = format!("{text}={value}");
                    true
                }
                None => keep,
            }
        }),
        Value::Map(map) => map.retain(|key, entry| {
            if !entry.is_null() {
                return true;
            }
            match environment.get(key) {
                Some(value) => {
                    entry.value = Value::Text(value.clone());
                    true
                }
                None => keep,
            }
        }),
        _ => {}
    }
}

/// Links, shared namespaces and shared volumes are dependencies.
fn dependencies(map: &mut Map) {
    let mut implied: Vec<(String, bool, Span)> = Vec::new();
    for link in map.get("links").and_then(Node::as_list).into_iter().flatten() {
        let text = link.as_str().unwrap_or_default();
        let service = text.split_once(':').filter(|(_, alias)| !alias.contains(':')).map_or(text, |(service, _)| service);
        implied.push((service.to_owned(), true, link.span));
    }
    for namespace in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = map.get(namespace)
            && let Some(service) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((service.to_owned(), true, node.span));
        }
    }
    for from in map.get("volumes_from").and_then(Node::as_list).into_iter().flatten() {
        let text = from.as_str().unwrap_or_default();
        if !text.starts_with("container:") {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), false, from.span));
        }
    }
    if implied.is_empty() {
        return;
    }
    let span = implied[0].2;
    let node = map.entry("depends_on".to_owned()).or_insert_with(|| Node::new(span, Value::Map(Map::new())));
    let Some(known) = node.as_map_mut() else {
        return;
    };
    for (service, restart, span) in implied {
        known.entry(service).or_insert_with(|| {
            let entry = |key: &str, value| (key.to_owned(), Node::new(span, value));
            let map = [
                entry("condition", Value::Text("service_started".to_owned())),
                entry("restart", Value::Bool(restart)),
                entry("required", Value::Bool(true)),
            ];
            Node::new(span, Value::Map(map.into_iter().collect()))
        });
    }
}

/// What a hook before the start does not take over from its service: what only services have, and mounts.
const NOT_INHERITED: [&str; 22] = [
    "profiles",
    "deploy",
    "develop",
    "restart",
    "scale",
    "attach",
    "container_name",
    "provider",
    "extends",
    "external_links",
    "links",
    "pre_start",
    "post_start",
    "pre_stop",
    "build",
    "depends_on",
    "healthcheck",
    "ports",
    "expose",
    "stdin_open",
    "tty",
    "volumes",
];

/// A hook before the start is a container like the service's, with what it says itself merged over it.
fn hooks(map: &mut Map) -> Result<(), Error> {
    if !map.contains_key("pre_start") {
        return Ok(());
    }
    let inherited: Map = map
        .iter()
        .filter(|(key, _)| !NOT_INHERITED.contains(&key.as_str()) && !key.starts_with("x-"))
        .map(|(key, node)| (key.clone(), node.clone()))
        .collect();
    for hook in items(map.get_mut("pre_start")) {
        let own = std::mem::replace(hook, Node::new(hook.span, Value::Null));
        let base = Node::new(own.span, Value::Map(inherited.clone()));
        *hook = merge::service(base, own, &Trail::ROOT.then("pre_start"))?;
        if let Some(map) = hook.as_map_mut() {
            unique::service(map, &Trail::ROOT.then("pre_start"))?;
        }
    }
    Ok(())
}

/// Puts services without a network into `default`.
fn networks(root: &mut Map) {
    let mut used = false;
    for kind in ["services", "jobs"] {
        for node in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            let span = node.span;
            let Some(map) = node.as_map_mut() else {
                continue;
            };
            if map.contains_key("provider") || map.contains_key("network_mode") {
                continue;
            }
            let networks = map.entry("networks".to_owned()).or_insert_with(|| Node::new(span, Value::Map(Map::new())));
            if networks.is_null() {
                networks.value = Value::Map(Map::new());
            }
            if let Some(networks) = networks.as_map_mut() {
                if networks.is_empty() {
                    networks.insert("default".to_owned(), Node::new(span, Value::Null));
                }
                used |= networks.contains_key("default");
            }
        }
    }
    if used {
        let networks = root.entry("networks".to_owned()).or_insert_with(|| Node::new(Span::default(), Value::Map(Map::new())));
        if networks.is_null() {
            networks.value = Value::Map(Map::new());
        }
        if let Some(networks) = networks.as_map_mut() {
            networks.entry("default".to_owned()).or_insert_with(|| Node::new(Span::default(), Value::Null));
        }
    }
}

/// What has no name of its own is called after the project and its key.
fn names(root: &mut Map, project: &str) {
    for kind in ["networks", "volumes", "configs", "secrets"] {
        for (key, node) in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flatten() {
            let span = node.span;
            if node.is_null() {
                node.value = Value::Map(Map::new());
            }
            let Some(map) = node.as_map_mut() else {
                continue;
            };
            if map.get("name").is_none_or(Node::is_null) {
                let external = map.get("external").is_some_and(|node| matches!(node.value, Value::Bool(true)));
                let name = if external { key.clone() } else { format!("{project}_{key}") };
                map.insert("name".to_owned(), Node::text(span, name));
            }
        }
    }
}
