//! `context …`.
//! **Source:** docker/cli, `cli/command/context`.

use std::io::{Read as _, Write as _};
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Map, Value, json};

use super::Entry;
use crate::context::{Context, DEFAULT_HOST};
use crate::contexts::{self, ARCHIVE_BYTES_MAX, FILES, Meta};
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{config, output, printer};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("context create"), act: create },
    Entry { command: described("context export"), act: export },
    Entry { command: described("context import"), act: import },
    Entry { command: described("context inspect"), act: inspect },
    Entry { command: described("context ls"), act: list },
    Entry { command: described("context rm"), act: remove },
    Entry { command: described("context show"), act: show },
    Entry { command: described("context update"), act: update },
    Entry { command: described("context use"), act: choose },
];

const DEFAULT: &str = "default";

fn current() -> String {
    if variable_host().is_some() {
        return DEFAULT.to_owned();
    }
    config::current_context().unwrap_or_else(|| DEFAULT.to_owned())
}

fn variable_host() -> Option<String> {
    std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty())
}

fn not_found(name: &str) -> Failure {
    let path = contexts::meta_folder(name).join("meta.json");
    Failure::new(format!("context \"{name}\": context not found: open {}: no such file or directory", path.display()))
}

/// Reads a context, also the one that is not stored.
fn find(name: &str) -> Outcome<Meta> {
    if name == DEFAULT {
        let host = variable_host().unwrap_or_else(|| DEFAULT_HOST.to_owned());
        return Ok(Meta { name: DEFAULT.to_owned(), metadata: Map::new(), endpoints: endpoint(&host, false) });
    }
    contexts::read(name)?.ok_or_else(|| not_found(name))
}

fn endpoint(host: &str, skip: bool) -> Map<String, Value> {
    Map::from_iter([("docker".to_owned(), json!({"Host": host, "SkipTLSVerify": skip}))])
}

fn check_name(name: &str) -> Outcome<()> {
    let first = name.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let rest = name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_.+-".contains(letter));
    match name {
        "" => Err(Failure::new("context name cannot be empty")),
        DEFAULT => Err(Failure::new("\"default\" is a reserved context name")),
        _ if !first || !rest || name.len() < 2 => Err(Failure::new(format!(
            "context name \"{name}\" is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
        ))),
        _ => Ok(()),
    }
}

fn free(name: &str) -> Outcome<()> {
    match contexts::read(name)? {
        Some(_) => Err(Failure::new(format!("context \"{name}\" already exists"))),
        None => Ok(()),
    }
}

/// Keys of a context: name and content.
type Files = Vec<(String, Vec<u8>)>;

/// What `--docker host=…,ca=…` says.
fn docker_endpoint(given: &Given) -> Outcome<Option<(Map<String, Value>, Files)>> {
    let texts = given.all("docker");
    if texts.is_empty() {
        return Ok(None);
    }
    let mut values = Map::new();
    for part in texts.iter().flat_map(|text| text.split(',')) {
        let (key, value) = part.split_once('=').ok_or_else(|| {
            Failure::new(format!("invalid argument \"{part}\" for \"--docker\" flag: {part} must be formatted as key=value"))
        })?;
        if !["from", "host", "ca", "cert", "key", "skip-tls-verify"].contains(&key) {
            return Err(Failure::new(format!("unable to create docker endpoint config: unrecognized config key: {key}")));
        }
        values.insert(key.to_owned(), value.into());
    }
    let text = |key: &str| values.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(from) = text("from") {
        let meta = find(from)?;
        return Ok(Some((meta.endpoints.clone(), contexts::key_files(from))));
    }
    let mut files = Files::new();
    for (file, key) in FILES.iter().zip(["ca", "cert", "key"]) {
        if let Some(path) = text(key) {
            let content = std::fs::read(path).map_err(|error| {
                Failure::new(format!("unable to create docker endpoint config: open {path}: {}", docker_api::archive::go_text(&error)))
            })?;
            if key == "ca" && CertificateDer::from_pem_slice(&content).is_err() {
                return Err(Failure::new(
                    "unable to create docker endpoint config: invalid docker endpoint options: failed to retrieve context tls info: ca.pem seems invalid",
                ));
            }
            files.push(((*file).to_owned(), content));
        }
    }
    let skip = match text("skip-tls-verify") {
        None | Some("false" | "0") => false,
        Some("true" | "1") => true,
        Some(other) => {
            return Err(Failure::new(format!(
                "unable to create docker endpoint config: skip-tls-verify: strconv.ParseBool: parsing \"{other}\": invalid syntax"
            )));
        }
    };
    let host = text("host").unwrap_or_default();
    if host.is_empty() {
        return Err(Failure::new("unable to create docker endpoint config: the host of the engine is missing: host=…"));
    }
    Ok(Some((endpoint(host, skip), files)))
}

