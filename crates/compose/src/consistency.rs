//! What a project must not leave undefined or say twice.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::collections::BTreeMap;

use crate::error::{Error, Span, nearest};
use crate::model::{Project, Service, ServiceVolume};
use crate::node::Map;

/// Looks a place up in the tree, as deep as it goes.
fn place(root: &Map, keys: &[&str]) -> Span {
    let mut map = Some(root);
    let mut span = Span::default();
    for key in keys {
        let Some(node) = map.and_then(|map| map.get(*key)) else {
            break;
        };
        if node.span.line > 0 {
            span = node.span;
        }
        map = node.as_map();
    }
    span
}

/// One service under check.
struct Check<'a> {
    root: &'a Map,
    project: &'a Project,
    name: &'a str,
    service: &'a Service,
}

/// Ports of the host that two services publish: only one of them can run.
pub(crate) fn port_conflicts(project: &Project, root: &Map) -> Vec<Error> {
    let checks = project.services.iter().map(|(name, service)| Check { root, project, name, service });
    checks.filter_map(|check| check.ports().err()).collect()
}

/// Checks a project.
pub(crate) fn check(project: &mut Project, root: &Map) -> Result<(), Error> {
    for (name, service) in &project.services {
        Check { root, project, name, service }.all()?;
    }
    for (name, secret) in &project.secrets {
        if !secret.external && secret.file.is_empty() && secret.environment.is_empty() && secret.driver.is_empty() {
            let span = place(root, &["secrets", name]);
            return Err(Error::at(
                span,
                format!("secrets.{name}"),
                format!("secret \"{name}\" must declare either `file` or `environment`"),
            ));
        }
    }
    cycles(project, root)?;
    container_names(project, root)?;
    for service in project.services.values_mut() {
        if let (Some(scale), Some(deploy)) = (service.scale, &mut service.deploy) {
            deploy.replicas = Some(scale);
        }
    }
    Ok(())
}

