//! Images.

use std::io::Read;

use docker_api::client::{escape, query};
use serde_json::{Value, json};

use super::{Entry, confirm, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, list, text, yes};
use crate::json::{items, number, short, text as field};
use crate::output::{self, Column, List};
use crate::{human, printer, progress};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: Command {
            words: "images",
            usage: "images [OPTIONS] [REPOSITORY[:TAG]]",
            about: "List images",
            least: 0,
            most: 1,
            strict: false,
            flags: &[
                yes("all", 'a', "Show all images (default hides intermediate images)"),
                yes("digests", '\0', "Show digests"),
                list("filter", 'f', "Filter output based on conditions provided"),
                text("format", '\0', "Format output using a custom template"),
                yes("no-trunc", '\0', "Don't truncate output"),
                yes("quiet", 'q', "Only show image IDs"),
            ],
        },
        act: images,
    },
    Entry {
        command: Command {
            words: "import",
            usage: "import [OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
            about: "Import the contents from a tarball to create a filesystem image",
            least: 1,
            most: 2,
            strict: false,
            flags: &[
                list("change", 'c', "Apply Dockerfile instruction to the created image"),
                text("message", 'm', "Set commit message for imported image"),
                text("platform", '\0', "Set platform if server is multi-platform capable"),
            ],
        },
        act: import,
    },
    Entry {
        command: Command {
            words: "load",
            usage: "load [OPTIONS]",
            about: "Load an image from a tar archive or STDIN",
            least: 0,
            most: 0,
            strict: false,
            flags: &[
                text("input", 'i', "Read from tar archive file, instead of STDIN"),
                yes("quiet", 'q', "Suppress the load output"),
                text("platform", '\0', "Load only the given platform variant"),
            ],
        },
        act: load,
    },
    Entry {
        command: Command {
            words: "save",
            usage: "save [OPTIONS] IMAGE [IMAGE...]",
            about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
            least: 1,
            most: usize::MAX,
            strict: false,
            flags: &[
                text("output", 'o', "Write to a file, instead of STDOUT"),
                text("platform", '\0', "Save only the given platform variant"),
            ],
        },
        act: save,
    },
    Entry {
        command: Command {
            words: "rmi",
            usage: "rmi [OPTIONS] IMAGE [IMAGE...]",
            about: "Remove one or more images",
            least: 1,
            most: usize::MAX,
            strict: false,
            flags: &[yes("force", 'f', "Force removal of the image"), yes("no-prune", '\0', "Do not delete untagged parents")],
        },
        act: remove,
    },
    Entry {
        command: Command {
            words: "tag",
            usage: "tag SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
            about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
            least: 2,
            most: 2,
            strict: false,
            flags: &[],
        },
        act: tag,
    },
    Entry {
        command: Command {
            words: "history",
            usage: "history [OPTIONS] IMAGE",
            about: "Show the history of an image",
            least: 1,
            most: 1,
            strict: false,
            flags: &[
                text("format", '\0', "Format output using a custom template"),
                yes("human", 'H', "Print sizes and dates in human readable format"),
                yes("no-trunc", '\0', "Don't truncate output"),
                yes("quiet", 'q', "Only show image IDs"),
            ],
        },
        act: history,
    },
    Entry {
        command: Command {
            words: "image prune",
            usage: "image prune [OPTIONS]",
            about: "Remove unused images",
            least: 0,
            most: 0,
            strict: false,
            flags: &[
                yes("all", 'a', "Remove all unused images, not just dangling ones"),
                list("filter", '\0', "Provide filter values (e.g. \"until=<timestamp>\")"),
                yes("force", 'f', "Do not prompt for confirmation"),
            ],
        },
        act: prune,
    },
];

/// A reference as a path: its slashes stay.
fn path_of(reference: &str) -> String {
    reference.split('/').map(escape).collect::<Vec<_>>().join("/")
}

/// Repository and tag.
fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

/// Repository and tag of a name that is checked before anything is sent.
pub(super) fn reference(name: &str) -> Outcome<(String, String)> {
    let (repository, tag) = split(name);
    if repository.chars().any(char::is_uppercase) && !repository.contains('/') {
        return Err(Failure::new(format!("invalid reference format: repository name (library/{repository}) must be lowercase")));
    }
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
    if let Some(reference) = given.args.first() {
        filters["reference"][reference.as_str()] = true.into();
    }
    let filters = filters.as_object().is_some_and(|filters| !filters.is_empty()).then(|| filters.to_string());
    let found: Vec<Value> = client.call(
        "GET",
        &format!("/images/json{}", query(&[("all", given.on("all").then_some("1")), ("filters", filters.as_deref())])),
        None,
    )?;
    let whole = given.on("no-trunc");
    let mut rows = Vec::new();
    for image in &found {
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
                "CreatedAt": jiff::Timestamp::from_second(created).map(|time| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()).unwrap_or_default(),
                "Size": size_short(image, "Size"),
                "VirtualSize": size(image, "Size"),
                "SharedSize": "N/A",
                "UniqueSize": "N/A",
                "Containers": "N/A",
            }));
        }
    }
    if given.on("quiet") {
        let mut seen = Vec::new();
        for row in &rows {
            let id = field(row, "ID");
            if !seen.contains(&id) {
                seen.push(id);
                printer::line(id);
            }
        }
        return Ok(0);
    }
    let mut columns: Vec<Column> =
        vec![("Repository", "REPOSITORY"), ("Tag", "TAG"), ("ID", "IMAGE ID"), ("CreatedSince", "CREATED"), ("Size", "SIZE")];
    if given.on("digests") {
        columns.insert(2, ("Digest", "DIGEST"));
    }
    let format = output::format(given, "imagesFormat");
    List { kind: "*formatter.imageContext", format: format.as_deref(), whole, columns: &columns, headings: HEADINGS }.print(&rows)?;
    Ok(0)
}

