//! Images as archives: `import`, `load` and `save`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use docker_api::archive::{ExtractOptions, Owner, Tree, extract};
use docker_api::client::{Client, query};
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

use super::Entry;
use super::image::split;
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given, described};
use crate::{layout, printer, progress};

pub(super) const ENTRIES: &[Entry] = &[
    Entry { command: described("import"), act: import },
    Entry { command: described("load"), act: load },
    Entry { command: described("save"), act: save },
];

/// Bytes copied at a time.
const COPY_BYTES: usize = 512 << 10;

fn open(name: &str) -> Outcome<File> {
    File::open(name).map_err(|error| Failure::new(format!("open {name}: {}", plain(&error))))
}

/// An error of the system as Go prints it.
fn plain(error: &std::io::Error) -> String {
    docker_api::archive::go_text(error)
}

fn import(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let source = given.args[0].as_str();
    let address = source.starts_with("http://") || source.starts_with("https://");
    let mut data: Box<dyn Read> = match source {
        "-" => Box::new(std::io::stdin()),
        _ if address => Box::new(std::io::empty()),
        name => Box::new(open(name)?),
    };
    let mut client = context.client()?;
    let reference = given.args.get(1).map(|reference| split(reference));
    let mut pairs = vec![
        ("fromSrc", Some(if address { source } else { "-" })),
        ("repo", reference.map(|(repository, _)| repository)),
        ("tag", reference.map(|(_, tag)| tag)),
        ("message", given.get("message")),
        ("platform", given.get("platform")),
    ];
    pairs.extend(given.all("change").iter().map(|change| ("changes", Some(change.as_str()))));
    let answer = client.upload("POST", &format!("/images/create{}", query(&pairs)), "application/x-tar", &mut data)?;
    progress::print(answer, false)?;
    Ok(0)
}

/// The platform of `--platform` as the API takes it.
pub(super) fn platform(given: &Given) -> Option<String> {
    given.get("platform").map(platform_of)
}

/// A platform as the API takes it.
pub(super) fn platform_of(text: &str) -> String {
    let mut parts = text.split('/');
    let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
    match (os, architecture, variant) {
        (Some(os), Some(architecture), None) => json!({"os": os, "architecture": architecture}).to_string(),
        (Some(os), Some(architecture), Some(variant)) => json!({"os": os, "architecture": architecture, "variant": variant}).to_string(),
        // The engine says what is wrong with it.
        _ => text.to_owned(),
    }
}

fn load(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let input = given.get("input").unwrap_or("-");
    if input == "-" && crate::terminal::stdin_is_terminal() {
        return Err(Failure::new("requested load from stdin, but stdin is empty"));
    }
    let file = if input == "-" { None } else { Some(open(input)?) };
    let (mut client, ping) = context.greeted()?;
    let quiet = given.on("quiet") || !printer::stdout_is_terminal();
    let platform = platform(given);
    let path = format!("/images/load{}", query(&[("quiet", Some(if quiet { "1" } else { "0" })), ("platform", platform.as_deref())]));
    // Only an engine of ours knows the question.
    let ours = ping.server.contains("+teu");
    let Some(file) = file else {
        let answer = client.upload("POST", &path, "application/x-tar", &mut std::io::stdin())?;
        progress::print(answer, false)?;
        return Ok(0);
    };
    let thin = send(&mut client, &path, input, (&file, ours)).and_then(|answer| progress::print(answer, false));
    // A layer may have been removed between the question and the load: then everything is sent.
    let gone = |failure: &Failure| failure.text("").is_some_and(|text| text.ends_with("is missing in the archive"));
    match thin {
        Err(failure) if ours && gone(&failure) => progress::print(send(&mut client, &path, input, (&file, false))?, false)?,
        result => result?,
    }
    Ok(0)
}

/// Sends an archive or a directory, without the layers that the engine has where it can be asked.
fn send(client: &mut Client, path: &str, input: &str, (file, ask): (&File, bool)) -> Outcome<docker_api::client::Body> {
    let mut questioner = client.another();
    let mut known = |digests: Vec<String>| -> BTreeSet<String> {
        let answer = if ask { questioner.call::<Vec<String>>("POST", "/teu/layers", Some(&json!(digests))) } else { Ok(Vec::new()) };
        // Without an answer everything is sent.
        answer.unwrap_or_default().into_iter().collect()
    };
    if !file.metadata()?.is_dir() {
        let file = file.try_clone()?;
        let mut data = if file.metadata()?.is_file() { layout::thin(file, &mut known)? } else { Box::new(file) };
        return Ok(client.upload("POST", path, "application/x-tar", &mut data)?);
    }
    let directory = Path::new(input);
    let left_out = layout::look(directory, &mut known).map_err(|error| Failure::new(error.to_string()))?;
    Ok(client.upload_with("POST", path, "application/x-tar", &mut |out| layout::pack(directory, &left_out, out))?)
}