impl Check<'_> {
    fn fail<T>(&self, keys: &[&str], problem: impl Into<String>) -> Result<T, Error> {
        let full: Vec<&str> = ["services", self.name].iter().chain(keys).copied().collect();
        Err(Error::at(place(self.root, &full), full.join("."), problem))
    }

    /// An undefined name, and the one that was perhaps meant.
    fn undefined<'k, T>(&self, keys: &[&str], what: &str, name: &str, known: impl Iterator<Item = &'k String>) -> Result<T, Error> {
        let result = self.fail(keys, format!("service \"{}\" refers to undefined {what} {name}", self.name));
        match nearest(name, known.map(String::as_str)) {
            Some(near) => result.map_err(|error| error.hint(format!("did you mean `{near}`?"))),
            None => result.map_err(|error| error.hint(format!("define it under `{}s:`", what.trim_start_matches("build ")))),
        }
    }

    fn all(&self) -> Result<(), Error> {
        let (container, workload) = (&self.service.container, &self.service.workload);
        if workload.build.is_none() && container.image.is_empty() && self.service.provider.is_none() {
            return self.fail(&[], format!("service \"{}\" has neither an image nor a build context specified", self.name));
        }
        self.build()?;
        if !container.network_mode.is_empty() && !container.networks.is_empty() {
            return self
                .fail(&["network_mode"], format!("service {} declares mutually exclusive `network_mode` and `networks`", self.name));
        }
        self.references()?;
        self.dependencies()?;
        if let Some(first) = workload.healthcheck.as_ref().and_then(|check| check.test.first())
            && !matches!(first.as_str(), "CMD" | "CMD-SHELL" | "NONE")
        {
            return self.fail(&["healthcheck", "test"], "healthcheck.test must start either by \"CMD\", \"CMD-SHELL\" or \"NONE\"");
        }
        self.twice()?;
        self.watch()?;
        self.mounts()
    }

    fn build(&self) -> Result<(), Error> {
        let Some(build) = &self.service.workload.build else {
            return Ok(());
        };
        if !build.dockerfile.is_empty() && !build.dockerfile_inline.is_empty() {
            let problem = format!("service \"{}\" declares mutualy exclusive dockerfile and dockerfile_inline", self.name);
            return self.fail(&["build", "dockerfile_inline"], problem);
        }
        for (key, context) in &build.additional_contexts {
            let Some(target) = context.strip_prefix("service:") else {
                continue;
            };
            let problem = match self.project.services.get(target) {
                None => format!("service \"{}\" declares unknown service \"{target}\" as additional contexts {key}", self.name),
                Some(other) if other.workload.build.is_none() => {
                    format!("service \"{}\" declares non-buildable service \"{target}\" as additional contexts {key}", self.name)
                }
                Some(_) => continue,
            };
            return self.fail(&["build", "additional_contexts", key], problem);
        }
        let platform = &self.service.container.platform;
        if !build.platforms.is_empty() && !platform.is_empty() && !build.platforms.contains(platform) {
            return self.fail(&["build", "platforms"], format!("service.build.platforms MUST include service.platform \"{platform}\""));
        }
        for secret in &build.secrets {
            if !self.project.secrets.contains_key(&secret.source) {
                return self.undefined(&["build", "secrets"], "build secret", &secret.source, self.project.secrets.keys());
            }
        }
        Ok(())
    }

    fn references(&self) -> Result<(), Error> {
        let (container, project) = (&self.service.container, self.project);
        for network in container.networks.keys() {
            if !project.networks.contains_key(network) {
                return self.undefined(&["networks", network], "network", network, project.networks.keys());
            }
        }
        for ServiceVolume { source, .. } in container.volumes.iter().filter(|volume| volume.kind == "volume" && !volume.source.is_empty()) {
            if !project.volumes.contains_key(source) {
                return self.undefined(&["volumes"], "volume", source, project.volumes.keys());
            }
        }
        for config in &container.configs {
            if !project.configs.contains_key(&config.source) {
                return self.undefined(&["configs"], "config", &config.source, project.configs.keys());
            }
        }
        for model in container.models.keys() {
            if !project.models.contains_key(model) {
                return self.undefined(&["models", model], "model", model, project.models.keys());
            }
        }
        for secret in &container.secrets {
            if !project.secrets.contains_key(&secret.source) {
                return self.undefined(&["secrets"], "secret", &secret.source, project.secrets.keys());
            }
        }
        Ok(())
    }

    fn dependencies(&self) -> Result<(), Error> {
        for (name, dependency) in &self.service.workload.depends_on {
            if self.project.services.contains_key(name) || (self.project.disabled.contains_key(name) && !dependency.required) {
                continue;
            }
            let problem = format!("service \"{}\" depends on undefined service \"{name}\"", self.name);
            let result = self.fail(&["depends_on", name], problem);
            if let Some(disabled) = self.project.disabled.get(name) {
                return result.map_err(|error| error.hint(format!("it belongs to the profiles {}", disabled.profiles.join(", "))));
            }
            let near = nearest(name, self.project.services.keys().map(String::as_str).filter(|near| *near != self.name));
            return result.map_err(|error| match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        }
        if let Some(other) = self.service.container.network_mode.strip_prefix("service:")
            && !self.project.services.contains_key(other)
        {
            return self.fail(&["network_mode"], format!("service \"{other}\" not found for network_mode 'service:{other}'"));
        }
        Ok(())
    }

    /// What can be said in two ways must be said alike.
    fn twice(&self) -> Result<(), Error> {
        let container = &self.service.container;
        let distinct = |old: &str, new: &str| format!("can't set distinct values on '{old}' and '{new}'");
        if self.service.scale.is_some_and(|scale| scale < 0) {
            return self.fail(&["scale"], "must be greater than or equal to 0");
        }
        if let Some(deploy) = &self.service.deploy {
            if let (Some(scale), Some(replicas)) = (self.service.scale, deploy.replicas)
                && scale != replicas
            {
                return self.fail(&["scale"], distinct("scale", "deploy.replicas"));
            }
            if deploy.replicas.is_some_and(|replicas| replicas < 0) {
                return self.fail(&["deploy", "replicas"], "must be greater than or equal to 0");
            }
            if let Some(limits) = &deploy.resources.limits {
                if container.cpus != 0.0 && (limits.cpus - container.cpus).abs() > f32::EPSILON {
                    return self.fail(&["cpus"], distinct("cpus", "deploy.resources.limits.cpus"));
                }
                if container.mem_limit.0 != 0 && limits.memory != container.mem_limit {
                    return self.fail(&["mem_limit"], distinct("mem_limit", "deploy.resources.limits.memory"));
                }
                if container.pids_limit != 0 && limits.pids != container.pids_limit {
                    return self.fail(&["pids_limit"], distinct("pids_limit", "deploy.resources.limits.pids"));
                }
            }
            if let Some(reserved) = &deploy.resources.reservations
                && container.mem_reservation.0 != 0
                && reserved.memory != container.mem_reservation
            {
                return self.fail(&["mem_reservation"], distinct("mem_reservation", "deploy.resources.reservations.memory"));
            }
        }
        if self.service.scale() > 1 && !self.service.container_name.is_empty() {
            let attribute = if self.service.scale.is_some() { "scale" } else { "deploy.replicas" };
            return self.fail(&["container_name"], format!("can't set container_name and {attribute} as container name must be unique"));
        }
        Ok(())
    }

    fn watch(&self) -> Result<(), Error> {
        for trigger in self.service.develop.iter().flat_map(|develop| &develop.watch) {
            if trigger.target.is_empty() && !matches!(trigger.action.as_str(), "rebuild" | "restart") {
                return self.fail(&["develop", "watch"], "target is required for non-rebuild actions");
            }
        }
        Ok(())
    }

    /// Two mounts in one place.
    fn mounts(&self) -> Result<(), Error> {
        let container = &self.service.container;
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        let tmpfs = container.tmpfs.iter().enumerate().map(|(index, text)| ("tmpfs", index, text.split(':').next().unwrap_or_default()));
        let volumes = container.volumes.iter().enumerate().map(|(index, volume)| ("volumes", index, volume.target.as_str()));
        for (kind, index, target) in tmpfs.chain(volumes) {
            let own = format!("services.{}.{kind}[{index}]", self.name);
            if let Some(other) = known.get(target) {
                return self.fail(&[kind], format!("target {target} already mounted as {other}"));
            }
            known.insert(target, own);
        }
        Ok(())
    }

    /// A port of the host can be published once.
    fn ports(&self) -> Result<(), Error> {
        let published = |port: &crate::model::Port| {
            let single = port.published.parse::<u16>().ok().filter(|port| *port != 0)?;
            Some((single, port.protocol.clone(), port.host_ip.clone()))
        };
        for port in &self.service.workload.ports {
            let Some((number, protocol, ip)) = published(port) else {
                continue;
            };
            let any = |ip: &str| matches!(ip, "" | "0.0.0.0" | "::");
            let same =
                |other: &(u16, String, String)| other.0 == number && other.1 == protocol && (other.2 == ip || any(&other.2) || any(&ip));
            for (name, other) in &self.project.services {
                if name.as_str() >= self.name {
                    break;
                }
                let shared = other.scale() > 0 && self.service.scale() > 0;
                if shared && other.workload.ports.iter().filter_map(published).any(|other| same(&other)) {
                    // Docker Compose tells of it when the second container starts; the file shows it before.
                    let problem = format!("port {number}/{protocol} of the host is published by service \"{name}\" too");
                    return self.fail(&["ports"], problem).map_err(|error| error.hint("give one of them another port, or a profile"));
                }
            }
        }
        Ok(())
    }
}

