//! `build`: a directory, an archive or a lone Dockerfile goes to the engine, and what it does is shown.

use std::collections::HashMap;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use base64::Engine as _;
use docker_api::archive::{Choice, Source, Tree, pack_some};
use docker_api::client::query;
use docker_api::ignore::Ignore;
use serde_json::{Map, Value, json};

use super::{Entry, confirm};
use crate::context::Context;
use crate::error::{Failure, Outcome};
use crate::flags::{Command, Given};
use crate::{human, printer};

/// Name of the Dockerfile beside the context; the engine takes it out again.
const DOCKERFILE: &str = ".teu-dockerfile";
/// A tar begins its header's magic here.
const MAGIC_AT: usize = 257;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        command: Command {
            words: "build",
            usage: "build [OPTIONS] PATH | URL | -",
            about: "Build an image from a Dockerfile",
            least: 1,
            most: 1,
            strict: false,
            flags: &[],
        },
        act: build,
    },
    Entry {
        command: Command {
            words: "builder prune",
            usage: "builder prune",
            about: "Remove build cache",
            least: 0,
            most: 0,
            strict: false,
            flags: &[],
        },
        act: prune,
    },
];

/// What is sent.
enum Input {
    /// A directory, what of it stays at home, and the Dockerfile.
    Directory { path: PathBuf, ignore: Ignore, dockerfile: Vec<u8> },
    /// A Dockerfile alone.
    Dockerfile(Vec<u8>),
    /// An archive from standard input, with the part that was read to tell what it is.
    Archive(Vec<u8>),
}

fn build(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    let input = input(given)?;
    let secrets = secrets(given)?;
    let archive = matches!(input, Input::Archive(_));
    let path = format!("/build{}", wishes(context, given, archive)?);
    let mut client = context.client()?;
    if !secrets.is_empty() {
        let header = base64::engine::general_purpose::STANDARD.encode(Value::Object(secrets).to_string());
        client = client.with_headers([("X-Teu-Secrets", header.as_str())]);
    }
    let answer = client.upload_with("POST", &path, "application/x-tar", &mut |output| send(&input, output))?;
    let quiet = given.on("quiet");
    let name = given.get("show-name");
    let image = Display::new(quiet, given.get("progress"), name).show(answer)?;
    if let Some(file) = given.get("iidfile") {
        std::fs::write(file, &image).map_err(|error| Failure::new(format!("cannot write the image ID to {file}: {error}")))?;
    }
    if quiet && name.is_none() {
        printer::line(&image);
    }
    Ok(0)
}

