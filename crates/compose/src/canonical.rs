//! Every attribute in its long form, and the defaults of what was left out.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use crate::error::{Error, Trail};
use crate::merge;
use crate::node::{Map, Node, Value};
use crate::short;

type Outcome = Result<(), Error>;

/// Brings all services, jobs and what they share into the long form. Texts with variables that nobody replaced
/// stay as they are when `lenient`.
pub(crate) fn long_form(root: &mut Map, lenient: bool) -> Outcome {
    let top = Trail::ROOT;
    for kind in ["services", "jobs"] {
        let kinds = top.then(kind);
        for (name, node) in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flatten() {
            if let Some(map) = node.as_map_mut() {
                service(map, &kinds.then(name), lenient)?;
            }
        }
    }
    for kind in ["volumes", "networks", "secrets", "configs"] {
        let kinds = top.then(kind);
        for (name, node) in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flatten() {
            if let Some(map) = node.as_map_mut() {
                external(map, &kinds.then(name))?;
            }
        }
    }
    Ok(())
}

fn service(map: &mut Map, path: &Trail<'_>, lenient: bool) -> Outcome {
    for (key, node) in map.iter_mut() {
        let path = path.then(key);
        match key.as_str() {
            "build" => build(node, &path, lenient)?,
            "depends_on" => depends_on(node, &path)?,
            "env_file" => env_file(node, &path)?,
            "label_file" | "dns" => to_list(node),
            "extends" => {
                if let Value::Text(_) = node.value {
                    let name = std::mem::replace(node, Node::new(node.span, Value::Null));
                    node.value = Value::Map([("service".to_owned(), name)].into_iter().collect());
                }
            }
            "gpus" if node.as_str().is_some() => {
                let count = Node::text(node.span, "all");
                let request = Node::new(node.span, Value::Map([("count".to_owned(), count)].into_iter().collect()));
                node.value = Value::List(vec![request]);
            }
            "networks" | "models" => names_to_map(node),
            "volumes" => each(node, |node| rewrite(node, &path, lenient, short::volume))?,
            "devices" => each(node, |node| rewrite(node, &path, lenient, short::device))?,
            "secrets" | "configs" => each(node, |node| {
                source(node);
                Ok(())
            })?,
            "ports" => ports(node, &path, lenient)?,
            "ulimits" => limits(node, &path)?,
            "develop" => {
                for trigger in node.get_mut("watch").and_then(Node::as_list_mut).into_iter().flatten() {
                    for key in ["ignore", "include"] {
                        trigger.get_mut(key).into_iter().for_each(to_list);
                    }
                }
            }
            // A hook is no service: only what it shares with one in the schema is read when it is decoded.
            "triggers" => {
                for point in node.get_mut("schedule").and_then(Node::as_list_mut).into_iter().flatten() {
                    if point.as_str().is_some() {
                        let cron = std::mem::replace(point, Node::new(point.span, Value::Null));
                        point.value = Value::Map([("cron".to_owned(), cron)].into_iter().collect());
                    }
                }
            }
            "pre_start" => each(node, |hook| hook.as_map_mut().map_or(Ok(()), |map| service(map, &path, lenient)))?,
            _ => {}
        }
    }
    Ok(())
}

fn each(node: &mut Node, mut change: impl FnMut(&mut Node) -> Outcome) -> Outcome {
    node.as_list_mut().into_iter().flatten().try_for_each(&mut change)
}

/// Rewrites a text in its short form.
fn rewrite(node: &mut Node, path: &Trail<'_>, lenient: bool, long: fn(&str, crate::error::Span) -> Result<Node, String>) -> Outcome {
    let Some(text) = node.as_str() else {
        return Ok(());
    };
    match long(text, node.span) {
        Ok(long) => *node = long,
        Err(_) if lenient => {}
        Err(problem) => return Err(Error::at(node.span, path, problem)),
    }
    Ok(())
}

