//! What a container changed: `commit`, `diff` and `export`.

use docker_api::client::{escape, query};
use serde_json::{Value, json};

use super::Entry;
use super::archives::write_to;
use super::image::reference;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::{number, text as field};
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("commit"), act: commit },
    Entry { command: described("diff"), act: diff },
    Entry { command: described("export"), act: export },
];

fn commit(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = given.args.get(1).map(|name| reference(name)).transpose()?;
    let mut client = context.client()?;
    let mut pairs = vec![
        ("container", Some(given.args[0].as_str())),
        ("repo", name.as_ref().map(|(repository, _)| repository.as_str())),
        ("tag", name.as_ref().map(|(_, tag)| tag.as_str())),
        ("comment", given.get("message")),
        ("author", given.get("author")),
    ];
    pairs.extend(given.all("change").iter().map(|change| ("changes", Some(change.as_str()))));
    if given.has("pause") && !given.on("pause") {
        pairs.push(("pause", Some("0")));
    }
    let answer: Value = client.call("POST", &format!("/commit{}", query(&pairs)), Some(&json!(null)))?;
    printer::line(field(&answer, "Id"));
    Ok(0)
}

fn diff(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    if given.args[0].is_empty() {
        return Err(Failure::new("Container name cannot be empty"));
    }
    let mut client = context.client()?;
    let changes: Value = client.call("GET", &format!("/containers/{}/changes", escape(&given.args[0])), None)?;
    for change in changes.as_array().into_iter().flatten() {
        let kind = match number(change, "Kind") {
            0 => "C",
            1 => "A",
            _ => "D",
        };
        printer::line(&format!("{kind} {}", field(change, "Path")));
    }
    Ok(0)
}

fn export(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let target = given.get("output");
    if target.is_none() && printer::stdout_is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let mut client = context.client()?;
    let answer = client.stream("GET", &format!("/containers/{}/export", escape(&given.args[0])), None)?;
    write_to(target, answer)?;
    Ok(0)
}
