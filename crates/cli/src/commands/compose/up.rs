//! `up`, `create` and `scale`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use compose::desired::Desired;
use compose::observe::{self, Observed};
use compose::plan::{self, Plan, Recreate, Up};
use docker_api::client::Client;

use super::session::{self, Session};
use super::{attached, build, pull};
use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// What the flags want of the containers.
fn wish(given: &Given, services: &[String]) -> Outcome<Up> {
    for (left, right) in [("force-recreate", "no-recreate"), ("build", "no-build"), ("always-recreate-deps", "no-recreate")] {
        if given.on(left) && given.on(right) {
            return Err(Failure::new(format!("--{left} and --{right} are incompatible")));
        }
    }
    let recreate = match (given.on("force-recreate"), given.on("no-recreate")) {
        (true, _) => Recreate::Force,
        (_, true) => Recreate::Never,
        _ => Recreate::Diverged,
    };
    let recreate_dependencies = if given.on("always-recreate-deps") {
        Recreate::Force
    } else if given.on("no-recreate") {
        Recreate::Never
    } else {
        Recreate::Diverged
    };
    let set = |name: &str| std::env::var(name).is_ok_and(|value| matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "y"));
    Ok(Up {
        services: services.to_vec(),
        no_dependencies: given.on("no-deps"),
        recreate,
        recreate_dependencies,
        remove_orphans: given.on("remove-orphans") || set("COMPOSE_REMOVE_ORPHANS"),
        renew_volumes: given.on("renew-anon-volumes"),
        no_start: given.on("no-start"),
        wait: given.on("wait"),
    })
}

/// Sets the numbers of `--scale`.
fn scales(given: &Given, desired: &mut Desired) -> Outcome<()> {
    for entry in given.all("scale") {
        scale_one(desired, entry)?;
    }
    Ok(())
}

fn scale_one(desired: &mut Desired, entry: &str) -> Outcome<()> {
    let (name, count) =
        entry.split_once('=').ok_or_else(|| Failure::new(format!("invalid --scale option \"{entry}\". Should be SERVICE=NUM")))?;
    let count = count.parse::<usize>().map_err(|_| Failure::new(format!("invalid --scale option \"{entry}\". Should be SERVICE=NUM")))?;
    let service = desired.services.get_mut(name).ok_or_else(|| Failure::new(format!("no such service: {name}")))?;
    if count > 1 && service.config.get("container_name").is_some() {
        return Err(Failure::new(format!(
            "WARNING: The \"{name}\" service is using the custom container name \"{}\". Docker requires each container to have a unique name. Remove the custom name to scale the service",
            crate::json::text(&service.config, "container_name")
        )));
    }
    service.scale = count;
    Ok(())
}

/// The services that a call is about: named ones with what they depend on.
fn selected(desired: &Desired, up: &Up) -> Outcome<BTreeSet<String>> {
    let none = |error: compose::desired::NoSuchService| Failure::new(error.to_string());
    if up.no_dependencies && !up.services.is_empty() {
        desired.with_dependencies(&up.services).map_err(none)?;
        return Ok(up.services.iter().cloned().collect());
    }
    desired.with_dependencies(&up.services).map_err(none)
}

