//! Files of variables and labels, read into the services.

use std::path::Path;

use crate::dotenv;
use crate::error::Error;
use crate::model::{ContainerSpec, EnvFile, Mapping, OptionalMapping, Project};

/// Reads `env_file` of all services into `environment`, where `environment` wins.
pub(crate) fn environment(project: &mut Project) -> Result<(), Error> {
    let outside = &project.environment;
    project.services.values_mut().try_for_each(|service| service.container.resolve_environment(outside))
}

impl ContainerSpec {
    /// Reads `env_file` into `environment`, where `environment` wins; then no such file is named any more. A
    /// loaded project's services are resolved; jobs and hooks before a start are not until they run.
    ///
    /// # Errors
    /// A file that must exist and does not, or that cannot be read.
    pub fn resolve_environment(&mut self, outside: &Mapping) -> Result<(), Error> {
        container_environment(self, outside)
    }
}

fn containers(project: &mut Project) -> impl Iterator<Item = &mut ContainerSpec> {
    let services = project.services.values_mut().map(|service| &mut service.container);
    services.chain(project.jobs.values_mut().map(|job| &mut job.container))
}

fn container_environment(container: &mut ContainerSpec, outside: &Mapping) -> Result<(), Error> {
    for (key, value) in &mut container.environment {
        if value.is_none() {
            *value = outside.get(key).cloned();
        }
    }
    let mut known: Mapping = container.environment.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect();
    for file in std::mem::take(&mut container.env_file) {
        let own = &container.environment;
        let lookup = |key: &str| outside.get(key).cloned().or_else(|| own.get(key).cloned().flatten());
        read(&file, &mut known, &lookup)?;
    }
    let mut all: OptionalMapping = known.into_iter().map(|(key, value)| (key, Some(value))).collect();
    all.append(&mut container.environment);
    container.environment = all;
    Ok(())
}

/// Reads `label_file` into `labels`, where `labels` wins.
pub(crate) fn labels(project: &mut Project) -> Result<(), Error> {
    for container in containers(project) {
        let mut labels = Mapping::new();
        for file in &container.label_file {
            let path = Path::new(file);
            let text = open(path, "label file")?;
            let known = labels.clone();
            let lookup = |key: &str| known.get(key).cloned();
            dotenv::read(&text, &mut labels, &lookup).map_err(|fault| Error::file(path, fault.to_string()))?;
        }
        labels.append(&mut container.labels);
        container.labels = labels;
    }
    Ok(())
}

/// Reads one file of variables.
fn read(file: &EnvFile, known: &mut Mapping, lookup: &dyn Fn(&str) -> Option<String>) -> Result<(), Error> {
    let path = Path::new(&file.path);
    if !path.exists() && !file.required.0 {
        return Ok(());
    }
    let text = open(path, "env file")?;
    let result = match file.format.as_str() {
        "" | ".env" => dotenv::read(&text, known, lookup),
        "raw" => dotenv::read_raw(&text, known, lookup),
        other => return Err(Error::file(path, format!("unsupported env_file format \"{other}\""))),
    };
    result.map_err(|fault| Error::file(path, fault.to_string()))
}

fn open(path: &Path, what: &str) -> Result<String, Error> {
    match fs_err::read(path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::new(format!("{what} {} not found: no such file or directory", path.display()))
                .hint("`required: false` makes it optional"))
        }
        Err(error) => Err(Error::new(format!("cannot read {what}: {error}"))),
    }
}
