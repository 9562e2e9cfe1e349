//! `down`, `stop` and `start`: for these the labels of what there is are enough; no file is needed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Plan, Target, container};
use crate::desired::{Condition, Desired};
use crate::observe::{Container, Observed};

/// What a person wants of `down`.
#[derive(Clone, Debug, Default)]
pub struct Down {
    /// Services named; none for all.
    pub services: Vec<String>,
    /// Whether containers of services that the file does not have go too.
    pub orphans: bool,
    /// Whether named and anonymous volumes go.
    pub volumes: bool,
    /// Whether containers get no time to end.
    pub at_once: bool,
}

/// For each service those that depend on it, by the labels of its containers and by the file.
fn dependents(containers: &[&Container], desired: Option<&Desired>) -> BTreeMap<String, BTreeSet<String>> {
    let mut map: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in containers {
        for (other, _) in container.depends_on() {
            map.entry(other.to_owned()).or_default().insert(container.service().to_owned());
        }
    }
    for (project, service) in desired.iter().flat_map(|project| project.services.values().map(move |service| (project, service))) {
        for other in service.needs(project).into_keys() {
            map.entry(other).or_default().insert(service.name.clone());
        }
    }
    map
}

/// Adds a step for each container so that dependents come first; `act` says which.
fn in_reverse(
    plan: &mut Plan,
    containers: &[&Container],
    dependents: &BTreeMap<String, BTreeSet<String>>,
    act: &mut dyn FnMut(&mut Plan, &Container, Vec<usize>) -> usize,
) -> Vec<usize> {
    let mut done: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut left: BTreeSet<String> = containers.iter().map(|container| container.service().to_owned()).collect();
    while !left.is_empty() {
        let free =
            |name: &&String| dependents.get(*name).is_none_or(|others| others.iter().all(|other| other == *name || !left.contains(other)));
        // Labels may speak of a circle; then the first goes first.
        let mut ready: Vec<String> = left.iter().filter(free).cloned().collect();
        if ready.is_empty() {
            ready.extend(left.first().cloned());
        }
        for name in ready {
            let after: Vec<usize> =
                dependents.get(&name).into_iter().flatten().filter_map(|other| done.get(other)).flatten().copied().collect();
            let mine = containers.iter().filter(|container| container.service() == name);
            let steps = mine.map(|container| act(plan, container, after.clone())).collect();
            left.remove(&name);
            done.insert(name, steps);
        }
    }
    done.into_values().flatten().collect()
}

/// Plans `down`. `desired` is the project as its file has it, if there is one.
#[must_use]
pub fn down(name: &str, desired: Option<&Desired>, observed: &Observed, wish: &Down) -> Plan {
    let mut plan = Plan::default();
    let of_file = |service: &str| desired.is_none_or(|project| project.services.contains_key(service) || project.hidden.contains(service));
    let wanted = |container: &&Container| {
        let service = container.service();
        if wish.services.is_empty() { of_file(service) || wish.orphans } else { wish.services.iter().any(|name| name == service) }
    };
    let containers: Vec<&Container> = observed.containers.iter().filter(wanted).collect();
    let dependents = dependents(&containers, desired);
    let (at_once, volumes) = (wish.at_once, wish.volumes);
    let removed = in_reverse(&mut plan, &containers, &dependents, &mut |plan, old, after| {
        let mut after = after;
        if old.is_running() && !at_once {
            let action = Action::Stop { service: old.service().to_owned(), container: old.id.clone() };
            after = vec![plan.add(after, action, container(&old.name), "down")];
        }
        plan.add(after, Action::Remove { container: old.id.clone(), force: true, volumes }, container(&old.name), "down")
    });
    if wish.services.is_empty() {
        let left: Vec<&Container> = observed.containers.iter().filter(|old| !wanted(old)).collect();
        let external =
            |name: &str| desired.is_some_and(|project| project.networks.values().any(|network| network.external && network.name == name));
        for network in observed.networks.iter().filter(|network| network.is_of(name) && !external(&network.name)) {
            if left.iter().any(|container| container.networks.contains_key(&network.name)) {
                plan.warnings.push(format!("Network {} is still in use", network.name));
                continue;
            }
            let action = Action::RemoveNetwork { id: network.id.clone() };
            plan.add(removed.clone(), action, format!("Network {}", network.name), "down");
        }
        if volumes {
            for volume in observed.volumes.iter().filter(|volume| volume.is_of(name)) {
                let action = Action::RemoveVolume { name: volume.name.clone() };
                plan.add(removed.clone(), action, format!("Volume {}", volume.name), "down -v");
            }
        }
    }
    plan
}

/// Plans `stop` for these containers: dependents first.
#[must_use]
pub fn stop(containers: &[&Container], desired: Option<&Desired>) -> Plan {
    let mut plan = Plan::default();
    let running: Vec<&Container> = containers.iter().copied().filter(|container| container.is_running()).collect();
    let dependents = dependents(&running, desired);
    in_reverse(&mut plan, &running, &dependents, &mut |plan, old, after| {
        let action = Action::Stop { service: old.service().to_owned(), container: old.id.clone() };
        plan.add(after, action, container(&old.name), "stop")
    });
    plan
}

impl Plan {
    /// Adds that each of these containers is waited for.
    pub fn wait_for(&mut self, containers: &[&Container]) {
        let after: Vec<usize> = (0..self.steps.len()).collect();
        for old in containers {
            let targets = vec![Target::Existing(old.id.clone())];
            let action =
                Action::Wait { service: old.service().to_owned(), condition: Condition::Ready, containers: targets, required: true };
            self.add(after.clone(), action, container(&old.name), "--wait");
        }
    }
}

/// Plans `start` for these containers, or with `restart` a stop before: dependencies first. Nobody waits for health here, as
/// with Docker Compose.
#[must_use]
pub fn start(containers: &[&Container], desired: Option<&Desired>, restart: bool) -> Plan {
    let mut plan = if restart { stop(containers, desired) } else { Plan::default() };
    let stopped: Vec<usize> = (0..plan.steps.len()).collect();
    let dependents = dependents(containers, desired);
    // The other way round: a service comes after those it depends on.
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, others) in &dependents {
        for other in others {
            needs.entry(other.clone()).or_default().insert(name.clone());
        }
    }
    let idle: Vec<&Container> = containers.iter().copied().filter(|container| restart || !container.is_running()).collect();
    in_reverse(&mut plan, &idle, &needs, &mut |plan, old, after| {
        let action = Action::Start { service: old.service().to_owned(), container: Target::Existing(old.id.clone()) };
        plan.add(after.into_iter().chain(stopped.iter().copied()).collect(), action, container(&old.name), "start")
    });
    plan
}