fn source(node: &mut Node) {
    if let Value::Text(_) = node.value {
        let name = std::mem::replace(node, Node::new(node.span, Value::Null));
        node.value = Value::Map([("source".to_owned(), name)].into_iter().collect());
    }
}

fn to_list(node: &mut Node) {
    if let Value::Text(_) = node.value {
        let text = std::mem::replace(node, Node::new(node.span, Value::Null));
        node.value = Value::List(vec![text]);
    }
}

fn names_to_map(node: &mut Node) {
    if let Some(list) = node.as_list() {
        let entry = |node: &Node| node.as_str().map(|name| (name.to_owned(), Node::new(node.span, Value::Null)));
        node.value = Value::Map(list.iter().filter_map(entry).collect());
    }
}

fn build(node: &mut Node, path: &Trail<'_>, lenient: bool) -> Outcome {
    let long = merge::context(std::mem::replace(node, Node::new(node.span, Value::Null)));
    *node = long;
    for (key, node) in node.as_map_mut().into_iter().flatten() {
        let path = path.then(key);
        match key.as_str() {
            "secrets" => each(node, |node| {
                source(node);
                Ok(())
            })?,
            "provenance" | "sbom" => node.value = Value::Text(node.sprint()),
            "additional_contexts" => pairs(node, &path, lenient)?,
            "ssh" => keys(node, &path)?,
            "ulimits" => limits(node, &path)?,
            _ => {}
        }
    }
    Ok(())
}

/// A list of `key=value` as a map.
fn pairs(node: &mut Node, path: &Trail<'_>, lenient: bool) -> Outcome {
    let Some(list) = node.as_list() else {
        return Ok(());
    };
    let mut map = Map::new();
    for entry in list {
        match entry.as_str().and_then(|text| text.split_once('=')) {
            Some((key, value)) => {
                map.insert(key.to_owned(), Node::text(entry.span, value));
            }
            None if lenient => return Ok(()),
            None => return Err(Error::at(entry.span, path, format!("invalid value {}, expected key=value", entry.sprint()))),
        }
    }
    node.value = Value::Map(map);
    Ok(())
}

/// Keys of an SSH agent: `default`, or `id=path`.
fn keys(node: &mut Node, path: &Trail<'_>) -> Outcome {
    let Some(list) = node.as_list() else {
        return Ok(());
    };
    let mut map = Map::new();
    for entry in list {
        let text = entry.as_str().unwrap_or_default();
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Value::Text(value.to_owned())),
            None if text == "default" => (text, Value::Null),
            None => return Err(Error::at(entry.span, path, format!("invalid ssh key \"{text}\"")).hint("write `default` or `id=path`")),
        };
        map.insert(key.to_owned(), Node::new(entry.span, value));
    }
    node.value = Value::Map(map);
    Ok(())
}

fn depends_on(node: &mut Node, path: &Trail<'_>) -> Outcome {
    match &mut node.value {
        Value::List(list) => {
            let entry = |node: &Node| node.as_str().map(|name| (name.to_owned(), merge::started(node)));
            node.value = Value::Map(list.iter().filter_map(entry).collect());
        }
        Value::Map(map) => {
            for (name, node) in map {
                let span = node.span;
                let Some(map) = node.as_map_mut() else {
                    return Err(Error::at(span, path.then(name), "must be a mapping with a `condition`"));
                };
                map.entry("condition".to_owned()).or_insert_with(|| Node::text(span, "service_started"));
                map.entry("required".to_owned()).or_insert_with(|| Node::new(span, Value::Bool(true)));
            }
        }
        _ => {}
    }
    Ok(())
}

