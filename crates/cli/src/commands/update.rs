//! `update`.

use docker_api::client::escape;
use serde_json::{Map, Value};

use super::{Entry, create_body, each};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, text};
use crate::json::items;
use crate::printer;

pub(super) const ENTRIES: &[Entry] = &[Entry {
    command: Command {
        words: "update",
        usage: "update [OPTIONS] CONTAINER [CONTAINER...]",
        about: "Update configuration of one or more containers",
        least: 1,
        most: usize::MAX,
        strict: false,
        flags: &[
            text("blkio-weight", '\0', "Block IO (relative weight), between 10 and 1000, or 0 to disable"),
            text("cpu-period", '\0', "Limit CPU CFS (Completely Fair Scheduler) period"),
            text("cpu-quota", '\0', "Limit CPU CFS (Completely Fair Scheduler) quota"),
            text("cpu-rt-period", '\0', "Limit the CPU real-time period in microseconds"),
            text("cpu-rt-runtime", '\0', "Limit the CPU real-time runtime in microseconds"),
            text("cpu-shares", 'c', "CPU shares (relative weight)"),
            text("cpus", '\0', "Number of CPUs"),
            text("cpuset-cpus", '\0', "CPUs in which to allow execution (0-3, 0,1)"),
            text("cpuset-mems", '\0', "MEMs in which to allow execution (0-3, 0,1)"),
            text("memory", 'm', "Memory limit"),
            text("memory-reservation", '\0', "Memory soft limit"),
            text("memory-swap", '\0', "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
            text("pids-limit", '\0', "Tune container pids limit (set -1 for unlimited)"),
            text("restart", '\0', "Restart policy to apply when a container exits"),
        ],
    },
    act: update,
}];

fn update(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut body = Map::new();
    create_body::resources(given, &mut body)?;
    for (field, flag) in [("CpusetCpus", "cpuset-cpus"), ("CpusetMems", "cpuset-mems")] {
        body.insert(field.into(), given.get(flag).unwrap_or_default().into());
    }
    if let Some(policy) = given.get("restart") {
        body.insert("RestartPolicy".into(), create_body::restart_policy(policy)?);
    }
    let empty = |value: &Value| value.as_str().is_some_and(str::is_empty);
    if body.values().all(empty) {
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
