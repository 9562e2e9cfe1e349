//! `up` and `create`: what must happen so that a project is as its file says.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Plan, Replaced, Target, container};
use crate::desired::{Condition, Desired, NoSuchService, Service};
use crate::difference;
use crate::labels;
use crate::observe::{Container, Observed};
use crate::unserved;

/// Which containers are made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recreate {
    /// Those that differ from the file.
    #[default]
    Diverged,
    /// All.
    Force,
    /// None.
    Never,
}

/// What a person wants of `up`.
#[derive(Clone, Debug, Default)]
pub struct Up {
    /// Services named; none for all.
    pub services: Vec<String>,
    /// Whether what they depend on is left alone.
    pub no_dependencies: bool,
    /// For the services named.
    pub recreate: Recreate,
    /// For what they depend on.
    pub recreate_dependencies: Recreate,
    /// Whether containers of services that the file no longer has go.
    pub remove_orphans: bool,
    /// Whether new containers get new anonymous volumes.
    pub renew_volumes: bool,
    /// Whether containers are only made, not started.
    pub no_start: bool,
    /// Whether the plan ends only when the services are ready.
    pub wait: bool,
}

/// What becomes of the containers of a service.
#[derive(Default)]
struct Outcome {
    /// Containers as they will be, each with the step that makes it usable under its name.
    containers: Vec<(Target, Option<usize>)>,
    /// Steps that start one.
    starts: Vec<usize>,
    /// Whether one of them is made anew.
    recreated: bool,
    /// Whether all of them have ended with 0, and stay so.
    completed: bool,
}

struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    up: &'a Up,
    selected: BTreeSet<String>,
    plan: Plan,
    networks: BTreeMap<String, Option<usize>>,
    /// Networks that are made anew.
    renewed: BTreeSet<String>,
    volumes: BTreeMap<String, Option<usize>>,
    /// Steps that stop a container because its network is made anew.
    stops: BTreeMap<String, usize>,
    outcomes: BTreeMap<String, Outcome>,
    gates: BTreeMap<(String, Condition), Vec<usize>>,
}

/// Plans `up`.
///
/// # Errors
/// [`NoSuchService`] for a name that no service has.
pub fn up(desired: &Desired, observed: &Observed, up: &Up) -> Result<Plan, NoSuchService> {
    let selected = if up.no_dependencies && !up.services.is_empty() {
        let known = |name: &String| desired.services.contains_key(name);
        if let Some(name) = up.services.iter().find(|name| !known(name)) {
            return Err(NoSuchService { name: name.clone() });
        }
        up.services.iter().cloned().collect()
    } else {
        desired.with_dependencies(&up.services)?
    };
    let mut planner = Planner {
        desired,
        observed,
        up,
        selected,
        plan: Plan::default(),
        networks: BTreeMap::new(),
        renewed: BTreeSet::new(),
        volumes: BTreeMap::new(),
        stops: BTreeMap::new(),
        outcomes: BTreeMap::new(),
        gates: BTreeMap::new(),
    };
    planner.orphans();
    planner.resources();
    for name in order(desired, &planner.selected) {
        if let Some(service) = desired.services.get(&name) {
            planner.service(service);
        }
    }
    if up.wait && !up.no_start {
        planner.wait_for_all();
    }
    let is_made = |service: &&Service| {
        planner.plan.steps.iter().any(|step| matches!(&step.action, Action::Create { service: name, .. } if *name == service.name))
    };
    let ignored: Vec<String> = desired.services.values().filter(is_made).flat_map(|service| unserved::owners(desired, service)).collect();
    planner.plan.warnings.extend(ignored);
    Ok(planner.plan)
}

