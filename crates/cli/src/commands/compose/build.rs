//! `build`: images of services, those of the same definition once, all at the same time.

use std::collections::BTreeMap;
use std::io::Write as _;

use compose::desired::{Desired, Service};
use docker_api::client::Client;
use serde_json::Value;

use super::pull;
use super::session::Session;
use crate::commands;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::json::text;

/// How images are built.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) quiet: bool,
    pub(super) no_cache: bool,
    pub(super) pull: bool,
    /// Further build arguments.
    pub(super) arguments: Vec<String>,
    pub(super) memory: Option<String>,
    pub(super) ssh: Option<String>,
}

/// `build`.
pub(super) fn build(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let project = session.project()?;
    let desired = session.desired_of(&project)?;
    let mut names: Vec<String> = if given.args.is_empty() { desired.services.keys().cloned().collect() } else { given.args.clone() };
    if let Some(name) = names.iter().find(|name| !desired.services.contains_key(*name)) {
        return Err(Failure::new(format!("no such service: {name}")));
    }
    if given.on("with-dependencies") {
        names = desired.with_dependencies(&names).map_err(|error| Failure::new(error.to_string()))?.into_iter().collect();
    }
    names.retain(|name| desired.services.get(name).is_some_and(|service| service.config.get("build").is_some()));
    if names.is_empty() {
        session.progress().warning("No services to build");
        return Ok(0);
    }
    let wish = Wish {
        quiet: given.on("quiet"),
        no_cache: given.on("no-cache"),
        pull: given.on("pull"),
        arguments: given.all("build-arg").to_vec(),
        memory: given.get("memory").map(str::to_owned),
        ssh: given.get("ssh").map(str::to_owned),
    };
    let client = session.client()?;
    build_services(session, &client, &desired, &names, &wish)?;
    if given.on("push") {
        pull::push_services(session, &client, &desired, &names, false)?;
    }
    Ok(0)
}

/// Builds the images of these services.
pub(super) fn build_services(session: &mut Session<'_>, _: &Client, desired: &Desired, names: &[String], wish: &Wish) -> Outcome<()> {
    // Services whose definitions are the same share one build.
    let mut builds: BTreeMap<String, Vec<&Service>> = BTreeMap::new();
    for service in names.iter().filter_map(|name| desired.services.get(name)) {
        builds.entry(service.config.get("build").map(Value::to_string).unwrap_or_default()).or_default().push(service);
    }
    let progress = session.progress();
    for service in builds.values().flatten() {
        progress.tell(&format!("Image {}", service.image(&desired.name)), "Building", false);
    }
    progress.finish();
    let limit = session.parallel()?;
    // What builds on another service's image comes after it.
    let (first, second): (Vec<_>, Vec<_>) = builds.into_values().partition(|services| !needs_image(services));
    for round in [first, second] {
        let context = &*session.context;
        pull::each(&round, limit, &|services| one(context, desired, services, wish))?;
    }
    for service in names.iter().filter_map(|name| desired.services.get(name)) {
        progress.tell(&format!("Image {}", service.image(&desired.name)), "Built", true);
    }
    progress.finish();
    Ok(())
}

/// Whether a build takes files of another service's image.
fn needs_image(services: &[&Service]) -> bool {
    let contexts = services.iter().filter_map(|service| service.config.pointer("/build/additional_contexts")).filter_map(Value::as_object);
    contexts.flat_map(|map| map.values()).filter_map(Value::as_str).any(|place| place.starts_with("service:"))
}

/// Builds one image with the tags of all services that share it.
fn one(context: &Context, desired: &Desired, services: &[&Service], wish: &Wish) -> Outcome<()> {
    let Some(service) = services.first() else { return Ok(()) };
    let build = service.config.get("build").cloned().unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    let mut flag = |name: &str, value: String| words.push(format!("--{name}={value}"));
    for service in services {
        flag("tag", service.image(&desired.name));
    }
    let version = compose::labels::COMPOSE_VERSION;
    for (name, value) in [("project", desired.name.as_str()), ("service", service.name.as_str()), ("version", version)] {
        flag("label", format!("com.docker.compose.{name}={value}"));
    }
    let place = text(&build, "context").to_owned();
    // It lives until the build is over.
    let inline = dockerfile(&build, &place, &service.name, &mut flag)?;
    steps(&build, &mut flag);
    sources(desired, &build, &mut flag)?;
    wishes(service, &build, wish, &mut flag);
    words.push(place);
    let found = commands::find("build").ok_or_else(|| Failure::new("unknown command: build"))?;
    let given = found.command.parse(&words)?;
    let result = (found.act)(&mut context.clone(), &found.command, &given);
    drop(inline);
    match result? {
        0 => Ok(()),
        code => Err(Failure::Silent(code)),
    }
}

/// Takes a flag of `build` and its value.
type Flag<'a> = &'a mut dyn FnMut(&str, String);

/// Where the Dockerfile is; one that stands in the Compose file becomes a file for the time of the build.
fn dockerfile(build: &Value, place: &str, name: &str, flag: Flag<'_>) -> Outcome<Option<Inline>> {
    let dockerfile = text(build, "dockerfile");
    if let Some(content) = build.get("dockerfile_inline").and_then(Value::as_str) {
        let mut file = Inline::new(name)?;
        file.file.write_all(content.as_bytes())?;
        flag("file", file.path.display().to_string());
        return Ok(Some(file));
    }
    if !dockerfile.is_empty() && !place.contains("://") {
        let path = std::path::Path::new(dockerfile);
        let path = if path.is_absolute() { path.to_owned() } else { std::path::Path::new(place).join(path) };
        flag("file", path.display().to_string());
    }
    Ok(None)
}

