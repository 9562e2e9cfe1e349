//! The tree in its long form → the typed project.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

mod table;

use serde_json::{Map as Object, Value as Json, json};

use crate::error::{Error, Trail};
use crate::model::{Duration, Project};
use crate::node::{Map, Node, Value};
use crate::words;
use Cast::{
    Bool, Bytes, Count, Duration as Span, Float, Hosts, Int, Keys, Limits, List, Mapping, Mode, Named, Optional, Options, Record, Test,
    Text, Texts, Words,
};
use table::{CONTAINER, Cast, SECTIONS, Table};

type Outcome = Result<Json, Error>;

/// Reads the typed project from a tree in its long form.
pub(crate) fn project(root: &Map) -> Result<Project, Error> {
    let top = Trail::ROOT;
    let mut object = Object::new();
    for (section, table) in SECTIONS {
        let path = top.then(section);
        let mut named = Object::new();
        for (name, node) in root.get(section).and_then(Node::as_map).into_iter().flatten() {
            let path = path.then(name);
            let value = match &node.value {
                Value::Map(map) if matches!(section, "services" | "jobs") => container(map, &path)?,
                Value::Map(map) => {
                    let mut value = record(map, table, &path)?;
                    take_content(&mut value);
                    value
                }
                Value::Null => json!({}),
                _ => return Err(Error::at(node.span, path, "must be a mapping")),
            };
            named.insert(name.clone(), value);
        }
        object.insert(section.to_owned(), Json::Object(named));
    }
    let extensions: Object<String, Json> =
        root.iter().filter(|(key, _)| key.starts_with("x-")).map(|(key, node)| (key.clone(), any(node))).collect();
    object.insert("#extensions".to_owned(), Json::Object(extensions));
    serde_json::from_value(Json::Object(object)).map_err(|error| Error::new(format!("the project does not fit its own form: {error}")))
}

/// The value that a secret takes from the environment is kept beside its attributes until here.
fn take_content(value: &mut Json) {
    if let Some(extensions) = value.get_mut("#extensions").and_then(Json::as_object_mut) {
        let content = extensions.remove("x-#value");
        if extensions.is_empty()
            && let Some(value) = value.as_object_mut()
        {
            value.remove("#extensions");
        }
        if let Some(content) = content {
            value["content"] = content;
        }
    }
}

fn container(map: &Map, path: &Trail<'_>) -> Outcome {
    let mut value = record(map, CONTAINER, path)?;
    if let Some(hooks) = map.get("pre_start").and_then(Node::as_list) {
        let path = path.then("pre_start");
        let hooks: Result<Vec<Json>, Error> = hooks.iter().filter_map(Node::as_map).map(|hook| record(hook, CONTAINER, &path)).collect();
        value["pre_start"] = Json::Array(hooks?);
    }
    Ok(value)
}

fn record(map: &Map, table: Table, path: &Trail<'_>) -> Outcome {
    let mut object = Object::new();
    let mut extensions = Object::new();
    for (key, node) in map {
        if key.starts_with("x-") {
            extensions.insert(key.clone(), any(node));
            continue;
        }
        if node.is_null() || key == "pre_start" {
            continue;
        }
        let wanted = table.iter().find(|(name, _)| name == key).map_or(Text, |(_, wanted)| *wanted);
        object.insert(key.clone(), cast(node, wanted, &path.then(key))?);
    }
    if !extensions.is_empty() {
        object.insert("#extensions".to_owned(), Json::Object(extensions));
    }
    Ok(Json::Object(object))
}

fn cast(node: &Node, wanted: Cast, path: &Trail<'_>) -> Outcome {
    let fail = |problem: String| Error::at(node.span, path, problem);
    Ok(match wanted {
        Text => Json::String(node.sprint()),
        Bool => match &node.value {
            Value::Bool(value) => json!(value),
            _ => json!(words::truth(&node.sprint()).ok_or_else(|| fail(format!("invalid boolean: {}", node.sprint())))?),
        },
        Int => json!(words::whole(node).ok_or_else(|| fail(format!("`{}` is no whole number", node.sprint())))?),
        Float => json!(words::number(node).ok_or_else(|| fail(format!("`{}` is no number", node.sprint())))?),
        Bytes => json!(words::bytes(&node.sprint()).ok_or_else(|| fail(format!("invalid size: '{}'", node.sprint())))?.to_string()),
        Span => json!(node.sprint().parse::<Duration>().map_err(|error| fail(error.to_string()))?),
        Words => match &node.value {
            Value::Text(text) => json!(words::split(text).map_err(fail)?),
            _ => texts(node),
        },
        Test => match &node.value {
            Value::Text(text) => json!(["CMD-SHELL", text]),
            _ => texts(node),
        },
        Texts => texts(node),
        Mapping => mapping(node, path, false)?,
        Optional => mapping(node, path, true)?,
        Options => options(node),
        Hosts => hosts(node, path)?,
        Mode => match &node.value {
            Value::Text(text) => {
                json!(format!("0{:o}", i64::from_str_radix(text, 8).map_err(|_| fail(format!("`{text}` is no octal mode")))?))
            }
            _ => json!(format!("0{:o}", words::whole(node).ok_or_else(|| fail("must be an octal mode".to_owned()))?)),
        },
        Count => match node.as_str() {
            Some(text) if text.eq_ignore_ascii_case("all") => json!(-1),
            _ => json!(
                words::whole(node)
                    .ok_or_else(|| { fail(format!("invalid value \"{}\", the only value allowed is 'all' or a number", node.sprint())) })?
            ),
        },
        Keys => keys(node),
        Record(table) => match &node.value {
            Value::Map(map) => record(map, table, path)?,
            _ => return Err(fail(format!("must be a mapping, not a {}", node.kind()))),
        },
        List(table) => match &node.value {
            Value::List(list) => {
                Json::Array(list.iter().filter_map(Node::as_map).map(|map| record(map, table, path)).collect::<Result<_, _>>()?)
            }
            _ => return Err(fail(format!("must be a list, not a {}", node.kind()))),
        },
        Named(table) => named(node, table, path)?,
        Limits => limits(node, path)?,
    })
}

