//! The part of a project that is asked for.

use std::collections::BTreeSet;

use crate::error::{Error, nearest};
use crate::model::{Project, Service};

/// Whether a service or job belongs to the active profiles.
fn active(own: &[String], profiles: &[String]) -> bool {
    own.is_empty() || profiles.iter().any(|profile| profile == "*" || own.contains(profile))
}

/// Sets aside what no active profile names.
pub(crate) fn with_profiles(mut project: Project, profiles: Vec<String>) -> Project {
    let mut all = std::mem::take(&mut project.services);
    all.append(&mut project.disabled);
    (project.services, project.disabled) = all.into_iter().partition(|(_, service)| active(&service.profiles, &profiles));
    let mut jobs = std::mem::take(&mut project.jobs);
    jobs.append(&mut project.disabled_jobs);
    (project.jobs, project.disabled_jobs) = jobs.into_iter().partition(|(_, job)| active(&job.profiles, &profiles));
    project.profiles = profiles;
    project
}

/// Restricts a project to services and what they depend on. A service that is named brings its profiles with it.
pub(crate) fn with_services(mut project: Project, names: &[String]) -> Result<Project, Error> {
    if names.is_empty() {
        return Ok(project);
    }
    let mut profiles = project.profiles.clone();
    for name in names {
        if let Some(service) = project.disabled.get(name) {
            profiles.extend(service.profiles.iter().cloned());
        }
    }
    project = with_profiles(project, profiles);
    let mut wanted = BTreeSet::new();
    let mut open: Vec<(String, bool)> = names.iter().map(|name| (name.clone(), true)).collect();
    while let Some((name, required)) = open.pop() {
        let Some(service) = project.services.get(&name) else {
            if required {
                return Err(no_such_service(&project, &name));
            }
            continue;
        };
        if wanted.insert(name) {
            open.extend(service.workload.depends_on.iter().map(|(name, dependency)| (name.clone(), dependency.required)));
        }
    }
    let (kept, dropped): (Vec<_>, Vec<_>) = std::mem::take(&mut project.services).into_iter().partition(|(name, _)| wanted.contains(name));
    project.services = kept.into_iter().collect();
    project.disabled.extend(dropped);
    for service in project.services.values_mut() {
        service.workload.depends_on.retain(|name, _| wanted.contains(name));
    }
    Ok(project)
}

impl Project {
    /// Gives services that are built the platform that `DOCKER_DEFAULT_PLATFORM` names, where they name none.
    pub fn default_platform(&mut self) {
        let Some(platform) = self.environment.get("DOCKER_DEFAULT_PLATFORM").filter(|platform| !platform.is_empty()) else {
            return;
        };
        for service in self.services.values_mut() {
            if service.workload.build.is_some() && service.container.platform.is_empty() {
                service.container.platform.clone_from(platform);
            }
        }
    }

    /// Changes the images of services, of their hooks and of their mounts.
    ///
    /// # Errors
    /// The first that `change` has.
    pub fn change_images<E>(&mut self, change: &mut dyn FnMut(&str) -> Result<String, E>) -> Result<(), E> {
        let names: BTreeSet<String> = self.services.keys().chain(self.disabled.keys()).cloned().collect();
        for service in self.services.values_mut() {
            let volumes = service.container.volumes.iter_mut().filter(|volume| volume.kind == "image" && !names.contains(&volume.source));
            let hooks = service.pre_start.iter_mut().map(|hook| &mut hook.container.image);
            let images = std::iter::once(&mut service.container.image).chain(hooks).chain(volumes.map(|volume| &mut volume.source));
            for image in images.filter(|image| !image.is_empty()) {
                *image = change(image)?;
            }
        }
        Ok(())
    }

    /// Leaves the images of the services and of their mounts, and nothing else: a file that is merged over others.
    #[must_use]
    pub fn images_only(self) -> Self {
        let keep = |service: Service| {
            let mut kept = Service::default();
            kept.container.image = service.container.image;
            kept.container.volumes = service.container.volumes.into_iter().filter(|volume| volume.kind == "image").collect();
            kept
        };
        Self { services: self.services.into_iter().map(|(name, service)| (name, keep(service))).collect(), ..Self::default() }
    }
}

/// The error for a name that no service has.
pub(crate) fn no_such_service(project: &Project, name: &str) -> Error {
    let error = Error::new(format!("no such service: {name}"));
    match nearest(name, project.services.keys().chain(project.disabled.keys()).map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}

/// Drops networks, volumes, secrets, configs and models that no service uses.
pub(crate) fn drop_unused(project: &mut Project) {
    let mut used: [BTreeSet<String>; 5] = Default::default();
    let [networks, volumes, secrets, configs, models] = &mut used;
    let workloads = project.services.values().map(|Service { container, workload, .. }| (container, workload));
    let jobs = project.jobs.values().map(|job| (&job.container, &job.workload));
    let hooks = project.services.values().flat_map(|service| &service.pre_start).map(|hook| &hook.container);
    let mut note = |container: &crate::model::ContainerSpec| {
        networks.extend(container.networks.keys().cloned());
        volumes.extend(container.volumes.iter().filter(|volume| volume.kind == "volume").map(|volume| volume.source.clone()));
        secrets.extend(container.secrets.iter().map(|secret| secret.source.clone()));
        configs.extend(container.configs.iter().map(|config| config.source.clone()));
        models.extend(container.models.keys().cloned());
    };
    hooks.for_each(&mut note);
    let mut built = Vec::new();
    for (container, workload) in workloads.chain(jobs) {
        note(container);
        built.extend(workload.build.iter().flat_map(|build| &build.secrets).map(|secret| secret.source.clone()));
    }
    secrets.extend(built);
    let [networks, volumes, secrets, configs, models] = used;
    project.networks.retain(|name, _| networks.contains(name));
    project.volumes.retain(|name, _| volumes.contains(name));
    project.secrets.retain(|name, _| secrets.contains(name));
    project.configs.retain(|name, _| configs.contains(name));
    project.models.retain(|name, _| models.contains(name));
}