fn wishes(context: &Context, given: &Given, archive: bool) -> Outcome<String> {
    let mut arguments = Map::new();
    for entry in given.all("build-arg") {
        match entry.split_once('=') {
            Some((name, value)) => drop(arguments.insert(name.to_owned(), json!(value))),
            // Without a value it is the caller's.
            None => drop(arguments.insert(entry.to_owned(), std::env::var(entry).map_or(Value::Null, Value::String))),
        }
    }
    for (name, value) in crate::config::proxies(&context.host()?) {
        arguments.entry(name).or_insert(json!(value));
    }
    let labels: Map<String, Value> = given
        .all("label")
        .iter()
        .map(|entry| entry.split_once('=').map_or((entry.to_owned(), json!("")), |(name, value)| (name.to_owned(), json!(value))))
        .collect();
    let (arguments, labels) = (Value::Object(arguments).to_string(), Value::Object(labels).to_string());
    for name in ["security-opt", "isolation"] {
        if given.has(name) {
            return Err(Failure::new(format!("--{name} is not served: all steps run with the engine's default confinement")));
        }
    }
    if given.has("cache-from") {
        printer::error("WARNING: --cache-from has no effect: the engine has one cache for all builds");
    }
    let ulimits = given.all("ulimit").iter().map(|text| super::create_body::ulimit(text)).collect::<Outcome<Vec<Value>>>()?;
    let ulimits = (!ulimits.is_empty()).then(|| Value::Array(ulimits).to_string());
    let swap = given.get("memory-swap").map(|text| if text == "-1" { Some(-1) } else { human::parse_size(text) });
    let swap = swap.flatten().map(|bytes| bytes.to_string());
    let switch = |name: &str| given.on(name).then_some("1");
    let memory = given.get("memory").and_then(human::parse_size).map(|bytes| bytes.to_string());
    let shm = given.get("shm-size").and_then(human::parse_size).map(|bytes| bytes.to_string());
    let dockerfile = if archive { given.get("file").unwrap_or("Dockerfile") } else { DOCKERFILE };
    let mut pairs = vec![
        ("buildargs", Some(arguments.as_str())),
        ("labels", Some(labels.as_str())),
        ("dockerfile", Some(dockerfile)),
        ("teu", Some("1")),
        ("nocache", switch("no-cache")),
        ("pull", switch("pull")),
        ("target", given.get("target")),
        ("platform", given.get("platform")),
        ("networkmode", given.get("network")),
        ("cgroupparent", given.get("cgroup-parent")),
        ("cpuperiod", given.get("cpu-period")),
        ("cpuquota", given.get("cpu-quota")),
        ("cpushares", given.get("cpu-shares")),
        ("cpusetcpus", given.get("cpuset-cpus")),
        ("cpusetmems", given.get("cpuset-mems")),
        ("memory", memory.as_deref()),
        ("memswap", swap.as_deref()),
        ("ulimits", ulimits.as_deref()),
        ("shmsize", shm.as_deref()),
    ];
    pairs.extend(given.all("tag").iter().map(|name| ("t", Some(name.as_str()))));
    pairs.extend(given.all("add-host").iter().map(|line| ("extrahosts", Some(line.as_str()))));
    Ok(query(&pairs))
}

fn input(given: &Given) -> Outcome<Input> {
    let place = given.args.first().map(String::as_str).unwrap_or_default();
    let file = given.get("file");
    if place == "-" {
        if file == Some("-") {
            return Err(Failure::new("invalid argument: can't use stdin for both build context and dockerfile"));
        }
        return standard_input();
    }
    if place.contains("://") || place.starts_with("git@") {
        return Err(Failure::new(format!("cannot build from `{place}`: fetch it first and build from the directory")));
    }
    let path = PathBuf::from(place);
    if !path.is_dir() {
        return Err(Failure::new(format!("unable to prepare context: path \"{place}\" not found")));
    }
    let (dockerfile, name) = match file {
        Some("-") => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes)?;
            (bytes, PathBuf::from("Dockerfile"))
        }
        Some(file) => (read_dockerfile(Path::new(file))?, PathBuf::from(file)),
        None => {
            let file = path.join("Dockerfile");
            (read_dockerfile(&file)?, file)
        }
    };
    // The one that is named after the Dockerfile counts before the common one.
    let mut own = name.into_os_string();
    own.push(".dockerignore");
    let ignore = [PathBuf::from(own), path.join(".dockerignore")].iter().find_map(|file| std::fs::read_to_string(file).ok());
    Ok(Input::Directory { path, ignore: Ignore::parse(&ignore.unwrap_or_default()), dockerfile })
}

fn read_dockerfile(path: &Path) -> Outcome<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let cause = if error.kind() == io::ErrorKind::NotFound { "no such file or directory".to_owned() } else { error.to_string() };
        Failure::new(format!("failed to read dockerfile: open {}: {cause}", path.display()))
    })
}

/// Tells an archive from a Dockerfile by its first bytes.
fn standard_input() -> Outcome<Input> {
    if io::stdin().is_terminal() {
        return Err(Failure::new("the context is to come from standard input, which is a terminal"));
    }
    let mut head = Vec::new();
    io::stdin().lock().take(512).read_to_end(&mut head)?;
    let packed = head.starts_with(&[0x1f, 0x8b])
        || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || head.starts_with(b"BZh")
        || head.starts_with(b"\xfd7zXZ");
    if packed || head.get(MAGIC_AT..MAGIC_AT + 5) == Some(b"ustar") {
        return Ok(Input::Archive(head));
    }
    io::stdin().read_to_end(&mut head)?;
    Ok(Input::Dockerfile(head))
}