fn named(node: &Node, table: Table, path: &Trail<'_>) -> Outcome {
    let mut object = Object::new();
    for (key, node) in node.as_map().into_iter().flatten() {
        let value = match &node.value {
            Value::Map(map) => record(map, table, &path.then(key))?,
            _ => Json::Null,
        };
        object.insert(key.clone(), value);
    }
    Ok(Json::Object(object))
}

fn limits(node: &Node, path: &Trail<'_>) -> Outcome {
    let mut object = Object::new();
    for (key, node) in node.as_map().into_iter().flatten() {
        let number = |node: &Node| {
            words::whole(node).ok_or_else(|| Error::at(node.span, path.then(key), format!("`{}` is no whole number", node.sprint())))
        };
        let value = match &node.value {
            Value::Map(map) => {
                let limit = |key: &str| map.get(key).map_or(Ok(0), number);
                json!({"soft": limit("soft")?, "hard": limit("hard")?})
            }
            // A single zero is printed as two, so it is two.
            _ => match number(node)? {
                0 => json!({"soft": 0, "hard": 0}),
                limit => json!(limit),
            },
        };
        object.insert(key.clone(), value);
    }
    Ok(Json::Object(object))
}

fn texts(node: &Node) -> Json {
    match &node.value {
        Value::List(list) => json!(list.iter().map(Node::sprint).collect::<Vec<_>>()),
        _ => json!([node.sprint()]),
    }
}

fn mapping(node: &Node, path: &Trail<'_>, optional: bool) -> Outcome {
    let mut object = Object::new();
    match &node.value {
        Value::Map(map) => {
            for (key, node) in map {
                let value = match &node.value {
                    Value::Null if optional => Json::Null,
                    Value::Null => json!(""),
                    _ => Json::String(node.sprint()),
                };
                object.insert(key.clone(), value);
            }
        }
        Value::List(list) => {
            for node in list {
                let text = node.sprint();
                let (key, value) = text.split_once('=').map_or((text.as_str(), None), |(key, value)| (key, Some(value)));
                if optional && key.ends_with(char::is_whitespace) {
                    return Err(Error::at(node.span, path, format!("environment variable {key} is declared with a trailing space")));
                }
                let absent = if optional { Json::Null } else { json!("") };
                object.insert(key.to_owned(), value.map_or(absent, |value| json!(value)));
            }
        }
        _ => return Err(Error::at(node.span, path, format!("must be a mapping or a list of `key=value`, not a {}", node.kind()))),
    }
    Ok(Json::Object(object))
}

fn options(node: &Node) -> Json {
    let mut object = Object::new();
    for (key, node) in node.as_map().into_iter().flatten() {
        object.insert(key.clone(), texts(node));
    }
    Json::Object(object)
}

/// `host=address`, sorted; addresses lose their brackets.
fn hosts(node: &Node, path: &Trail<'_>) -> Outcome {
    let mut found: Vec<(String, String)> = Vec::new();
    match &node.value {
        Value::Map(map) => {
            for (host, node) in map {
                match &node.value {
                    Value::List(list) => found.extend(list.iter().map(|address| (host.clone(), address.sprint()))),
                    Value::Null => found.push((host.clone(), String::new())),
                    _ => found.push((host.clone(), node.sprint())),
                }
            }
        }
        Value::List(list) => {
            for node in list {
                let text = node.sprint();
                let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':')) else {
                    return Err(Error::at(node.span, path, format!("invalid additional host, missing IP: {text}")));
                };
                found.extend(addresses.split(',').map(|address| (host.to_owned(), address.to_owned())));
            }
        }
        _ => return Err(Error::at(node.span, path, format!("must be a mapping or a list, not a {}", node.kind()))),
    }
    let mut lines = Vec::with_capacity(found.len());
    for (host, address) in found {
        if host.is_empty() || host.contains([':', '=']) {
            return Err(Error::at(node.span, path, format!("bad host name '{host}'")));
        }
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).filter(|address| !address.is_empty());
        lines.push(format!("{host}={}", bare.unwrap_or(&address)));
    }
    lines.sort();
    Ok(json!(lines))
}

fn keys(node: &Node) -> Json {
    let mut lines: Vec<String> = node
        .as_map()
        .into_iter()
        .flatten()
        .map(|(id, node)| if node.is_null() { id.clone() } else { format!("{id}: {}", node.sprint()) })
        .collect();
    lines.sort();
    json!(lines)
}

/// A value without a type, as JSON.
pub(crate) fn any(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(text) => json!(text),
        Value::List(list) => Json::Array(list.iter().map(any).collect()),
        Value::Map(map) => Json::Object(map.iter().map(|(key, node)| (key.clone(), any(node))).collect()),
    }
}
