//! From the flags before the command to a project.

use std::io::Read as _;
use std::path::PathBuf;

use compose::desired::{Desired, Hashes};
use compose::{Options, Project};

use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// Reads the files that the flags name.
pub(super) fn project(globals: &Given) -> Outcome<Project> {
    compose::load(&options(globals)?).map_err(|error| Failure::new(error.to_string()))
}

/// What the flags say of the files.
pub(super) fn options(globals: &Given) -> Outcome<Options> {
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut options = Options::new(std::env::current_dir()?, environment.collect());
    options.files = globals.all("file").to_vec();
    if options.files.iter().any(|file| file == "-") {
        std::io::stdin().read_to_string(&mut options.stdin)?;
    }
    options.project_name = globals.get("project-name").map(str::to_owned);
    options.project_directory = globals.get("project-directory").map(PathBuf::from);
    options.env_files = globals.all("env-file").iter().map(PathBuf::from).collect();
    options.profiles = globals.all("profile").to_vec();
    options.all_resources = globals.on("all-resources");
    Ok(options)
}

/// What shall be, with Docker Compose's hashes.
pub(super) fn desired(project: &Project) -> Outcome<Desired> {
    let wrong = |error: compose::Error| Failure::new(error.to_string());
    let mut hashes = Hashes::default();
    for (name, service) in &project.services {
        hashes.services.insert(name.clone(), service.config_hash().map_err(wrong)?);
    }
    for (key, network) in &project.networks {
        hashes.networks.insert(key.clone(), network.config_hash().map_err(wrong)?);
    }
    for (key, volume) in &project.volumes {
        hashes.volumes.insert(key.clone(), volume.config_hash().map_err(wrong)?);
    }
    Ok(Desired::of_project(project, &hashes)?)
}
