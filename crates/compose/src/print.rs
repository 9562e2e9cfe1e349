//! A project as Docker Compose prints it, in YAML and in JSON.
//!
//! The typed project gives the order of the attributes; the differences between the two forms are in [`Form`].
//! **Source:** the output of Docker Compose 5.6.1.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::emit::{json, natural, yaml};
use crate::error::Error;
use crate::model::Project;
use crate::node::{Map, Node, Value};

/// A value whose members have an order.
#[derive(Clone, Debug)]
pub(crate) enum Shown {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Shown>),
    Map(Vec<(String, Shown)>),
}

/// YAML or JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Yaml,
    Json,
}

impl<'de> Deserialize<'de> for Shown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Shown;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a value")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Shown, E> {
                Ok(Shown::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Shown, E> {
                Ok(Shown::Int(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Shown, E> {
                #[allow(clippy::cast_precision_loss, reason = "beyond all numbers of a project")]
                Ok(i64::try_from(value).map_or(Shown::Float(value as f64), Shown::Int))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Shown, E> {
                Ok(Shown::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> Result<Shown, E> {
                Ok(Shown::Text(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Shown, E> {
                Ok(Shown::Text(value))
            }
            fn visit_unit<E>(self) -> Result<Shown, E> {
                Ok(Shown::Null)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Shown, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = access.next_element()? {
                    list.push(value);
                }
                Ok(Shown::List(list))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Shown, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    map.push(entry);
                }
                Ok(Shown::Map(map))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Shown {
    /// A value with the order that its type gives.
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, Error> {
        let text = serde_json::to_string(value).map_err(|error| Error::new(format!("cannot print: {error}")))?;
        serde_json::from_str(&text).map_err(|error| Error::new(format!("cannot print: {error}")))
    }

    /// A tree, its keys sorted.
    pub(crate) fn of_tree(map: &Map, natural_order: bool) -> Self {
        let mut entries: Vec<(String, Self)> = map.iter().map(|(key, node)| (key.clone(), Self::of_node(node, natural_order))).collect();
        if natural_order {
            entries.sort_by(|left, right| natural(&left.0, &right.0));
        } else {
            entries.sort_by(|left, right| left.0.cmp(&right.0));
        }
        Self::Map(entries)
    }

    fn of_node(node: &Node, natural_order: bool) -> Self {
        match &node.value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Text(text) => Self::Text(text.clone()),
            Value::List(list) => Self::List(list.iter().map(|node| Self::of_node(node, natural_order)).collect()),
            Value::Map(map) => Self::of_tree(map, natural_order),
        }
    }
}

/// Keys whose members are named by the user; YAML sorts these with numbers by their size.
const NAMED: [&str; 20] = [
    "services",
    "jobs",
    "networks",
    "volumes",
    "secrets",
    "configs",
    "models",
    "annotations",
    "labels",
    "environment",
    "depends_on",
    "ulimits",
    "sysctls",
    "storage_opt",
    "options",
    "driver_opts",
    "args",
    "additional_contexts",
    "aux_addresses",
    "#extensions",
];

/// What the two forms do differently.
pub(crate) fn shape(value: &mut Shown, form: Form) {
    let Shown::Map(top) = value else {
        return;
    };
    for (section, value) in top.iter_mut() {
        let Shown::Map(members) = value else {
            continue;
        };
        for (name, member) in members {
            match section.as_str() {
                "services" | "jobs" => {
                    container(member, form);
                    if section == "jobs" && form == Form::Yaml {
                        insert_first(member, "name", Shown::Text(name.clone()));
                    }
                }
                "networks" if form == Form::Yaml => remove_if_empty(member, "ipam"),
                "secrets" => remove(member, "content"),
                "configs" if get(member, "environment").is_some() => remove(member, "content"),
                _ => {}
            }
        }
    }
    extensions(value, form, true);
}

fn get<'v>(value: &'v mut Shown, key: &str) -> Option<&'v mut Shown> {
    match value {
        Shown::Map(map) => map.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value),
        _ => None,
    }
}

fn remove(value: &mut Shown, key: &str) {
    if let Shown::Map(map) = value {
        map.retain(|(name, _)| name != key);
    }
}

fn insert_first(value: &mut Shown, key: &str, member: Shown) {
    if let Shown::Map(map) = value {
        map.insert(0, (key.to_owned(), member));
    }
}

/// Removes a member that says nothing.
fn remove_if_empty(value: &mut Shown, key: &str) {
    let empty = match get(value, key) {
        Some(Shown::Null) => true,
        Some(Shown::Map(map)) => map.iter().all(|(_, value)| matches!(value, Shown::Null)),
        _ => false,
    };
    if empty {
        remove(value, key);
    }
}

/// Removes a command that is not there.
fn remove_null(value: &mut Shown, key: &str) {
    if matches!(get(value, key), Some(Shown::Null)) {
        remove(value, key);
    }
}

fn each(value: Option<&mut Shown>, change: impl FnMut(&mut Shown)) {
    match value {
        Some(Shown::List(list)) => list.iter_mut().for_each(change),
        Some(Shown::Map(map)) => map.iter_mut().map(|(_, value)| value).for_each(change),
        _ => {}
    }
}

fn container(value: &mut Shown, form: Form) {
    each(get(value, "pre_start"), |hook| container(hook, form));
    match form {
        Form::Yaml => {
            remove_null(value, "command");
            remove_null(value, "entrypoint");
            for hooks in ["post_start", "pre_stop"] {
                each(get(value, hooks), |hook| remove_null(hook, "command"));
            }
            if let Some(deploy) = get(value, "deploy") {
                remove_if_empty(deploy, "resources");
                remove_if_empty(deploy, "placement");
            }
            each(get(value, "develop").and_then(|develop| get(develop, "watch")), |trigger| {
                if let Some(exec) = get(trigger, "exec") {
                    remove_null(exec, "command");
                }
                remove_if_empty(trigger, "exec");
            });
        }
        Form::Json => {
            each(get(value, "ulimits"), without_zeros);
            if let Some(build) = get(value, "build") {
                each(get(build, "ulimits"), without_zeros);
            }
            if let Some(blkio) = get(value, "blkio_config") {
                for list in ["weight_device", "device_read_bps", "device_read_iops", "device_write_bps", "device_write_iops"] {
                    each(get(blkio, list), |device| {
                        if let Shown::Map(map) = device {
                            for (key, _) in map {
                                *key = match key.as_str() {
                                    "path" => "Path",
                                    "weight" => "Weight",
                                    "rate" => "Rate",
                                    other => other,
                                }
                                .to_owned();
                            }
                        }
                    });
                }
            }
        }
    }
}

fn without_zeros(limit: &mut Shown) {
    if let Shown::Map(map) = limit {
        map.retain(|(_, value)| !matches!(value, Shown::Int(0)));
    }
}

/// Attributes `x-…`: in YAML at the end of their map, in JSON only those of the whole project.
fn extensions(value: &mut Shown, form: Form, top: bool) {
    match value {
        Shown::Map(map) => {
            let inner = map.iter().position(|(key, value)| key == "#extensions" && matches!(value, Shown::Map(_)));
            if let Some(Shown::Map(extensions)) = inner.map(|at| map.remove(at).1)
                && (form == Form::Yaml || top)
            {
                map.extend(extensions);
            }
            map.iter_mut().filter(|(key, _)| !key.starts_with("x-")).for_each(|(_, value)| extensions(value, form, false));
        }
        Shown::List(list) => list.iter_mut().for_each(|value| extensions(value, form, false)),
        _ => {}
    }
}

impl Project {
    /// The project in YAML, as `config` prints it, but for dollars.
    ///
    /// # Errors
    /// None that a loaded project can have.
    pub fn to_yaml(&self) -> Result<String, Error> {
        let mut shown = Shown::of(self)?;
        sort_named(&mut shown);
        shape(&mut shown, Form::Yaml);
        Ok(yaml(&shown))
    }

    /// The project in JSON, as `config --format json` prints it, but for dollars.
    ///
    /// # Errors
    /// None that a loaded project can have.
    pub fn to_json(&self) -> Result<String, Error> {
        let mut shown = Shown::of(self)?;
        if get(&mut shown, "name").is_none() {
            insert_first(&mut shown, "name", Shown::Text(String::new()));
        }
        shape(&mut shown, Form::Json);
        if let Shown::Map(map) = &mut shown {
            map.retain(|(key, _)| key != "models");
            map.sort_by(|left, right| left.0.cmp(&right.0));
        }
        Ok(json(&shown))
    }
}

/// Sorts what users name as YAML's printer does.
fn sort_named(value: &mut Shown) {
    match value {
        Shown::Map(map) => {
            for (key, value) in map {
                if let Shown::Map(members) = value
                    && NAMED.contains(&key.as_str())
                {
                    members.sort_by(|left, right| natural(&left.0, &right.0));
                }
                if key == "#extensions" { sort_all(value) } else { sort_named(value) }
            }
        }
        Shown::List(list) => list.iter_mut().for_each(sort_named),
        _ => {}
    }
}

fn sort_all(value: &mut Shown) {
    match value {
        Shown::Map(map) => {
            map.sort_by(|left, right| natural(&left.0, &right.0));
            map.iter_mut().for_each(|(_, value)| sort_all(value));
        }
        Shown::List(list) => list.iter_mut().for_each(sort_all),
        _ => {}
    }
}
