//! `update`.

use docker_api::client::escape;
use serde_json::{Map, Value};

use super::{Entry, create_body, each};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::json::items;
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("update"), act: update }];

fn update(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut body = Map::new();
    create_body::resources(given, &mut body)?;
    for (field, flag) in [("CpusetCpus", "cpuset-cpus"), ("CpusetMems", "cpuset-mems")] {
        body.insert(field.into(), given.get(flag).unwrap_or_default().into());
    }
    if let Some(policy) = given.get("restart") {
        body.insert("RestartPolicy".into(), create_body::restart_policy(policy)?);
    }
    if given.is_bare() {
        return Err(Failure::new("you must provide one or more flags when using this command"));
    }
    let body = Value::Object(body);
    let mut client = context.client()?;
    each(&given.args, |name| {
        let answer: Value = client.call("POST", &format!("/containers/{}/update", escape(name)), Some(&body))?;
        for warning in items(&answer, "Warnings").filter_map(Value::as_str) {
            printer::error(warning);
        }
        Ok(Some(name.to_owned()))
    })
}
