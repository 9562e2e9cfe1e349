//! `build`: a directory, an archive or a lone Dockerfile goes to the engine, and what it does is shown.

use std::io::Read as _;

use base64::Engine as _;
use docker_api::client::{Body, Endpoint, Error, query};
use serde_json::{Map, Value, json};

use self::display::{Display, Style};
use self::input::{DOCKERFILE, Input, Offer};
use self::results::Results;
use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given};
use crate::{human, printer};

mod display;
mod input;
mod results;
mod stored;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: Command {
            words: "build",
            usage: "build [OPTIONS] PATH | URL | -",
            about: "Build an image from a Dockerfile",
            least: 1,
            most: 1,
            strict: false,
            flags: &[],
        },
        act: build,
    },
    Entry {
        command: Command {
            words: "builder prune",
            usage: "builder prune",
            about: "Remove build cache",
            least: 0,
            most: 0,
            strict: false,
            flags: &[],
        },
        act: stored::prune,
    },
];

fn build(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    if let Some(call) = if given.on("check") { Some("check") } else { given.get("call").filter(|call| *call != "build") } {
        return ask(context, given, call);
    }
    let style = Style::new(given.on("quiet"), given.get("progress"))?;
    let results = Results::new(given)?;
    let offer = Offer::new(given)?;
    let tags: Vec<String> = given.all("tag").iter().chain(results.names()).cloned().collect();
    let answer = send(context, given, &offer, &tags, None)?;
    let name = given.get("show-name");
    let done = Display::new(style, name).show(answer)?;
    results.deliver(context, &done.image, &tags)?;
    results::describe(context, given, &done.image, &tags)?;
    if given.on("quiet") && name.is_none() {
        printer::line(&done.image);
    }
    Ok(0)
}

/// Asks about the Dockerfile without building it.
fn ask(context: &Context, given: &Given, call: &str) -> Outcome<u8> {
    let (call, format) = match call.split_once(',') {
        None => (call, "text"),
        Some((call, format)) => (call, format.strip_prefix("format=").unwrap_or(format)),
    };
    if !matches!(format, "text" | "json") {
        return Err(Failure::new(format!("invalid format \"{format}\" of --call; use text or json")));
    }
    let mut answer = send(context, given, &Offer::new(given)?, &[], Some(call))?;
    let mut text = Vec::new();
    answer.read_to_end(&mut text)?;
    let answer: Value = serde_json::from_slice(&text).map_err(|_| Failure::new("this engine answers no --call: it is not teu's"))?;
    match format {
        "json" => printer::line(&serde_json::to_string_pretty(&answer["result"]).unwrap_or_default()),
        _ => printer::raw(answer["text"].as_str().unwrap_or_default().as_bytes()),
    }
    Ok(u8::from(answer["failed"] == true))
}

/// Sends the request: to an engine on this host with open directories, to others with their files.
fn send(context: &Context, given: &Given, offer: &Offer, tags: &[String], call: Option<&str>) -> Outcome<Body> {
    let secrets = input::secrets(given)?;
    let mut client = context.client()?;
    if !secrets.is_empty() {
        let header = base64::engine::general_purpose::STANDARD.encode(Value::Object(secrets).to_string());
        client = client.with_headers([("X-Teu-Secrets", header.as_str())]);
    }
    let path = |passed| wishes(context, given, offer, (tags, call), passed);
    // The engine reads only for those who have its own rights.
    if matches!(client.endpoint(), Endpoint::Unix(_)) && rustix::process::geteuid().is_root() && !matches!(offer.input, Input::Archive(_)) {
        let (fds, path) = (offer.open()?, format!("/teu/build{}", path(true)?));
        let sent = client.upload_passing(&path, "application/x-tar", &input::borrowed(&fds), &mut |output| offer.send(true, output));
        match sent {
            Err(Error::Api { status: 404, message }) if message == "page not found" => {}
            Err(Error::Api { message, .. }) if message.starts_with("no descriptor came") => {}
            result => return Ok(result?),
        }
    }
    let path = format!("/build{}", path(false)?);
    Ok(client.upload_with("POST", &path, "application/x-tar", &mut |output| offer.send(false, output))?)
}

