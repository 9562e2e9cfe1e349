//! Images.

use docker_api::client::{escape, query};
use serde_json::{Value, json};

use super::archives::{platform_of, read_json};
use super::{Entry, confirm, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{items, number, short, text as field};
use crate::output::{self, Column, List};
use crate::{human, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("images"), act: images },
    Entry { command: described("rmi"), act: remove },
    Entry { command: described("tag"), act: tag },
    Entry { command: described("history"), act: history },
    Entry { command: described("image prune"), act: prune },
];

/// A reference as a path: its slashes stay.
fn path_of(reference: &str) -> String {
    reference.split('/').map(escape).collect::<Vec<_>>().join("/")
}

/// Repository and tag.
pub(super) fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

/// Repository and tag of a name that is checked before anything is sent.
pub(super) fn reference(name: &str) -> Outcome<(String, String)> {
    crate::reference::check(name).map_err(Failure::new)?;
    let (repository, tag) = split(name);
    Ok((repository.to_owned(), tag.to_owned()))
}

#[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
fn size_short(value: &Value, name: &str) -> String {
    human::size_short(number(value, name) as f64)
}

fn size(value: &Value, name: &str) -> String {
    human::size(number(value, name) as f64)
}

/// Headings of fields that the plain table of images lacks.
const HEADINGS: &[Column] = &[
    ("CreatedAt", "CREATED AT"),
    ("Digest", "DIGEST"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];

fn images(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let mut filters: Value = filters(given)?.map_or(json!({}), |text| serde_json::from_str(&text).unwrap_or_default());
    if given.on("tree") && (given.on("quiet") || given.on("no-trunc") || given.on("digests") || given.has("format")) {
        return Err(Failure::new("--tree cannot be joined with --quiet, --no-trunc, --digests or --format"));
    }
    if let Some(reference) = given.args.first() {
        filters["reference"][reference.as_str()] = true.into();
    }
    let filters = filters.as_object().is_some_and(|filters| !filters.is_empty()).then(|| filters.to_string());
    let pairs = [("all", given.on("all").then_some("1")), ("filters", filters.as_deref()), ("manifests", given.on("tree").then_some("1"))];
    let answer = client.stream("GET", &format!("/images/json{}", query(&pairs)), None)?;
    if let Some(damaged) = answer.header("teu-damaged") {
        printer::error(&format!("WARNING: damaged records were set aside, their images are not shown: {damaged}"));
    }
    let found = read_json(answer)?;
    let found = found.as_array().map(Vec::as_slice).unwrap_or_default();
    if given.on("tree") {
        tree(found);
        return Ok(0);
    }
    let whole = given.on("no-trunc");
    let mut rows = Vec::new();
    for image in found {
        let id = field(image, "Id");
        let id = if whole { id.to_owned() } else { short(id) };
        let created = number(image, "Created");
        let digest = items(image, "RepoDigests")
            .filter_map(Value::as_str)
            .find_map(|digest| digest.split_once('@'))
            .map_or("<none>", |(_, digest)| digest);
        let mut tags: Vec<&str> = items(image, "RepoTags").filter_map(Value::as_str).collect();
        if tags.is_empty() {
            tags.push("<none>:<none>");
        }
        for tag in tags {
            let (repository, tag) = split(tag);
            rows.push(json!({
                "Repository": repository,
                "Tag": tag,
                "Digest": digest,
                "ID": id,
                "CreatedSince": human::ago(created),
                "CreatedAt": day(created),
                "Size": size_short(image, "Size"),
                "VirtualSize": size(image, "Size"),
                "SharedSize": "N/A",
                "UniqueSize": "N/A",
                "Containers": "N/A",
            }));
        }
    }
    let quiet = given.on("quiet").then_some("ID");
    let format = output::format(given, "imagesFormat");
    if quiet.is_some() && matches!(format.as_deref(), None | Some("table" | "raw")) {
        // An image with several names counts once.
        let mut seen = std::collections::BTreeSet::new();
        rows.retain(|row| seen.insert(field(row, "ID").to_owned()));
    }
    let mut columns: Vec<Column> =
        vec![("Repository", "REPOSITORY"), ("Tag", "TAG"), ("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("Size", "SIZE")];
    let mut raw =
        vec![("Repository", "repository"), ("Tag", "tag"), ("ID", "image_id"), ("CreatedAt", "created_at"), ("Size", "virtual_size")];
    if given.on("digests") {
        columns.insert(2, ("Digest", "DIGEST"));
        raw.insert(2, ("Digest", "digest"));
    }
    let list =
        List { kind: "*formatter.imageContext", format: format.as_deref(), whole, columns: &columns, headings: HEADINGS, raw: &raw, quiet };
    list.print(&rows)?;
    Ok(0)
}

fn day(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).unwrap_or_default()
}

/// Images by their names; one with several names has them on lines of their own.
fn tree(images: &[Value]) {
    printer::error("WARNING: This is an experimental feature. The output may change and shouldn't be depended on.");
    let heading = ["IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"].map(str::to_owned);
    let mut groups: Vec<(Vec<&str>, &Value)> = Vec::new();
    for image in images {
        let mut names: Vec<&str> = items(image, "RepoTags").filter_map(Value::as_str).collect();
        names.sort_unstable();
        if !names.is_empty() {
            groups.push((names, image));
        }
    }
    groups.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut lines = vec![heading.to_vec()];
    for (names, image) in groups {
        let used = if number(image, "Containers") > 0 { "U" } else { "" };
        let (last, others) = names.split_last().unwrap_or((&"", &[]));
        lines.extend(others.iter().map(|name| row(name, "", ["", ""], "")));
        let manifests: Vec<&Value> = items(image, "Manifests").collect();
        let sum = |size: &str| manifests.iter().map(|entry| size_at(entry, &format!("/Size/{size}"))).sum::<i64>();
        let whole = if manifests.is_empty() { (number(image, "Size"), 0) } else { (sum("Total"), sum("Content")) };
        let id = image.pointer("/Descriptor/digest").and_then(Value::as_str).filter(|_| manifests.len() > 1);
        lines.push(row(last, &short(id.unwrap_or(field(image, "Id"))), [&bytes(whole.0), &bytes(whole.1)], used));
        if manifests.len() > 1 {
            lines.extend(manifests.iter().enumerate().map(|(index, entry)| entry_row(entry, index + 1 == manifests.len())));
        }
    }
    printer::raw(crate::table::layout(&lines).as_bytes());
}

fn row(name: &str, id: &str, sizes: [&str; 2], extra: &str) -> Vec<String> {
    [name, id, sizes[0], sizes[1], extra].map(str::to_owned).to_vec()
}

/// A platform or an attestation below its image; what is not here has no size.
fn entry_row(entry: &Value, is_last: bool) -> Vec<String> {
    let word = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let what = match field(entry, "Kind") {
        "image" => {
            let parts = ["os", "architecture", "variant"].map(|part| word(&format!("/ImageData/Platform/{part}")));
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
        }
        "attestation" => format!("attestation of {}", short(word("/AttestationData/For"))),
        _ => word("/Descriptor/mediaType").to_owned(),
    };
    let is_here = entry.get("Available").and_then(Value::as_bool).unwrap_or_default();
    let size = |which: &str| if is_here { bytes(size_at(entry, &format!("/Size/{which}"))) } else { "-".to_owned() };
    let used = entry.pointer("/ImageData/Containers").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    let branch = if is_last { "└─" } else { "├─" };
    let extra = if used {
        "U"
    } else if is_here {
        ""
    } else {
        "not here"
    };
    row(&format!("{branch} {what}"), &short(field(entry, "ID")), [&size("Total"), &size("Content")], extra)
}

fn size_at(entry: &Value, pointer: &str) -> i64 {
    entry.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

#[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
fn bytes(count: i64) -> String {
    human::size_short(count as f64)
}

fn remove(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let flag = |name: &str| given.on(name).then_some("1");
    let platforms: Vec<String> = given.all("platform").iter().flat_map(|text| text.split(',')).map(platform_of).collect();
    let mut pairs = vec![("force", flag("force")), ("noprune", flag("no-prune"))];
    pairs.extend(platforms.iter().map(|platform| ("platforms", Some(platform.as_str()))));
    let query = query(&pairs);
    super::each(&given.args, |name| {
        let removed: Value = client.call("DELETE", &format!("/images/{}{query}", path_of(name)), None)?;
        for item in removed.as_array().into_iter().flatten() {
            for kind in ["Untagged", "Deleted"] {
                let what = field(item, kind);
                if !what.is_empty() {
                    printer::line(&format!("{kind}: {what}"));
                }
            }
        }
        Ok(None)
    })
}

fn tag(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let target = &given.args[1];
    let wrong = |why| Failure::new(format!("Error parsing reference: {target:?} is not a valid repository/tag: {why}"));
    crate::reference::check(target).map_err(wrong)?;
    let (repository, tag) = split(target);
    client.call::<Value>(
        "POST",
        &format!("/images/{}/tag{}", path_of(&given.args[0]), query(&[("repo", Some(repository)), ("tag", Some(tag))])),
        None,
    )?;
    Ok(0)
}

fn history(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let platform = query(&[("platform", super::archives::platform(given).as_deref())]);
    let layers: Vec<Value> = client.call("GET", &format!("/images/{}/history{platform}", path_of(&given.args[0])), None)?;
    let whole = given.on("no-trunc");
    let human = !given.has("human") || given.on("human");
    let row = |layer: &Value| {
        let id = field(layer, "Id");
        let by = field(layer, "CreatedBy").replace('\t', " ");
        let by = if whole || by.chars().count() <= 45 { by } else { by.chars().take(44).chain(['…']).collect() };
        let created = number(layer, "Created");
        let at = jiff::Timestamp::from_second(created).map(|time| time.to_string()).unwrap_or_default();
        json!({
            "ID": if whole { id.to_owned() } else { short(id) },
            "CreatedSince": if human { human::ago(created) } else { at.clone() },
            "CreatedAt": at,
            "CreatedBy": by,
            "Size": if human { size_short(layer, "Size") } else { number(layer, "Size").to_string() },
            "Comment": field(layer, "Comment"),
        })
    };
    let rows: Vec<Value> = layers.iter().map(row).collect();
    List {
        kind: "*image.historyContext",
        format: given.get("format"),
        whole,
        columns: &[("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedBy", "CREATED BY"), ("Size", "SIZE"), ("Comment", "COMMENT")],
        headings: &[("CreatedAt", "CREATED AT")],
        raw: &[],
        quiet: given.on("quiet").then_some("ID"),
    }
    .print(&rows)?;
    Ok(0)
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let question = if given.on("all") {
        "WARNING! This will remove all images without at least one container associated to them.\nAre you sure you want to continue?"
    } else {
        "WARNING! This will remove all dangling images.\nAre you sure you want to continue?"
    };
    if !given.on("force") && !confirm(question)? {
        return Ok(0);
    }
    let mut client = context.client()?;
    let mut filters: Value = filters(given)?.map_or(json!({}), |text| serde_json::from_str(&text).unwrap_or_default());
    filters["dangling"][if given.on("all") { "false" } else { "true" }] = true.into();
    let report: Value = client.call("POST", &format!("/images/prune{}", query(&[("filters", Some(&filters.to_string()))])), None)?;
    let mut removed = items(&report, "ImagesDeleted").peekable();
    if removed.peek().is_some() {
        printer::line("Deleted Images:");
        for item in removed {
            for (kind, word) in [("Untagged", "untagged"), ("Deleted", "deleted")] {
                let what = field(item, kind);
                if !what.is_empty() {
                    printer::line(&format!("{word}: {what}"));
                }
            }
        }
        printer::line("");
    }
    printer::line(&format!("Total reclaimed space: {}", size(&report, "SpaceReclaimed")));
    Ok(0)
}
