//! `system df` and `system prune`.
//! **Source:** docker/cli, `cli/command/formatter/disk_usage.go`, `cli/command/system/prune.go`.

use docker_api::client::query;
use serde_json::{Map, Value, json};

use super::{Entry, confirm};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{items, number, short, text as field};
use crate::{human, output, printer, table};

pub(super) const ENTRIES: &[Entry] =
    &[Entry { command: described("system df"), act: usage }, Entry { command: described("system prune"), act: prune }];

fn size(bytes: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
    human::size(bytes.max(0) as f64)
}

fn usage(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let usage: Value = context.client()?.call("GET", "/system/df", None)?;
    if given.on("verbose") {
        return verbose(&usage, given.get("format"));
    }
    output::List {
        kind: "*formatter.diskUsageImagesContext",
        format: given.get("format"),
        whole: true,
        columns: &[("Type", "TYPE"), ("TotalCount", "TOTAL"), ("Active", "ACTIVE"), ("Size", "SIZE"), ("Reclaimable", "RECLAIMABLE")],
        headings: &[],
        raw: &[("Type", "type"), ("TotalCount", "total"), ("Active", "active"), ("Size", "size"), ("Reclaimable", "reclaimable")],
        quiet: None,
    }
    .print(&summary(&usage))?;
    Ok(0)
}

/// A kind of things and what it takes.
struct Kind {
    name: &'static str,
    count: usize,
    active: usize,
    total: i64,
    free: i64,
    /// Whether the part that could be freed is shown in percent.
    percent: bool,
}

impl Kind {
    fn row(&self) -> Value {
        let share = if self.percent && self.total > 0 { format!(" ({}%)", self.free * 100 / self.total) } else { String::new() };
        json!({
            "Type": self.name,
            "TotalCount": self.count.to_string(),
            "Active": self.active.to_string(),
            "Size": size(self.total),
            "Reclaimable": format!("{}{share}", size(self.free)),
        })
    }
}

fn volume(item: &Value, name: &str) -> i64 {
    item.pointer(&format!("/UsageData/{name}")).and_then(Value::as_i64).unwrap_or_default()
}

fn summary(usage: &Value) -> Vec<Value> {
    let count = |list: &str| items(usage, list).count();
    let alive = |item: &&Value| ["running", "paused", "restarting"].contains(&field(item, "State"));
    let layers = number(usage, "LayersSize");
    let held = items(usage, "Images")
        .filter(|item| number(item, "Containers") != 0 && number(item, "Size") != -1 && number(item, "SharedSize") != -1)
        .map(|item| number(item, "Size") - number(item, "SharedSize"));
    let written = |item: &Value| number(item, "SizeRw");
    let kept = |item: &&Value| volume(item, "RefCount") > 0;
    let bytes = |item: &Value| volume(item, "Size").max(0);
    let cached = |item: &&Value| item.get("InUse").and_then(Value::as_bool).unwrap_or_default();
    let kind = |name, count, active, (total, free), percent| Kind { name, count, active, total, free, percent };
    [
        kind(
            "Images",
            count("Images"),
            items(usage, "Images").filter(|item| number(item, "Containers") > 0).count(),
            (layers, layers - held.sum::<i64>()),
            true,
        ),
        kind(
            "Containers",
            count("Containers"),
            items(usage, "Containers").filter(alive).count(),
            (items(usage, "Containers").map(written).sum(), items(usage, "Containers").filter(|item| !alive(item)).map(written).sum()),
            true,
        ),
        kind(
            "Local Volumes",
            count("Volumes"),
            items(usage, "Volumes").filter(kept).count(),
            (items(usage, "Volumes").map(bytes).sum(), items(usage, "Volumes").filter(|item| !kept(item)).map(bytes).sum()),
            true,
        ),
        kind(
            "Build Cache",
            count("BuildCache"),
            items(usage, "BuildCache").filter(cached).count(),
            (
                items(usage, "BuildCache").map(|item| number(item, "Size")).sum(),
                items(usage, "BuildCache").filter(|item| !cached(item)).map(|item| number(item, "Size")).sum(),
            ),
            false,
        ),
    ]
    .iter()
    .map(Kind::row)
    .collect()
}

