//! `run` and `create`.

use std::io::Write as _;

use docker_api::client::{Client, Error};
use serde_json::{Value, json};

use super::{Entry, attach, create_body, registry};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{config, json as field, printer, reference, streams, terminal};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: described("run"),
        act: |context, command, given| run(context, given).map_err(|failure| wrong_flag(command, failure).of_run()),
    },
    Entry {
        command: described("create"),
        act: |context, command, given| create(context, given).map_err(|failure| wrong_flag(command, failure)),
    },
];

/// A flag whose value makes no sense shows how the command is used.
fn wrong_flag(command: &Command, failure: Failure) -> Failure {
    match failure {
        Failure::Message { message, .. } if message.starts_with("invalid argument \"") => command.wrong(message),
        other @ (Failure::Usage { .. } | Failure::Message { .. } | Failure::Silent(_)) => other,
    }
}

fn create(context: &mut Context, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let id = create_container(context, &mut client, given, &["stdout", "stderr"])?;
    printer::line(&id);
    Ok(0)
}

/// What the container shall be: the command's words, and the proxies of the client's configuration.
fn configuration(context: &Context, given: &Given, wanted: &[&str]) -> Outcome<Value> {
    let mut body = create_body::body(given, wanted)?;
    // A bare id names an image too.
    let image = &given.args[0];
    if image.len() != 64 {
        reference::check(image).map_err(|why| Failure::Message { message: why, code: 125, run: false })?;
    }
    create_body::add_proxies(&mut body, &context.host()?);
    Ok(body)
}

/// Creates the container, pulling the image first if it must; prints warnings and returns the id.
pub(super) fn create_container(context: &Context, client: &mut Client, given: &Given, wanted: &[&str]) -> Outcome<String> {
    let body = configuration(context, given, wanted)?;
    let path = format!("/containers/create{}", create_body::create_query(given));
    let image = &given.args[0];
    if let Some(when) = given.get("pull").filter(|when| !matches!(*when, "always" | "missing" | "never")) {
        return Err(Failure::new(format!("invalid pull option: '{when}': must be one of \"always\", \"missing\" or \"never\"")));
    }
    if given.get("pull") == Some("always") {
        pull(client, given)?;
    }
    let created: Value = match client.call("POST", &path, Some(&body)) {
        Err(Error::Api { status: 404, message }) if message.contains("No such image") && given.get("pull") != Some("never") => {
            printer::error(&format!("Unable to find image '{}' locally", tagged(image)));
            pull(client, given)?;
            client.call("POST", &path, Some(&body))?
        }
        result => result?,
    };
    for warning in field::items(&created, "Warnings").filter_map(Value::as_str) {
        printer::error(&format!("WARNING: {warning}"));
    }
    let id = field::text(&created, "Id").to_owned();
    if let Some(file) = given.get("cidfile") {
        let mut file = std::fs::File::create_new(file)
            .map_err(|_| Failure::new(format!("container ID file found, make sure the other container isn't running or delete {file}")))?;
        file.write_all(id.as_bytes())?;
    }
    Ok(id)
}

/// A reference with its tag.
fn tagged(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

fn pull(client: &Client, given: &Given) -> Outcome<()> {
    registry::pull_for(client, &given.args[0], given.get("platform"), given.on("quiet"))
}

/// Which streams the caller gets.
fn wanted(given: &Given) -> Vec<&'static str> {
    let named = given.all("attach");
    let stream = |name: &'static str| named.iter().any(|stream| stream.eq_ignore_ascii_case(name)).then_some(name);
    if given.on("detach") {
        return Vec::new();
    }
    if named.is_empty() {
        return if given.on("interactive") { vec!["stdin", "stdout", "stderr"] } else { vec!["stdout", "stderr"] };
    }
    ["stdin", "stdout", "stderr"].into_iter().filter_map(stream).collect()
}

