//! Networks.

use std::net::IpAddr;

use docker_api::client::{escape, query};
use serde_json::{Map, Value, json};

use super::{Entry, confirm, create_body, each, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, list, text, yes};
use crate::json::{items, short, text as field};
use crate::{human, output, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: Command {
            words: "network create",
            usage: "network create [OPTIONS] NETWORK",
            about: "Create a network",
            least: 1,
            most: 1,
            strict: false,
            flags: &[
                yes("attachable", '\0', "Enable manual container attachment"),
                list("aux-address", '\0', "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
                text("driver", 'd', "Driver to manage the Network"),
                list("gateway", '\0', "IPv4 or IPv6 Gateway for the master subnet"),
                yes("ingress", '\0', "Create swarm routing-mesh network"),
                yes("internal", '\0', "Restrict external access to the network"),
                list("ip-range", '\0', "Allocate container ip from a sub-range"),
                text("ipam-driver", '\0', "IP Address Management Driver"),
                list("ipam-opt", '\0', "Set IPAM driver specific options"),
                yes("ipv4", '\0', "Enable or disable IPv4 address assignment"),
                yes("ipv6", '\0', "Enable or disable IPv6 address assignment"),
                list("label", '\0', "Set metadata on a network"),
                list("opt", 'o', "Set driver specific options"),
                text("scope", '\0', "Control the network's scope"),
                list("subnet", '\0', "Subnet in CIDR format that represents a network segment"),
            ],
        },
        act: create,
    },
    Entry {
        command: Command {
            words: "network ls",
            usage: "network ls [OPTIONS]",
            about: "List networks",
            least: 0,
            most: 0,
            strict: false,
            flags: &[
                list("filter", 'f', "Provide filter values (e.g. \"driver=bridge\")"),
                text("format", '\0', "Format output using a custom template"),
                yes("no-trunc", '\0', "Do not truncate the output"),
                yes("quiet", 'q', "Only display network IDs"),
            ],
        },
        act: ls,
    },
    Entry {
        command: Command {
            words: "network rm",
            usage: "network rm NETWORK [NETWORK...]",
            about: "Remove one or more networks",
            least: 1,
            most: usize::MAX,
            strict: false,
            flags: &[yes("force", 'f', "Do not error if the network does not exist")],
        },
        act: |context, _, given| {
            let mut client = context.client()?;
            each(&given.args, |name| match client.call::<Value>("DELETE", &format!("/networks/{}", escape(name)), None) {
                Err(error) if given.on("force") && error.status() == Some(404) => Ok(None),
                result => {
                    result?;
                    Ok(Some(name.to_owned()))
                }
            })
            .map_err(|failure| Failure::new(format!("{}\nexit status 1", failure.text("").unwrap_or_default())))
        },
    },
    Entry {
        command: Command {
            words: "network connect",
            usage: "network connect [OPTIONS] NETWORK CONTAINER",
            about: "Connect a container to a network",
            least: 2,
            most: 2,
            strict: false,
            flags: &[
                list("alias", '\0', "Add network-scoped alias for the container"),
                list("driver-opt", '\0', "driver options for the network"),
                text("ip", '\0', "IPv4 address"),
                text("ip6", '\0', "IPv6 address"),
                list("link", '\0', "Add link to another container"),
                list("link-local-ip", '\0', "Add a link-local address for the container"),
                text("gw-priority", '\0', "Highest gw-priority provides the default gateway"),
            ],
        },
        act: connect,
    },
    Entry {
        command: Command {
            words: "network disconnect",
            usage: "network disconnect [OPTIONS] NETWORK CONTAINER",
            about: "Disconnect a container from a network",
            least: 2,
            most: 2,
            strict: false,
            flags: &[yes("force", 'f', "Force the container to disconnect from a network")],
        },
        act: |context, _, given| {
            let body = json!({"Container": given.args[1], "Force": given.on("force")});
            context.client()?.call::<Value>("POST", &format!("/networks/{}/disconnect", escape(&given.args[0])), Some(&body))?;
            Ok(0)
        },
    },
    Entry {
        command: Command {
            words: "network prune",
            usage: "network prune [OPTIONS]",
            about: "Remove all unused networks",
            least: 0,
            most: 0,
            strict: false,
            flags: &[
                list("filter", '\0', "Provide filter values (e.g. \"until=<timestamp>\")"),
                yes("force", 'f', "Do not prompt for confirmation"),
            ],
        },
        act: prune,
    },
    Entry {
        command: Command {
            words: "network map",
            usage: "network map [OPTIONS]",
            about: "Show networks, their containers and published ports as a tree",
            least: 0,
            most: 0,
            strict: false,
            flags: &[text("svg", '\0', "Write a drawing to this file instead")],
        },
        act: super::network_map::map,
    },
];

fn create(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let pools = pools(given)?;
    let mut body = json!({
        "Name": given.args[0],
        "Driver": given.get("driver").unwrap_or("bridge"),
        "Internal": given.on("internal"),
        "Attachable": given.on("attachable"),
        "IPAM": {"Driver": given.get("ipam-driver").unwrap_or("default"), "Options": create_body::labels(given.all("ipam-opt"), &[])?, "Config": pools},
        "Options": create_body::labels(given.all("opt"), &[])?,
        "Labels": create_body::labels(given.all("label"), &[])?,
    });
    for (field, flag) in [("EnableIPv4", "ipv4"), ("EnableIPv6", "ipv6")] {
        if given.has(flag) {
            body[field] = given.on(flag).into();
        }
    }
    let created: Value = context.client()?.call("POST", "/networks/create", Some(&body))?;
    printer::line(field(&created, "Id"));
    Ok(0)
}