fn create(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = &given.args[0];
    check_name(name)?;
    free(name)?;
    let from = given.get("from").map(str::to_owned);
    let (mut meta, files) = match (docker_endpoint(given)?, from) {
        (Some(_), Some(_)) => return Err(Failure::new("cannot use --docker flag when --from is set")),
        (Some((endpoints, files)), None) => (Meta { endpoints, ..Meta::default() }, files),
        (None, from) => {
            let from = from.unwrap_or_else(current);
            (find(&from)?, contexts::key_files(&from))
        }
    };
    meta.name.clone_from(name);
    describe(&mut meta, given);
    contexts::write_keys(name, &files)?;
    contexts::write(&meta)?;
    printer::line(name);
    printer::error(&format!("Successfully created context \"{name}\""));
    Ok(0)
}

fn describe(meta: &mut Meta, given: &Given) {
    if let Some(text) = given.get("description") {
        meta.metadata.insert("Description".to_owned(), text.into());
    }
}

fn update(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = &given.args[0];
    check_name(name)?;
    let mut meta = find(name)?;
    describe(&mut meta, given);
    if let Some((endpoints, files)) = docker_endpoint(given)? {
        meta.endpoints = endpoints;
        contexts::write_keys(name, &files)?;
    }
    contexts::write(&meta)?;
    printer::line(name);
    printer::error(&format!("Successfully updated context \"{name}\""));
    Ok(0)
}

fn choose(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = &given.args[0];
    if name != DEFAULT {
        check_name(name)?;
        find(name)?;
    }
    contexts::choose(name)?;
    printer::line(name);
    printer::error(&format!("Current context is now \"{name}\""));
    if variable_host().is_some() && name != DEFAULT {
        printer::error(&format!(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use \"{name}\", either set the global --context flag, or unset DOCKER_HOST environment variable."
        ));
    }
    Ok(0)
}

fn show(_: &mut Context, _: &Command, _: &Given) -> Outcome<u8> {
    printer::line(&current());
    Ok(0)
}

fn list(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let current = current();
    let mut all = vec![find(DEFAULT)?];
    all.extend(contexts::all());
    all.sort_by(|left, right| left.name.cmp(&right.name));
    if given.on("quiet") {
        all.iter().for_each(|meta| printer::line(&meta.name));
        return Ok(0);
    }
    let known = all.iter().any(|meta| meta.name == current);
    let table = given.get("format").is_none_or(|format| format.starts_with("table"));
    let row = |meta: &Meta| {
        let is_current = meta.name == current;
        let name = if is_current && table { format!("{} *", meta.name) } else { meta.name.clone() };
        let description = if meta.name == DEFAULT { "Current DOCKER_HOST based configuration" } else { meta.description() };
        json!({"Current": is_current, "Description": description, "DockerEndpoint": meta.host(), "Error": "", "Name": name})
    };
    let mut rows: Vec<Value> = all.iter().map(row).collect();
    if !known {
        let name = if table { format!("{current} *") } else { current.clone() };
        rows.push(json!({"Current": true, "Description": "", "DockerEndpoint": "", "Error": format!("context \"{current}\": context not found: …"), "Name": name}));
    }
    let columns = [("Name", "NAME"), ("Description", "DESCRIPTION"), ("DockerEndpoint", "DOCKER ENDPOINT"), ("Error", "ERROR")];
    output::print(given.get("format"), &rows, &columns, &[])?;
    if variable_host().is_some() {
        printer::error(
            "Warning: DOCKER_HOST environment variable overrides the active context. To use a context, either set the global --context flag, or unset DOCKER_HOST environment variable.",
        );
    }
    Ok(0)
}

