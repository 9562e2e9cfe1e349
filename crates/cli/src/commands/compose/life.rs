//! `start`, `stop`, `restart`, `kill`, `rm`, `pause` and `unpause`.

use compose::desired::Desired;
use compose::observe::Container;
use compose::plan;
use docker_api::client::{Client, Endpoint, escape, query};
use serde_json::Value;

use super::session::Session;
use super::up::timeout;
use crate::commands::confirm;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::json::text;
use crate::printer;

/// Containers that a call is about, and the project if its files are here.
struct Meant {
    client: Client,
    containers: Vec<Container>,
    desired: Desired,
}

fn meant(session: &Session<'_>, given: &Given) -> Outcome<Meant> {
    let mut client = session.client()?;
    let (name, desired) = session.desired_if_any()?;
    let mut containers = session.containers(&mut client, &given.args)?;
    containers.retain(|container| !container.is_oneoff());
    let desired = desired.unwrap_or_else(|| Desired { name, ..Desired::default() });
    Ok(Meant { client, containers, desired })
}

/// `start`.
pub(super) fn start(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let meant = meant(session, given)?;
    for name in &given.args {
        if !meant.containers.iter().any(|container| container.service() == name) {
            return Err(Failure::new(format!("service \"{name}\" has no container to start")));
        }
    }
    let containers: Vec<&Container> = meant.containers.iter().collect();
    let mut plan = plan::start(&containers, Some(&meant.desired), false);
    if given.on("wait") {
        plan.wait_for(&containers);
    }
    session.execute(&meant.client, &meant.desired, &plan, None)?;
    Ok(0)
}

/// `stop`.
pub(super) fn stop(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut meant = meant(session, given)?;
    let timeout = timeout(given)?;
    tell_deaf(session, &mut meant.client, &meant.containers, timeout);
    let containers: Vec<&Container> = meant.containers.iter().collect();
    let plan = plan::stop(&containers, Some(&meant.desired));
    session.execute(&meant.client, &meant.desired, &plan, timeout)?;
    Ok(0)
}

/// `restart`: in one request a container; those that depend on it with `restart: true` come after it.
pub(super) fn restart(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut meant = meant(session, given)?;
    if meant.containers.is_empty() {
        return Err(Failure::new(format!("no container found for project \"{}\": not found", meant.desired.name)));
    }
    if !given.on("no-deps") && !given.args.is_empty() {
        let all = session.containers(&mut meant.client, &[])?;
        for container in all {
            let follows = container.depends_on().any(|(name, restarts)| restarts && given.args.iter().any(|other| other == name));
            if follows && container.is_running() && !meant.containers.iter().any(|known| known.id == container.id) {
                meant.containers.push(container);
            }
        }
    }
    let timeout = timeout(given)?;
    tell_deaf(session, &mut meant.client, &meant.containers, timeout);
    let containers: Vec<&Container> = meant.containers.iter().collect();
    let plan = plan::start(&containers, Some(&meant.desired), true);
    session.execute(&meant.client, &meant.desired, &plan, timeout)?;
    Ok(0)
}

/// Does the same to each container at the same time, with progress.
fn each(
    session: &Session<'_>,
    client: &Client,
    containers: &[Container],
    words: (&str, &str),
    act: &(dyn Fn(&mut Client, &Container) -> Outcome<()> + Sync),
) -> Outcome<()> {
    let progress = session.progress();
    let one = |container: &Container| {
        let subject = format!("Container {}", container.name);
        if !words.0.is_empty() {
            progress.tell(&subject, words.0, false);
        }
        let result = act(&mut client.another(), container);
        match &result {
            Ok(()) => progress.tell(&subject, words.1, true),
            Err(failure) => progress.error(&subject, &format!("Error {}", failure.text("").unwrap_or_default())),
        }
        result
    };
    let one = &one;
    let results: Vec<Outcome<()>> = std::thread::scope(|scope| {
        let running: Vec<_> = containers.iter().map(|container| scope.spawn(move || one(container))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(Failure::new("a request has failed")))).collect()
    });
    progress.finish();
    results.into_iter().collect()
}

fn post(client: &mut Client, container: &Container, what: &str) -> Outcome<()> {
    client.call::<Value>("POST", &format!("/containers/{}/{what}", escape(&container.id)), None)?;
    Ok(())
}