/// Writes the archive.
fn send(input: &Input, output: &mut dyn Write) -> io::Result<()> {
    match input {
        Input::Archive(head) => {
            output.write_all(head)?;
            io::copy(&mut io::stdin().lock(), output).map(drop)
        }
        Input::Dockerfile(bytes) => {
            file(bytes, output)?;
            output.write_all(&[0; 1024])
        }
        Input::Directory { path, ignore, dockerfile } => {
            file(dockerfile, output)?;
            let tree = Tree::of_caller(std::fs::File::open(path)?.into());
            let choose = |name: &[u8]| {
                let name = String::from_utf8_lossy(name);
                let name = name.trim_start_matches("./").trim_matches('/');
                match name {
                    "" | "." => Choice::Take,
                    DOCKERFILE => Choice::Skip,
                    name if ignore.prunes(name) => Choice::Prune,
                    name if ignore.excludes(name) => Choice::Skip,
                    _ => Choice::Take,
                }
            };
            let source = Source { tree: &tree, folder: "/", entry: ".", name: "." };
            pack_some(source, &choose, io::BufWriter::with_capacity(256 << 10, output))
        }
    }
}

/// Writes the Dockerfile's entry.
fn file(bytes: &[u8], output: &mut dyn Write) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_path(DOCKERFILE)?;
    header.set_size(u64::try_from(bytes.len()).map_err(io::Error::other)?);
    header.set_mode(0o644);
    header.set_cksum();
    output.write_all(header.as_bytes())?;
    output.write_all(bytes)?;
    output.write_all(&vec![0; bytes.len().next_multiple_of(512) - bytes.len()])
}

/// Reads `id=…,src=FILE` and `id=…,env=NAME`.
fn secrets(given: &Given) -> Outcome<Map<String, Value>> {
    let mut all = Map::new();
    for text in given.all("secret") {
        let mut fields: HashMap<&str, &str> = text.split(',').filter_map(|field| field.split_once('=')).collect();
        let id = fields.remove("id").ok_or_else(|| Failure::new(format!("invalid secret `{text}`: an id is missing")))?;
        let source = fields.get("src").or_else(|| fields.get("source")).copied();
        let variable = fields.get("env").copied().or_else(|| (source.is_none() && std::env::var_os(id).is_some()).then_some(id));
        let value = match (variable, source) {
            (Some(name), None) => {
                std::env::var(name).map_err(|_| Failure::new(format!("secret {id}: the variable {name} is not set")))?.into_bytes()
            }
            (_, source) => {
                let file = source.unwrap_or(id);
                std::fs::read(file).map_err(|error| Failure::new(format!("secret {id}: cannot read {file}: {error}")))?
            }
        };
        all.insert(id.to_owned(), json!(base64::engine::general_purpose::STANDARD.encode(value)));
    }
    Ok(all)
}

/// A step as it is shown.
struct Shown {
    since: Instant,
    /// Output that has no line's end yet.
    rest: String,
}

/// Shows what the engine does, a line for each thing that happens.
struct Display {
    quiet: bool,
    raw: bool,
    colours: bool,
    /// What stands before each line.
    name: String,
    steps: HashMap<u64, Shown>,
    /// What the failed step had said, for the error.
    last: Vec<String>,
}

