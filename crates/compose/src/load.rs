//! Files, environment and name of a project, and the way from them to the typed project.

#![allow(clippy::wildcard_enum_match_arm, reason = "the values of a tree are of any type, and each place wants some of them")]

use std::path::{Path, PathBuf};

use crate::consistency;
use crate::decode;
use crate::dotenv;
use crate::error::Error;
use crate::files::Loader;
use crate::model::{Mapping, Project};
use crate::node::{Map, Node};
use crate::normalize;
use crate::resolve;
use crate::select;

/// What is left out of the work; for looking at files as they are.
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of `config`")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skip {
    /// Variables stay in the texts.
    pub interpolation: bool,
    /// No default network, names or implied dependencies.
    pub normalization: bool,
    /// Relative paths stay as they are.
    pub path_resolution: bool,
    /// What is undefined or contradictory is not looked for.
    pub consistency: bool,
    /// Files of variables are not read into the services.
    pub environment: bool,
    /// Unknown attributes pass.
    pub validation: bool,
}

/// Which project, and what surrounds it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Compose files, later ones over earlier ones; `-` is standard input. Empty: `COMPOSE_FILE`, else the
    /// usual names here and in the folders above.
    pub files: Vec<String>,
    /// What standard input says, where a file is `-`.
    pub stdin: String,
    /// The project's name; else `COMPOSE_PROJECT_NAME`, the file's `name`, the folder's name.
    pub project_name: Option<String>,
    /// Where relative paths begin; else the folder of the first file.
    pub project_directory: Option<PathBuf>,
    /// Files of variables; empty: `.env`.
    pub env_files: Vec<PathBuf>,
    /// Active profiles; empty: `COMPOSE_PROFILES`.
    pub profiles: Vec<String>,
    /// Services to restrict the project to, with what they depend on; empty: all.
    pub services: Vec<String>,
    /// Whether networks, volumes and the like stay that no service uses.
    pub all_resources: bool,
    /// Folder of the caller.
    pub current_directory: PathBuf,
    /// Variables of the caller.
    pub environment: Mapping,
    /// What is left out.
    pub skip: Skip,
}

impl Options {
    /// Options for a caller in a folder with an environment.
    #[must_use]
    pub fn new(current_directory: PathBuf, environment: Mapping) -> Self {
        Self { current_directory, environment, ..Self::default() }
    }
}

/// A project's tree before it is typed.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) root: Map,
    pub(crate) name: String,
    pub(crate) working_dir: PathBuf,
    pub(crate) env_files: Vec<PathBuf>,
    pub(crate) compose_files: Vec<PathBuf>,
    pub(crate) environment: Mapping,
    pub(crate) profiles: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) files: Vec<PathBuf>,
}

/// Names of Compose files, in order of preference.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

/// Names of files that are merged over the first one.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];

/// Loads a project.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn load(options: &Options) -> Result<Project, Error> {
    let loaded = tree(options)?;
    let files = loaded.files.clone();
    typed(options, loaded).map_err(|error| error.named(&files))
}

/// The typed project of a tree.
fn typed(options: &Options, loaded: Loaded) -> Result<Project, Error> {
    let mut project = decode::project(&loaded.root)?;
    project.name = loaded.name;
    project.working_dir = loaded.working_dir;
    project.env_files = loaded.env_files;
    project.files = loaded.compose_files;
    project.environment = loaded.environment;
    project.warnings = loaded.warnings;
    let mut project = select::with_profiles(project, loaded.profiles);
    if !options.skip.consistency {
        consistency::check(&mut project, &loaded.root)?;
        let conflicts = consistency::port_conflicts(&project, &loaded.root);
        project.warnings.extend(conflicts.into_iter().map(|conflict| conflict.named(&loaded.files).to_string()));
    }
    let mut project = select::with_services(project, &options.services)?;
    if !options.all_resources {
        select::drop_unused(&mut project);
    }
    if !options.skip.environment {
        resolve::environment(&mut project)?;
    }
    resolve::labels(&mut project)?;
    Ok(project)
}

/// The tree of a project: merged, in its long form, completed.
pub(crate) fn tree(options: &Options) -> Result<Loaded, Error> {
    let mut loader = Loader::new(options);
    let result = find(options, &mut loader);
    let result = result.and_then(|found| found.read(options, &mut loader));
    result.map_err(|error| error.named(loader.names()))
}

/// What was found before the files are read.
struct Found {
    files: Vec<PathBuf>,
    working_dir: PathBuf,
    environment: Mapping,
    env_files: Vec<PathBuf>,
}

fn find(options: &Options, loader: &mut Loader<'_>) -> Result<Found, Error> {
    let here = &options.current_directory;
    let mut environment = options.environment.clone();
    environment.entry("PWD".to_owned()).or_insert_with(|| here.display().to_string());
    let absolute = |path: &str| if path == "-" { PathBuf::from(path) } else { here.join(path) };
    let mut files: Vec<PathBuf> = options.files.iter().map(|file| absolute(file)).collect();
    env_files(options, &files, &mut environment)?;
    if files.is_empty() {
        if let Some(list) = environment.get("COMPOSE_FILE") {
            let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty());
            files = list.split(separator.map_or(":", String::as_str)).map(absolute).collect();
        }
        if files.is_empty() {
            files = search(&folder(options, &files), loader);
        }
    }
    let env_files = env_files(options, &files, &mut environment)?;
    if files.is_empty() {
        return Err(Error::new("no configuration file provided: not found"));
    }
    let working_dir = folder(options, &files);
    Ok(Found { files, working_dir, environment, env_files })
}

