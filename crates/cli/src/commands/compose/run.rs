//! `run`: a container of a service for one command.

use std::collections::BTreeSet;

use compose::body::{self, OneOff, Wish};
use compose::desired::{Desired, Service};
use compose::execute::Executor;
use compose::observe;
use compose::plan::{self, Up};
use docker_api::client::escape;
use serde_json::{Value, json};

use super::session::{self, Session};
use super::{build, pull};
use crate::commands::attach;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::{printer, streams, terminal};

/// `run`.
pub(super) fn run(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let name = given.args[0].clone();
    let mut project = session.project()?;
    let mut desired = session.desired_of(&project)?;
    if let Some(hidden) = project.disabled.get(&name).cloned() {
        // Who names a service has no need of its profile.
        project.services.insert(name.clone(), hidden);
        desired = super::load::desired(&project)?;
    }
    if !desired.services.contains_key(&name) {
        return Err(Failure::new(format!("no such service: {name}")));
    }
    let mut client = session.client()?;
    let dependencies: Vec<String> = if given.on("no-deps") {
        Vec::new()
    } else {
        desired.services.get(&name).map(|service| service.needs(&desired).into_keys().collect()).unwrap_or_default()
    };
    let mut needed: BTreeSet<String> = BTreeSet::from([name.clone()]);
    if !dependencies.is_empty() {
        needed.extend(desired.with_dependencies(&dependencies).map_err(|error| Failure::new(error.to_string()))?);
    }
    compose::unserved(&project, &needed, false).map_err(|error| Failure::new(error.to_string()))?;
    images(session, &mut client, &mut desired, &needed, (&name, given))?;
    prepare(session, &mut client, &desired, (&name, &dependencies), given)?;
    let id = create(session, &mut client, &mut desired, &name, given)?;
    if given.on("detach") {
        client.call::<Value>("POST", &format!("/containers/{}/start", escape(&id)), None)?;
        printer::line(&id);
        return Ok(0);
    }
    foreground(&mut client, &id, given)
}

fn images(
    session: &mut Session<'_>,
    client: &mut docker_api::client::Client,
    desired: &mut Desired,
    needed: &BTreeSet<String>,
    (name, given): (&str, &Given),
) -> Outcome<()> {
    let missing = session::know_images(client, desired, needed)?;
    let builds = |desired: &Desired, name: &str| desired.services.get(name).is_some_and(|service| service.config.get("build").is_some());
    let to_build: Vec<String> = needed
        .iter()
        .filter(|other| builds(desired, other) && (missing.contains(other) || other.as_str() == name && given.on("build")))
        .cloned()
        .collect();
    let policy = given.get("pull").filter(|policy| *policy != "policy");
    let to_pull = |service: &Service| {
        let own = policy.filter(|_| service.name == name).unwrap_or_else(|| crate::json::text(&service.config, "pull_policy"));
        !builds(desired, &service.name) && pull::wants(own, service, missing.contains(&service.name))
    };
    let services = needed.iter().filter_map(|other| desired.services.get(other));
    let to_pull: Vec<String> = services.filter(|service| to_pull(service)).map(|service| service.name.clone()).collect();
    if to_build.is_empty() && to_pull.is_empty() {
        return Ok(());
    }
    let quiet = given.on("quiet");
    pull::pull_services(session, client, desired, &to_pull, quiet || given.on("quiet-pull"))?;
    build::build_services(
        session,
        client,
        desired,
        &to_build,
        &build::Wish { quiet: quiet || given.on("quiet-build"), ..build::Wish::default() },
    )?;
    session::know_images(client, desired, needed)?;
    Ok(())
}

/// Brings up what the service depends on, and the networks and volumes it uses.
fn prepare(
    session: &Session<'_>,
    client: &mut docker_api::client::Client,
    desired: &Desired,
    (name, dependencies): (&str, &[String]),
    given: &Given,
) -> Outcome<()> {
    let observed = observe::observe(client, &desired.name)?;
    // The service itself gets no lasting container: only what it stands on is made.
    let mut bare = desired.clone();
    if let Some(service) = bare.services.get_mut(name) {
        service.scale = observed.containers.iter().filter(|container| container.service() == name && !container.is_oneoff()).count();
    }
    for service in bare.services.values_mut().filter(|service| service.name != name) {
        // One that was scaled stays so.
        let there = observed.containers.iter().filter(|container| container.service() == service.name && !container.is_oneoff()).count();
        service.scale = service.scale.max(there);
    }
    let up = Up {
        services: vec![name.to_owned()],
        no_dependencies: dependencies.is_empty(),
        recreate: plan::Recreate::Never,
        remove_orphans: given.on("remove-orphans"),
        ..Up::default()
    };
    let mut plan = plan::up(&bare, &observed, &up).map_err(|error| Failure::new(error.to_string()))?;
    plan.leave_alone(name);
    plan.wait_for_needs(&bare, name, &observed);
    let progress = if given.on("quiet") { super::progress::Progress::quiet() } else { session.progress() };
    let result = Executor::new(client, &bare, &session.canceled).run(&plan, &progress);
    progress.finish();
    result.map_err(session::failure)
}

