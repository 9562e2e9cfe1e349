//! `attach` and `start`: a running container's streams.

use docker_api::client::{Client, Hijacked, escape, query};
use serde_json::Value;

use super::{Entry, each, life};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{config, json, streams, terminal};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("attach"), act: attach }];

/// An exit code as this process can have it.
pub(super) fn code(code: i64) -> u8 {
    u8::try_from(code & 0xff).unwrap_or(255)
}

/// Opens a container's streams.
pub(super) fn open(client: &mut Client, id: &str, wanted: &[&str], keys: Option<&str>) -> Outcome<Option<Hijacked>> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let configured = config::setting("detachKeys");
    let flag = |stream| wanted.contains(&stream).then_some("1");
    let query = query(&[
        ("stream", Some("1")),
        ("stdin", flag("stdin")),
        ("stdout", flag("stdout")),
        ("stderr", flag("stderr")),
        ("detachKeys", keys.or(configured.as_deref())),
    ]);
    Ok(Some(client.hijack(&format!("/containers/{}/attach{query}", escape(id)), None)?))
}

/// Passes bytes until the container's streams end.
pub(super) fn pump(stream: Option<Hijacked>, wanted: &[&str], tty: bool) -> Outcome<()> {
    let Some(mut stream) = stream else {
        return Ok(());
    };
    if wanted.contains(&"stdin") {
        streams::send_stdin(&stream)?;
    } else {
        stream.writer()?.close_write()?;
    }
    streams::print(&mut stream.reader, !tty)?;
    Ok(())
}

/// Whether a container runs.
pub(super) fn is_running(client: &mut Client, id: &str) -> bool {
    let state: Result<Value, _> = client.call("GET", &format!("/containers/{}/json", escape(id)), None);
    state.is_ok_and(|value| value.pointer("/State/Running").and_then(Value::as_bool).unwrap_or_default())
}

/// Passes the signals that this process gets on to the container.
pub(super) fn proxy_signals(mut client: Client, id: String) {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2]) else {
        return;
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            // One that cannot be passed on reaches a container that has just ended.
            let _ended = client.call::<Value>("POST", &format!("/containers/{id}/kill?signal={signal}"), None);
        }
    });
}

fn attach(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let name = &given.args[0];
    let container: Value = client.call("GET", &format!("/containers/{}/json", escape(name)), None)?;
    let state = |field: &str| container.pointer(&format!("/State/{field}")).and_then(Value::as_bool).unwrap_or_default();
    for (wrong, text) in [
        (!state("Running"), "You cannot attach to a stopped container, start it first"),
        (state("Paused"), "cannot attach to a paused container, unpause it first"),
        (state("Restarting"), "cannot attach to a restarting container, wait until it is running"),
    ] {
        if wrong {
            return Err(Failure::new(text));
        }
    }
    let configured = |field: &str| container.pointer(&format!("/Config/{field}")).and_then(Value::as_bool).unwrap_or_default();
    let (tty, stdin) = (configured("Tty"), configured("OpenStdin") && !given.on("no-stdin"));
    if tty && stdin && !terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    let wanted = if stdin { vec!["stdin", "stdout", "stderr"] } else { vec!["stdout", "stderr"] };
    let id = json::text(&container, "Id").to_owned();
    session(&mut client, given, &id, tty, &wanted)
}

/// Attaches to a running container and returns its exit code if it ends meanwhile.
fn session(client: &mut Client, given: &Given, id: &str, tty: bool, wanted: &[&str]) -> Outcome<u8> {
    let stream = open(client, id, wanted, given.get("detach-keys"))?;
    let raw = (tty && wanted.contains(&"stdin")).then(terminal::Raw::enter).flatten();
    if tty {
        streams::follow_size(client, format!("/containers/{id}/resize"));
    } else if given.get("sig-proxy") != Some("false") {
        proxy_signals(client.another(), id.to_owned());
    }
    let ended = pump(stream, wanted, tty);
    drop(raw);
    ended?;
    if is_running(client, id) {
        return Ok(0);
    }
    Ok(code(life::wait_for(client, id, "")?))
}

/// `start`, with or without the container's streams.
pub(super) fn start(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let mut client = context.client()?;
    let path = |name: &str| format!("/containers/{}/start", escape(name));
    if !given.on("attach") && !given.on("interactive") {
        let result = each(&given.args, |name| {
            client.call::<Value>("POST", &path(name), None)?;
            Ok(Some(name.to_owned()))
        });
        let names = given.args.join(", ");
        return result.map_err(|failure| {
            Failure::new(format!("{}\nError: failed to start containers: {names}", failure.text("").unwrap_or_default()))
        });
    }
    let [name] = given.args.as_slice() else {
        return Err(Failure::new("you cannot start and attach multiple containers at once"));
    };
    let container: Value = client.call("GET", &format!("/containers/{}/json", escape(name)), None)?;
    let configured = |field: &str| container.pointer(&format!("/Config/{field}")).and_then(Value::as_bool).unwrap_or_default();
    let (tty, stdin) = (configured("Tty"), given.on("interactive") && configured("OpenStdin"));
    let wanted = if stdin { vec!["stdin", "stdout", "stderr"] } else { vec!["stdout", "stderr"] };
    let id = json::text(&container, "Id").to_owned();
    let stream = open(&mut client, &id, &wanted, given.get("detach-keys"))?;
    client.call::<Value>("POST", &path(&id), None)?;
    let raw = (tty && stdin).then(terminal::Raw::enter).flatten();
    if tty {
        streams::follow_size(&client, format!("/containers/{id}/resize"));
    } else {
        proxy_signals(client.another(), id.clone());
    }
    let ended = pump(stream, &wanted, tty);
    drop(raw);
    ended?;
    if is_running(&mut client, &id) {
        return Ok(0);
    }
    Ok(code(life::wait_for(&mut client, &id, "")?))
}