fn env_file(node: &mut Node, path: &Trail<'_>) -> Outcome {
    to_list(node);
    each(node, |node| {
        if let Value::Text(_) = node.value {
            let name = std::mem::replace(node, Node::new(node.span, Value::Null));
            node.value = Value::Map([("path".to_owned(), name)].into_iter().collect());
        }
        let span = node.span;
        match node.as_map_mut() {
            Some(map) => {
                map.entry("required".to_owned()).or_insert_with(|| Node::new(span, Value::Bool(true)));
                Ok(())
            }
            None => Err(Error::at(span, path, "must be a path or a mapping with a `path`")),
        }
    })
}

fn ports(node: &mut Node, path: &Trail<'_>, lenient: bool) -> Outcome {
    let Some(list) = node.as_list() else {
        return Ok(());
    };
    let mut long = Vec::with_capacity(list.len());
    for entry in list {
        if entry.as_map().is_some() {
            long.push(entry.clone());
            continue;
        }
        match short::ports(&entry.sprint(), entry.span) {
            Ok(ports) => long.extend(ports),
            Err(_) if lenient => return Ok(()),
            Err(problem) => return Err(Error::at(entry.span, path, problem)),
        }
    }
    node.value = Value::List(long);
    Ok(())
}

fn limits(node: &mut Node, path: &Trail<'_>) -> Outcome {
    for (name, limit) in node.as_map().into_iter().flatten() {
        if !matches!(limit.value, Value::Int(_) | Value::Map(_)) {
            return Err(Error::at(limit.span, path.then(name), "must be a whole number, or a mapping with `soft` and `hard`"));
        }
    }
    Ok(())
}

/// `external: {name: x}` is the old form of `name: x` and `external: true`.
fn external(map: &mut Map, path: &Trail<'_>) -> Outcome {
    let Some(old) = map.get_mut("external").filter(|node| node.as_map().is_some()) else {
        return Ok(());
    };
    let span = old.span;
    let name = old.get("name").cloned();
    old.value = Value::Bool(true);
    let Some(name) = name else {
        return Ok(());
    };
    match map.get("name") {
        Some(other) if other.value != name.value => Err(Error::at(span, path, "name and external.name conflict; only use name")),
        Some(_) => Ok(()),
        None => {
            map.insert("name".to_owned(), name);
            Ok(())
        }
    }
}

/// Fills in what was left out.
pub(crate) fn defaults(root: &mut Map) {
    for kind in ["services", "jobs"] {
        for node in root.get_mut(kind).and_then(Node::as_map_mut).into_iter().flat_map(|map| map.values_mut()) {
            service_defaults(node);
        }
    }
}

fn set(node: &mut Node, key: &str, value: Value) {
    let span = node.span;
    if let Some(map) = node.as_map_mut() {
        map.entry(key.to_owned()).or_insert_with(|| Node::new(span, value));
    }
}

fn service_defaults(node: &mut Node) {
    if let Some(build) = node.get_mut("build") {
        set(build, "context", Value::Text(".".to_owned()));
    }
    for secret in items(node.get_mut("secrets")) {
        let source = secret.get("source").map(Node::sprint).unwrap_or_default();
        set(secret, "target", Value::Text(format!("/run/secrets/{source}")));
    }
    for port in items(node.get_mut("ports")) {
        set(port, "protocol", Value::Text("tcp".to_owned()));
        set(port, "mode", Value::Text("ingress".to_owned()));
    }
    for volume in items(node.get_mut("volumes")) {
        if let Some(bind) = volume.get_mut("bind") {
            set(bind, "create_host_path", Value::Bool(true));
        }
    }
    let devices = node.get_mut("deploy").and_then(|node| node.get_mut("resources")?.get_mut("reservations")?.get_mut("devices"));
    items(devices).for_each(count);
    items(node.get_mut("gpus")).for_each(count);
}

fn count(request: &mut Node) {
    if request.get("device_ids").is_none() {
        set(request, "count", Value::Text("all".to_owned()));
    }
}

/// The entries of a list.
pub(crate) fn items(node: Option<&mut Node>) -> impl Iterator<Item = &mut Node> {
    node.and_then(Node::as_list_mut).into_iter().flatten()
}
