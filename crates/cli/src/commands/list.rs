//! `ps`.

use docker_api::client::query;
use serde_json::{Value, json};

use super::{Entry, filters};
use crate::context::Context;
use crate::error::Outcome;
use crate::flags::{Command, Given, described};
use crate::json::{items, number, short, text as field};
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

fn ps(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let filters = filters(given)?;
    let format = output::format(given, "psFormat");
    let size = given.on("size") || format.as_ref().is_some_and(|format| format.contains(".Size"));
    if let Some(format) = format.as_deref().filter(|format| format.contains("{{")) {
        // A template that makes no sense is told before anything is asked for.
        let list = List { kind: CONTAINERS, format: Some(format), ..List::default() };
        list.text(&[row(&Value::Null, false)])?;
    }
    let limit = if given.on("latest") { Some("1") } else { given.get("last").filter(|last| *last != "-1") };
    let all = (given.on("all") || limit.is_some()).then_some("1");
    let path = format!(
        "/containers/json{}",
        query(&[("all", all), ("limit", limit), ("size", size.then_some("1")), ("filters", filters.as_deref())])
    );
    let containers: Vec<Value> = client.call("GET", &path, None)?;
    let whole = given.on("no-trunc");
    if given.on("quiet") {
        for container in &containers {
            printer::line(&id(field(container, "Id"), whole));
        }
        return Ok(0);
    }
    let rows: Vec<Value> = containers.iter().map(|container| row(container, whole)).collect();
    let mut columns = COLUMNS.to_vec();
    if size {
        columns.push(("Size", "SIZE"));
    }
    List { kind: CONTAINERS, format: format.as_deref(), whole, columns: &columns, headings: HEADINGS }.print(&rows)?;
    Ok(0)
}

fn id(id: &str, whole: bool) -> String {
    if whole { id.to_owned() } else { short(id) }
}

fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length { text.to_owned() } else { text.chars().take(length - 1).chain(['…']).collect() }
}

/// A container as lists show it.
pub(super) fn row(container: &Value, whole: bool) -> Value {
    let names: Vec<&str> = items(container, "Names")
        .filter_map(Value::as_str)
        .map(|name| name.trim_start_matches('/'))
        .filter(|name| whole || !name.contains('/'))
        .collect();
    let command = format!("\"{}\"", if whole { field(container, "Command").to_owned() } else { cut(field(container, "Command"), 20) });
    let image = field(container, "Image");
    let image = if image.starts_with("sha256:") && !whole { short(image) } else { image.to_owned() };
    let created = number(container, "Created");
    let labels: Vec<String> = container
        .get("Labels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    let networks: Vec<&str> = container
        .pointer("/NetworkSettings/Networks")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let mounts: Vec<String> = items(container, "Mounts")
        .map(|mount| if field(mount, "Name").is_empty() { field(mount, "Source") } else { field(mount, "Name") })
        .map(|name| if whole { name.to_owned() } else { cut(name, 15) })
        .collect();
    #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
    let size = |name: &str| human::size_short(number(container, name) as f64);
    json!({
        "ID": id(field(container, "Id"), whole),
        "Image": image,
        "Command": command,
        "CreatedAt": jiff::Timestamp::from_second(created).map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).unwrap_or_default(),
        "RunningFor": human::ago(created),
        "Ports": ports(container),
        "State": field(container, "State"),
        "Status": field(container, "Status"),
        "Size": if number(container, "SizeRootFs") > 0 {
            format!("{} (virtual {})", size("SizeRw"), size("SizeRootFs"))
        } else {
            size("SizeRw")
        },
        "Names": names.join(","),
        "Labels": labels.join(","),
        "Mounts": mounts.join(","),
        "LocalVolumes": items(container, "Mounts").filter(|mount| field(mount, "Driver") == "local").count().to_string(),
        "Networks": networks.join(","),
        "Platform": null,
    })
}

/// Ports with neighbours of the same kind joined. **Source:** docker/cli, `formatter.DisplayablePorts`.
fn ports(container: &Value) -> String {
    let mut list: Vec<(String, i64, i64, String)> = items(container, "Ports")
        .map(|port| (field(port, "IP").to_owned(), number(port, "PrivatePort"), number(port, "PublicPort"), field(port, "Type").to_owned()))
        .collect();
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
    use super::*;

    #[test]
    fn neighbouring_ports_are_joined() {
        let port = |private: i64, public: i64| json!({"IP": "0.0.0.0", "PrivatePort": private, "PublicPort": public, "Type": "tcp"});
        let container = json!({"Ports": [port(80, 8080), port(81, 8081), port(443, 443), {"PrivatePort": 53, "Type": "udp"}]});
        assert_eq!(ports(&container), "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:443->443/tcp, 53/udp");
    }
}
