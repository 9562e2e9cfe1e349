//! `network map`: who is in which network and what is published, as a tree or a drawing.

use std::fmt::Write as _;

use docker_api::client::query;
use docker_api::types::PolicyPath;
use serde_json::Value;

use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given};
use crate::json::{items, text as field};
use crate::printer;

/// Points of a drawing.
const ROW: usize = 22;
const WIDTH: usize = 760;

/// One network with its containers.
#[derive(Debug, PartialEq, Eq)]
struct Branch {
    title: String,
    leaves: Vec<Leaf>,
}

/// A container, and what policies let it reach of its neighbours if they say anything.
#[derive(Debug, PartialEq, Eq)]
struct Leaf {
    text: String,
    reaches: Vec<String>,
}

pub(super) fn map(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let networks: Vec<Value> = client.call("GET", "/networks", None)?;
    let containers: Vec<Value> = client.call("GET", &format!("/containers/json{}", query(&[("all", Some("1"))])), None)?;
    // Another engine has no policies.
    let paths: Vec<PolicyPath> = match client.call("GET", "/teu/paths", None) {
        Err(error) if error.status() == Some(404) => Vec::new(),
        result => result?,
    };
    let branches = branches(&networks, &containers, &paths);
    match given.get("svg") {
        Some(path) => {
            std::fs::write(path, draw(&branches)).map_err(|error| Failure::new(format!("cannot write {path}: {error}")))?;
        }
        None => printer::line(tree(&branches).trim_end()),
    }
    Ok(0)
}

fn branches(networks: &[Value], containers: &[Value], paths: &[PolicyPath]) -> Vec<Branch> {
    let mut networks: Vec<&Value> = networks.iter().collect();
    networks.sort_by_key(|network| field(network, "Name"));
    let branch = |network: &&Value| {
        let name = field(network, "Name");
        let subnets: Vec<&str> = items(&network["IPAM"], "Config").map(|pool| field(pool, "Subnet")).collect();
        let mut title = format!("{name} ({})", [vec![field(network, "Driver")], subnets].concat().join(", "));
        if network["Internal"] == true {
            title.push_str(" internal");
        }
        let leaves = containers.iter().filter_map(|container| leaf(name, container, paths)).collect();
        Branch { title, leaves }
    };
    networks.iter().map(branch).collect()
}

/// A container in a network: its name, its addresses, what is published of it.
fn leaf(network: &str, container: &Value, paths: &[PolicyPath]) -> Option<Leaf> {
    let endpoint = container["NetworkSettings"]["Networks"].get(network)?;
    let name = items(container, "Names").next().and_then(Value::as_str).unwrap_or_default();
    let name = name.trim_start_matches('/');
    let mut text = name.to_owned();
    for address in ["IPAddress", "GlobalIPv6Address"] {
        let address = field(endpoint, address);
        if !address.is_empty() {
            let _ = write!(text, " {address}");
        }
    }
    let state = field(container, "State");
    if state != "running" {
        let _ = write!(text, " [{state}]");
    }
    for port in items(container, "Ports").filter(|port| port["PublicPort"].as_u64().is_some_and(|port| port > 0)) {
        let host = field(port, "IP");
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let _ = write!(text, "  {host}:{}->{}/{}", port["PublicPort"], port["PrivatePort"], field(port, "Type"));
    }
    let here: Vec<&PolicyPath> = paths.iter().filter(|path| path.network == network).collect();
    let is_open = here.iter().all(|path| path.ports == ["all"]);
    let mine = here.iter().filter(|path| !is_open && path.from == name);
    let reaches = mine.map(|path| {
        let ports = if path.ports.is_empty() { "nothing".to_owned() } else { path.ports.join(" ") };
        format!("-> {}: {ports}", path.to)
    });
    Some(Leaf { text, reaches: reaches.collect() })
}

fn tree(branches: &[Branch]) -> String {
    let mut text = String::new();
    for branch in branches {
        let _ = writeln!(text, "{}", branch.title);
        for (place, leaf) in branch.leaves.iter().enumerate() {
            let sign = if place + 1 == branch.leaves.len() { "└─" } else { "├─" };
            let _ = writeln!(text, "{sign} {}", leaf.text);
            let bar = if place + 1 == branch.leaves.len() { " " } else { "│" };
            leaf.reaches.iter().for_each(|reach| text.push_str(&format!("{bar}    {reach}\n")));
        }
    }
    text
}

/// Draws a box for each network with its containers in it.
fn draw(branches: &[Branch]) -> String {
    let mut body = String::new();
    let mut top = 10;
    for branch in branches {
        let rows: Vec<(usize, &str)> = branch.leaves.iter().flat_map(rows).collect();
        let height = (rows.len() + 1) * ROW + 14;
        let _ =
            writeln!(body, r##"<rect x="10" y="{top}" width="{}" height="{height}" rx="6" fill="#f4f8fb" stroke="#4a7fa5"/>"##, WIDTH - 20);
        let _ = writeln!(body, r#"<text x="22" y="{}" font-weight="bold">{}</text>"#, top + ROW, escape(&branch.title));
        for (place, (left, text)) in rows.iter().enumerate() {
            let _ = writeln!(body, r#"<text x="{left}" y="{}">{}</text>"#, top + (place + 2) * ROW, escape(text));
        }
        top += height + 10;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{top}\" font-family=\"monospace\" font-size=\"14\">\n{body}</svg>\n"
    )
}

/// The lines of a container in a drawing, each with the point where it begins.
fn rows(leaf: &Leaf) -> impl Iterator<Item = (usize, &str)> {
    std::iter::once((40, leaf.text.as_str())).chain(leaf.reaches.iter().map(|reach| (70, reach.as_str())))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn example() -> Vec<Branch> {
        let networks = [
            json!({"Name": "shop", "Driver": "bridge", "Internal": true, "IPAM": {"Config": [{"Subnet": "10.0.0.0/24"}]}}),
            json!({"Name": "host", "Driver": "host", "IPAM": {"Config": null}}),
        ];
        let containers = [
            json!({"Names": ["/web"], "State": "running", "NetworkSettings": {"Networks": {"shop": {"IPAddress": "10.0.0.2"}}},
                "Ports": [{"IP": "::", "PublicPort": 8080, "PrivatePort": 80, "Type": "tcp"}, {"PrivatePort": 81, "Type": "tcp"}]}),
            json!({"Names": ["/db"], "State": "exited", "NetworkSettings": {"Networks": {"shop": {"IPAddress": ""}}}, "Ports": []}),
        ];
        let path = |from: &str, to: &str, ports: &[&str]| PolicyPath {
            network: "shop".to_owned(),
            from: from.to_owned(),
            to: to.to_owned(),
            ports: ports.iter().map(ToString::to_string).collect(),
        };
        branches(&networks, &containers, &[path("web", "db", &["5432/tcp"]), path("db", "web", &[])])
    }

    #[test]
    fn networks_are_shown_with_their_containers() {
        let wanted = "host (host)\nshop (bridge, 10.0.0.0/24) internal\n├─ web 10.0.0.2  [::]:8080->80/tcp\n│    -> db: 5432/tcp\n└─ db [exited]\n     -> web: nothing\n";
        assert_eq!(tree(&example()), wanted);
    }

    #[test]
    fn a_drawing_holds_the_same() {
        let drawing = draw(&example());
        assert!(drawing.starts_with("<svg ") && drawing.ends_with("</svg>\n"));
        assert!(drawing.contains("web 10.0.0.2  [::]:8080-&gt;80/tcp"), "{drawing}");
    }
}
