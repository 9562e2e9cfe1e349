//! `ps`.

use std::collections::BTreeMap;

use docker_api::client::query;
use docker_api::types::Port;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny};
use serde_json::{Map, Value};

use super::{Entry, filters};
use crate::context::Context;
use crate::error::Outcome;
use crate::flags::{Command, Given, described};
use crate::json::short;
use crate::output::{self, CONTAINERS, Column, List};
use crate::{human, printer};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("ps"), act: ps }];

const COLUMNS: &[Column] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Ports", "PORTS"),
    ("Names", "NAMES"),
];
const HEADINGS: &[Column] = &[
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("State", "STATE"),
];
/// The lines of `--format raw`.
const RAW: &[Column] = &[
    ("ID", "container_id"),
    ("Image", "image"),
    ("Command", "command"),
    ("CreatedAt", "created_at"),
    ("State", "state"),
    ("Status", "status"),
    ("Names", "names"),
    ("Labels", "labels"),
    ("Ports", "ports"),
];

fn ps(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let filters = filters(given)?;
    let format = output::format(given, "psFormat");
    let size = given.on("size") || format.as_ref().is_some_and(|format| format.contains(".Size"));
    if let Some(format) = format.as_deref().filter(|format| format.contains("{{")) {
        // A template that makes no sense is told before anything is asked for.
        let list = List { kind: CONTAINERS, format: Some(format), ..List::default() };
        list.text(&[cells(&Listed::default(), false, |_| true)])?;
    }
    let limit = if given.on("latest") { Some("1") } else { given.get("last").filter(|last| *last != "-1") };
    let all = (given.on("all") || limit.is_some()).then_some("1");
    let path = format!(
        "/containers/json{}",
        query(&[("all", all), ("limit", limit), ("size", size.then_some("1")), ("filters", filters.as_deref())])
    );
    let containers: Vec<Listed> = client.call("GET", &path, None)?;
    let whole = given.on("no-trunc");
    let quiet = given.on("quiet").then_some("ID");
    if quiet.is_some() && given.get("format").is_some_and(|format| !format.is_empty()) {
        printer::error("WARNING: Ignoring custom format, because both --format and --quiet are set.");
    }
    if quiet.is_some() && format.as_deref() != Some("raw") {
        containers.iter().for_each(|container| printer::line(&id(&container.id, whole)));
        return Ok(0);
    }
    let (mut columns, mut raw) = (COLUMNS.to_vec(), RAW.to_vec());
    if size {
        columns.push(("Size", "SIZE"));
        raw.push(("Size", "size"));
    }
    // The plain table needs few fields, and there may be very many rows.
    let plain = matches!(format.as_deref(), None | Some("" | "table"));
    let wanted = |name: &str| !plain || columns.iter().any(|(column, _)| *column == name);
    let rows: Vec<Value> = containers.iter().map(|container| cells(container, whole, wanted)).collect();
    List { kind: CONTAINERS, format: format.as_deref(), whole, columns: &columns, headings: HEADINGS, raw: &raw, quiet }.print(&rows)?;
    Ok(0)
}

fn id(id: &str, whole: bool) -> String {
    if whole { id.to_owned() } else { short(id) }
}

fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length { text.to_owned() } else { text.chars().take(length - 1).chain(['…']).collect() }
}