/// `kill`.
pub(super) fn kill(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut meant = meant(session, given)?;
    if given.on("remove-orphans") {
        let orphans = session
            .containers(&mut meant.client, &[])?
            .into_iter()
            .filter(|container| !meant.desired.services.contains_key(container.service()));
        let known: Vec<String> = meant.containers.iter().map(|container| container.id.clone()).collect();
        meant.containers.extend(orphans.filter(|container| !known.contains(&container.id)));
    }
    meant.containers.retain(Container::is_running);
    if meant.containers.is_empty() {
        printer::error("no container to kill");
        return Ok(0);
    }
    let signal = query(&[("signal", given.get("signal"))]);
    each(session, &meant.client, &meant.containers, ("Killing", "Killed"), &|client, container| {
        post(client, container, &format!("kill{signal}"))
    })?;
    Ok(0)
}

/// `pause`.
pub(super) fn pause(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut meant = meant(session, given)?;
    meant.containers.retain(|container| container.state == "running");
    each(session, &meant.client, &meant.containers, ("", "Paused"), &|client, container| post(client, container, "pause"))?;
    Ok(0)
}

/// `unpause`.
pub(super) fn unpause(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut meant = meant(session, given)?;
    meant.containers.retain(|container| container.state == "paused");
    each(session, &meant.client, &meant.containers, ("", "Unpaused"), &|client, container| post(client, container, "unpause"))?;
    Ok(0)
}

/// `rm`: containers that are stopped, or with `--stop` all.
pub(super) fn rm(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut meant = meant(session, given)?;
    if given.on("stop") {
        let containers: Vec<&Container> = meant.containers.iter().collect();
        session.execute(&meant.client, &meant.desired, &plan::stop(&containers, Some(&meant.desired)), None)?;
    } else {
        meant.containers.retain(|container| !container.is_running());
    }
    if meant.containers.is_empty() {
        printer::error("No stopped containers");
        return Ok(0);
    }
    let names: Vec<&str> = meant.containers.iter().map(|container| container.name.as_str()).collect();
    let question = format!("Going to remove {}", names.join(", "));
    printer::line(&question);
    if session.dry_run || !given.on("force") && !confirm("Are you sure?")? {
        return Ok(0);
    }
    let flags = query(&[("force", Some("1")), ("v", given.on("volumes").then_some("1"))]);
    each(session, &meant.client, &meant.containers, ("Removing", "Removed"), &|client, container| {
        client.call::<Value>("DELETE", &format!("/containers/{}{flags}", escape(&container.id)), None)?;
        Ok(())
    })?;
    Ok(0)
}

/// Says at once which first processes will not end when they are asked to: process 1 of a namespace ignores what it has
/// no handler for. **Source:** `pid_namespaces(7)`; `proc_pid_status(5)`, `SigCgt` and `SigBlk`.
pub(super) fn tell_deaf(session: &Session<'_>, client: &mut Client, containers: &[Container], timeout: Option<i64>) {
    if timeout == Some(0) || !matches!(client.endpoint(), Endpoint::Unix(_)) {
        return;
    }
    for container in containers.iter().filter(|container| container.state == "running") {
        let Ok(found) = client.call::<Value>("GET", &format!("/containers/{}/json", escape(&container.id)), None) else { continue };
        let Some((name, number)) = signal(found.pointer("/Config/StopSignal").and_then(Value::as_str).unwrap_or_default()) else {
            continue;
        };
        let Some(pid) = found.pointer("/State/Pid").and_then(Value::as_i64).filter(|pid| *pid > 0) else { continue };
        // The engine may be on another machine behind this socket; then there is no such process here, or another one.
        let mine = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.contains(&container.id));
        let shares = text(found.get("HostConfig").unwrap_or(&Value::Null), "PidMode") == "host";
        // An init may not have come to its handlers yet, a moment after the start.
        let init = found.pointer("/HostConfig/Init").and_then(Value::as_bool) == Some(true);
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        // One that it blocks, it takes from the queue when it likes, as an init does.
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(u64::MAX)
        };
        if !mine || shares || init || (mask("SigCgt:") | mask("SigBlk:")) & (1 << (number - 1)) != 0 {
            continue;
        }
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
        let own = found.pointer("/Config/StopTimeout").and_then(Value::as_i64).unwrap_or(10);
        let seconds = timeout.unwrap_or(own);
        if seconds > 0 {
            session.progress().warning(&format!(
                "Container {}: its first process (`{command}`) ignores {name} and will be killed after {seconds} s; `init: true` in the file makes it end at once",
                container.name
            ));
        }
    }
}

/// The signal that a container is asked to end with.
fn signal(name: &str) -> Option<(&'static str, u32)> {
    let name = name.trim_start_matches("SIG");
    let known = [("SIGTERM", 15), ("SIGINT", 2), ("SIGQUIT", 3), ("SIGHUP", 1), ("SIGUSR1", 10), ("SIGUSR2", 12)];
    if name.is_empty() {
        return Some(("SIGTERM", 15));
    }
    known.into_iter().find(|(known, number)| known.trim_start_matches("SIG") == name || name.parse() == Ok(*number))
}
