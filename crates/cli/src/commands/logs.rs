//! `logs`.

use docker_api::client::{escape, query};
use serde_json::Value;

use super::Entry;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{human, streams};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("logs"), act: logs }];

fn logs(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let (mut client, ping) = context.greeted()?;
    for flag in ["grep", "across-restarts"] {
        if given.has(flag) && !ping.server.contains("teu") {
            return Err(Failure::new(format!("this engine ({}) does not know --{flag}", ping.server)));
        }
    }
    let name = escape(&given.args[0]);
    let container: Value = client.call("GET", &format!("/containers/{name}/json"), None)?;
    let tty = container.pointer("/Config/Tty").and_then(Value::as_bool).unwrap_or_default();
    let flag = |name: &str| given.on(name).then_some("1");
    let time = |flag: &str| {
        let moment = given.get(flag).map(human::moment).transpose();
        moment.map_err(|why| Failure::new(format!("invalid value for \"{flag}\": {why}")))
    };
    let (since, until) = (time("since")?, time("until")?);
    let query = query(&[
        ("stdout", Some("1")),
        ("stderr", Some("1")),
        ("since", since.as_deref()),
        ("until", until.as_deref()),
        ("timestamps", flag("timestamps")),
        ("follow", flag("follow")),
        ("details", flag("details")),
        ("grep", given.get("grep")),
        ("across-restarts", flag("across-restarts")),
        ("tail", given.get("tail").or(Some("all"))),
    ]);
    let mut body = client.stream("GET", &format!("/containers/{name}/logs{query}"), None)?;
    streams::print(&mut body, !tty)?;
    Ok(0)
}
