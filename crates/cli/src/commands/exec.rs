//! `exec`.

use docker_api::client::{Error, escape};
use serde_json::{Value, json};

use super::{Entry, attach};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{json as field, streams, terminal};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("exec"), act: exec }];

fn exec(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let (tty, stdin, detach) = (given.on("tty"), given.on("interactive"), given.on("detach"));
    if tty && stdin && !detach && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let (mut client, _) = context.greeted()?;
    let mut environment = Vec::new();
    for file in given.all("env-file") {
        let text = std::fs::read_to_string(file).map_err(|_| Failure::new(format!("open {file}: no such file or directory")))?;
        environment.extend(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    environment.extend_from_slice(given.all("env"));
    let size = terminal::size().filter(|_| tty).map(|(rows, columns)| json!([rows, columns]));
    let body = json!({
        "User": given.get("user").unwrap_or_default(),
        "Privileged": given.on("privileged"),
        "Tty": tty,
        "AttachStdin": stdin && !detach,
        "AttachStdout": !detach,
        "AttachStderr": !detach,
        "DetachKeys": given.get("detach-keys").map(str::to_owned).or_else(|| crate::config::setting("detachKeys")).unwrap_or_default(),
        "Env": environment,
        "WorkingDir": given.get("workdir").unwrap_or_default(),
        "Cmd": given.args[1..],
        "ConsoleSize": size,
    });
    let created: Value = client.call("POST", &format!("/containers/{}/exec", escape(&given.args[0])), Some(&body))?;
    let id = field::text(&created, "Id").to_owned();
    let start = format!("/exec/{id}/start");
    let options = json!({"Detach": detach, "Tty": tty, "ConsoleSize": body["ConsoleSize"]});
    if detach {
        client.call::<Value>("POST", &start, Some(&options))?;
        return Ok(0);
    }
    let mut stream = client.hijack(&start, Some(&options)).map_err(of_exec)?;
    let raw = (tty && stdin).then(terminal::Raw::enter).flatten();
    if tty {
        streams::follow_size(&client, format!("/exec/{id}/resize"));
    }
    let keys = tty.then(|| attach::keys(given));
    let detached = if stdin { Some(streams::send_stdin(&stream, keys.as_deref())?) } else { None };
    let ended = streams::print(&mut stream.reader, !tty);
    drop(raw);
    ended?;
    if detached.is_some_and(|detached| detached.load(std::sync::atomic::Ordering::Acquire)) {
        return Err(Failure::new(attach::ESCAPED));
    }
    let state: Value = client.call("GET", &format!("/exec/{id}/json"), None)?;
    if state.get("Running").and_then(Value::as_bool) == Some(true) {
        return Ok(0);
    }
    Ok(attach::code(field::number(&state, "ExitCode")))
}

/// Docker's exit codes for what cannot be executed.
fn of_exec(error: Error) -> Failure {
    let Failure::Message { message, code, .. } = Failure::from(error).of_run() else {
        return Failure::Silent(1);
    };
    Failure::Message { message, code: if code == 125 { 1 } else { code }, run: false }
}
