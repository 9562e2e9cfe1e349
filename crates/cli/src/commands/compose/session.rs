//! One call of `compose`: its flags, the project of the files, the engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compose::desired::{Desired, Service};
use compose::execute::{Executor, StepError};
use compose::model::Project;
use compose::observe::{self, Container};
use compose::plan::Plan;
use docker_api::client::{Client, escape};
use serde_json::Value;

use super::progress::Progress;
use crate::commands;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::Given;

/// One call of `compose`.
#[derive(Debug)]
pub(super) struct Session<'a> {
    /// The program's.
    pub(super) context: &'a mut Context,
    /// Flags before the command.
    globals: &'a Given,
    /// Whether only what would be done is shown.
    pub(super) dry_run: bool,
    /// Set by Ctrl-C.
    pub(super) canceled: Arc<AtomicBool>,
}

impl<'a> Session<'a> {
    pub(super) fn new(context: &'a mut Context, globals: &'a Given, given: &Given) -> Self {
        let dry_run = globals.on("dry-run") || given.on("dry-run");
        Self { context, globals, dry_run, canceled: Arc::default() }
    }

    /// A client of the engine.
    pub(super) fn client(&self) -> Outcome<Client> {
        self.context.client()
    }

    /// What the flags say of the files.
    pub(super) fn options(&self) -> Outcome<compose::Options> {
        super::load::options(self.globals)
    }

    /// The project that the files describe, with the profiles that are asked for.
    pub(super) fn project(&self) -> Outcome<Project> {
        super::load::project(self.globals)
    }

    /// Name of the project: given, or of the files.
    pub(super) fn project_name(&self) -> Outcome<String> {
        let given = self.globals.get("project-name").map(str::to_owned);
        let given = given.or_else(|| std::env::var("COMPOSE_PROJECT_NAME").ok()).filter(|name| !name.is_empty());
        given.map_or_else(|| Ok(self.project()?.name), Ok)
    }

    /// The project as its files have it, for commands that can do without: no file is no error if a name is given.
    pub(super) fn desired_if_any(&self) -> Outcome<(String, Option<Desired>)> {
        let named = self.globals.has("project-name") || std::env::var("COMPOSE_PROJECT_NAME").is_ok_and(|name| !name.is_empty());
        match self.project() {
            Ok(project) => Ok((project.name.clone(), Some(self.desired_of(&project)?))),
            Err(_) if named && !self.globals.has("file") => Ok((self.project_name()?, None)),
            Err(failure) => Err(failure),
        }
    }

    /// What the project shall be; nothing is known of its images yet.
    pub(super) fn desired_of(&self, project: &Project) -> Outcome<Desired> {
        for warning in &project.warnings {
            self.progress().warning(warning);
        }
        super::load::desired(project)
    }

    /// How many images are pulled or built at once; no bound if it is not given or not above 0, as Docker Compose has it.
    pub(super) fn parallel(&self) -> Outcome<usize> {
        let variable = std::env::var("COMPOSE_PARALLEL_LIMIT").ok().filter(|_| !self.globals.has("parallel"));
        let number = match variable.filter(|text| !text.is_empty()) {
            Some(text) => {
                text.parse::<i64>().map_err(|_| Failure::new(format!("COMPOSE_PARALLEL_LIMIT must be an integer (found: \"{text}\")")))?
            }
            None => self.globals.number("parallel")?.unwrap_or(-1),
        };
        Ok(usize::try_from(number).ok().filter(|number| *number > 0).unwrap_or(usize::MAX))
    }

    /// How progress is shown.
    pub(super) fn progress(&self) -> Progress {
        let variable = std::env::var("COMPOSE_PROGRESS").ok();
        let never = self.globals.get("ansi") == Some("never") || std::env::var("COMPOSE_ANSI").is_ok_and(|ansi| ansi == "never");
        Progress::new(self.globals.get("progress").or(variable.as_deref()), never)
    }

    /// Containers of the project that `wanted` says, or a hint that there are none.
    pub(super) fn containers(&self, client: &mut Client, services: &[String]) -> Outcome<Vec<Container>> {
        let name = self.project_name()?;
        let mut containers = observe::containers(client, &name)?;
        if !services.is_empty() {
            let known: Vec<String> = containers.iter().map(|container| container.service().to_owned()).collect();
            for service in services.iter().filter(|service| !known.contains(service)) {
                // A service without containers is one all the same.
                if self.project().is_ok_and(|project| !project.services.contains_key(service) && !project.disabled.contains_key(service)) {
                    return Err(Failure::new(format!("no such service: {service}")));
                }
            }
            containers.retain(|container| services.iter().any(|service| service == container.service()));
        }
        Ok(containers)
    }