/// Builds and pulls what is missing or asked for, and sets what is known of the images.
fn images(
    session: &mut Session<'_>,
    client: &mut Client,
    desired: &mut Desired,
    services: &BTreeSet<String>,
    given: &Given,
) -> Outcome<()> {
    let missing = session::know_images(client, desired, services)?;
    if session.dry_run {
        return Ok(());
    }
    let policy = given.get("pull").filter(|policy| *policy != "policy");
    if let Some(policy) = policy.filter(|policy| !matches!(*policy, "always" | "missing" | "never" | "build")) {
        return Err(Failure::new(format!("invalid --pull option \"{policy}\"")));
    }
    let (mut to_build, mut to_pull) = (Vec::new(), Vec::new());
    for name in services {
        let Some(service) = desired.services.get(name) else { continue };
        let is_missing = missing.contains(name);
        let builds = service.config.get("build").is_some_and(|build| !build.is_null());
        let own = crate::json::text(&service.config, "pull_policy");
        if builds && (given.on("build") || is_missing && !given.on("no-build") || own == "build" && !given.on("no-build")) {
            to_build.push(name.clone());
        } else if pull::wants(policy.unwrap_or(own), service, is_missing) && !(builds && policy.is_none() && own.is_empty()) {
            to_pull.push(name.clone());
        } else if is_missing && builds {
            let image = service.image(&desired.name);
            return Err(Failure::new(format!("service \"{name}\" has no image `{image}` and --no-build forbids to build it")));
        }
    }
    if to_build.is_empty() && to_pull.is_empty() {
        return Ok(());
    }
    pull::pull_services(session, client, desired, &to_pull, given.on("quiet-pull"))?;
    build::build_services(session, client, desired, &to_build, &build::Wish { quiet: given.on("quiet-build"), ..build::Wish::default() })?;
    let missing = session::know_images(client, desired, services)?;
    if let Some(name) = missing.first() {
        let image = desired.services.get(name).map(|service| service.image(&desired.name)).unwrap_or_default();
        return Err(Failure::new(format!("No such image: {image}")));
    }
    Ok(())
}

/// What others must have made before.
fn externals(desired: &Desired, observed: &Observed, services: &BTreeSet<String>) -> Outcome<()> {
    for service in services.iter().filter_map(|name| desired.services.get(name)) {
        for network in service.networks().iter().filter_map(|key| desired.networks.get(key)).filter(|network| network.external) {
            if !observed.networks.iter().any(|found| found.name == network.name) {
                return Err(Failure::new(format!("network {} declared as external, but could not be found", network.name)));
            }
        }
        for volume in service.named_volumes().filter_map(|(key, _)| desired.volumes.get(key)).filter(|volume| volume.external) {
            if !observed.volumes.iter().any(|found| found.name == volume.name) {
                return Err(Failure::new(format!("external volume \"{}\" not found", volume.name)));
            }
        }
    }
    Ok(())
}

/// What a call has prepared.
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) desired: Desired,
    pub(super) services: BTreeSet<String>,
    pub(super) up: Up,
}

/// Reads the files, brings the images and checks what others must have made.
fn prepare(session: &mut Session<'_>, given: &Given, services: &[String]) -> Outcome<Prepared> {
    let project = session.project()?;
    let mut desired = session.desired_of(&project)?;
    scales(given, &mut desired)?;
    let up = wish(given, services)?;
    let services = selected(&desired, &up)?;
    if desired.services.is_empty() {
        return Err(Failure::new("no service selected"));
    }
    compose::unserved(&project, &services, up.services.is_empty()).map_err(|error| Failure::new(error.to_string()))?;
    let mut client = session.client()?;
    images(session, &mut client, &mut desired, &services, given)?;
    Ok(Prepared { client, desired, services, up })
}

impl Prepared {
    /// Looks what there is and plans.
    pub(super) fn plan(&mut self) -> Outcome<(Observed, Plan)> {
        let observed = observe::observe(&mut self.client, &self.desired.name)?;
        externals(&self.desired, &observed, &self.services)?;
        let plan = plan::up(&self.desired, &observed, &self.up).map_err(|error| Failure::new(error.to_string()))?;
        Ok((observed, plan))
    }

    /// Says which containers stay as they are.
    pub(super) fn tell_running(&self, session: &Session<'_>, observed: &Observed, plan: &Plan) {
        let progress = session.progress();
        for container in observed.containers.iter().filter(|container| container.is_running() && !container.is_oneoff()) {
            let subject = format!("Container {}", container.name);
            if self.services.contains(container.service()) && !plan.steps.iter().any(|step| step.subject == subject) {
                progress.tell(&subject, "Running", true);
            }
        }
    }
}

