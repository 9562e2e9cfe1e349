//! `pull` and `push`: images of services, all at the same time.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

use compose::desired::{Desired, Service};
use docker_api::client::{Client, escape, query};
use serde_json::Value;

use super::session::{self, Session};
use crate::commands::registry;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::json::text;
use crate::reference::Reference;

/// At most so many images move at once: a registry and a disk have their bounds.
const AT_ONCE: usize = 8;

/// Whether a service's image is pulled under this policy. **Source:** Compose Specification, `pull_policy`.
pub(super) fn wants(policy: &str, service: &Service, missing: bool) -> bool {
    match policy {
        "always" => true,
        "never" | "build" => false,
        // Docker Compose takes the bare word `refresh` as `missing`.
        other => missing || period(other).is_some_and(|period| is_older(service, period)),
    }
}

/// Seconds after which a policy pulls again: `daily`, `weekly`, `every_1d12h`.
fn period(policy: &str) -> Option<i64> {
    let text = match policy {
        "daily" => "1d",
        "weekly" => "1w",
        other => other.strip_prefix("every_")?,
    };
    let (mut total, mut number) = (0i64, 0i64);
    for letter in text.chars() {
        let unit = match letter {
            'w' => 604_800,
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            digit => {
                number = number.saturating_mul(10).saturating_add(i64::from(digit.to_digit(10)?));
                continue;
            }
        };
        total = total.saturating_add(number.saturating_mul(unit));
        number = 0;
    }
    Some(total)
}

/// Whether the image is here for so many seconds; one of unknown age is.
fn is_older(service: &Service, seconds: i64) -> bool {
    service.image_time.is_none_or(|time| time.saturating_add(seconds) < jiff::Timestamp::now().as_second())
}

/// `pull`.
pub(super) fn pull(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let project = session.project()?;
    let mut desired = session.desired_of(&project)?;
    let names = chosen(&desired, given, given.on("include-deps"))?;
    let mut client = session.client()?;
    let all = names.iter().cloned().collect();
    let missing = session::know_images(&mut client, &mut desired, &all)?;
    let names: Vec<String> = names
        .into_iter()
        .filter(|name| {
            let Some(service) = desired.services.get(name) else { return false };
            let builds = service.config.get("build").is_some();
            let own = given.get("policy").unwrap_or_else(|| text(&service.config, "pull_policy"));
            // Who calls `pull` does not wait until the time has come.
            let policy = if own.is_empty() || period(own).is_some() { "always" } else { own };
            !(builds && (given.on("ignore-buildable") || text(&service.config, "image").is_empty()))
                && wants(policy, service, missing.contains(name))
        })
        .collect();
    let result = pull_services(session, &client, &desired, &names, given.on("quiet"));
    if given.on("ignore-pull-failures") {
        return Ok(0);
    }
    result.map(|()| 0)
}

/// The services named, or all.
fn chosen(desired: &Desired, given: &Given, dependencies: bool) -> Outcome<Vec<String>> {
    let error = |error: compose::desired::NoSuchService| Failure::new(error.to_string());
    let with = desired.with_dependencies(&given.args).map_err(error)?;
    Ok(if dependencies || given.args.is_empty() { with.into_iter().collect() } else { given.args.clone() })
}

/// Does `act` for each, at most `limit` at once; the first failure counts.
pub(super) fn each<T: Sync>(items: &[T], limit: usize, act: &(dyn Fn(&T) -> Outcome<()> + Sync)) -> Outcome<()> {
    let next = std::sync::atomic::AtomicUsize::new(0);
    let results: Vec<Outcome<()>> = std::thread::scope(|scope| {
        let worker = || {
            let mut result = Ok(());
            while let Some(item) = items.get(next.fetch_add(1, std::sync::atomic::Ordering::AcqRel)) {
                result = result.and(act(item));
            }
            result
        };
        let workers: Vec<_> = (0..items.len().min(limit)).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err(Failure::new("a transfer or build has failed")))).collect()
    });
    results.into_iter().collect()
}