/// Services that wait for each other in a circle.
fn cycles(project: &Project, root: &Map) -> Result<(), Error> {
    let mut done: std::collections::BTreeSet<&str> = std::collections::BTreeSet::new();
    for start in project.services.keys() {
        let mut path: Vec<(&str, Vec<&String>)> = Vec::new();
        let children =
            |name: &str| project.services.get(name).map(|service| service.workload.depends_on.keys().rev().collect()).unwrap_or_default();
        if !done.contains(start.as_str()) {
            path.push((start, children(start)));
        }
        while let Some((name, open)) = path.last_mut() {
            let Some(next) = open.pop() else {
                done.insert(name);
                path.pop();
                continue;
            };
            if let Some(at) = path.iter().position(|(name, _)| *name == next.as_str()) {
                let circle: Vec<&str> = path[at..].iter().map(|(name, _)| *name).chain([next.as_str()]).collect();
                let last = circle[circle.len() - 2];
                let span = place(root, &["services", last, "depends_on", next]);
                let problem = format!("dependency cycle detected: {}", circle.join(" -> "));
                return Err(Error::at(span, format!("services.{last}.depends_on"), problem));
            }
            if !done.contains(next.as_str()) && project.services.contains_key(next) {
                path.push((next, children(next)));
            }
        }
    }
    Ok(())
}

/// A container's name can be given once.
fn container_names(project: &Project, root: &Map) -> Result<(), Error> {
    let mut known: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, service) in project.services.iter().filter(|(_, service)| !service.container_name.is_empty()) {
        if let Some(other) = known.insert(&service.container_name, name) {
            let span = place(root, &["services", name, "container_name"]);
            let problem = format!("container name \"{}\" is already in use by service {other}", service.container_name);
            return Err(Error::at(span, format!("services.{name}.container_name"), problem));
        }
    }
    Ok(())
}
