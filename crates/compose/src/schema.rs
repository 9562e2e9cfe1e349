//! Which attributes there are, and what each may hold; the table is in [`table`].

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

mod table;

use crate::error::{Error, Trail, nearest};
use crate::node::{Map, Node, Value};

/// What an attribute may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// A text.
    Text,
    /// One of some texts.
    Words(&'static [&'static str]),
    /// A text that a function accepts, and what it wants.
    Form(fn(&str) -> bool, &'static str),
    /// A truth, or a text that says one.
    Bool,
    /// A truth.
    Truth,
    /// A number, or a text that says one.
    Number,
    /// A whole number in a range, or a text that says one.
    Int(i64, i64),
    /// A whole number.
    Whole,
    /// A text, a number or a truth.
    Scalar,
    /// A text, a number, a truth or nothing.
    Optional,
    /// A text or a number.
    Plain,
    /// Nothing.
    Null,
    /// A list.
    List(&'static Shape),
    /// A list in which nothing stands twice.
    Set(&'static Shape),
    /// Members of any name.
    Map(&'static Shape),
    /// Members whose names are letters, digits, `.`, `_` and `-`.
    Named(&'static Shape),
    /// A group of attributes.
    Record(&'static Record),
    /// One of several.
    Either(&'static [Shape]),
}

/// A group of attributes.
#[derive(Debug)]
pub(crate) struct Record {
    /// Attributes in one or more parts.
    pub(crate) parts: &'static [&'static [(&'static str, Shape)]],
    /// Attributes that must be there.
    pub(crate) required: &'static [&'static str],
    /// Whether attributes `x-…` are allowed.
    pub(crate) extensions: bool,
}

impl Record {
    fn get(&self, key: &str) -> Option<Shape> {
        self.parts.iter().find_map(|part| part.iter().find(|(name, _)| *name == key)).map(|(_, shape)| *shape)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().flat_map(|part| part.iter().map(|(name, _)| *name))
    }
}

/// Checks a whole file against the table.
pub(crate) fn check(root: &Map) -> Result<(), Error> {
    members(root, &table::FILE, None, &Trail::ROOT)
}

fn members(map: &Map, record: &Record, own: Option<&Node>, path: &Trail<'_>) -> Result<(), Error> {
    for (key, node) in map {
        if record.extensions && key.starts_with("x-") {
            continue;
        }
        let path = path.then(key);
        match record.get(key) {
            Some(shape) => value(node, shape, &path)?,
            None => return Err(unknown(node, key, record, &path)),
        }
    }
    match record.required.iter().find(|key| !map.contains_key(**key)) {
        Some(missing) => Err(Error::at(own.map(|node| node.span).unwrap_or_default(), path, format!("missing attribute `{missing}`"))),
        None => Ok(()),
    }
}

/// An attribute that nobody knows: mistyped, misplaced, or invented.
fn unknown(node: &Node, key: &str, record: &Record, path: &Trail<'_>) -> Error {
    let error = Error::at(node.span, path, format!("unknown attribute `{key}`"));
    if let Some(near) = nearest(key, record.names()) {
        return error.hint(format!("did you mean `{near}`?"));
    }
    if let Some(place) = table::place_of(key) {
        return error.hint(format!("`{key}` belongs {place}"));
    }
    error
}

/// Whether a name is made of letters, digits, `.`, `_` and `-`.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// What a shape is called in an error.
fn wanted(shape: Shape) -> String {
    match shape {
        Shape::Any => "anything".to_owned(),
        Shape::Text | Shape::Form(..) => "a string".to_owned(),
        Shape::Words(words) => format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")),
        Shape::Bool | Shape::Truth => "a boolean".to_owned(),
        Shape::Number => "a number".to_owned(),
        Shape::Int(..) | Shape::Whole => "an integer".to_owned(),
        Shape::Scalar => "a string, a number or a boolean".to_owned(),
        Shape::Optional => "a string, a number, a boolean or nothing".to_owned(),
        Shape::Plain => "a string or a number".to_owned(),
        Shape::Null => "nothing".to_owned(),
        Shape::List(_) | Shape::Set(_) => "a list".to_owned(),
        Shape::Map(_) | Shape::Named(_) | Shape::Record(_) => "a mapping".to_owned(),
        Shape::Either(shapes) => {
            let mut names: Vec<String> = shapes.iter().map(|shape| wanted(*shape)).collect();
            names.dedup();
            let last = names.pop().unwrap_or_default();
            if names.is_empty() { last } else { format!("{} or {last}", names.join(", ")) }
        }
    }
}

/// Whether a value is of the kind that a shape describes, members aside.
fn is_kind(node: &Node, shape: Shape) -> bool {
    match (&node.value, shape) {
        (_, Shape::Any) => true,
        // JSON, in which projects are printed and hashed, has no infinite numbers.
        (Value::Float(value), _) if !value.is_finite() => false,
        (Value::Text(_), Shape::Text | Shape::Form(..) | Shape::Words(_) | Shape::Bool | Shape::Number | Shape::Int(..)) => true,
        (Value::Text(_), Shape::Scalar | Shape::Optional | Shape::Plain) => true,
        (Value::Bool(_), Shape::Bool | Shape::Truth | Shape::Scalar | Shape::Optional) => true,
        (Value::Int(_), Shape::Number | Shape::Int(..) | Shape::Whole | Shape::Scalar | Shape::Optional | Shape::Plain) => true,
        (Value::Float(_), Shape::Number | Shape::Scalar | Shape::Optional | Shape::Plain) => true,
        (Value::Float(value), Shape::Int(..) | Shape::Whole) => value.fract() == 0.0,
        (Value::Null, Shape::Null | Shape::Optional) => true,
        (Value::List(_), Shape::List(_) | Shape::Set(_)) => true,
        (Value::Map(_), Shape::Map(_) | Shape::Named(_) | Shape::Record(_)) => true,
        (_, Shape::Either(shapes)) => shapes.iter().any(|shape| is_kind(node, *shape)),
        _ => false,
    }
}

fn value(node: &Node, shape: Shape, path: &Trail<'_>) -> Result<(), Error> {
    if !is_kind(node, shape) {
        let article = if matches!(node.kind(), "integer" | "array") { "an" } else { "a" };
        let problem = format!("must be {}, not {article} {}", wanted(shape), node.kind());
        return Err(Error::at(node.span, path, problem.replace("not a null", "not null")));
    }
    match (&node.value, shape) {
        (_, Shape::Either(shapes)) => match shapes.iter().find(|shape| is_kind(node, **shape)) {
            Some(shape) => value(node, *shape, path),
            None => Ok(()),
        },
        (Value::Text(text), Shape::Words(words)) if !words.contains(&text.as_str()) => {
            let error = Error::at(node.span, path, format!("`{text}` is not {}", wanted(shape)));
            Err(match nearest(text, words.iter().copied()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            })
        }
        (Value::Text(text), Shape::Form(fits, wanted)) if !fits(text) => {
            Err(Error::at(node.span, path, format!("`{text}` is not {wanted}")))
        }
        (Value::Int(number), Shape::Int(least, _)) if *number < least => {
            Err(Error::at(node.span, path, format!("must be greater than or equal to {least}")))
        }
        (Value::Int(number), Shape::Int(_, most)) if *number > most => {
            Err(Error::at(node.span, path, format!("must be less than or equal to {most}")))
        }
        (Value::List(list), Shape::List(shape)) => list.iter().try_for_each(|node| value(node, *shape, path)),
        (Value::List(list), Shape::Set(shape)) => {
            list.iter().try_for_each(|node| value(node, *shape, path))?;
            let mut known = std::collections::BTreeSet::new();
            match list.iter().find(|node| node.as_map().is_none() && !known.insert(node.sprint())) {
                Some(twice) => Err(Error::at(twice.span, path, format!("`{}` stands twice", twice.sprint()))),
                None => Ok(()),
            }
        }
        (Value::Map(map), Shape::Map(shape)) => map.iter().try_for_each(|(key, node)| value(node, *shape, &path.then(key))),
        (Value::Map(map), Shape::Named(shape)) => map.iter().try_for_each(|(key, node)| {
            let path = path.then(key);
            if !is_name(key) {
                return Err(Error::at(node.span, path, format!("`{key}` is no name")).hint("names are letters, digits, `.`, `_` and `-`"));
            }
            value(node, *shape, &path)
        }),
        (Value::Map(map), Shape::Record(record)) => members(map, record, Some(node), path),
        _ => Ok(()),
    }
}

/// Attributes of what is shared that exclude each other.
pub(crate) fn exclusive(root: &Map) -> Result<(), Error> {
    let top = Trail::ROOT;
    let section = |key: &str| root.get(key).and_then(Node::as_map).into_iter().flatten();
    let networks = top.then("networks");
    for (name, node) in section("networks") {
        external(node, &networks.then(name))?;
    }
    let volumes = top.then("volumes");
    for (name, node) in section("volumes") {
        external(node, &volumes.then(name))?;
    }
    for (kind, keys) in [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"])] {
        let kinds = top.then(kind);
        for (name, node) in section(kind) {
            let path = kinds.then(name);
            let count = keys.iter().filter(|key| node.get(key).is_some()).count();
            if count > 1 {
                return Err(Error::at(node.span, path, format!("{} attributes are mutually exclusive", keys.join("|"))));
            }
            if count == 0 && node.get("driver").is_none() && node.get("external").is_none() {
                return Err(Error::at(node.span, path, format!("one of {} must be set", keys.join("|"))));
            }
        }
    }
    let services = top.then("services");
    for (name, node) in section("services") {
        service(node, &services.then(name))?;
    }
    Ok(())
}

/// What is not made here has no attributes but a name.
fn external(node: &Node, path: &Trail<'_>) -> Result<(), Error> {
    if !matches!(node.get("external").map(|node| &node.value), Some(Value::Bool(true))) {
        return Ok(());
    }
    let other = node.as_map().into_iter().flatten().find(|(key, _)| !matches!(key.as_str(), "name" | "external") && !key.starts_with("x-"));
    match other {
        Some((key, other)) => Err(Error::at(other.span, path, format!("conflicting parameters \"external\" and \"{key}\" specified"))),
        None => Ok(()),
    }
}

fn service(node: &Node, path: &Trail<'_>) -> Result<(), Error> {
    for port in node.get("ports").and_then(Node::as_list).into_iter().flatten() {
        if let Some(ip) = port.get("host_ip").and_then(Node::as_str)
            && ip.parse::<std::net::IpAddr>().is_err()
            && !ip.contains('$')
        {
            return Err(Error::at(port.span, path.then("ports"), format!("invalid ip address: {ip}")));
        }
    }
    let reserved = node.get("deploy").and_then(|node| node.get("resources")?.get("reservations")?.get("devices"));
    for devices in [reserved, node.get("gpus")] {
        for device in devices.and_then(Node::as_list).into_iter().flatten() {
            if device.get("count").is_some() && device.get("device_ids").is_some() {
                return Err(Error::at(device.span, path, "\"count\" and \"device_ids\" attributes are exclusive"));
            }
        }
    }
    for trigger in node.get("develop").and_then(|node| node.get("watch")?.as_list()).into_iter().flatten() {
        if trigger.get("path").and_then(Node::as_str) == Some("") {
            return Err(Error::at(trigger.span, path.then("develop"), "path: value can't be blank"));
        }
    }
    Ok(())
}