/// Pulls the images of these services, each once.
pub(super) fn pull_services(session: &Session<'_>, client: &Client, desired: &Desired, names: &[String], quiet: bool) -> Outcome<()> {
    let mut images: BTreeMap<String, Option<String>> = BTreeMap::new();
    for service in names.iter().filter_map(|name| desired.services.get(name)) {
        let platform = Some(text(&service.config, "platform").to_owned()).filter(|platform| !platform.is_empty());
        images.insert(service.image(&desired.name), platform);
    }
    let progress = if quiet { super::progress::Progress::quiet() } else { session.progress() };
    let list: Vec<String> = images.keys().cloned().collect();
    let result = each(&list, session.parallel()?.min(AT_ONCE), &|image| {
        let subject = format!("Image {image}");
        progress.tell(&subject, "Pulling", false);
        let name = Reference::new(image).or_latest();
        let outcome = registry::client_for(client, &name.domain).and_then(|mut client| {
            let tag = name.digest.as_deref().or(name.tag.as_deref());
            let platform = images.get(image).and_then(Option::as_deref);
            let path = format!(
                "/images/create{}",
                query(&[("fromImage", Some(&registry::familiar(&name))), ("tag", tag), ("platform", platform)])
            );
            let answer = client.stream("POST", &path, None).map_err(registry::local)?;
            follow(answer, &mut |layer, status| progress.tell(&format!("{layer} "), status, is_over(status)))
        });
        match &outcome {
            Ok(()) => progress.tell(&subject, "Pulled", true),
            Err(failure) => progress.error(&subject, &format!("Error {}", failure.text("").unwrap_or_default())),
        }
        outcome
    });
    progress.finish();
    result
}

fn is_over(status: &str) -> bool {
    matches!(status, "Pull complete" | "Already exists" | "Pushed" | "Layer already exists")
}

/// Reads a transfer's lines; what a layer's state has become is told.
fn follow(answer: impl std::io::Read, tell: &mut dyn FnMut(&str, &str)) -> Outcome<()> {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for line in BufReader::new(answer).lines() {
        let Ok(value) = serde_json::from_str::<Value>(&line?) else { continue };
        if let Some(message) = value.pointer("/errorDetail/message").and_then(Value::as_str) {
            return Err(Failure::new(message));
        }
        let (id, status) = (text(&value, "id"), text(&value, "status"));
        if !id.is_empty() && value.get("progressDetail").is_some() && last.get(id).is_none_or(|before| before != status) {
            last.insert(id.to_owned(), status.to_owned());
            tell(id, status);
        }
    }
    Ok(())
}

/// `push`.
pub(super) fn push(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let project = session.project()?;
    let desired = session.desired_of(&project)?;
    let names = chosen(&desired, given, given.on("include-deps"))?;
    let client = session.client()?;
    let result = push_services(session, &client, &desired, &names, given.on("quiet"));
    if given.on("ignore-push-failures") { Ok(0) } else { result.map(|()| 0) }
}

/// Pushes the images that these services build, each once.
pub(super) fn push_services(session: &Session<'_>, client: &Client, desired: &Desired, names: &[String], quiet: bool) -> Outcome<()> {
    let services = names.iter().filter_map(|name| desired.services.get(name));
    let mut images: Vec<String> =
        services.filter(|service| service.config.get("build").is_some()).map(|service| service.image(&desired.name)).collect();
    images.sort_unstable();
    images.dedup();
    let progress = if quiet { super::progress::Progress::quiet() } else { session.progress() };
    let result = each(&images, session.parallel()?.min(AT_ONCE), &|image| {
        let subject = format!("Image {image}");
        progress.tell(&subject, "Pushing", false);
        let name = Reference::new(image).or_latest();
        let path = registry::familiar(&name).split('/').map(escape).collect::<Vec<_>>().join("/");
        let outcome = registry::client_for(client, &name.domain).and_then(|mut client| {
            let answer = client.stream("POST", &format!("/images/{path}/push{}", query(&[("tag", name.tag.as_deref())])), None);
            follow(answer.map_err(registry::local)?, &mut |layer, status| progress.tell(&format!("{layer} "), status, is_over(status)))
        });
        match &outcome {
            Ok(()) => progress.tell(&subject, "Pushed", true),
            Err(failure) => progress.error(&subject, &format!("Error {}", failure.text("").unwrap_or_default())),
        }
        outcome
    });
    progress.finish();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pulled_again_when_its_time_has_come() {
        let hour = Service { image_time: Some(jiff::Timestamp::now().as_second() - 3_600), ..Service::default() };
        for (policy, wanted) in [
            ("daily", false),
            ("weekly", false),
            ("every_30m", true),
            ("every_1h30m", false),
            ("", false),
            ("always", true),
            ("never", false),
        ] {
            assert_eq!(wants(policy, &hour, false), wanted, "{policy}");
        }
        assert_eq!(period("every_1w2d"), Some(777_600));
        assert!(wants("daily", &Service::default(), false) && wants("daily", &hour, true));
    }
}
