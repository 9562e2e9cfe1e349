//! `config`: the project as the files have it.

use compose::{Options, Project, Untyped};
use docker_api::client::{Client, escape};
use serde_json::{Value, json};

use super::session::Session;
use crate::commands::registry::client_for;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::reference::Reference;
use crate::{printer, table};

/// Lists that the command prints instead of the project, by their flags.
type List = fn(&Project) -> Vec<String>;

const LISTS: [(&str, List); 7] = [
    ("services", services),
    ("volumes", |project| project.volumes.keys().cloned().collect()),
    ("networks", |project| project.networks.keys().cloned().collect()),
    ("models", |project| project.models.values().map(|model| model.model.clone()).filter(|model| !model.is_empty()).collect()),
    ("profiles", profiles),
    ("images", images),
    ("environment", |project| project.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
];

pub(super) fn config(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut options = session.options()?;
    options.skip.interpolation = given.on("no-interpolate");
    options.skip.normalization = given.on("no-normalize");
    options.skip.path_resolution = given.on("no-path-resolution");
    options.skip.consistency = given.on("no-consistency");
    options.skip.environment = given.on("no-env-resolution");
    if given.on("variables") {
        return variables(session, given, options);
    }
    if given.on("services") && options.skip.interpolation {
        let project = untyped(session, &options)?;
        project.services().iter().for_each(|name| printer::line(name));
        return Ok(0);
    }
    if let Some(names) = given.get("hash") {
        return hash(session, names, &options);
    }
    if let Some((_, list)) = LISTS.iter().find(|(flag, _)| given.on(flag)) {
        // These need no files of variables.
        options.skip.environment = true;
        options
            .services
            .extend(given.args.iter().filter(|_| given.on("images") || given.on("profiles") || given.on("environment")).cloned());
        let project = typed(session, &options)?;
        list(&project).iter().for_each(|line| printer::line(line));
        return Ok(0);
    }
    print(session, given, options)
}

fn typed(session: &Session<'_>, options: &Options) -> Outcome<Project> {
    let project = compose::load(options).map_err(|error| Failure::new(error.to_string()))?;
    project.warnings.iter().for_each(|warning| session.progress().warning(warning));
    Ok(project)
}

fn untyped(session: &Session<'_>, options: &Options) -> Outcome<Untyped> {
    let project = compose::load_untyped(options).map_err(|error| Failure::new(error.to_string()))?;
    project.warnings.iter().for_each(|warning| session.progress().warning(warning));
    Ok(project)
}

/// Prints the project, or writes it to a file.
fn print(session: &mut Session<'_>, given: &Given, mut options: Options) -> Outcome<u8> {
    let json = match given.get("format").unwrap_or("yaml") {
        "" | "yaml" => false,
        "json" => true,
        other => return Err(Failure::new(format!("unsupported format \"{other}\""))),
    };
    let lock = given.on("lock-image-digests");
    let digests = lock || given.on("resolve-image-digests");
    let wrong = |error: compose::Error| Failure::new(error.to_string());
    let content = if options.skip.interpolation {
        if !given.args.is_empty() {
            session.progress().warning("service filtering is not applied when --no-interpolate is set, the full model will be rendered");
        }
        let mut project = untyped(session, &options)?;
        if digests {
            let mut client = session.client()?;
            project.change_images(&mut |image| with_digest(&mut client, image))?;
        }
        if lock {
            project.keep_images();
        }
        if json { project.to_json() } else { project.to_yaml() }
    } else {
        options.services.extend(given.args.iter().cloned());
        let mut project = typed(session, &options)?;
        if digests {
            let mut client = session.client()?;
            project.change_images(&mut |image| with_digest(&mut client, image))?;
        }
        if lock {
            project = project.images_only();
        }
        let content = if json { project.to_json() } else { project.to_yaml() };
        content.map_err(wrong)?.replace('$', "$$")
    };
    if given.on("quiet") {
        return Ok(0);
    }
    match given.get("output").filter(|path| !path.is_empty()) {
        Some(path) => write(path, &content)?,
        None => printer::raw(content.as_bytes()),
    }
    Ok(0)
}

/// Writes a file that somebody asked for.
fn write(path: &str, content: &str) -> Outcome<()> {
    std::fs::write(path, content).map_err(|error| Failure::new(format!("open {path}: {error}")))
}

/// The hashes by which containers are found to be out of date.
fn hash(session: &Session<'_>, names: &str, options: &Options) -> Outcome<u8> {
    let mut options = options.clone();
    let wrong = |error: compose::Error| Failure::new(error.to_string());
    let all = names == "*";
    let names: Vec<&str> = if all { Vec::new() } else { names.split(',').collect() };
    let resolve = !options.skip.environment;
    options.skip.environment = true;
    let mut project = typed(session, &options)?;
    if let Some(unknown) = names.iter().find(|name| !project.services.contains_key(**name)) {
        return Err(Failure::new(format!("no such service: {unknown}")));
    }
    project.default_platform();
    let environment = project.environment.clone();
    for (name, service) in &mut project.services {
        if !all && !names.contains(&name.as_str()) {
            continue;
        }
        if resolve {
            service.container.resolve_environment(&environment).map_err(wrong)?;
        }
        printer::line(&format!("{name} {}", service.config_hash().map_err(wrong)?));
    }
    Ok(0)
}

/// Variables that the files name, and what they say of each.
fn variables(session: &Session<'_>, given: &Given, mut options: Options) -> Outcome<u8> {
    options.skip.interpolation = true;
    options.skip.validation = true;
    let found = untyped(session, &options)?.variables();
    match given.get("format").unwrap_or_default() {
        "json" => {
            let entry = |(name, variable): (&String, &compose::Variable)| {
                let value = json!({"Name": name, "DefaultValue": variable.default, "PresenceValue": variable.replacement, "Required": variable.required});
                (name.clone(), value)
            };
            let members: Vec<(String, Value)> = found.iter().map(entry).collect();
            let keys = ["Name", "DefaultValue", "PresenceValue", "Required"];
            let mut text = String::from("{");
            for (index, (name, value)) in members.iter().enumerate() {
                text += if index == 0 { "\n" } else { ",\n" };
                let fields: Vec<String> = keys.iter().map(|key| format!("        \"{key}\": {}", value[key])).collect();
                text += &format!("    {}: {{\n{}\n    }}", json!(name), fields.join(",\n"));
            }
            text += if members.is_empty() { "}\n" } else { "\n}\n" };
            printer::line(&text);
        }
        "yaml" => {
            for (name, variable) in &found {
                let text = compose::yaml_text;
                printer::line(&format!("{}:\n    name: {}", text(name), text(name)));
                printer::line(&format!(
                    "    defaultvalue: {}\n    presencevalue: {}",
                    text(&variable.default),
                    text(&variable.replacement)
                ));
                printer::line(&format!("    required: {}", variable.required));
            }
        }
        "" | "table" => {
            let head = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"].map(str::to_owned).to_vec();
            let row = |(name, variable): (&String, &compose::Variable)| {
                vec![name.clone(), variable.required.to_string(), variable.default.clone(), variable.replacement.clone()]
            };
            let rows: Vec<Vec<String>> = std::iter::once(head).chain(found.iter().map(row)).collect();
            printer::raw(table::layout_wide(&rows).as_bytes());
        }
        other => return Err(Failure::new(format!("format value \"{other}\" could not be parsed"))),
    }
    Ok(0)
}

/// The services, each behind what it depends on.
fn services(project: &Project) -> Vec<String> {
    fn visit(project: &Project, name: &String, order: &mut Vec<String>) {
        let Some(service) = project.services.get(name).filter(|_| !order.contains(name)) else {
            return;
        };
        service.workload.depends_on.keys().for_each(|name| visit(project, name, order));
        order.push(name.clone());
    }
    let mut order = Vec::new();
    project.services.keys().for_each(|name| visit(project, name, &mut order));
    order
}

fn profiles(project: &Project) -> Vec<String> {
    let all = project.services.values().chain(project.disabled.values()).flat_map(|service| service.profiles.iter().cloned());
    all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The images of the services, then those of their hooks.
fn images(project: &Project) -> Vec<String> {
    let mut list = Vec::new();
    for (name, service) in &project.services {
        let own = match service.container.image.as_str() {
            "" => format!("{}-{name}", project.name),
            image => image.to_owned(),
        };
        let hooks = service.pre_start.iter().map(|hook| hook.container.image.clone());
        let hooks: Vec<String> = hooks.filter(|image| !image.is_empty() && *image != own).collect();
        list.push(own);
        list.extend(hooks);
    }
    list
}

/// An image's whole name with the digest that its registry gives.
fn with_digest(client: &mut Client, image: &str) -> Outcome<String> {
    let mut name = Reference::new(image).or_latest();
    if name.digest.is_some() {
        return Ok(name.to_string());
    }
    let fail = |reason: String| Failure::new(format!("failed to resolve digest for {name}: {reason}"));
    let mut client = client_for(client, &name.domain)?;
    let found: Value =
        client.call("GET", &format!("/distribution/{}/json", escape(&name.to_string())), None).map_err(|error| fail(error.to_string()))?;
    let digest = found.pointer("/Descriptor/digest").and_then(Value::as_str).ok_or_else(|| fail("the engine names none".to_owned()))?;
    name.digest = Some(digest.to_owned());
    Ok(name.to_string())
}
