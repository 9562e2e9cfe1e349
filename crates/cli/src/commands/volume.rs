//! Volumes.

use docker_api::client::{escape, query};
use serde_json::{Value, json};

use super::{Entry, confirm, create_body, each, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, list, text, yes};
use crate::json::{items, text as field};
use crate::{human, output, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: Command {
            words: "volume create",
            usage: "volume create [OPTIONS] [VOLUME]",
            about: "Create a volume",
            least: 0,
            most: 1,
            strict: false,
            flags: &[
                text("driver", 'd', "Specify volume driver name"),
                list("label", '\0', "Set metadata for a volume"),
                text("name", '\0', "Specify volume name"),
                list("opt", 'o', "Set driver specific options"),
            ],
        },
        act: create,
    },
    Entry {
        command: Command {
            words: "volume ls",
            usage: "volume ls [OPTIONS]",
            about: "List volumes",
            least: 0,
            most: 0,
            strict: false,
            flags: &[
                list("filter", 'f', "Provide filter values (e.g. \"dangling=true\")"),
                text("format", '\0', "Format output using a custom template"),
                yes("quiet", 'q', "Only display volume names"),
            ],
        },
        act: ls,
    },
    Entry {
        command: Command {
            words: "volume rm",
            usage: "volume rm [OPTIONS] VOLUME [VOLUME...]",
            about: "Remove one or more volumes",
            least: 1,
            most: usize::MAX,
            strict: false,
            flags: &[yes("force", 'f', "Force the removal of one or more volumes")],
        },
        act: |context, _, given| {
            let mut client = context.client()?;
            let query = query(&[("force", given.on("force").then_some("1"))]);
            each(&given.args, |name| {
                client.call::<Value>("DELETE", &format!("/volumes/{}{query}", escape(name)), None)?;
                Ok(Some(name.to_owned()))
            })
        },
    },
    Entry {
        command: Command {
            words: "volume prune",
            usage: "volume prune [OPTIONS]",
            about: "Remove unused local volumes",
            least: 0,
            most: 0,
            strict: false,
            flags: &[
                yes("all", 'a', "Remove all unused volumes, not just anonymous ones"),
                list("filter", '\0', "Provide filter values (e.g. \"label=<label>\")"),
                yes("force", 'f', "Do not prompt for confirmation"),
            ],
        },
        act: prune,
    },
];

fn create(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = match (given.args.first(), given.get("name")) {
        (Some(_), Some(_)) => {
            return Err(Failure::new("conflicting options: cannot specify a volume name through both --name and as a positional arg"));
        }
        (name, flag) => name.map(String::as_str).or(flag).unwrap_or_default(),
    };
    let body = json!({"Name": name, "Driver": given.get("driver").unwrap_or("local"), "DriverOpts": create_body::labels(given.all("opt"), &[])?, "Labels": create_body::labels(given.all("label"), &[])?});
    let mut client = context.client()?;
    let created: Value = client.call("POST", "/volumes/create", Some(&body))?;
    let asked = body["DriverOpts"].as_object().filter(|options| !options.is_empty());
    if asked.is_some() && asked != created["Options"].as_object() {
        printer::error(&format!("WARNING: volume {} exists already with other options, which stay as they are", field(&created, "Name")));
    }
    printer::line(field(&created, "Name"));
    Ok(0)
}

fn ls(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let filters = filters(given)?;
    let found: Value = client.call("GET", &format!("/volumes{}", query(&[("filters", filters.as_deref())])), None)?;
    for warning in items(&found, "Warnings").filter_map(Value::as_str) {
        printer::error(&format!("WARNING: {warning}"));
    }
    let mut volumes: Vec<&Value> = items(&found, "Volumes").collect();
    volumes.sort_by_key(|volume| field(volume, "Name"));
    let row = |volume: &Value| {
        let mut row = json!({"Labels": output::pairs(&volume["Labels"]), "Links": "N/A", "Size": "N/A", "Availability": "N/A", "Group": "N/A", "Status": "N/A"});
        for name in ["Driver", "Name", "Mountpoint", "Scope"] {
            row[name] = field(volume, name).into();
        }
        row
    };
    let rows: Vec<Value> = volumes.into_iter().map(row).collect();
    let format = output::format(given, "volumesFormat");
    output::List {
        kind: "*formatter.volumeContext",
        format: format.as_deref(),
        whole: false,
        columns: &[("Driver", "DRIVER"), ("Name", "VOLUME NAME")],
        headings: &[
            ("Mountpoint", "MOUNTPOINT"),
            ("Scope", "SCOPE"),
            ("Labels", "LABELS"),
            ("Links", "LINKS"),
            ("Size", "SIZE"),
            ("Availability", "AVAILABILITY"),
            ("Group", "GROUP"),
            ("Status", "STATUS"),
        ],
        raw: &[("Name", "name"), ("Driver", "driver")],
        quiet: given.on("quiet").then_some("Name"),
    }
    .print(&rows)?;
    Ok(0)
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let question = if given.on("all") {
        "WARNING! This will remove all local volumes not used by at least one container.\nAre you sure you want to continue?"
    } else {
        "WARNING! This will remove anonymous local volumes not used by at least one container.\nAre you sure you want to continue?"
    };
    if !given.on("force") && !confirm(question)? {
        return Ok(0);
    }
    let mut client = context.client()?;
    let mut filters: Value = filters(given)?.map_or(json!({}), |text| serde_json::from_str(&text).unwrap_or_default());
    if given.on("all") {
        filters["all"]["true"] = true.into();
    }
    let report: Value = client.call("POST", &format!("/volumes/prune{}", query(&[("filters", Some(&filters.to_string()))])), None)?;
    let names: Vec<&str> = items(&report, "VolumesDeleted").filter_map(Value::as_str).collect();
    if !names.is_empty() {
        printer::line(&format!("Deleted Volumes:\n{}\n", names.join("\n")));
    }
    printer::line(&format!(
        "Total reclaimed space: {}",
        human::size(report.get("SpaceReclaimed").and_then(Value::as_f64).unwrap_or_default())
    ));
    Ok(0)
}
