//! `inspect`, for anything that has a name.

use docker_api::client::{Client, Error, escape};
use serde_json::Value;

use crate::ordered::Ordered;

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Given, described};
use crate::printer;
use crate::template::Template;

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("inspect"), act: |context, _, given| inspect(context, given, given.get("type").unwrap_or_default()) },
    Entry { command: described("container inspect"), act: |context, _, given| inspect(context, given, "container") },
    Entry { command: described("image inspect"), act: |context, _, given| inspect(context, given, "image") },
    Entry { command: described("network inspect"), act: |context, _, given| inspect(context, given, "network") },
    Entry { command: described("volume inspect"), act: |context, _, given| inspect(context, given, "volume") },
];

/// Kinds in the order they are tried, with the paths that show one.
const KINDS: [(&str, &str, &str); 4] =
    [("container", "/containers/", "/json"), ("image", "/images/", "/json"), ("network", "/networks/", ""), ("volume", "/volumes/", "")];

fn find(client: &mut Client, name: &str, kind: &str, size: bool) -> Outcome<Ordered> {
    for (known, before, after) in KINDS.iter().filter(|(known, ..)| kind.is_empty() || *known == kind) {
        // Names of images have slashes, which are part of the path.
        let escaped = name.split('/').map(escape).collect::<Vec<_>>().join("/");
        let size = if size && *known == "container" { "?size=1" } else { "" };
        match client.call("GET", &format!("{before}{escaped}{after}{size}"), None) {
            Ok(value) => return Ok(value),
            Err(Error::Api { status: 404, .. }) if kind.is_empty() => {}
            Err(Error::Api { status: 404, message }) => {
                return Err(Failure::new(format!("Error response from daemon: {message}")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(format!("Error: No such object: {name}")))
}

fn inspect(context: &mut Context, given: &Given, kind: &str) -> Outcome<u8> {
    if !kind.is_empty() && !KINDS.iter().any(|(known, ..)| *known == kind) {
        return Err(Failure::new(format!("\"{kind}\" is not a valid value for --type")));
    }
    let template = given
        .get("format")
        .filter(|format| *format != "json")
        .map(Template::parse)
        .transpose()
        .map_err(|error| Failure::new(error.to_string()))?;
    let mut client = context.client()?;
    let (mut found, mut ordered, mut failures) = (Vec::<Value>::new(), Vec::new(), Vec::new());
    for name in &given.args {
        match find(&mut client, name, kind, given.on("size")) {
            Ok(text) if given.has("format") => found.push(serde_json::from_str(&text.json())?),
            Ok(text) => ordered.push(text),
            Err(failure) => failures.extend(failure.text("")),
        }
    }
    match template {
        Some(template) => {
            for value in &found {
                printer::line(&template.apply(value).map_err(|error| Failure::new(error.to_string()))?);
            }
            if found.is_empty() {
                printer::line("");
            }
        }
        None if given.has("format") => printer::line(&Value::Array(found).to_string()),
        None => printer::line(&Ordered::List(ordered).pretty(0)),
    }
    if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
}