fn images(usage: &Value) -> Vec<Value> {
    let row = |image: &Value, reference: &str| {
        let (repository, tag) = reference.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((reference, "<none>"));
        let (whole, shared) = (number(image, "Size"), number(image, "SharedSize").max(0));
        #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
        let rounded = human::size_short(whole as f64);
        json!({
            "Repository": repository, "Tag": tag, "ID": short(field(image, "Id")), "CreatedSince": human::ago(number(image, "Created")),
            "Size": rounded, "SharedSize": size(shared), "UniqueSize": size(whole - shared),
            "Containers": number(image, "Containers").max(0).to_string(),
        })
    };
    let mut rows = Vec::new();
    for image in items(usage, "Images") {
        let names: Vec<&str> = items(image, "RepoTags").filter_map(Value::as_str).filter(|name| *name != "<none>:<none>").collect();
        if names.is_empty() {
            rows.push(row(image, "<none>:<none>"));
        }
        rows.extend(names.iter().map(|name| row(image, name)));
    }
    rows
}

fn containers(usage: &Value) -> Vec<Value> {
    let row = |container: &Value| {
        let names: Vec<&str> = items(container, "Names").filter_map(Value::as_str).map(|name| name.trim_start_matches('/')).collect();
        let command = field(container, "Command");
        let command =
            if command.chars().count() > 20 { format!("{}…", command.chars().take(19).collect::<String>()) } else { command.to_owned() };
        let local = items(container, "Mounts").filter(|mount| field(mount, "Driver") == "local").count();
        json!({
            "ID": short(field(container, "Id")), "Image": field(container, "Image"), "Command": format!("\"{command}\""),
            "LocalVolumes": local.to_string(), "Size": size(number(container, "SizeRw")),
            "RunningFor": human::ago(number(container, "Created")), "Status": field(container, "Status"), "Names": names.join(","),
        })
    };
    items(usage, "Containers").map(row).collect()
}

fn volumes(usage: &Value) -> Vec<Value> {
    let row = |item: &Value| {
        let (links, bytes) = (volume(item, "RefCount"), volume(item, "Size"));
        let shown = if bytes < 0 { "N/A".to_owned() } else { size(bytes) };
        json!({"Name": field(item, "Name"), "Links": if links < 0 { "N/A".to_owned() } else { links.to_string() }, "Size": shown})
    };
    items(usage, "Volumes").map(row).collect()
}

fn caches(usage: &Value) -> Vec<Value> {
    let row = |item: &Value| {
        let time = |name: &str| item.get(name).and_then(Value::as_str).and_then(human::parse_time).map(human::ago).unwrap_or_default();
        json!({
            "ID": short(field(item, "ID")), "CacheType": field(item, "Type"), "Size": size(number(item, "Size")),
            "CreatedSince": time("CreatedAt"), "LastUsedSince": time("LastUsedAt"), "UsageCount": number(item, "UsageCount").to_string(),
            "Shared": item.get("Shared").and_then(Value::as_bool).unwrap_or_default().to_string(),
        })
    };
    items(usage, "BuildCache").map(row).collect()
}

