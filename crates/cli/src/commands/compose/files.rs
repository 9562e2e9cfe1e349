//! `cp`, `export` and `commit`: the commands of one container, for a service's.

use super::session::Session;
use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// `cp`: to all containers of a service, from its first one.
pub(super) fn cp(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let [source, target] = given.args.as_slice() else {
        return Err(Failure::new("a source and a destination are needed"));
    };
    let service = |place: &str| {
        let (name, _) = place.split_once(':')?;
        (!name.starts_with(['/', '.'])).then(|| name.to_owned())
    };
    let mut client = session.client()?;
    let index = given.number("index")?.filter(|index| *index > 0);
    let (name, into) = match (service(source), service(target)) {
        (Some(_), Some(_)) => return Err(Failure::new("copying between services is not supported")),
        (Some(name), None) => (name, false),
        (None, Some(name)) => (name, true),
        (None, None) => return Err(Failure::new("unknown copy direction")),
    };
    let mut containers = session.containers(&mut client, std::slice::from_ref(&name))?;
    containers.retain(|container| given.on("all") || !container.is_oneoff());
    if let Some(index) = index {
        containers = vec![session.container(&mut client, &name, Some(index))?];
    }
    if !into {
        containers.truncate(1);
    }
    if containers.is_empty() {
        return Err(Failure::new(format!("no container found for service \"{name}\"")));
    }
    for container in containers {
        let mut words = vec!["cp".to_owned()];
        words.extend(given.on("archive").then(|| "--archive".to_owned()));
        words.extend(given.on("follow-link").then(|| "--follow-link".to_owned()));
        let inside = |place: &str| format!("{}{}", container.id, place.strip_prefix(&name).unwrap_or(place));
        words.extend(if into { [source.clone(), inside(target)] } else { [inside(source), target.clone()] });
        session.cli(&words)?;
    }
    Ok(0)
}

/// `export`.
pub(super) fn export(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let container = session.container(&mut client, &given.args[0], given.number("index")?)?;
    let mut words = vec!["export".to_owned()];
    words.extend(given.get("output").map(|file| format!("--output={file}")));
    words.push(container.id);
    session.cli(&words)
}

/// `commit`.
pub(super) fn commit(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let container = session.container(&mut client, &given.args[0], given.number("index")?)?;
    let mut words = vec!["commit".to_owned()];
    for flag in ["author", "message", "pause"] {
        words.extend(given.get(flag).map(|value| format!("--{flag}={value}")));
    }
    words.extend(given.all("change").iter().map(|change| format!("--change={change}")));
    words.push(container.id);
    words.extend(given.args.get(1).cloned());
    session.cli(&words)
}
