//! `attach` and `start`: a running container's streams.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};

use docker_api::client::{Client, Hijacked, escape, query};
use serde_json::Value;

use super::{Entry, each, life};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{config, json, streams, terminal};

pub(super) const ENTRIES: &[Entry] = &[Entry { command: described("attach"), act: attach }];

/// What Docker says of one who left by the keys.
pub(super) const ESCAPED: &str = "read escape sequence";

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

/// Keys that let a container go: those given, those of the configuration, or empty for Docker's own.
pub(super) fn keys(given: &Given) -> String {
    given.get("detach-keys").map(str::to_owned).or_else(|| config::setting("detachKeys")).unwrap_or_default()
}

/// Passes bytes until the container's streams end; says whether a person has let it go.
pub(super) fn pump(stream: Option<Hijacked>, wanted: &[&str], tty: bool, keys: &str) -> Outcome<bool> {
    let Some(mut stream) = stream else {
        return Ok(false);
    };
    let mut detached = None;
    if wanted.contains(&"stdin") {
        detached = Some(streams::send_stdin(&stream, tty.then_some(keys))?);
    } else {
        stream.writer()?.close_write()?;
    }
    streams::print(&mut stream.reader, !tty)?;
    Ok(detached.is_some_and(|detached| detached.load(Ordering::Acquire)))
}

/// Registers a wait, so that an end that follows is not missed; the exit code comes through the channel.
pub(super) fn await_exit(client: &Client, id: &str, condition: &'static str) -> Receiver<Outcome<i64>> {
    let mut waiter = client.another();
    let (sender, exit) = mpsc::channel();
    let (ready, registered) = mpsc::channel();
    let condition = Some(condition).filter(|condition| !condition.is_empty());
    let path = format!("/containers/{}/wait{}", escape(id), query(&[("condition", condition)]));
    std::thread::spawn(move || {
        let body = waiter.stream("POST", &path, None);
        // Registered or failed: the container may start now.
        let _gone = ready.send(());
        let _gone = sender.send(life::read_exit(body));
    });
    let _the_waiter_died = registered.recv();
    exit
}

/// The exit code that a registered wait brings.
fn exited(exit: &Receiver<Outcome<i64>>) -> Outcome<u8> {
    Ok(code(exit.recv().map_err(|_| Failure::new("the daemon ended before the container did"))??))
}

/// Whether the engine removes the container at its end.
fn removes(container: &Value) -> bool {
    container.pointer("/HostConfig/AutoRemove").and_then(Value::as_bool).unwrap_or_default()
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
    let exit = await_exit(&client, &id, if removes(&container) { "removed" } else { "" });
    session(&mut client, given, &id, &wanted, tty)?;
    exited(&exit)
}

/// Attaches to a running container until it ends.
fn session(client: &mut Client, given: &Given, id: &str, wanted: &[&str], tty: bool) -> Outcome<()> {
    let stream = open(client, id, wanted, given.get("detach-keys"))?;
    let raw = (tty && wanted.contains(&"stdin")).then(terminal::Raw::enter).flatten();
    if tty {
        streams::follow_size(client, format!("/containers/{id}/resize"));
    } else if given.get("sig-proxy") != Some("false") {
        proxy_signals(client.another(), id.to_owned());
    }
    let ended = pump(stream, wanted, tty, &keys(given));
    drop(raw);
    if ended? { Err(Failure::new(ESCAPED)) } else { Ok(()) }
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
    let exit = await_exit(&client, &id, if removes(&container) { "removed" } else { "next-exit" });
    client.call::<Value>("POST", &path(&id), None)?;
    let raw = (tty && stdin).then(terminal::Raw::enter).flatten();
    if tty {
        streams::follow_size(&client, format!("/containers/{id}/resize"));
    } else {
        proxy_signals(client.another(), id.clone());
    }
    let ended = pump(stream, &wanted, tty, &keys(given));
    drop(raw);
    if ended? {
        return Ok(0);
    }
    exited(&exit)
}