/// Services so that each comes after those it depends on; a circle, which the loader refuses, is cut.
pub(super) fn order(desired: &Desired, selected: &BTreeSet<String>) -> Vec<String> {
    fn visit(desired: &Desired, name: &str, selected: &BTreeSet<String>, seen: &mut BTreeSet<String>, order: &mut Vec<String>) {
        if !selected.contains(name) || !seen.insert(name.to_owned()) {
            return;
        }
        for other in desired.services.get(name).map(|service| service.needs(desired)).unwrap_or_default().keys() {
            visit(desired, other, selected, seen, order);
        }
        order.push(name.to_owned());
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in selected {
        visit(desired, name, selected, &mut seen, &mut order);
    }
    order
}

impl Planner<'_> {
    fn orphans(&mut self) {
        let known = |name: &str| self.desired.services.contains_key(name) || self.desired.hidden.contains(name);
        let orphans: Vec<&Container> =
            self.observed.containers.iter().filter(|container| !container.is_oneoff() && !known(container.service())).collect();
        if orphans.is_empty() {
            return;
        }
        if !self.up.remove_orphans {
            let names: Vec<&str> = orphans.iter().map(|container| container.name.as_str()).collect();
            self.plan.warnings.push(format!(
                "Found orphan containers ([{}]) for this project. If you removed or renamed this service in your compose file, you can run this command with the --remove-orphans flag to clean it up.",
                names.join(" ")
            ));
            return;
        }
        for orphan in orphans {
            self.remove(orphan, "the file has no such service");
        }
    }

    /// Stops and removes a container; returns the last step.
    fn remove(&mut self, old: &Container, cause: &str) -> usize {
        let stopped = old.is_running().then(|| self.stop(old, cause));
        let action = Action::Remove { container: old.id.clone(), force: true, volumes: false };
        self.plan.add(stopped.into_iter().collect(), action, container(&old.name), cause)
    }

    /// Stops a container, once.
    fn stop(&mut self, old: &Container, cause: &str) -> usize {
        if let Some(step) = self.stops.get(&old.id) {
            return *step;
        }
        let action = Action::Stop { service: old.service().to_owned(), container: old.id.clone() };
        let step = self.plan.add(Vec::new(), action, container(&old.name), cause);
        self.stops.insert(old.id.clone(), step);
        step
    }

    /// Networks and volumes that the services selected use.
    fn resources(&mut self) {
        let (desired, observed) = (self.desired, self.observed);
        let services: Vec<&Service> = self.selected.iter().filter_map(|name| desired.services.get(name)).collect();
        let keys: BTreeSet<String> = services.iter().flat_map(|service| service.networks()).collect();
        for key in keys {
            let Some(network) = desired.networks.get(&key).filter(|network| !network.external) else { continue };
            let found = observed.networks.iter().find(|found| found.name == network.name);
            let subject = format!("Network {}", network.name);
            let step = match found {
                None => Some(self.plan.add(Vec::new(), Action::CreateNetwork { key: key.clone() }, subject, "there is none")),
                Some(found) => {
                    let old = found.labels.get(labels::HASH).map_or("", String::as_str);
                    if !found.is_of(&desired.name) {
                        let name = &network.name;
                        self.plan.warnings.push(format!(
                            "a network with name {name} exists but was not created for project \"{}\".\nSet `external: true` to use an existing network",
                            desired.name
                        ));
                    }
                    if !found.is_of(&desired.name) || old.is_empty() || network.hash.is_empty() || old == network.hash {
                        None
                    } else {
                        self.renewed.insert(key.clone());
                        let cause = "its configuration differs";
                        let members = observed.containers.iter().filter(|member| member.networks.contains_key(&found.name));
                        let mut gone = Vec::new();
                        for member in members {
                            let before = if member.is_running() { vec![self.stop(member, cause)] } else { Vec::new() };
                            let action = Action::Disconnect { network: found.id.clone(), container: member.id.clone() };
                            gone.push(self.plan.add(before, action, subject.clone(), cause));
                        }
                        let removed = self.plan.add(gone, Action::RemoveNetwork { id: found.id.clone() }, subject.clone(), cause);
                        Some(self.plan.add(vec![removed], Action::CreateNetwork { key: key.clone() }, subject, cause))
                    }
                }
            };
            self.networks.insert(key, step);
        }
        let keys: BTreeSet<&str> = services.iter().flat_map(|service| service.named_volumes()).map(|(key, _)| key).collect();
        for key in keys {
            let Some(volume) = desired.volumes.get(key).filter(|volume| !volume.external) else { continue };
            let found = observed.volumes.iter().find(|found| found.name == volume.name);
            let step = if let Some(found) = found {
                let old = found.labels.get(labels::HASH).map_or("", String::as_str);
                if !found.is_of(&desired.name) {
                    self.plan.warnings.push(format!(
                        "volume \"{}\" already exists but was not created by Docker Compose. Use `external: true` to use an existing volume",
                        volume.name
                    ));
                } else if !old.is_empty() && !volume.hash.is_empty() && old != volume.hash {
                    self.plan.warnings.push(format!(
                        "volume \"{}\" differs from the file and keeps its data as it is: to make it anew, save what is in it and remove it with `volume rm {}`",
                        volume.name, volume.name
                    ));
                }
                None
            } else {
                let subject = format!("Volume {}", volume.name);
                Some(self.plan.add(Vec::new(), Action::CreateVolume { key: key.to_owned() }, subject, "there is none"))
            };
            self.volumes.insert(key.to_owned(), step);
        }
    }

    /// The containers of one service.
    fn service(&mut self, service: &Service) {
        let observed = self.observed;
        let mine = observed.containers.iter().filter(|container| container.service() == service.name && !container.is_oneoff());
        let (unfinished, mut kept): (Vec<&Container>, Vec<&Container>) = mine.partition(|container| is_unfinished(container));
        let mut outcome = Outcome::default();
        let (mut renames, mut cleared) = (BTreeMap::new(), Vec::new());
        for new in unfinished {
            let replaced = new.label(labels::REPLACE);
            if kept.iter().any(|old| old.id.starts_with(replaced) || old.number() == new.number()) {
                cleared.push(self.remove(new, "it was to replace a container when that was cut off"));
            } else {
                // The old one is gone: only the name is missing.
                let action = Action::Rename { container: Target::Existing(new.id.clone()), name: lasting(&new.name).to_owned() };
                let step = self.plan.add(Vec::new(), action, container(lasting(&new.name)), "its replacement was cut off");
                renames.insert(new.id.clone(), step);
                kept.push(new);
            }
        }
        kept.sort_by_key(|container| container.number());
        for extra in kept.split_off(kept.len().min(service.scale)) {
            self.remove(extra, &format!("scale is {}", service.scale));
        }
        let mut next = kept.iter().map(|container| container.number()).max().unwrap_or_default() + 1;
        // Containers whose namespaces are shared must be there before.
        let mut before: Vec<usize> = self.before(service);
        // What was cut off bears the name that a new replacement needs.
        before.extend(cleared);
        let mut to_start = Vec::new();
        for old in &kept {
            if let Some(cause) = self.recreation(service, old) {
                let step = self.replace(service, old, &before, &cause);
                outcome.recreated = true;
                outcome.containers.push((Target::Made(step.0), Some(step.1)));
                to_start.push((Target::Made(step.0), Some(step.1), lasting(&old.name).to_owned(), cause));
            } else {
                let ready = renames.get(&old.id).copied();
                outcome.containers.push((Target::Existing(old.id.clone()), ready));
                if let Some(cause) = self.start_cause(service, old) {
                    to_start.push((Target::Existing(old.id.clone()), ready, lasting(&old.name).to_owned(), cause));
                }
            }
        }
        for _ in kept.len()..service.scale {
            let name = self.name(service, next);
            let action = Action::Create { service: service.name.clone(), number: next, replaces: None };
            let cause = if service.scale > 1 && next > 1 { format!("scale is {}", service.scale) } else { "there is none".to_owned() };
            let step = self.plan.add(before.clone(), action, container(&name), cause.clone());
            outcome.containers.push((Target::Made(step), Some(step)));
            to_start.push((Target::Made(step), Some(step), name, cause));
            next += 1;
        }
        outcome.completed = to_start.is_empty() && !kept.is_empty() && kept.iter().all(|old| old.exit_code() == Some(0));
        if !self.up.no_start && !to_start.is_empty() {
            let gates = self.gates(service);
            for (target, ready, name, cause) in to_start {
                let mut after: Vec<usize> = ready.into_iter().chain(gates.iter().copied()).collect();
                if let Target::Existing(id) = &target {
                    after.extend(self.stops.get(id));
                }
                let action = Action::Start { service: service.name.clone(), container: target };
                outcome.starts.push(self.plan.add(after, action, container(&name), cause));
            }
        }
        self.outcomes.insert(service.name.clone(), outcome);
    }

    /// The steps that must be done before a container of the service can be made.
    fn before(&self, service: &Service) -> Vec<usize> {
        let networks = service.networks().into_iter().filter_map(|key| self.networks.get(&key).copied().flatten());
        let volumes = service.named_volumes().filter_map(|(key, _)| self.volumes.get(key).copied().flatten());
        let shared = service.shares();
        let shared = shared.iter().filter_map(|name| self.outcomes.get(name)).flat_map(|outcome| outcome.containers.iter());
        let mut steps: Vec<usize> = networks.chain(volumes).chain(shared.filter_map(|(_, step)| *step)).collect();
        steps.sort_unstable();
        steps.dedup();
        steps
    }

    /// Why a container must be made anew, if it must.
    fn recreation(&self, service: &Service, old: &Container) -> Option<String> {
        let named = self.up.services.is_empty() || self.up.services.contains(&service.name);
        match if named { self.up.recreate } else { self.up.recreate_dependencies } {
            Recreate::Never => return None,
            Recreate::Force => return Some("it was asked for".to_owned()),
            Recreate::Diverged => {}
        }
        if let Some(other) = service.shares().into_iter().find(|name| self.outcomes.get(name).is_some_and(|outcome| outcome.recreated)) {
            return Some(format!("it shares a namespace or volumes of {other}, which is made anew"));
        }
        if old.label(labels::HASH) != service.hash {
            return Some(difference::tell(old.label(labels::CONFIG), &service.config));
        }
        let image = old.label(labels::IMAGE);
        if !service.image_id.is_empty() && !image.is_empty() && image != service.image_id {
            return Some(format!("image {} has changed", service.image(&self.desired.name)));
        }
        for key in service.networks() {
            if self.renewed.contains(&key) {
                return Some(format!("network {key} is made anew"));
            }
            let Some(network) = self.desired.networks.get(&key) else { continue };
            let found = self.observed.networks.iter().find(|found| found.name == network.name);
            let differs = match (found, old.networks.get(&network.name)) {
                (Some(found), Some(id)) => !id.is_empty() && *id != found.id,
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if differs {
                return Some(format!("it is not attached to network {key}"));
            }
        }
        let missing = service.named_volumes().find(|(key, place)| {
            let name = self.desired.volumes.get(*key).map_or("", |volume| volume.name.as_str());
            old.volumes.get(*place).is_none_or(|mounted| mounted != name)
        });
        missing.map(|(key, place)| format!("volume {key} is not mounted at {place}"))
    }

    /// Makes a container anew; returns the step that makes it and the one that names it.
    fn replace(&mut self, service: &Service, old: &Container, before: &[usize], cause: &str) -> (usize, usize) {
        let mounted: BTreeSet<&str> = service.named_volumes().map(|(_, place)| place).collect();
        let own = service.config.get("volumes").and_then(serde_json::Value::as_array).into_iter().flatten();
        let anonymous: BTreeSet<&str> = own
            .filter(|volume| volume.get("source").and_then(serde_json::Value::as_str).is_none_or(str::is_empty))
            .filter_map(|volume| volume.get("target").and_then(serde_json::Value::as_str))
            .chain(service.image_volumes.iter().map(String::as_str))
            .collect();
        let inherited = old.volumes.iter().filter(|(place, name)| {
            let place = place.as_str();
            !self.up.renew_volumes && anonymous.contains(place) && !mounted.contains(place) && is_anonymous(name)
        });
        let volumes = inherited.map(|(place, name)| (place.clone(), name.clone())).collect();
        let name = lasting(&old.name).to_owned();
        let replaces = Some(Replaced { id: old.id.clone(), volumes });
        let action = Action::Create { service: service.name.clone(), number: old.number(), replaces };
        let made = self.plan.add(before.to_vec(), action, container(&name), cause);
        let mut after = vec![made];
        if old.is_running() {
            let known = self.stops.contains_key(&old.id);
            let stopped = self.stop(old, cause);
            if !known && let Some(step) = self.plan.steps.get_mut(stopped) {
                // Only when the new one exists is the old one let go.
                step.after.push(made);
            }
            after.push(stopped);
        }
        let remove = Action::Remove { container: old.id.clone(), force: true, volumes: false };
        let removed = self.plan.add(after, remove, container(&name), cause);
        let named =
            self.plan.add(vec![removed], Action::Rename { container: Target::Made(made), name: name.clone() }, container(&name), cause);
        (made, named)
    }

    /// Why a container that stays as it is must be started, if it must.
    fn start_cause(&mut self, service: &Service, old: &Container) -> Option<String> {
        if self.stops.contains_key(&old.id) {
            return Some("it was stopped for a change".to_owned());
        }
        let needs = service.needs(self.desired);
        if old.state == "running" || old.state == "restarting" {
            let cause = needs.iter().filter(|(_, need)| need.restart).find_map(|(name, _)| {
                let outcome = self.outcomes.get(name)?;
                (outcome.recreated || !outcome.starts.is_empty()).then(|| format!("{name}, which restarts it, has changed"))
            })?;
            self.stop(old, &cause);
            return Some(cause);
        }
        // A job that others wait for has done its work: its inputs are the same.
        let job = self
            .desired
            .services
            .values()
            .any(|other| other.needs(self.desired).get(&service.name).is_some_and(|need| need.condition == Condition::Completed));
        if job && old.exit_code() == Some(0) {
            return None;
        }
        Some(format!("it is {}", old.state))
    }

    /// Steps after which the service may start: its dependencies are ready then.
    fn gates(&mut self, service: &Service) -> Vec<usize> {
        let mut gates = Vec::new();
        for (name, need) in service.needs(self.desired) {
            let Some(outcome) = self.outcomes.get(&name) else { continue };
            if need.condition == Condition::Started || need.condition == Condition::Completed && outcome.completed {
                gates.extend(&outcome.starts);
                continue;
            }
            let key = (name.clone(), need.condition);
            if let Some(steps) = self.gates.get(&key) {
                gates.extend(steps);
                continue;
            }
            let word = if need.condition == Condition::Completed { "completed" } else { "healthy" };
            let cause = format!("{} needs it {word}", service.name);
            let (starts, targets): (Vec<usize>, Vec<Target>) =
                (outcome.starts.clone(), outcome.containers.iter().map(|(target, _)| target.clone()).collect());
            let mut steps = Vec::new();
            for target in targets {
                let subject = self.subject(&target);
                let containers = vec![target];
                let action = Action::Wait { service: name.clone(), condition: need.condition, containers, required: need.required };
                steps.push(self.plan.add(starts.clone(), action, subject, cause.clone()));
            }
            gates.extend(&steps);
            self.gates.insert(key, steps);
        }
        gates
    }

    /// Waits until each service is ready.
    fn wait_for_all(&mut self) {
        for (name, outcome) in std::mem::take(&mut self.outcomes) {
            for (target, ready) in outcome.containers {
                let after = ready.into_iter().chain(outcome.starts.iter().copied()).collect();
                let subject = self.subject(&target);
                let action = Action::Wait { service: name.clone(), condition: Condition::Ready, containers: vec![target], required: true };
                self.plan.add(after, action, subject, "--wait");
            }
        }
    }

    /// How people see a container.
    fn subject(&self, target: &Target) -> String {
        let known = match target {
            Target::Made(step) => self.plan.steps.get(*step).map(|step| step.subject.clone()),
            Target::Existing(id) => self.observed.containers.iter().find(|old| old.id == *id).map(|old| container(lasting(&old.name))),
        };
        known.unwrap_or_default()
    }

    /// Name of a new container.
    fn name(&self, service: &Service, number: usize) -> String {
        crate::body::container_name(self.desired, service, number)
    }
}

/// Whether a container was made to replace another and has not got its name yet.
fn is_unfinished(container: &Container) -> bool {
    !container.label(labels::REPLACE).is_empty() && lasting(&container.name) != container.name
}

/// The name without the twelve digits that a replacement bears.
fn lasting(name: &str) -> &str {
    match name.split_once('_') {
        Some((digits, rest)) if digits.len() == 12 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) && !rest.is_empty() => rest,
        _ => name,
    }
}

/// Whether a volume's name is one that an engine made up.
fn is_anonymous(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