/// How the steps run.
fn steps(build: &Value, flag: Flag<'_>) {
    for (field, name) in [("tags", "tag"), ("cache_from", "cache-from")] {
        for value in list(build, field) {
            flag(name, value);
        }
    }
    for (field, name) in [("labels", "label"), ("args", "build-arg")] {
        for pair in pairs(build, field) {
            flag(name, pair);
        }
    }
    for (field, name) in [("target", "target"), ("network", "network"), ("shm_size", "shm-size")] {
        match build.get(field) {
            Some(Value::String(value)) if !value.is_empty() => flag(name, value.clone()),
            Some(Value::Number(value)) => flag(name, value.to_string()),
            _ => {}
        }
    }
    for line in list(build, "extra_hosts") {
        flag("add-host", line.replacen('=', ":", 1));
    }
    for (name, limit) in build.get("ulimits").and_then(Value::as_object).into_iter().flatten() {
        let limit = limit.as_i64().map_or_else(
            || format!("{}:{}", limit.get("soft").unwrap_or(&Value::Null), limit.get("hard").unwrap_or(&Value::Null)),
            |both| both.to_string(),
        );
        flag("ulimit", format!("{name}={limit}"));
    }
}

/// What the steps may read beside their folder.
fn sources(desired: &Desired, build: &Value, flag: Flag<'_>) -> Outcome<()> {
    for (name, place) in build.get("additional_contexts").and_then(Value::as_object).into_iter().flatten() {
        let place = place.as_str().unwrap_or_default();
        let image = place.strip_prefix("service:").and_then(|name| desired.services.get(name)).map(|service| service.image(&desired.name));
        flag("build-context", format!("{name}={}", image.map_or_else(|| place.to_owned(), |image| format!("docker-image://{image}"))));
    }
    for entry in build.get("secrets").and_then(Value::as_array).into_iter().flatten() {
        secret(desired, entry, flag)?;
    }
    Ok(())
}

/// What the call and the service want of the whole.
fn wishes(service: &Service, build: &Value, wish: &Wish, flag: Flag<'_>) {
    for pair in &wish.arguments {
        flag("build-arg", pair.clone());
    }
    for entry in list(build, "ssh").into_iter().chain(wish.ssh.clone()) {
        flag("ssh", entry);
    }
    let platforms = list(build, "platforms");
    let platform = Some(text(&service.config, "platform").to_owned()).filter(|platform| !platform.is_empty());
    if let Some(platform) = platform.or_else(|| (!platforms.is_empty()).then(|| platforms.join(","))) {
        flag("platform", platform);
    }
    if let Some(memory) = &wish.memory {
        flag("memory", memory.clone());
    }
    let on = |field: &str| build.get(field).and_then(Value::as_bool).unwrap_or_default();
    for (name, wanted) in [("no-cache", wish.no_cache || on("no_cache")), ("pull", wish.pull || on("pull")), ("quiet", wish.quiet)] {
        if wanted {
            flag(name, "true".to_owned());
        }
    }
    flag("show-name", service.name.clone());
}

/// A secret of a build, from the project's secrets.
fn secret(desired: &Desired, entry: &Value, flag: &mut dyn FnMut(&str, String)) -> Outcome<()> {
    let source = text(entry, "source");
    let id = Some(text(entry, "target")).filter(|target| !target.is_empty()).unwrap_or(source);
    let definition = desired.secrets.get(source).ok_or_else(|| Failure::new(format!("undefined build secret {source}")))?;
    match (definition.get("file").and_then(Value::as_str), definition.get("environment").and_then(Value::as_str)) {
        (Some(file), _) => flag("secret", format!("id={id},src={file}")),
        (None, Some(name)) => flag("secret", format!("id={id},env={name}")),
        (None, None) => return Err(Failure::new(format!("build secret {source} has neither a file nor a variable"))),
    }
    Ok(())
}

/// `A=b` for each pair; `A` alone takes the caller's value.
fn pairs(build: &Value, field: &str) -> Vec<String> {
    let map = build.get(field).and_then(Value::as_object).into_iter().flatten();
    map.map(|(name, value)| match value {
        Value::Null => name.clone(),
        Value::String(value) => format!("{name}={value}"),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => format!("{name}={other}"),
    })
    .collect()
}

fn list(build: &Value, field: &str) -> Vec<String> {
    match build.get(field) {
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Object(map)) => map.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect(),
        _ => Vec::new(),
    }
}

/// A Dockerfile that stands in the Compose file.
struct Inline {
    file: std::fs::File,
    path: std::path::PathBuf,
}

impl Inline {
    fn new(name: &str) -> Outcome<Self> {
        let mut random = [0u8; 8];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(std::io::Error::from)?;
        let path = std::env::temp_dir().join(format!("compose-{name}-{:016x}.Dockerfile", u64::from_ne_bytes(random)));
        Ok(Self { file: std::fs::File::create_new(&path)?, path })
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        // A file that is gone already is no harm.
        let _gone = std::fs::remove_file(&self.path);
    }
}
