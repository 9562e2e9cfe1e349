//! What a project shall be, as the reconciler sees it: the canonical form of the file, and what the engine knows of its images.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::model::Project;

/// A project.
#[derive(Clone, Debug, Default)]
pub struct Desired {
    /// Its name, which all its resources bear.
    pub name: String,
    /// Folder, files and environment files it was read from; they become labels.
    pub origin: Origin,
    /// Services that are enabled, by name.
    pub services: BTreeMap<String, Service>,
    /// Names of services that a profile hides: their containers are no orphans.
    pub hidden: BTreeSet<String>,
    /// Networks by key.
    pub networks: BTreeMap<String, Resource>,
    /// Volumes by key.
    pub volumes: BTreeMap<String, Resource>,
    /// Secrets by key, canonical.
    pub secrets: BTreeMap<String, Value>,
    /// Configs by key, canonical.
    pub configs: BTreeMap<String, Value>,
}

/// Where a project was read from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The project's folder, absolute.
    pub working_dir: String,
    /// Its files, absolute, in their order.
    pub config_files: Vec<String>,
    /// Files given by `--env-file`, absolute.
    pub environment_files: Vec<String>,
}

/// A service.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its canonical form, as `config --format json` shows it.
    pub config: Value,
    /// Docker Compose's hash of it.
    pub hash: String,
    /// Digest of the image its containers shall run; empty where nobody knows it.
    pub image_id: String,
    /// When the engine pulled or built that image, in seconds since 1970; `None` where nobody knows it.
    pub image_time: Option<i64>,
    /// Paths that the image declares as volumes.
    pub image_volumes: BTreeSet<String>,
    /// How many containers it shall have.
    pub scale: usize,
}

/// A network or a volume.
#[derive(Clone, Debug, Default)]
pub struct Resource {
    /// Its name in the engine.
    pub name: String,
    /// Whether somebody else made it and keeps it.
    pub external: bool,
    /// Its canonical form.
    pub config: Value,
    /// Docker Compose's hash of it.
    pub hash: String,
}

/// When a dependency is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Its containers run.
    Started,
    /// Their health checks pass.
    Healthy,
    /// They have ended with 0.
    Completed,
    /// They run, healthy if they have a check, or have ended with 0: what `up --wait` waits for.
    Ready,
}

/// What a service needs of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// When the other is ready.
    pub condition: Condition,
    /// Whether this one is restarted together with the other.
    pub restart: bool,
    /// Whether a missing or failing one is an error.
    pub required: bool,
}

/// Digests and hashes that the canonical form does not hold.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    /// Of services.
    pub services: BTreeMap<String, String>,
    /// Of networks.
    pub networks: BTreeMap<String, String>,
    /// Of volumes.
    pub volumes: BTreeMap<String, String>,
}

impl Desired {
    /// Takes a project that was read from its files.
    ///
    /// # Errors
    /// None that is known: a project has a JSON form.
    pub fn of_project(project: &Project, hashes: &Hashes) -> Result<Self, serde_json::Error> {
        let shown = |path: &PathBuf| path.display().to_string();
        let origin = Origin {
            working_dir: shown(&project.working_dir),
            config_files: project.files.iter().map(shown).collect(),
            environment_files: project.env_files.iter().map(shown).collect(),
        };
        let mut desired = Self::new(&serde_json::to_value(project)?, hashes, origin);
        for (name, service) in &mut desired.services {
            service.scale = project.services.get(name).map_or(1, crate::model::Service::scale);
        }
        desired.hidden = project.disabled.keys().cloned().collect();
        Ok(desired)
    }

    /// Takes the canonical form of a project.
    #[must_use]
    pub fn new(canonical: &Value, hashes: &Hashes, origin: Origin) -> Self {
        let map = |field: &str| canonical.get(field).and_then(Value::as_object).cloned().unwrap_or_default();
        let name = text(canonical, "name").to_owned();
        let resources = |field: &str, hashes: &BTreeMap<String, String>| {
            let one = |(key, config): (String, Value)| {
                let external = config.get("external").and_then(Value::as_bool).unwrap_or_default();
                let own = text(&config, "name").to_owned();
                let hash = hashes.get(&key).cloned().unwrap_or_default();
                let full = if own.is_empty() { format!("{name}_{key}") } else { own };
                (key, Resource { name: full, external, config, hash })
            };
            map(field).into_iter().map(one).collect::<BTreeMap<_, _>>()
        };
        let service = |(key, config): (String, Value)| {
            let hash = hashes.services.get(&key).cloned().unwrap_or_default();
            let scale = scale(&config);
            (key.clone(), Service { name: key, config, hash, scale, ..Service::default() })
        };
        Self {
            services: map("services").into_iter().map(service).collect(),
            networks: resources("networks", &hashes.networks),
            volumes: resources("volumes", &hashes.volumes),
            secrets: map("secrets").into_iter().collect(),
            configs: map("configs").into_iter().collect(),
            hidden: BTreeSet::new(),
            name,
            origin,
        }
    }