/// What a list needs of a container; the rest of the engine's answer is skipped where it stands.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(deserialize_with = "null")]
    names: Vec<String>,
    image: String,
    command: String,
    created: i64,
    #[serde(deserialize_with = "null")]
    ports: Vec<Port>,
    size_rw: i64,
    size_root_fs: i64,
    #[serde(deserialize_with = "null")]
    labels: BTreeMap<String, String>,
    state: String,
    status: String,
    #[serde(deserialize_with = "null")]
    network_settings: Networks,
    #[serde(deserialize_with = "null")]
    mounts: Vec<Mount>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Networks {
    #[serde(deserialize_with = "null")]
    networks: BTreeMap<String, IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Mount {
    name: String,
    source: String,
    driver: String,
}

/// Takes `null` for nothing, as engines of other makes write it.
fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

/// A container as lists show it, from the engine's JSON.
pub(super) fn row(container: &Value, whole: bool) -> Value {
    cells(&Listed::deserialize(container).unwrap_or_default(), whole, |_| true)
}

/// The fields that a form of the list can show: all that has no template to say which.
fn cells(container: &Listed, whole: bool, wanted: impl Fn(&str) -> bool) -> Value {
    let joined = |parts: &mut dyn Iterator<Item = String>| parts.collect::<Vec<_>>().join(",");
    #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
    let size = |bytes: i64| human::size_short(bytes as f64);
    let cell = |name: &str| match name {
        "ID" => id(&container.id, whole),
        "Image" if container.image.starts_with("sha256:") && !whole => short(&container.image),
        "Image" => container.image.clone(),
        "Command" if whole => format!("\"{}\"", container.command),
        "Command" => format!("\"{}\"", cut(&container.command, 20)),
        "CreatedAt" => jiff::Timestamp::from_second(container.created)
            .map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string())
            .unwrap_or_default(),
        "RunningFor" => human::ago(container.created),
        "Ports" => ports(&container.ports),
        "State" => container.state.clone(),
        "Status" => container.status.clone(),
        "Size" if container.size_root_fs > 0 => format!("{} (virtual {})", size(container.size_rw), size(container.size_root_fs)),
        "Size" => size(container.size_rw),
        "Names" => {
            let names = container.names.iter().map(|name| name.trim_start_matches('/')).filter(|name| whole || !name.contains('/'));
            joined(&mut names.map(str::to_owned))
        }
        "Labels" => joined(&mut container.labels.iter().map(|(name, value)| format!("{name}={value}"))),
        "Mounts" => {
            let names = container.mounts.iter().map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name });
            joined(&mut names.map(|name| if whole { name.clone() } else { cut(name, 15) }))
        }
        "LocalVolumes" => container.mounts.iter().filter(|mount| mount.driver == "local").count().to_string(),
        "Networks" => joined(&mut container.network_settings.networks.keys().cloned()),
        _ => String::new(),
    };
    let names = COLUMNS.iter().chain(HEADINGS).map(|(name, _)| *name).filter(|name| wanted(name));
    let mut row: Map<String, Value> = names.map(|name| (name.to_owned(), cell(name).into())).collect();
    if wanted("Platform") {
        row.insert("Platform".to_owned(), Value::Null);
    }
    Value::Object(row)
}

/// Ports with neighbours of the same kind joined. **Source:** docker/cli, `formatter.DisplayablePorts`.
fn ports(given: &[Port]) -> String {
    let number = |port: u16| i64::from(port);
    let mut list: Vec<(String, i64, i64, String)> =
        given.iter().map(|port| (port.ip.clone(), number(port.private_port), number(port.public_port), port.kind.clone())).collect();
    list.sort_by(|a, b| (&a.3, a.1, &a.0, a.2).cmp(&(&b.3, b.1, &b.0, b.2)));
    let mut groups: Vec<(String, String, i64, i64, i64)> = Vec::new();
    for (ip, private, public, kind) in list {
        let joins = |group: &&mut (String, String, i64, i64, i64)| {
            group.0 == ip
                && group.1 == kind
                && group.3 + 1 == private
                && (group.4 == 0 && public == 0 || public != 0 && group.4 + (private - group.2) == public)
        };
        match groups.iter_mut().find(joins) {
            Some(group) => group.3 = private,
            None => groups.push((ip, kind, private, private, public)),
        }
    }
    let span = |first: i64, last: i64| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let shown = groups.iter().map(|(ip, kind, first, last, public)| {
        let inner = format!("{}/{kind}", span(*first, *last));
        let ip = if ip.contains(':') { format!("[{ip}]") } else { ip.clone() };
        if *public == 0 { inner } else { format!("{ip}:{}->{inner}", span(*public, public + last - first)) }
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn neighbouring_ports_are_joined() {
        let port = |private: u16, public: u16| json!({"IP": "0.0.0.0", "PrivatePort": private, "PublicPort": public, "Type": "tcp"});
        let given = json!({"Ports": [port(80, 8080), port(81, 8081), port(443, 443), {"PrivatePort": 53, "Type": "udp"}], "Labels": null});
        let container: Listed = serde_json::from_value(given).unwrap();
        assert_eq!(ports(&container.ports), "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:443->443/tcp, 53/udp");
    }
}
