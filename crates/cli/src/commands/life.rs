//! Commands that change a container's state.

use std::io::Read as _;

use docker_api::client::{Body, Client, escape, query};
use serde_json::Value;

use super::{Entry, confirm, each, filters};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{human, json, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("start"), act: super::attach::start },
    Entry { command: described("stop"), act: |context, _, given| stop_like(context, given, "stop") },
    Entry { command: described("restart"), act: |context, _, given| stop_like(context, given, "restart") },
    Entry {
        command: described("kill"),
        act: |context, _, given| {
            let query = query(&[("signal", given.get("signal").or(Some("KILL")))]);
            post_each(context, given, "kill", &query)
        },
    },
    Entry { command: described("pause"), act: |context, _, given| post_each(context, given, "pause", "") },
    Entry { command: described("unpause"), act: |context, _, given| post_each(context, given, "unpause", "") },
    Entry { command: described("rm"), act: remove },
    Entry { command: described("wait"), act: wait },
    Entry {
        command: described("rename"),
        act: |context, _, given| {
            let mut client = context.client()?;
            let path = format!("/containers/{}/rename{}", escape(&given.args[0]), query(&[("name", Some(&given.args[1]))]));
            client.call::<Value>("POST", &path, None).map_err(|error| {
                printer::error(&error.to_string());
                Failure::new(format!("Error: failed to rename container named {}", given.args[0]))
            })?;
            Ok(0)
        },
    },
    Entry { command: described("container prune"), act: prune },
];

/// Posts to `/containers/NAME/ACTION` for each name and prints the name.
fn post_each(context: &mut Context, given: &Given, action: &str, query: &str) -> Outcome<u8> {
    let mut client = context.client()?;
    each(&given.args, |name| {
        client.call::<Value>("POST", &format!("/containers/{}/{action}{query}", escape(name)), None)?;
        Ok(Some(name.to_owned()))
    })
}

fn stop_like(context: &mut Context, given: &Given, action: &str) -> Outcome<u8> {
    let timeout = given.get("timeout").or(given.get("time"));
    if let Some(text) = timeout.filter(|text| text.parse::<i64>().is_err()) {
        return Err(Failure::new(format!(
            "invalid argument \"{text}\" for \"-t, --timeout\" flag: strconv.ParseInt: parsing \"{text}\": invalid syntax"
        )));
    }
    let query = query(&[("signal", given.get("signal")), ("t", timeout)]);
    // All at once: ten containers that ignore SIGTERM cost one timeout, not ten.
    let client = context.client()?;
    let results: Vec<Outcome<Value>> = std::thread::scope(|scope| {
        let workers: Vec<_> = given
            .args
            .iter()
            .map(|name| {
                let mut client = client.another();
                let path = format!("/containers/{}/{action}{query}", escape(name));
                scope.spawn(move || client.call::<Value>("POST", &path, None).map_err(Failure::from))
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(Failure::new("a worker died")))).collect()
    });
    let mut results = results.into_iter();
    each(&given.args, |name| {
        results.next().transpose()?;
        Ok(Some(name.to_owned()))
    })
}

fn remove(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let flag = |name: &str| given.on(name).then_some("1");
    let force = given.on("force");
    let query = query(&[("force", flag("force")), ("link", flag("link")), ("v", flag("volumes"))]);
    let mut missing = Vec::new();
    let result = each(&given.args, |name| {
        let name = name.trim_matches('/');
        match client.call::<Value>("DELETE", &format!("/containers/{}{query}", escape(name)), None) {
            Ok(_) => Ok(Some(name.to_owned())),
            // With force nobody minds that it is gone already; it is said all the same.
            Err(error) if force && error.status() == Some(404) => {
                missing.push(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    });
    for text in missing {
        printer::error(&text);
    }
    result
}

fn wait(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    each(&given.args, |name| Ok(Some(wait_for(&mut client, name, "")?.to_string())))
}

/// Waits for a container's exit code.
pub(super) fn wait_for(client: &mut Client, name: &str, condition: &str) -> Outcome<i64> {
    let condition = Some(condition).filter(|condition| !condition.is_empty());
    read_exit(client.stream("POST", &format!("/containers/{}/wait{}", escape(name), query(&[("condition", condition)])), None))
}

/// Reads the answer of a wait to its end: the exit code.
pub(super) fn read_exit(answer: Result<Body, docker_api::client::Error>) -> Outcome<i64> {
    let mut text = String::new();
    answer?.read_to_string(&mut text)?;
    let value: Value = serde_json::from_str(&text).map_err(|_| Failure::new("the daemon ended before the container did"))?;
    if let Some(message) = value.pointer("/Error/Message").and_then(Value::as_str).filter(|message| !message.is_empty()) {
        return Err(Failure::new(format!("Error response from daemon: {message}")));
    }
    Ok(json::number(&value, "StatusCode"))
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    if !given.on("force") && !confirm("WARNING! This will remove all stopped containers.\nAre you sure you want to continue?")? {
        return Ok(0);
    }
    let mut client = context.client()?;
    let filters = filters(given)?;
    let report: Value = client.call("POST", &format!("/containers/prune{}", query(&[("filters", filters.as_deref())])), None)?;
    let ids: Vec<&str> = json::items(&report, "ContainersDeleted").filter_map(Value::as_str).collect();
    if !ids.is_empty() {
        printer::line(&format!("Deleted Containers:\n{}\n", ids.join("\n")));
    }
    printer::line(&format!(
        "Total reclaimed space: {}",
        human::size(report.get("SpaceReclaimed").and_then(Value::as_f64).unwrap_or_default())
    ));
    Ok(0)
}