fn wishes(context: &Context, given: &Given, offer: &Offer, (tags, call): (&[String], Option<&str>), passed: bool) -> Outcome<String> {
    let mut arguments = Map::new();
    for entry in given.all("build-arg") {
        match entry.split_once('=') {
            Some((name, value)) => drop(arguments.insert(name.to_owned(), json!(value))),
            // Without a value it is the caller's.
            None => drop(arguments.insert(entry.to_owned(), std::env::var(entry).map_or(Value::Null, Value::String))),
        }
    }
    for (name, value) in crate::config::proxies(&context.host()?) {
        arguments.entry(name).or_insert(json!(value));
    }
    let labels: Map<String, Value> = given
        .all("label")
        .iter()
        .map(|entry| entry.split_once('=').map_or((entry.to_owned(), json!("")), |(name, value)| (name.to_owned(), json!(value))))
        .collect();
    let (arguments, labels) = (Value::Object(arguments).to_string(), Value::Object(labels).to_string());
    for name in ["security-opt", "isolation"] {
        if given.has(name) {
            return Err(Failure::new(format!("--{name} is not served: all steps run with the engine's default confinement")));
        }
    }
    if given.has("cache-from") {
        printer::error("WARNING: --cache-from has no effect: the engine has one cache for all builds");
    }
    let ulimits = given.all("ulimit").iter().map(|text| super::create_body::ulimit(text)).collect::<Outcome<Vec<Value>>>()?;
    let ulimits = (!ulimits.is_empty()).then(|| Value::Array(ulimits).to_string());
    let swap = given.get("memory-swap").map(|text| if text == "-1" { Some(-1) } else { human::parse_size(text) });
    let swap = swap.flatten().map(|bytes| bytes.to_string());
    let switch = |name: &str| given.on(name).then_some("1");
    let memory = given.get("memory").and_then(human::parse_size).map(|bytes| bytes.to_string());
    let shm = given.get("shm-size").and_then(human::parse_size).map(|bytes| bytes.to_string());
    let dockerfile = match offer.input {
        Input::Archive(_) | Input::Remote(_) => given.get("file").unwrap_or("Dockerfile"),
        Input::Directory { .. } | Input::Dockerfile(_) => DOCKERFILE,
    };
    let words = offer.words(passed)?;
    let mut pairs = vec![
        ("buildargs", Some(arguments.as_str())),
        ("labels", Some(labels.as_str())),
        ("dockerfile", Some(dockerfile)),
        ("teu", Some("1")),
        ("nocache", switch("no-cache")),
        ("pull", switch("pull")),
        ("target", given.get("target")),
        ("platform", given.get("platform")),
        ("networkmode", given.get("network")),
        ("cgroupparent", given.get("cgroup-parent")),
        ("cpuperiod", given.get("cpu-period")),
        ("cpuquota", given.get("cpu-quota")),
        ("cpushares", given.get("cpu-shares")),
        ("cpusetcpus", given.get("cpuset-cpus")),
        ("cpusetmems", given.get("cpuset-mems")),
        ("memory", memory.as_deref()),
        ("memswap", swap.as_deref()),
        ("ulimits", ulimits.as_deref()),
        ("shmsize", shm.as_deref()),
        ("call", call),
    ];
    pairs.extend(words.iter().map(|(name, value)| (*name, Some(value.as_str()))));
    pairs.extend(tags.iter().map(|name| ("t", Some(name.as_str()))));
    pairs.extend(given.all("add-host").iter().map(|line| ("extrahosts", Some(line.as_str()))));
    Ok(query(&pairs))
}