    /// The services named and all they depend on; all services if none is named.
    ///
    /// # Errors
    /// [`NoSuchService`] for a name that nobody has.
    pub fn with_dependencies(&self, names: &[String]) -> Result<BTreeSet<String>, NoSuchService> {
        let mut wanted = BTreeSet::new();
        let mut left: Vec<String> = if names.is_empty() { self.services.keys().cloned().collect() } else { names.to_vec() };
        while let Some(name) = left.pop() {
            let service = self.services.get(&name).ok_or_else(|| NoSuchService { name: name.clone() })?;
            left.extend(service.needs(self).into_keys().filter(|other| !wanted.contains(other)));
            wanted.insert(name);
        }
        Ok(wanted)
    }
}

/// A name that no service has.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no such service: {name}")]
pub struct NoSuchService {
    /// The name.
    pub name: String,
}

impl Service {
    /// Name of its image: its own, or one made of the project's and the service's.
    #[must_use]
    pub fn image(&self, project: &str) -> String {
        match text(&self.config, "image") {
            "" => format!("{project}-{}", self.name),
            image => image.to_owned(),
        }
    }

    /// What it depends on, by `depends_on` and by what it shares.
    #[must_use]
    pub fn needs(&self, project: &Desired) -> BTreeMap<String, Dependency> {
        let mut needs: BTreeMap<String, Dependency> = BTreeMap::new();
        for (name, entry) in self.config.get("depends_on").and_then(Value::as_object).into_iter().flatten() {
            let condition = match text(entry, "condition") {
                "service_healthy" => Condition::Healthy,
                "service_completed_successfully" => Condition::Completed,
                _ => Condition::Started,
            };
            let flag = |field: &str, default: bool| entry.get(field).and_then(Value::as_bool).unwrap_or(default);
            needs.insert(name.clone(), Dependency { condition, restart: flag("restart", false), required: flag("required", true) });
        }
        for name in self.shares() {
            needs.entry(name).or_insert(Dependency { condition: Condition::Started, restart: false, required: true });
        }
        needs.retain(|name, need| need.required || project.services.contains_key(name));
        needs
    }

    /// Services whose namespaces or volumes its containers share.
    #[must_use]
    pub fn shares(&self) -> BTreeSet<String> {
        let modes = ["network_mode", "ipc", "pid"].map(|field| text(&self.config, field).strip_prefix("service:"));
        let mut names: BTreeSet<String> = modes.into_iter().flatten().map(str::to_owned).collect();
        for from in texts(&self.config, "volumes_from").filter(|from| !from.starts_with("container:")) {
            names.insert(from.split(':').next().unwrap_or(from).to_owned());
        }
        names
    }

    /// Keys of the networks its containers join.
    #[must_use]
    pub fn networks(&self) -> Vec<String> {
        if !text(&self.config, "network_mode").is_empty() {
            return Vec::new();
        }
        self.config.get("networks").and_then(Value::as_object).map(|map| map.keys().cloned().collect()).unwrap_or_default()
    }

    /// Keys of the named volumes it mounts, each with where.
    pub fn named_volumes(&self) -> impl Iterator<Item = (&str, &str)> {
        let volumes = self.config.get("volumes").and_then(Value::as_array).into_iter().flatten();
        volumes.filter(|volume| text(volume, "type") == "volume" && !text(volume, "source").is_empty()).map(|volume| {
            let key = text(volume, "source");
            (key, text(volume, "target"))
        })
    }
}

/// How many containers a service has by its file.
fn scale(config: &Value) -> usize {
    let number = config.get("scale").or_else(|| config.pointer("/deploy/replicas")).and_then(Value::as_u64);
    number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1)
}

/// A text field; empty if it is missing.
pub(crate) fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a list.
pub(crate) fn texts<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    value.get(field).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}
