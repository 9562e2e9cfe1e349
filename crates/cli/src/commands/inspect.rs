//! `inspect`, for anything that has a name.

use docker_api::client::{Client, Error, escape, query};

use crate::ordered::Ordered;

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Given, described};
use crate::printer;
use crate::template::{Mode, Template, Value};

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

fn find(client: &mut Client, name: &str, kind: &str, given: &Given) -> Outcome<Ordered> {
    for (known, before, after) in KINDS.iter().filter(|(known, ..)| kind.is_empty() || *known == kind) {
        // Names of images have slashes, which are part of the path.
        let escaped = name.split('/').map(escape).collect::<Vec<_>>().join("/");
        let query = match *known {
            "container" => query(&[("size", given.on("size").then_some("1"))]),
            "image" => query(&[("platform", super::archives::platform(given).as_deref())]),
            _ => String::new(),
        };
        match client.call("GET", &format!("{before}{escaped}{after}{query}"), None) {
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
        return Err(Failure::new(format!("unknown type: {kind:?}: must be one of \"container\", \"image\", \"network\", \"volume\"")));
    }
    let format = given.get("format").filter(|format| !format.is_empty());
    let template = format.filter(|format| *format != "json").map(Template::parse).transpose();
    let template = template.map_err(|error| Failure::Message { message: error.to_string(), code: 64, run: false })?;
    let mut client = context.client()?;
    let (mut found, mut shown, mut failures) = (Vec::new(), String::new(), Vec::new());
    for name in &given.args {
        match (find(&mut client, name, kind, given), &template) {
            (Ok(object), None) => found.push(object),
            (Ok(object), Some(template)) => match apply(template, &object, kind == "volume" && !given.has("type")) {
                Ok(text) => shown.extend([text.as_str(), "\n"]),
                // A template that does not fit one object ends the command, as it does Docker's.
                Err(failure) => {
                    failures.extend(failure.text(""));
                    break;
                }
            },
            (Err(failure), _) => failures.extend(failure.text("")),
        }
    }
    match format {
        Some("json") => printer::line(&Ordered::List(found).json_plain()),
        Some(_) if shown.is_empty() => printer::line(""),
        Some(_) => printer::raw(shown.as_bytes()),
        None => printer::line(&Ordered::List(found).pretty(0)),
    }
    if failures.is_empty() { Ok(0) } else { Err(Failure::new(failures.join("\n"))) }
}

/// Applies a template to the object as Go's structure, and if that does not fit, to its bare JSON. `volume inspect` has
/// no bare JSON at hand.
fn apply(template: &Template, object: &Ordered, volume: bool) -> Outcome<String> {
    if volume {
        let shown = template.on(&Value::structure("volume.Volume", object), Mode::Lenient);
        return shown.map_err(|error| Failure::new(error.to_string()));
    }
    let typed = template.on(&Value::typed(object), Mode::Lenient);
    let shown = typed.or_else(|_| template.on(&Value::raw(object), Mode::Strict));
    shown.map_err(|error| Failure::new(error.to_string()))
}
