//! The values a template sees, as Go would hold them: structures keep their order, maps are sorted.

use std::collections::BTreeMap;

use crate::ordered::Ordered;

/// What an absent value was meant to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zero {
    /// Nothing at all: a key that a map lacks.
    Missing,
    /// A pointer to nothing.
    Pointer,
    /// A list that was never made.
    List,
    /// A map that was never made.
    Map,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing, of some kind.
    Null(Zero),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
    /// Values in order.
    List(Vec<Value>),
    /// A map, printed in the order of its keys.
    Map(BTreeMap<String, Value>),
    /// A structure: its type's name in Go where it is told, and its fields in order.
    Struct(&'static str, Vec<(String, Value)>),
    /// A line of a list: its type's name in Go, and its fields.
    Row(&'static str, BTreeMap<String, Value>),
}

/// Fields of the API that are maps in Go; every other object is a structure.
const MAPS: [&str; 22] = [
    "Annotations",
    "Attributes",
    "AuxiliaryAddresses",
    "Config",
    "Containers",
    "Data",
    "Details",
    "DriverOpts",
    "ExposedPorts",
    "IndexConfigs",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Runtimes",
    "Services",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// Fields that Go knows by another name than the JSON: the JSON's, and Go's.
const RENAMED: [(&str, &str); 13] = [
    ("Id", "ID"),
    ("NanoCpus", "NanoCPUs"),
    ("CpuShares", "CPUShares"),
    ("CpuPeriod", "CPUPeriod"),
    ("CpuQuota", "CPUQuota"),
    ("CpuRealtimePeriod", "CPURealtimePeriod"),
    ("CpuRealtimeRuntime", "CPURealtimeRuntime"),
    ("CpuCount", "CPUCount"),
    ("CpuPercent", "CPUPercent"),
    ("Dns", "DNS"),
    ("DnsOptions", "DNSOptions"),
    ("DnsSearch", "DNSSearch"),
    ("HostIp", "HostIP"),
];

/// Fields that are pointers in Go.
const POINTERS: [&str; 14] = [
    "OomKillDisable",
    "PidsLimit",
    "MemorySwappiness",
    "Init",
    "Healthcheck",
    "Health",
    "IPAMConfig",
    "StopTimeout",
    "UsageData",
    "ClusterVolume",
    "SizeRw",
    "SizeRootFs",
    "ImageManifestDescriptor",
    "Descriptor",
];

/// Fields that the JSON leaves out when they are empty, so that their absence is no fault of the template.
const OPTIONAL: [(&str, Zero); 26] = [
    ("Annotations", Zero::Map),
    ("ClusterVolume", Zero::Pointer),
    ("DriverOpts", Zero::Map),
    ("ExposedPorts", Zero::Map),
    ("Health", Zero::Pointer),
    ("Healthcheck", Zero::Pointer),
    ("ImageManifestDescriptor", Zero::Pointer),
    ("Init", Zero::Pointer),
    ("Labels", Zero::Map),
    ("Mounts", Zero::List),
    ("Peers", Zero::List),
    ("RepoDigests", Zero::List),
    ("RepoTags", Zero::List),
    ("Services", Zero::Map),
    ("Shell", Zero::List),
    ("SizeRootFs", Zero::Pointer),
    ("SizeRw", Zero::Pointer),
    ("Status", Zero::Map),
    ("StopTimeout", Zero::Pointer),
    ("StorageOpt", Zero::Map),
    ("Sysctls", Zero::Map),
    ("Tmpfs", Zero::Map),
    ("UsageData", Zero::Pointer),
    ("Volumes", Zero::Map),
    ("Cmd", Zero::List),
    ("Entrypoint", Zero::List),
];

/// Texts of a mount that its JSON leaves out when they are empty.
const TEXTS: [&str; 3] = ["Name", "Source", "Driver"];

impl Value {
    /// An object of the API as the structure that Go knows it by.
    #[must_use]
    pub fn typed(value: &Ordered) -> Self {
        Self::field("", value, false)
    }

    /// As [`Value::typed`] for a structure whose type is told in errors.
    #[must_use]
    pub fn structure(kind: &'static str, value: &Ordered) -> Self {
        match Self::typed(value) {
            Self::Struct(_, fields) => Self::Struct(kind, fields),
            other => other,
        }
    }

    fn field(name: &str, value: &Ordered, in_map: bool) -> Self {
        match value {
            Ordered::Null if POINTERS.contains(&name) || in_map => Self::Null(Zero::Pointer),
            Ordered::Null => Self::Null(if MAPS.contains(&name) { Zero::Map } else { Zero::List }),
            Ordered::Bool(on) => Self::Bool(*on),
            Ordered::Int(number) => Self::Int(*number),
            Ordered::Float(number) => Self::Float(*number),
            Ordered::Text(text) => Self::Text(text.clone()),
            Ordered::List(items) => Self::List(items.iter().map(|item| Self::field("", item, false)).collect()),
            // The configuration of a container or image is a structure; that of a log driver is a map of texts.
            Ordered::Map(fields)
                if MAPS.contains(&name) && (name != "Config" || fields.iter().all(|(_, value)| matches!(value, Ordered::Text(_)))) =>
            {
                Self::Map(fields.iter().map(|(name, value)| (name.clone(), Self::field("", value, true))).collect())
            }
            Ordered::Map(fields) => {
                Self::Struct("", fields.iter().map(|(name, value)| (name.clone(), Self::field(name, value, false))).collect())
            }
        }
    }

    /// Any JSON: objects are maps.
    #[must_use]
    pub fn raw(value: &Ordered) -> Self {
        match value {
            Ordered::Null => Self::Null(Zero::Missing),
            Ordered::Bool(on) => Self::Bool(*on),
            Ordered::Int(number) => Self::Int(*number),
            Ordered::Float(number) => Self::Float(*number),
            Ordered::Text(text) => Self::Text(text.clone()),
            Ordered::List(items) => Self::List(items.iter().map(Self::raw).collect()),
            Ordered::Map(fields) => Self::Map(fields.iter().map(|(name, value)| (name.clone(), Self::raw(value))).collect()),
        }
    }

    /// A line of a list; `kind` is its type's name in Docker's errors.
    #[must_use]
    pub fn row(kind: &'static str, value: &serde_json::Value) -> Self {
        let fields = value.as_object().into_iter().flatten();
        Self::Row(kind, fields.map(|(name, value)| (name.clone(), Self::from(value))).collect())
    }

    /// A field of a structure by the name that Go knows it by.
    pub(super) fn named<'a>(fields: &'a [(String, Self)], name: &str) -> Option<&'a Self> {
        let json = match RENAMED.iter().find(|(json, go)| *json == name || *go == name) {
            Some((json, go)) if *go == name => json,
            // Go does not know the JSON's name; Docker then looks into the bare JSON.
            Some(_) => return None,
            None => name,
        };
        // Some structures, such as the actor of an event, have Go's name also in their JSON.
        fields.iter().find(|(known, _)| known == json || known == name).map(|(_, value)| value)
    }

    /// A field that a structure has although its JSON does not show it.
    pub(super) fn optional(fields: &[(String, Self)], name: &str) -> Option<Self> {
        let is_mount = || fields.iter().any(|(known, _)| known == "Destination");
        let text = (TEXTS.contains(&name) && is_mount()).then(|| Self::Text(String::new()));
        text.or_else(|| OPTIONAL.iter().find(|(known, _)| *known == name).map(|(_, zero)| Self::Null(*zero)))
    }

    /// Whether it counts as true: neither zero nor empty.
    pub(super) fn truth(&self) -> bool {
        match self {
            Self::Null(_) => false,
            Self::Bool(on) => *on,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(fields) => !fields.is_empty(),
            Self::Struct(..) | Self::Row(..) => true,
        }
    }

    /// As Go prints it.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Null(Zero::Missing) => "<no value>".to_owned(),
            _ => self.inner(),
        }
    }

    /// As Go prints it within another value.
    pub(super) fn inner(&self) -> String {
        let joined = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(" ");
        match self {
            Self::Null(Zero::Missing | Zero::Pointer) => "<nil>".to_owned(),
            Self::Null(Zero::List) => "[]".to_owned(),
            Self::Null(Zero::Map) => "map[]".to_owned(),
            Self::Bool(on) => on.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::List(items) => format!("[{}]", joined(&mut items.iter().map(Self::inner))),
            Self::Map(fields) | Self::Row(_, fields) => {
                format!("map[{}]", joined(&mut fields.iter().map(|(name, value)| format!("{name}:{}", value.inner()))))
            }
            Self::Struct(_, fields) => format!("{{{}}}", joined(&mut fields.iter().map(|(_, value)| value.inner()))),
        }
    }

    /// As JSON with its order kept.
    pub(super) fn ordered(&self) -> Ordered {
        match self {
            Self::Null(_) => Ordered::Null,
            Self::Bool(on) => Ordered::Bool(*on),
            Self::Int(number) => Ordered::Int(*number),
            Self::Float(number) => Ordered::Float(*number),
            Self::Text(text) => Ordered::Text(text.clone()),
            Self::List(items) => Ordered::List(items.iter().map(Self::ordered).collect()),
            Self::Map(fields) | Self::Row(_, fields) => {
                Ordered::Map(fields.iter().map(|(name, value)| (name.clone(), value.ordered())).collect())
            }
            Self::Struct(_, fields) => Ordered::Map(fields.iter().map(|(name, value)| (name.clone(), value.ordered())).collect()),
        }
    }

    /// The name of its type in Go's errors.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null(_) => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Struct(..) => "struct",
            Self::Row(kind, _) => kind,
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null(Zero::Missing),
            serde_json::Value::Bool(on) => Self::Bool(*on),
            serde_json::Value::Number(number) => {
                number.as_i64().map_or_else(|| Self::Float(number.as_f64().unwrap_or_default()), Self::Int)
            }
            serde_json::Value::String(text) => Self::Text(text.clone()),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            serde_json::Value::Object(fields) => Self::Map(fields.iter().map(|(name, value)| (name.clone(), Self::from(value))).collect()),
        }
    }
}