/// Makes the container with what the words change of the service.
fn create(
    session: &Session<'_>,
    client: &mut docker_api::client::Client,
    desired: &mut Desired,
    name: &str,
    given: &Given,
) -> Outcome<String> {
    let mut random = [0u8; 32];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(std::io::Error::from)?;
    let slug: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = slug.chars().take(12).collect();
    let container = given.get("name").map_or_else(|| format!("{}-{name}-run-{short}", desired.name), str::to_owned);
    let interactive = given.get("interactive") != Some("false") && !given.on("detach");
    let tty = !given.on("no-tty")
        && !given.on("no-TTY")
        && given.get("tty") != Some("false")
        && interactive
        && terminal::stdin_is_terminal()
        && printer::stdout_is_terminal();
    if let Some(service) = desired.services.get_mut(name) {
        change(&mut service.config, given)?;
        service.config["tty"] = tty.into();
    }
    let service = desired.services.get(name).ok_or_else(|| Failure::new(format!("no such service: {name}")))?;
    let executor = Executor::new(client, desired, &session.canceled);
    let mut other = client.another();
    let shared = executor.shared(service, &mut other).map_err(session::failure)?;
    let oneoff = OneOff { slug, use_aliases: given.on("use-aliases"), remove: given.on("rm"), stdin: interactive };
    let mut body = body::body(desired, service, &Wish { number: 1, replaces: None, oneoff: Some(oneoff), shared });
    if !given.on("service-ports") {
        body["HostConfig"]["PortBindings"] = json!({});
    }
    for port in given.all("publish") {
        publish(&mut body, port)?;
    }
    let progress = if given.on("quiet") { super::progress::Progress::quiet() } else { session.progress() };
    let subject = format!("Container {container}");
    progress.tell(&subject, "Creating", false);
    let id = executor.create_container((service, &container, &body), &mut other, &progress).map_err(session::failure)?;
    progress.tell(&subject, "Created", true);
    progress.finish();
    Ok(id)
}

/// What the words of `run` say instead of the file.
fn change(config: &mut Value, given: &Given) -> Outcome<()> {
    if given.args.len() > 1 {
        config["command"] = json!(given.args.get(1..));
    }
    if let Some(entrypoint) = given.get("entrypoint") {
        config["entrypoint"] = json!(entrypoint.split_whitespace().collect::<Vec<_>>());
        if given.args.len() == 1 {
            config["command"] = json!([]);
        }
    }
    for (flag, field) in [("user", "user"), ("workdir", "working_dir")] {
        if let Some(value) = given.get(flag) {
            config[field] = value.into();
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for file in given.all("env-from-file") {
        let text = std::fs::read_to_string(file).map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?;
        lines.extend(text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned));
    }
    lines.extend(given.all("env").iter().cloned());
    for pair in lines {
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name.to_owned(), Value::from(value)),
            None => (pair.clone(), std::env::var(&pair).map_or(Value::Null, Value::from)),
        };
        config["environment"][name] = value;
    }
    for pair in given.all("label") {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        config["labels"][name] = value.into();
    }
    for (flag, field) in [("cap-add", "cap_add"), ("cap-drop", "cap_drop")] {
        if given.has(flag) {
            let mut all: Vec<Value> = config.get(field).and_then(Value::as_array).cloned().unwrap_or_default();
            all.extend(given.all(flag).iter().cloned().map(Value::from));
            config[field] = all.into();
        }
    }
    for volume in given.all("volume") {
        let mut parts = volume.splitn(3, ':');
        let (source, target, mode) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
        let bind = source.starts_with(['/', '.', '~']);
        let mut entry = match target {
            None => json!({"type": "volume", "target": source}),
            Some(target) if bind => json!({"type": "bind", "source": session::absolute(source)?.display().to_string(), "target": target}),
            Some(target) => json!({"type": "volume", "source": source, "target": target}),
        };
        if mode.is_some_and(|mode| mode.split(',').any(|word| word == "ro")) {
            entry["read_only"] = true.into();
        }
        let mut all: Vec<Value> = config.get("volumes").and_then(Value::as_array).cloned().unwrap_or_default();
        all.retain(|known| known.get("target") != entry.get("target"));
        all.push(entry);
        config["volumes"] = all.into();
    }
    Ok(())
}

/// Adds `[ip:][host:]container[/proto]`.
fn publish(body: &mut Value, port: &str) -> Outcome<()> {
    let (left, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let mut parts: Vec<&str> = left.rsplitn(3, ':').collect();
    parts.resize(3, "");
    let key = format!("{}/{protocol}", parts[0]);
    if parts[0].parse::<u16>().is_err() {
        return Err(Failure::new(format!("invalid containerPort: {}", parts[0])));
    }
    body["ExposedPorts"][&key] = json!({});
    body["HostConfig"]["PortBindings"][&key] = json!([{"HostIp": parts[2], "HostPort": parts[1]}]);
    Ok(())
}

/// Runs the container with our streams; its exit code is ours.
fn foreground(client: &mut docker_api::client::Client, id: &str, given: &Given) -> Outcome<u8> {
    let found: Value = client.call("GET", &format!("/containers/{}/json", escape(id)), None)?;
    let config = |field: &str| found.pointer(&format!("/Config/{field}")).and_then(Value::as_bool).unwrap_or_default();
    let (tty, stdin) = (config("Tty"), config("OpenStdin"));
    let wanted: Vec<&str> = if stdin { vec!["stdin", "stdout", "stderr"] } else { vec!["stdout", "stderr"] };
    let stream = attach::open(client, id, &wanted, None)?;
    let exit = attach::await_exit(client, id, if given.on("rm") { "removed" } else { "next-exit" });
    let raw = (tty && stdin).then(terminal::Raw::enter).flatten();
    if let Err(error) = client.call::<Value>("POST", &format!("/containers/{}/start", escape(id)), None) {
        drop(raw);
        return Err(error.into());
    }
    if tty {
        streams::follow_size(client, format!("/containers/{id}/resize"));
    } else {
        attach::proxy_signals(client.another(), id.to_owned());
    }
    let ended = attach::pump(stream, &wanted, tty, "");
    drop(raw);
    if ended? {
        return Ok(0);
    }
    let code = exit.recv().map_err(|_| Failure::new("the daemon ended before the container did"))??;
    Ok(attach::code(code))
}