pub(super) fn timeout(given: &Given) -> Outcome<Option<i64>> {
    given.number("timeout")
}

/// `up`.
pub(super) fn up(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let detached = given.on("detach") || given.on("wait") || given.on("no-start");
    let aborts = given.on("abort-on-container-exit") || given.on("abort-on-container-failure") || given.has("exit-code-from");
    if aborts && detached {
        return Err(Failure::new("--abort-on-container-exit and --detach are incompatible"));
    }
    if given.on("attach-dependencies") && given.has("attach") {
        return Err(Failure::new("cannot combine --attach and --attach-dependencies"));
    }
    let mut prepared = prepare(session, given, &given.args)?;
    let timeout = timeout(given)?;
    if !detached && !session.dry_run {
        return attached::up(session, given, &mut prepared, timeout);
    }
    let (observed, plan) = prepared.plan()?;
    if !session.dry_run {
        prepared.tell_running(session, &observed, &plan);
    }
    let limit = limit(session, given)?;
    let result = session.execute(&prepared.client, &prepared.desired, &plan, timeout);
    if result.is_err() && limit.is_some_and(|limit| limit.load(Ordering::Acquire)) {
        return Err(Failure::new("application not healthy after the time that --wait-timeout gives"));
    }
    if let Err(failure) = result {
        if given.on("wait") {
            show_failing(&mut prepared);
        }
        return Err(failure);
    }
    Ok(0)
}

/// Ends the waiting after the seconds of `--wait-timeout`; what it returns tells whether it did.
fn limit(session: &Session<'_>, given: &Given) -> Outcome<Option<Arc<std::sync::atomic::AtomicBool>>> {
    let Some(seconds) = given.number("wait-timeout")?.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0) else {
        return Ok(None);
    };
    let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (told, canceled) = (Arc::clone(&over), Arc::clone(&session.canceled));
    std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_secs(seconds));
        told.store(true, Ordering::Release);
        canceled.store(true, Ordering::Release);
    });
    Ok(Some(over))
}

/// The last lines of the containers that have failed: what a person looks for first.
fn show_failing(prepared: &mut Prepared) {
    let Ok(containers) = observe::containers(&mut prepared.client, &prepared.desired.name) else { return };
    for container in containers {
        let failed = container.exit_code().is_some_and(|code| code != 0) || container.status.contains("(unhealthy)");
        if !failed || !prepared.services.contains(container.service()) {
            continue;
        }
        let path = format!("/containers/{}/logs?stdout=1&stderr=1&tail=10", container.id);
        let Ok(mut answer) = prepared.client.stream("GET", &path, None) else { continue };
        crate::printer::error(&format!("Last lines of {}:", container.name));
        super::output::Output::new(false, true, false).part(&container.name).copy_to_stderr(&mut answer);
    }
}

/// `create`.
pub(super) fn create(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut prepared = prepare(session, given, &given.args)?;
    prepared.up.no_start = true;
    let (_, plan) = prepared.plan()?;
    session.execute(&prepared.client, &prepared.desired, &plan, None)?;
    Ok(0)
}

/// `scale SERVICE=NUMBER…`.
pub(super) fn scale(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let project = session.project()?;
    let mut desired = session.desired_of(&project)?;
    let mut names = Vec::new();
    for entry in &given.args {
        scale_one(&mut desired, entry)?;
        names.push(entry.split('=').next().unwrap_or_default().to_owned());
    }
    let up = Up { services: names, no_dependencies: given.on("no-deps"), ..Up::default() };
    let services = selected(&desired, &up)?;
    compose::unserved(&project, &services, false).map_err(|error| Failure::new(error.to_string()))?;
    let mut client = session.client()?;
    images(session, &mut client, &mut desired, &services, given)?;
    let mut prepared = Prepared { client, desired, services, up };
    let (observed, plan) = prepared.plan()?;
    prepared.tell_running(session, &observed, &plan);
    session.execute(&prepared.client, &prepared.desired, &plan, None)?;
    Ok(0)
}