fn inspect(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let names = if given.args.is_empty() { vec![current()] } else { given.args.clone() };
    let mut shown = Vec::new();
    for name in &names {
        let meta = find(name)?;
        let files: Vec<String> = contexts::key_files(name).into_iter().map(|(name, _)| name).collect();
        let material = if files.is_empty() { json!({}) } else { json!({"docker": files}) };
        let memory = name == DEFAULT;
        let place = |folder: &Path| if memory { "<IN MEMORY>".to_owned() } else { folder.display().to_string() };
        shown.push(json!({
            "Name": meta.name, "Metadata": meta.metadata, "Endpoints": meta.endpoints, "TLSMaterial": material,
            "Storage": {"MetadataPath": place(&contexts::meta_folder(name)), "TLSPath": place(&contexts::tls_folder(name))},
        }));
    }
    match given.get("format") {
        None => printer::line(&serde_json::to_string_pretty(&shown)?.replace("  ", "    ")),
        format => shown.iter().try_for_each(|value| output::object(format, value))?,
    }
    Ok(0)
}

fn remove(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let current = config::current_context();
    super::each(&given.args, |name| {
        if name == DEFAULT {
            return Err(Failure::new("context \"default\" cannot be removed"));
        }
        if contexts::read(name)?.is_none() {
            if given.on("force") {
                return Ok(Some(name.to_owned()));
            }
            return Err(Failure::new(format!("context \"{name}\" does not exist")));
        }
        if current.as_deref() == Some(name) {
            if !given.on("force") {
                return Err(Failure::new(format!("context \"{name}\" is in use, set -f flag to force remove")));
            }
            contexts::choose(DEFAULT)?;
        }
        contexts::remove(name)?;
        Ok(Some(name.to_owned()))
    })
}

fn export(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let name = &given.args[0];
    if name != DEFAULT {
        check_name(name)?;
    }
    let meta = find(name)?;
    let target = given.args.get(1).cloned().unwrap_or_else(|| format!("{name}.dockercontext"));
    if target == "-" && printer::stdout_is_terminal() {
        return Err(Failure::new("cowardly refusing to export to a terminal, specify a file path"));
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |path: &str, folder: bool, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(if folder { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(if folder { 0o700 } else { 0o644 });
        header.set_size(u64::try_from(content.len()).unwrap_or(0));
        archive.append_data(&mut header, path, content)
    };
    add("meta.json", false, &serde_json::to_vec(&meta)?)?;
    add("tls", true, b"")?;
    let files = contexts::key_files(name);
    if !files.is_empty() {
        add("tls/docker", true, b"")?;
    }
    for (file, content) in &files {
        add(&format!("tls/docker/{file}"), false, content)?;
    }
    let archive = archive.into_inner()?;
    if target == "-" {
        printer::raw(&archive);
        return Ok(0);
    }
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target);
    let mut file = made.map_err(|error| Failure::new(format!("open {target}: {}", docker_api::archive::go_text(&error))))?;
    file.write_all(&archive)?;
    printer::error(&format!("Written file \"{target}\""));
    Ok(0)
}

fn import(_: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let (name, source) = (&given.args[0], &given.args[1]);
    check_name(name)?;
    free(name)?;
    let mut bytes = Vec::new();
    if source == "-" {
        std::io::stdin().take(ARCHIVE_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        let file = std::fs::File::open(source)
            .map_err(|error| Failure::new(format!("open {source}: {}", docker_api::archive::go_text(&error))))?;
        file.take(ARCHIVE_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    if bytes.starts_with(b"PK") {
        return Err(Failure::new("zip archives of contexts are not read: unpack it and make a tar of it"));
    }
    let (mut meta, mut files) = (None, Files::new());
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_string_lossy().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content)?;
        match path.trim_start_matches("./").trim_end_matches('/') {
            "meta.json" => meta = Some(serde_json::from_slice::<Meta>(&content)?),
            "" | "tls" | "tls/docker" => {}
            path => match path.strip_prefix("tls/docker/").filter(|file| FILES.contains(file)) {
                Some(file) => files.push((file.to_owned(), content)),
                None => return Err(Failure::new(format!("unexpected context file: {path}"))),
            },
        }
    }
    let mut meta = meta.ok_or_else(|| Failure::new("invalid context: no metadata found"))?;
    meta.name.clone_from(name);
    contexts::write_keys(name, &files)?;
    contexts::write(&meta)?;
    printer::line(name);
    printer::error(&format!("Successfully imported context \"{name}\""));
    Ok(0)
}