fn save(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let target = given.get("output");
    if target.is_none() && printer::stdout_is_terminal() {
        return Err(Failure::new("cowardly refusing to save to a terminal. Use the -o flag or redirect"));
    }
    let as_directory = match given.get("format") {
        None | Some("docker-archive" | "oci-archive") => false,
        Some("oci-dir") => true,
        Some(other) => {
            return Err(Failure::new(format!("invalid format {other:?}: it is docker-archive, oci-archive (one file is both) or oci-dir")));
        }
    };
    if as_directory && target.is_none() {
        return Err(Failure::new("a directory is saved with --output"));
    }
    let mut client = context.client()?;
    let platform = platform(given);
    let pairs: Vec<(&str, Option<&str>)> =
        given.args.iter().map(|name| ("names", Some(name.as_str()))).chain([("platform", platform.as_deref())]).collect();
    let answer = client.stream("GET", &format!("/images/get{}", query(&pairs)), None)?;
    match target {
        Some(target) if as_directory => extract_to(target, answer)?,
        target => write_to(target, answer)?,
    }
    Ok(0)
}

/// Extracts an archive into a new directory, which appears whole or not at all.
fn extract_to(target: &str, stream: impl Read) -> Outcome<()> {
    let failed = |text: String| Failure::new(format!("failed to save image: {text}"));
    let path = Path::new(target);
    if path.exists() {
        return Err(failed(format!("{target} is there already")));
    }
    let part = format!("{}.{}.part", target.trim_end_matches('/'), std::process::id());
    let filled = (|| -> Outcome<()> {
        std::fs::create_dir(&part).map_err(|error| failed(plain(&error)))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(part.as_str(), flags, Mode::empty()).map_err(|error| failed(error.to_string()))?;
        let options = ExtractOptions { folder: "/".to_owned(), keep_kinds: true, owner: Owner::Caller, rename: None };
        extract(&Tree::of_caller(root), &options, stream).map_err(|error| failed(error.to_string()))?;
        std::fs::rename(&part, path).map_err(|error| failed(plain(&error)))
    })();
    filled.inspect_err(|_| {
        // Nothing half-written stays under a name that nobody asked for.
        let _gone = std::fs::remove_dir_all(&part);
    })
}

/// Writes a stream to a file, which appears whole or not at all, or to standard output.
pub(super) fn write_to(target: Option<&str>, mut stream: impl Read) -> Outcome<()> {
    let Some(target) = target else {
        copy(&mut stream, &mut std::io::stdout())?;
        return Ok(());
    };
    let path = Path::new(target);
    let failed = |error: &std::io::Error| Failure::new(format!("failed to save image: {}", plain(error)));
    if path.is_dir() {
        return Err(Failure::new("failed to save image: cannot write to a directory"));
    }
    if let Ok(metadata) = path.metadata()
        && !metadata.is_file()
    {
        // A pipe or a device, such as /dev/null, is written and not replaced.
        let mut file = std::fs::OpenOptions::new().write(true).open(path).map_err(|error| failed(&error))?;
        return copy(&mut stream, &mut file).map_err(|error| failed(&error));
    }
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|directory| !directory.exists()) {
        let text = format!("failed to save image: invalid output path: stat {}: no such file or directory", directory.display());
        return Err(Failure::new(text));
    }
    let part = format!("{target}.{}.part", std::process::id());
    let written = File::create(&part).and_then(|mut file| copy(&mut stream, &mut file)).and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| {
        // Nothing half-written stays under a name that nobody asked for.
        let _gone = std::fs::remove_file(&part);
        failed(&error)
    })
}

fn copy(from: &mut impl Read, to: &mut impl std::io::Write) -> std::io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return to.flush(),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The value of a JSON document that came as an answer.
pub(super) fn read_json(mut answer: impl Read) -> Outcome<Value> {
    let mut text = Vec::new();
    answer.read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(|error| Failure::new(error.to_string()))
}