fn run(context: &mut Context, given: &Given) -> Outcome<u8> {
    if given.on("detach") && given.on("rm") && given.get("restart").is_some_and(|policy| policy != "no")
        || given.on("rm") && given.get("restart").is_some_and(|policy| policy != "no")
    {
        return Err(Failure::new("conflicting options: cannot specify both --restart and --rm"));
    }
    let wanted = wanted(given);
    if given.on("tty") && wanted.contains(&"stdin") && !terminal::stdin_is_terminal() {
        return Err(Failure::Message { message: "the input device is not a TTY".into(), code: 1, run: false });
    }
    // One request instead of six, where the engine is ours. A terminal takes the long road: its size is told by the container's id.
    let plain = !given.on("detach") && !given.on("tty") && given.get("pull").is_none_or(|when| when == "missing") && !given.has("cidfile");
    if plain && let Some(code) = at_once(context, given, &wanted)? {
        return Ok(code);
    }
    let mut client = context.client()?;
    let id = create_container(context, &mut client, given, &wanted)?;
    if given.on("detach") {
        start(&mut client, &id)?;
        printer::line(&id);
        return Ok(0);
    }
    foreground(&mut client, given, &id, &wanted)
}

fn start(client: &mut Client, id: &str) -> Outcome<()> {
    client.call::<Value>("POST", &format!("/containers/{id}/start"), None)?;
    Ok(())
}

/// Create, attach, start and wait in one request. `None` if the engine does not know it or lacks the image.
fn at_once(context: &Context, given: &Given, wanted: &[&str]) -> Outcome<Option<u8>> {
    let mut client = context.silent_client()?;
    let has = |stream| wanted.contains(&stream);
    let body = json!({
        "Name": given.get("name").unwrap_or_default(),
        "Platform": given.get("platform").unwrap_or_default(),
        "Config": configuration(context, given, wanted)?,
        "AttachStdin": has("stdin"),
        "AttachStdout": has("stdout"),
        "AttachStderr": has("stderr"),
        "DetachKeys": given.get("detach-keys").map(str::to_owned).or_else(|| config::setting("detachKeys")).unwrap_or_default(),
    });
    let mut answer = client.hijack("/teu/run", Some(&body));
    if let Err(error @ Error::Connect { .. }) = &answer {
        context.start(error)?;
        answer = client.hijack("/teu/run", Some(&body));
    }
    let mut stream = match answer {
        Err(Error::Api { status: 404, message }) if message == "page not found" || message.contains("No such image") => return Ok(None),
        result => result?,
    };
    if has("stdin") {
        streams::send_stdin(&stream, None)?;
    }
    if let Some(id) = stream.container.clone() {
        attach::proxy_signals(context.silent_client()?, id);
    }
    let ended = streams::print(&mut stream.reader, true)?
        .ok_or_else(|| Failure::new("error during connect: the daemon ended before the container did"))?;
    let result: Value = serde_json::from_slice(&ended).map_err(|error| Failure::new(error.to_string()))?;
    let error = field::text(&result, "Error");
    if !error.is_empty() {
        return Err(Failure::new(format!("Error response from daemon: {error}")));
    }
    Ok(Some(attach::code(field::number(&result, "StatusCode"))))
}

fn foreground(client: &mut Client, given: &Given, id: &str, wanted: &[&str]) -> Outcome<u8> {
    let tty = given.on("tty");
    let condition = if given.on("rm") { "removed" } else { "next-exit" };
    let attached = attach::open(client, id, wanted, given.get("detach-keys"))?;
    let exit = attach::await_exit(client, id, condition);
    let raw = (tty && wanted.contains(&"stdin")).then(terminal::Raw::enter).flatten();
    if let Err(failure) = start(client, id) {
        drop(raw);
        // With --rm the engine removes what never ran; the waiter ends with it.
        return Err(failure);
    }
    if tty {
        streams::follow_size(client, format!("/containers/{id}/resize"));
    } else if given.get("sig-proxy") != Some("false") {
        attach::proxy_signals(client.another(), id.to_owned());
    }
    let ended = attach::pump(attached, wanted, tty, &attach::keys(given));
    drop(raw);
    if ended? {
        return Ok(0);
    }
    let code = exit.recv().map_err(|_| Failure::new("the daemon ended before the container did"))??;
    Ok(attach::code(code))
}