    /// The container of a service with this number; without a number the first.
    pub(super) fn container(&self, client: &mut Client, service: &str, index: Option<i64>) -> Outcome<Container> {
        let containers = self.containers(client, &[service.to_owned()])?;
        let index = index.and_then(|index| usize::try_from(index).ok()).filter(|index| *index > 0);
        let mut mine: Vec<Container> = containers.into_iter().filter(|container| !container.is_oneoff()).collect();
        mine.sort_by_key(|container| (!container.is_running(), container.number()));
        let found = mine.into_iter().find(|container| index.is_none_or(|index| container.number() == index));
        found.ok_or_else(|| match index {
            Some(index) => Failure::new(format!("service \"{service}\" has no container with index {index}")),
            None => Failure::new(format!("service \"{service}\" is not running")),
        })
    }

    /// Runs another command of this program.
    pub(super) fn cli(&mut self, words: &[String]) -> Outcome<u8> {
        let first = words.first().map(String::as_str).unwrap_or_default();
        let found = commands::find(first).ok_or_else(|| Failure::new(format!("unknown command: {first}")))?;
        let given = found.command.parse(words.get(1..).unwrap_or_default())?;
        (found.act)(self.context, &found.command, &given)
    }

    /// Carries a plan out and shows how it goes; with `--dry-run` only shows it.
    pub(super) fn execute(&self, client: &Client, desired: &Desired, plan: &Plan, timeout: Option<i64>) -> Outcome<()> {
        if self.dry_run {
            for warning in &plan.warnings {
                self.progress().warning(warning);
            }
            crate::printer::raw(plan.to_string().as_bytes());
            return Ok(());
        }
        let progress = self.progress();
        let mut executor = Executor::new(client, desired, &self.canceled);
        executor.timeout = timeout;
        let result = executor.run(plan, &progress);
        progress.finish();
        result.map_err(failure)
    }

    /// Whether a person has stopped it.
    pub(super) fn is_canceled(&self) -> bool {
        self.canceled.load(Ordering::Acquire)
    }
}

/// A step's failure in the words of the command line.
pub(super) fn failure(error: StepError) -> Failure {
    match error {
        StepError::Canceled => Failure::Message { message: "canceled".into(), code: 130, run: false },
        other @ (StepError::Engine(_)
        | StepError::Dependency(_)
        | StepError::NotCompleted { .. }
        | StepError::File { .. }
        | StepError::Unfit(_)) => Failure::new(other.to_string()),
    }
}

/// What an engine knows of an image.
#[derive(Clone, Debug)]
struct Known {
    /// Its digest.
    id: String,
    /// When it got its last name.
    time: Option<i64>,
    /// Places it declares as volumes.
    volumes: Vec<String>,
}

/// Looks at an image; `None` if there is no such image.
fn look(client: &mut Client, image: &str) -> Outcome<Option<Known>> {
    match client.call::<Value>("GET", &format!("/images/{}/json", image.split('/').map(escape).collect::<Vec<_>>().join("/")), None) {
        Ok(found) => {
            let volumes = found.pointer("/Config/Volumes").and_then(Value::as_object);
            let volumes = volumes.map(|volumes| volumes.keys().cloned().collect()).unwrap_or_default();
            let time = found.pointer("/Metadata/LastTagTime").and_then(Value::as_str).and_then(crate::human::parse_time);
            Ok(Some(Known { id: crate::json::text(&found, "Id").to_owned(), time: time.filter(|time| *time > 0), volumes }))
        }
        Err(error) if error.status() == Some(404) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Sets what is known of the images of these services; returns the services whose image is missing.
pub(super) fn know_images(
    client: &mut Client,
    desired: &mut Desired,
    services: &std::collections::BTreeSet<String>,
) -> Outcome<Vec<String>> {
    let mut known: BTreeMap<String, Option<Known>> = BTreeMap::new();
    let mut missing = Vec::new();
    let project = desired.name.clone();
    for service in desired.services.values_mut().filter(|service| services.contains(&service.name)) {
        let image = service.image(&project);
        if !known.contains_key(&image) {
            let found = look(client, &image)?;
            known.insert(image.clone(), found);
        }
        match known.get(&image).cloned().flatten() {
            Some(known) => set(service, known),
            None => missing.push(service.name.clone()),
        }
    }
    Ok(missing)
}

fn set(service: &mut Service, known: Known) {
    service.image_id = known.id;
    service.image_time = known.time;
    service.image_volumes = known.volumes.into_iter().collect();
}

/// A path as the caller means it.
pub(super) fn absolute(path: &str) -> Outcome<PathBuf> {
    Ok(std::path::absolute(path)?)
}