/// Every thing by itself.
fn verbose(usage: &Value, format: Option<&str>) -> Outcome<u8> {
    let (images, containers, volumes, caches) = (images(usage), containers(usage), volumes(usage), caches(usage));
    if let Some(format) = format.filter(|format| !format.is_empty() && !format.starts_with("table")) {
        let all = json!({"Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": caches});
        output::object(Some(format), &all)?;
        return Ok(0);
    }
    let table = |rows: &[Value], columns: &[(&str, &str)]| {
        let mut lines = vec![columns.iter().map(|(_, heading)| (*heading).to_owned()).collect::<Vec<_>>()];
        lines.extend(rows.iter().map(|row| columns.iter().map(|(name, _)| field(row, name).to_owned()).collect()));
        table::layout(&lines)
    };
    let cached = size(items(usage, "BuildCache").map(|item| number(item, "Size")).sum());
    let text = [
        "Images space usage:\n\n".to_owned(),
        table(
            &images,
            &[
                ("Repository", "REPOSITORY"),
                ("Tag", "TAG"),
                ("ID", "IMAGE ID"),
                ("CreatedSince", "CREATED"),
                ("Size", "SIZE"),
                ("SharedSize", "SHARED SIZE"),
                ("UniqueSize", "UNIQUE SIZE"),
                ("Containers", "CONTAINERS"),
            ],
        ),
        "\nContainers space usage:\n\n".to_owned(),
        table(
            &containers,
            &[
                ("ID", "CONTAINER ID"),
                ("Image", "IMAGE"),
                ("Command", "COMMAND"),
                ("LocalVolumes", "LOCAL VOLUMES"),
                ("Size", "SIZE"),
                ("RunningFor", "CREATED"),
                ("Status", "STATUS"),
                ("Names", "NAMES"),
            ],
        ),
        "\nLocal Volumes space usage:\n\n".to_owned(),
        table(&volumes, &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")]),
        format!("\nBuild cache usage: {cached}\n\n"),
        table(
            &caches,
            &[
                ("ID", "CACHE ID"),
                ("CacheType", "CACHE TYPE"),
                ("Size", "SIZE"),
                ("CreatedSince", "CREATED"),
                ("LastUsedSince", "LAST USED"),
                ("UsageCount", "USAGE"),
                ("Shared", "SHARED"),
            ],
        ),
    ];
    printer::raw(text.concat().as_bytes());
    Ok(0)
}

/// The question before everything unused is removed.
fn question(given: &Given) -> String {
    let mut removed = vec!["all stopped containers", "all networks not used by at least one container"];
    if given.on("volumes") {
        removed.push("all anonymous volumes not used by at least one container");
    }
    if given.on("all") {
        removed.extend(["all images without at least one container associated to them", "all build cache"]);
    } else {
        removed.extend(["all dangling images", "unused build cache"]);
    }
    let list = |words: &mut dyn Iterator<Item = &str>| words.map(|word| format!("  - {word}\n")).collect::<String>();
    let mut text = format!("WARNING! This will remove:\n{}", list(&mut removed.into_iter()));
    let filters = given.all("filter");
    if !filters.is_empty() {
        text.push_str(&format!("\n  Items to be pruned will be filtered with:\n{}", list(&mut filters.iter().map(String::as_str))));
    }
    text.push_str("\nAre you sure you want to continue?");
    text
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut filters = Map::new();
    for filter in given.all("filter") {
        let (name, value) = filter.split_once('=').ok_or_else(|| Failure::new(format!("invalid filter '{filter}'")))?;
        if name == "until" && given.on("volumes") {
            return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
        }
        filters.entry(name.to_owned()).or_insert_with(|| json!({}))[value] = true.into();
    }
    if !given.on("force") && !confirm(&question(given))? {
        return Ok(0);
    }
    let mut client = context.client()?;
    let mut kinds = vec![("Containers", "/containers/prune"), ("Networks", "/networks/prune")];
    if given.on("volumes") {
        kinds.push(("Volumes", "/volumes/prune"));
    }
    kinds.push(("Images", "/images/prune"));
    let mut reclaimed = 0.0;
    for (kind, path) in kinds {
        let mut own = filters.clone();
        if kind == "Images" {
            own.insert("dangling".to_owned(), json!({if given.on("all") { "false" } else { "true" }: true}));
        }
        let own = (!own.is_empty()).then(|| Value::Object(own).to_string());
        let report: Value = client.call("POST", &format!("{path}{}", query(&[("filters", own.as_deref())])), None)?;
        reclaimed += report.get("SpaceReclaimed").and_then(Value::as_f64).unwrap_or_default();
        let name = |item: &Value| match (item.as_str(), field(item, "Untagged"), field(item, "Deleted")) {
            (Some(name), ..) => format!("{name}\n"),
            (None, "", deleted) => format!("deleted: {deleted}\n"),
            (None, untagged, _) => format!("untagged: {untagged}\n"),
        };
        let names: String = items(&report, &format!("{kind}Deleted")).map(name).collect();
        if !names.is_empty() {
            printer::line(&format!("Deleted {kind}:\n{names}"));
        }
    }
    let all = given.on("all").then_some("1");
    // An engine that does not build has no cache to clear.
    if let Ok(report) = client.call::<Value>("POST", &format!("/build/prune{}", query(&[("all", all)])), None) {
        reclaimed += report.get("SpaceReclaimed").and_then(Value::as_f64).unwrap_or_default();
        let names: String = items(&report, "CachesDeleted").filter_map(Value::as_str).map(|name| format!("{name}\n")).collect();
        if !names.is_empty() {
            printer::line(&format!("Deleted build cache objects:\n{names}"));
        }
    }
    printer::line(&format!("Total reclaimed space: {}", human::size(reclaimed)));
    Ok(0)
}