fn open(name: &str) -> Outcome<Box<dyn Read>> {
    if name == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    let file = std::fs::File::open(name).map_err(|error| Failure::new(format!("open {name}: {}", plain(&error))))?;
    Ok(Box::new(file))
}

/// An error of the system as Go prints it.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text[..1].to_lowercase() + &text[1..]
}

fn import(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut data = open(&given.args[0])?;
    let mut client = context.client()?;
    let reference = given.args.get(1).map(|reference| split(reference));
    let mut pairs = vec![
        ("fromSrc", Some("-")),
        ("repo", reference.map(|(repository, _)| repository)),
        ("tag", reference.map(|(_, tag)| tag)),
        ("message", given.get("message")),
        ("platform", given.get("platform")),
    ];
    pairs.extend(given.all("change").iter().map(|change| ("changes", Some(change.as_str()))));
    let answer = client.upload("POST", &format!("/images/create{}", query(&pairs)), "application/x-tar", &mut data)?;
    progress::print(answer, false)?;
    Ok(0)
}

fn load(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let input = given.get("input").unwrap_or("-");
    if input == "-" && crate::terminal::stdin_is_terminal() {
        return Err(Failure::new("requested load from stdin, but stdin is empty"));
    }
    let mut data = open(input)?;
    let mut client = context.client()?;
    let quiet = given.on("quiet") || !printer::stdout_is_terminal();
    let path = format!("/images/load{}", query(&[("quiet", Some(if quiet { "1" } else { "0" })), ("platform", given.get("platform"))]));
    let answer = client.upload("POST", &path, "application/x-tar", &mut data)?;
    progress::print(answer, false)?;
    Ok(0)
}

fn save(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let target = given.get("output");
    if target.is_none() && printer::stdout_is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let mut client = context.client()?;
    let pairs: Vec<(&str, Option<&str>)> =
        given.args.iter().map(|name| ("names", Some(name.as_str()))).chain([("platform", given.get("platform"))]).collect();
    let answer = client.stream("GET", &format!("/images/get{}", query(&pairs)), None)?;
    write_to(target, answer)?;
    Ok(0)
}

/// Writes a stream to a file, which appears whole or not at all, or to standard output.
pub(super) fn write_to(target: Option<&str>, mut stream: impl Read) -> Outcome<()> {
    let Some(target) = target else {
        std::io::copy(&mut stream, &mut std::io::stdout())?;
        return Ok(());
    };
    let path = std::path::Path::new(target);
    let failed = |error: &std::io::Error| Failure::new(format!("failed to save image: {}", plain(error)));
    if path.is_dir() {
        return Err(Failure::new(format!("failed to save image: invalid output path: {target:?} is a directory")));
    }
    if let Ok(metadata) = path.metadata()
        && !metadata.is_file()
    {
        // A pipe or a device, such as /dev/null, is written and not replaced.
        let mut file = std::fs::OpenOptions::new().write(true).open(path).map_err(|error| failed(&error))?;
        std::io::copy(&mut stream, &mut file)?;
        return Ok(());
    }
    let part = format!("{target}.{}.part", std::process::id());
    let written =
        std::fs::File::create(&part).and_then(|mut file| std::io::copy(&mut stream, &mut file)).and_then(|_| std::fs::rename(&part, path));
    written.map_err(|error| {
        // Nothing half-written stays under a name that nobody asked for.
        let _gone = std::fs::remove_file(&part);
        failed(&error)
    })
}

fn remove(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let flag = |name: &str| given.on(name).then_some("1");
    let query = query(&[("force", flag("force")), ("noprune", flag("no-prune"))]);
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
    let (repository, tag) = split(&given.args[1]);
    client.call::<Value>(
        "POST",
        &format!("/images/{}/tag{}", path_of(&given.args[0]), query(&[("repo", Some(repository)), ("tag", Some(tag))])),
        None,
    )?;
    Ok(0)
}

fn history(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let layers: Vec<Value> = client.call("GET", &format!("/images/{}/history", path_of(&given.args[0])), None)?;
    let whole = given.on("no-trunc");
    let rows: Vec<Value> = layers
        .iter()
        .map(|layer| {
            let id = field(layer, "Id");
            let by = field(layer, "CreatedBy").replace('\t', " ");
            let by = if whole || by.chars().count() <= 45 { by } else { by.chars().take(44).chain(['…']).collect() };
            json!({"ID": if whole { id.to_owned() } else { short(id) }, "CreatedSince": human::ago(number(layer, "Created")), "CreatedAt": jiff::Timestamp::from_second(number(layer, "Created")).map(|time| time.to_string()).unwrap_or_default(), "CreatedBy": by, "Size": size_short(layer, "Size"), "Comment": field(layer, "Comment")})
        })
        .collect();
    if given.on("quiet") {
        rows.iter().for_each(|row| printer::line(field(row, "ID")));
        return Ok(0);
    }
    List {
        kind: "*image.historyContext",
        format: given.get("format"),
        whole,
        columns: &[("ID", "IMAGE"), ("CreatedSince", "CREATED"), ("CreatedBy", "CREATED BY"), ("Size", "SIZE"), ("Comment", "COMMENT")],
        headings: &[("CreatedAt", "CREATED AT")],
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