/// Joins each gateway, range and auxiliary address with the subnet that it lies in.
///
/// **Source:** docker/cli, `network/create.go`, `createIPAMConfig`.
fn pools(given: &Given) -> Outcome<Vec<Value>> {
    let subnets = given.all("subnet");
    let mut pools: Vec<Map<String, Value>> = Vec::new();
    for subnet in subnets {
        pools.push(Map::from_iter([("Subnet".to_owned(), subnet.as_str().into())]));
    }
    let find = |address: &str| {
        let (address, _) = address.split_once('/').unwrap_or((address, ""));
        subnets.iter().position(|subnet| lies_in(address, subnet))
    };
    for (field, flag, what) in [("IPRange", "ip-range", "range"), ("Gateway", "gateway", "gateway")] {
        for value in given.all(flag) {
            let place = find(value).ok_or_else(|| Failure::new(format!("no matching subnet for {what} {value}")))?;
            if pools[place].insert(field.into(), value.as_str().into()).is_some() {
                return Err(Failure::new(format!("cannot configure multiple {what}s ({value}) on the same subnet ({})", subnets[place])));
            }
        }
    }
    for pair in given.all("aux-address") {
        let (name, address) = pair.split_once('=').unwrap_or((pair, ""));
        let place = find(address).ok_or_else(|| Failure::new(format!("no matching subnet for aux-address {address}")))?;
        let slot = pools[place].entry("AuxiliaryAddresses").or_insert_with(|| json!({}));
        slot[name] = address.into();
    }
    Ok(pools.into_iter().map(Value::Object).collect())
}

fn lies_in(address: &str, subnet: &str) -> bool {
    let number = |text: &str| match text.parse() {
        Ok(IpAddr::V4(address)) => Some((u128::from(u32::from(address)) << 96, true)),
        Ok(IpAddr::V6(address)) => Some((u128::from(address), false)),
        Err(_) => None,
    };
    let parts = || {
        let (base, prefix) = subnet.split_once('/')?;
        Some((number(address)?, number(base)?, prefix.parse::<u32>().ok()?))
    };
    parts().is_some_and(|((address, four), (base, base_four), prefix)| {
        let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
        four == base_four && address & mask == base & mask
    })
}

fn ls(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let filters = filters(given)?;
    let mut found: Vec<Value> = client.call("GET", &format!("/networks{}", query(&[("filters", filters.as_deref())])), None)?;
    found.sort_by(|a, b| field(a, "Name").cmp(field(b, "Name")));
    let rows: Vec<Value> = found
        .iter()
        .map(|network| {
            let id = field(network, "Id");
            json!({"ID": if given.on("no-trunc") { id.to_owned() } else { short(id) }, "Name": field(network, "Name"), "Driver": field(network, "Driver"), "Scope": field(network, "Scope"), "Internal": network["Internal"].to_string(), "IPv6": network["EnableIPv6"].to_string(), "IPv4": network.get("EnableIPv4").and_then(Value::as_bool).unwrap_or(true).to_string(), "Labels": output::pairs(&network["Labels"]), "CreatedAt": human::go_time(field(network, "Created"))})
        })
        .collect();
    let format = output::format(given, "networksFormat");
    output::List {
        kind: "*network.networkContext",
        format: format.as_deref(),
        whole: given.on("no-trunc"),
        columns: &[("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER"), ("Scope", "SCOPE")],
        headings: &[("IPv4", "IPV4"), ("IPv6", "IPV6"), ("Internal", "INTERNAL"), ("Labels", "LABELS"), ("CreatedAt", "CREATED AT")],
        raw: &[("ID", "network_id"), ("Name", "name"), ("Driver", "driver"), ("Scope", "scope")],
        quiet: given.on("quiet").then_some("ID"),
    }
    .print(&rows)?;
    Ok(0)
}

fn connect(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut ipam = Map::new();
    for (field, flag) in [("IPv4Address", "ip"), ("IPv6Address", "ip6")] {
        if let Some(address) = given.get(flag) {
            ipam.insert(field.into(), address.into());
        }
    }
    if !given.all("link-local-ip").is_empty() {
        ipam.insert("LinkLocalIPs".into(), json!(given.all("link-local-ip")));
    }
    let endpoint = json!({"IPAMConfig": ipam, "Aliases": given.all("alias"), "Links": given.all("link"), "DriverOpts": create_body::labels(given.all("driver-opt"), &[])?, "GwPriority": given.number("gw-priority")?.unwrap_or_default()});
    let body = json!({"Container": given.args[1], "EndpointConfig": endpoint});
    context.client()?.call::<Value>("POST", &format!("/networks/{}/connect", escape(&given.args[0])), Some(&body))?;
    Ok(0)
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    if !given.on("force")
        && !confirm(
            "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue?",
        )?
    {
        return Ok(0);
    }
    let filters = filters(given)?;
    let report: Value = context.client()?.call("POST", &format!("/networks/prune{}", query(&[("filters", filters.as_deref())])), None)?;
    let names: Vec<&str> = items(&report, "NetworksDeleted").filter_map(Value::as_str).collect();
    if !names.is_empty() {
        printer::line(&format!("Deleted Networks:\n{}\n", names.join("\n")));
    }
    Ok(0)
}