/// The project directory.
fn folder(options: &Options, files: &[PathBuf]) -> PathBuf {
    let here = &options.current_directory;
    let path = match &options.project_directory {
        Some(directory) => here.join(directory),
        None => {
            files.iter().find(|file| file.as_os_str() != "-").and_then(|file| file.parent()).map_or_else(|| here.clone(), Path::to_owned)
        }
    };
    PathBuf::from(crate::short::clean(&path.display().to_string()))
}

/// Reads the files of variables; what is known already stays.
fn env_files(options: &Options, files: &[PathBuf], environment: &mut Mapping) -> Result<Vec<PathBuf>, Error> {
    let mut paths: Vec<PathBuf> = options.env_files.iter().map(|path| options.current_directory.join(path)).collect();
    if paths.is_empty() {
        let disabled = options.environment.get("COMPOSE_DISABLE_ENV_FILE").map(String::as_str);
        if matches!(disabled, Some("1" | "t" | "T" | "true" | "TRUE" | "True")) {
            return Ok(paths);
        }
        let path = folder(options, files).join(".env");
        if path.is_file() {
            paths.push(path);
        }
    }
    let read = read_env_files(&paths, environment)?;
    for (key, value) in read {
        environment.entry(key).or_insert(value);
    }
    Ok(paths)
}

/// Reads files of variables, later ones over earlier ones.
pub(crate) fn read_env_files(paths: &[PathBuf], environment: &Mapping) -> Result<Mapping, Error> {
    let mut read = Mapping::new();
    for path in paths {
        if path.is_dir() {
            return Err(Error::file(path, "is a directory, not a file of variables"));
        }
        let bytes = fs_err::read(path).map_err(|error| {
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            Error::new(if missing {
                format!("couldn't find env file: {}", path.display())
            } else {
                format!("couldn't read env file: {error}")
            })
        })?;
        let text = String::from_utf8_lossy(&bytes);
        let known = read.clone();
        let outside = |name: &str| environment.get(name).or_else(|| known.get(name)).cloned();
        dotenv::read(&text, &mut read, &outside).map_err(|fault| Error::file(path, fault.to_string()))?;
    }
    Ok(read)
}

/// The usual file in a folder or above it, and the one that is merged over it.
fn search(start: &Path, loader: &mut Loader<'_>) -> Vec<PathBuf> {
    for folder in start.ancestors() {
        let mut pick = |names: &[&str], what: &str| {
            let present: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
            if present.len() > 1 {
                let list = present.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
                loader.warn(format!("Found multiple {what} files with supported names: {list}"));
                loader.warn(format!("Using {}", present[0].display()));
            }
            present.into_iter().next()
        };
        if let Some(file) = pick(&NAMES, "config") {
            return std::iter::once(file).chain(pick(&OVERRIDES, "override")).collect();
        }
    }
    Vec::new()
}

impl Found {
    fn read(mut self, options: &Options, loader: &mut Loader<'_>) -> Result<Loaded, Error> {
        let name = self.name(options, loader)?;
        self.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        let mut root = loader.project(&self.files, &self.working_dir, &self.environment)?;
        if root.is_empty() {
            return Err(Error::file(&self.files[0], "empty compose file"));
        }
        if name.is_empty() && !options.skip.validation {
            return Err(Error::new("project name must not be empty").hint("give one with `-p` or as `name:` in the file"));
        }
        if !options.skip.normalization {
            root.shift_remove("name");
            root.insert("name".to_owned(), Node::text(crate::error::Span::default(), name.clone()));
            normalize::normalize(&mut root, &name, &self.environment)?;
        }
        let profiles = if options.profiles.is_empty() {
            let listed = self.environment.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
            listed.split(',').map(str::trim).filter(|profile| !profile.is_empty()).map(str::to_owned).collect()
        } else {
            options.profiles.clone()
        };
        loader.warn_missing();
        Ok(Loaded {
            root,
            name,
            working_dir: self.working_dir,
            env_files: if options.env_files.is_empty() { Vec::new() } else { self.env_files },
            compose_files: self.files,
            environment: self.environment,
            profiles,
            warnings: loader.take_warnings(),
            files: loader.names().to_vec(),
        })
    }

    /// The project's name.
    fn name(&self, options: &Options, loader: &mut Loader<'_>) -> Result<String, Error> {
        let given = options.project_name.as_ref().filter(|name| !name.is_empty());
        if let Some(name) = given.or_else(|| self.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty())) {
            if plain_name(name) != *name {
                return Err(Error::new(format!(
                    "invalid project name \"{name}\": must consist only of lowercase alphanumeric characters, hyphens, and underscores as well as start with a letter or number"
                )));
            }
            return Ok(name.clone());
        }
        let named = loader.name(&self.files, &self.environment)?;
        let named = if options.skip.normalization { named } else { plain_name(&named) };
        if !named.is_empty() {
            return Ok(named);
        }
        let folder = self.working_dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(plain_name(&folder))
    }
}

/// A name of small letters, digits, `-` and `_` only.
#[must_use]
pub fn plain_name(name: &str) -> String {
    let kept: String = name.to_lowercase().chars().filter(|letter| matches!(letter, 'a'..='z' | '0'..='9' | '_' | '-')).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}