impl Display {
    fn new(quiet: bool, style: Option<&str>, name: Option<&str>) -> Self {
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            quiet,
            raw: style == Some("rawjson"),
            colours,
            name: name.map(|name| format!("{name} ")).unwrap_or_default(),
            steps: HashMap::new(),
            last: Vec::new(),
        }
    }

    /// Shows all; answers the image's id.
    fn show(mut self, answer: impl Read) -> Outcome<String> {
        let mut image = String::new();
        for line in BufReader::new(answer).lines() {
            let line = line?;
            let Ok(value) = serde_json::from_str::<Value>(&line) else { continue };
            if self.raw {
                printer::error(line.trim_end());
            }
            if let Some(message) = value.pointer("/errorDetail/message").and_then(Value::as_str) {
                return Err(self.failure(message));
            }
            if let Some(id) = value.pointer("/aux/ID").and_then(Value::as_str) {
                id.clone_into(&mut image);
            }
            if let Some(update) = value.get("teu") {
                self.update(update);
            }
        }
        if image.is_empty() {
            return Err(Failure::new("the engine has ended in the middle of the build"));
        }
        Ok(image)
    }

    fn failure(&self, message: &str) -> Failure {
        if !self.quiet || self.last.is_empty() {
            return Failure::new(message);
        }
        Failure::new(format!("{}\n{message}", self.last.join("\n")))
    }

    fn update(&mut self, update: &Value) {
        let vertex = update.get("vertex").and_then(Value::as_u64).unwrap_or_default();
        let text = update.get("text").and_then(Value::as_str).unwrap_or_default();
        let event = update.get("event").and_then(Value::as_str).unwrap_or_default();
        if event == "started" {
            self.steps.insert(vertex, Shown { since: Instant::now(), rest: String::new() });
            let first = text.lines().next().unwrap_or_default();
            return self.say(vertex, "1", first);
        }
        let Some(step) = self.steps.get_mut(&vertex) else { return };
        let seconds = step.since.elapsed().as_secs_f64();
        if event == "log" {
            step.rest.push_str(text);
            let mut lines = Vec::new();
            while let Some(end) = step.rest.find('\n') {
                lines.push(step.rest.drain(..=end).collect::<String>());
            }
            for line in lines {
                let line = line.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
                self.say(vertex, "", &format!("{seconds:.3} {line}"));
                self.last.push(line);
            }
            let surplus = self.last.len().saturating_sub(20);
            self.last.drain(..surplus);
            return;
        }
        let rest = std::mem::take(&mut step.rest);
        if !rest.is_empty() {
            self.say(vertex, "", &format!("{seconds:.3} {rest}"));
            self.last.push(rest);
        }
        match event {
            "cached" => self.say(vertex, "32", "CACHED"),
            "done" => self.say(vertex, "32", &format!("DONE {seconds:.1}s")),
            "failed" => self.say(vertex, "31", "ERROR"),
            "warning" => self.say(vertex, "33", &format!("WARNING: {text}")),
            _ => {}
        }
    }

    /// Prints a line of a step; the style is that of a terminal's colours.
    fn say(&self, vertex: u64, style: &str, text: &str) {
        if self.quiet || self.raw {
            return;
        }
        match self.colours && !style.is_empty() {
            true => printer::error(&format!("#{}{vertex} \x1b[{style}m{text}\x1b[0m", self.name)),
            false => printer::error(&format!("#{}{vertex} {text}", self.name)),
        }
    }
}

fn prune(context: &mut Context, _: &Command, given: &Given) -> Outcome<u8> {
    for name in ["filter", "keep-storage"] {
        if given.has(name) {
            return Err(Failure::new(format!(
                "--{name} is not served: builder prune forgets all cached results, with --all the cache mounts, too"
            )));
        }
    }
    let all = given.on("all");
    let warning = if all { "WARNING! This will remove all build cache." } else { "WARNING! This will remove all dangling build cache." };
    if !given.on("force") && !confirm(&format!("{warning} Are you sure you want to continue?"))? {
        return Ok(0);
    }
    let mut client = context.client()?;
    let report: Value = client.call("POST", &format!("/build/prune{}", query(&[("all", all.then_some("1"))])), None)?;
    let deleted = report.get("CachesDeleted").and_then(Value::as_array).cloned().unwrap_or_default();
    if !deleted.is_empty() {
        printer::line("Deleted build cache objects:");
        for entry in deleted.iter().filter_map(Value::as_str) {
            printer::line(entry);
        }
        printer::line("");
    }
    let reclaimed = report.get("SpaceReclaimed").and_then(Value::as_i64).unwrap_or_default();
    printer::line(&format!("Total reclaimed space: {}", size(reclaimed)));
    Ok(0)
}

fn size(bytes: i64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three figures are shown")]
    human::size(bytes as f64)
}
