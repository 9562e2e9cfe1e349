//! `logs`.

use std::collections::BTreeSet;

use compose::watch::Events;
use docker_api::client::{Client, escape, query};
use serde_json::Value;

use super::attached::short;
use super::output::{Output, Part};
use super::session::Session;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::human;

/// `logs`: what containers have said, with `--follow` also what they will say.
pub(super) fn logs(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let follow = given.on("follow");
    // The stream is opened first: a container that starts meanwhile is not missed.
    let name = session.project_name()?;
    let events = if follow { Some(Events::open(&client, &name)?) } else { None };
    let mut containers = session.containers(&mut client, &given.args)?;
    if let Some(index) = given.number("index")?.filter(|index| *index > 0) {
        let [service] = given.args.as_slice() else {
            return Err(Failure::new("--index needs exactly one service"));
        };
        let container = session.container(&mut client, service, Some(index))?;
        containers.retain(|known| known.id == container.id);
    }
    let time = |flag: &str| {
        given.get(flag).map(human::moment).transpose().map_err(|why| Failure::new(format!("invalid value for \"{flag}\": {why}")))
    };
    let (since, until) = (time("since")?, time("until")?);
    let flag = |on: bool| on.then_some("1");
    let tail = given.get("tail").filter(|tail| !tail.is_empty()).unwrap_or("all");
    let ask = |tail: &str, since: Option<&str>| {
        query(&[
            ("stdout", Some("1")),
            ("stderr", Some("1")),
            ("follow", flag(follow)),
            ("timestamps", flag(given.on("timestamps"))),
            ("since", since),
            ("until", until.as_deref()),
            ("tail", Some(tail)),
        ])
    };
    let output = Output::new(!given.on("no-color"), !given.on("no-log-prefix"), false);
    let parts: Vec<(String, Part)> = containers.iter().map(|container| (container.id.clone(), output.part(&short(container)))).collect();
    let query = ask(tail, since.as_deref());
    std::thread::scope(|scope| {
        let running: Vec<_> = parts
            .into_iter()
            .map(|(id, part)| {
                let (client, query) = (client.another(), query.clone());
                scope.spawn(move || show(client, &id, &query, &part))
            })
            .collect();
        if let Some(events) = events {
            let alive = containers.iter().filter(|container| container.is_running()).map(|container| container.id.clone()).collect();
            follow_starts(&client, events, alive, given, &mut |id, name| {
                let since = started(&mut client.another(), &id);
                let (client, query, part) = (client.another(), ask("all", since.as_deref()), output.part(name));
                scope.spawn(move || show(client, &id, &query, &part));
            });
        }
        running.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(|_| Err(Failure::new("a log cannot be read"))))
    })?;
    Ok(0)
}

/// Tells of each container that starts, until none lives any more.
fn follow_starts(client: &Client, events: Events, mut alive: BTreeSet<String>, given: &Given, tell: &mut dyn FnMut(String, &str)) {
    if alive.is_empty() {
        return;
    }
    for event in events {
        let attribute = |name: &str| event.attributes.get(name).cloned().unwrap_or_default();
        match event.action.as_str() {
            "start" if given.args.is_empty() || given.args.contains(&attribute(compose::labels::SERVICE)) => {
                alive.insert(event.id.clone());
                let (name, project) = (attribute("name"), attribute(compose::labels::PROJECT));
                tell(event.id.clone(), name.strip_prefix(&format!("{project}-")).unwrap_or(&name));
            }
            "die" => {
                alive.remove(&event.id);
                // The end of all of them is the end of the command, unless one is started again at once.
                if alive.is_empty() && !restarts(&mut client.another(), &event.id) {
                    return;
                }
            }
            _ => {}
        }
    }
}

fn started(client: &mut Client, id: &str) -> Option<String> {
    let found = client.call::<Value>("GET", &format!("/containers/{}/json", escape(id)), None).ok()?;
    found.pointer("/State/StartedAt").and_then(Value::as_str).map(str::to_owned)
}

fn restarts(client: &mut Client, id: &str) -> bool {
    let found = client.call::<Value>("GET", &format!("/containers/{}/json", escape(id)), None).unwrap_or_default();
    let flag = |field: &str| found.pointer(&format!("/State/{field}")).and_then(Value::as_bool).unwrap_or_default();
    flag("Restarting") || flag("Running")
}

fn show(mut client: Client, id: &str, query: &str, part: &Part) -> Outcome<()> {
    let found: Value = client.call("GET", &format!("/containers/{}/json", escape(id)), None)?;
    let tty = found.pointer("/Config/Tty").and_then(Value::as_bool).unwrap_or_default();
    let mut stream = client.stream("GET", &format!("/containers/{}/logs{query}", escape(id)), None)?;
    part.copy(&mut stream, !tty);
    Ok(())
}
