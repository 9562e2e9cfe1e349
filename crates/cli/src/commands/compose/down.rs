//! `down`.

use std::collections::BTreeSet;

use compose::observe::{self, Observed};
use compose::plan::{self, Down};
use docker_api::client::{Client, escape};
use serde_json::Value;

use super::session::Session;
use super::up::timeout;
use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// `down`: containers, networks, with flags volumes and images.
pub(super) fn down(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let images = given.get("rmi");
    if let Some(other) = images.filter(|which| !matches!(*which, "all" | "local")) {
        return Err(Failure::new(format!("invalid value for --rmi: {other:?}")));
    }
    let (name, desired) = session.desired_if_any()?;
    if let Some(project) = &desired
        && let Some(unknown) = given.args.iter().find(|name| !project.services.contains_key(*name) && !project.hidden.contains(*name))
    {
        return Err(Failure::new(format!("no such service: {unknown}")));
    }
    let mut client = session.client()?;
    let observed = observe::observe(&mut client, &name)?;
    let timeout = timeout(given)?;
    let orphans = given.on("remove-orphans") || std::env::var("COMPOSE_REMOVE_ORPHANS").is_ok_and(|value| value == "1" || value == "true");
    let wish = Down {
        services: given.args.clone(),
        orphans: orphans || desired.is_none(),
        volumes: given.on("volumes"),
        at_once: timeout == Some(0),
    };
    let plan = plan::down(&name, desired.as_ref(), &observed, &wish);
    let to_remove = images.map(|which| images_of(which, &observed, desired.as_ref())).unwrap_or_default();
    if plan.steps.is_empty() && to_remove.is_empty() {
        for warning in &plan.warnings {
            session.progress().warning(warning);
        }
        if observed.containers.is_empty() {
            session.progress().warning(&format!("No resource found to remove for project \"{name}\"."));
        }
        return Ok(0);
    }
    let project = desired.unwrap_or_else(|| compose::desired::Desired { name: name.clone(), ..Default::default() });
    super::life::tell_deaf(session, &mut client, &observed.containers, timeout);
    session.execute(&client, &project, &plan, timeout)?;
    if !session.dry_run {
        remove_images(session, &mut client, &to_remove);
    }
    Ok(0)
}

/// The images that go: all that services use, or those without a name of their own.
fn images_of(which: &str, observed: &Observed, desired: Option<&compose::desired::Desired>) -> BTreeSet<String> {
    let mut images = BTreeSet::new();
    if let Some(project) = desired {
        for service in project.services.values() {
            let own = service.config.get("image").is_some();
            if which == "all" || !own {
                images.insert(service.image(&project.name));
            }
        }
    } else if which == "all" {
        images.extend(
            observed
                .containers
                .iter()
                .map(|container| container.label(compose::labels::IMAGE).to_owned())
                .filter(|image| !image.is_empty()),
        );
    }
    images
}

fn remove_images(session: &Session<'_>, client: &mut Client, images: &BTreeSet<String>) {
    let progress = session.progress();
    for image in images {
        let subject = format!("Image {image}");
        progress.tell(&subject, "Removing", false);
        let path = format!("/images/{}", image.split('/').map(escape).collect::<Vec<_>>().join("/"));
        match client.call::<Value>("DELETE", &path, None) {
            Ok(_) => progress.tell(&subject, "Removed", true),
            Err(error) if error.status() == Some(404) => progress.warning(&format!("Image {image} not found")),
            // Another project may use it.
            Err(error) if error.status() == Some(409) => progress.warning(&format!("Image {image} is still in use")),
            Err(error) => progress.error(&subject, &format!("Error {error}")),
        }
    }
    progress.finish();
}
