//! `RUN`: a command in a container of the engine, whose changes become a layer.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;

use engine::spec::{Bind, LogConfig, MountSource, NetworkMode, Propagation, Spec};
use engine::{AttachOptions, Engine, RunOptions};
use image::ImageId;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::Event;
use crate::copy::origin;
use crate::dockerfile::{Command, Run, RunMount, RunMountKind, Step};
use crate::error::BuildError;
use crate::stage::{Work, absolute, chain, fail};
use crate::tree;

/// Arguments that commands see without being declared, and that no result depends on.
/// **Source:** Dockerfile reference, "Predefined ARGs".
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Runs a command. Answers whether its result was there already.
pub(crate) async fn run(work: &mut Work<'_>, step: &Step, instruction: &Run, vertex: usize) -> Result<bool, BuildError> {
    let failed = |reason: String| fail(step, reason);
    let script = script(instruction);
    let argv = match &script {
        Script::File(_, _) => vec!["/dev/pipes/script".to_owned()],
        Script::Line(line) => work.argv(&Command::Shell(line.clone())),
        Script::None => work.argv(&instruction.command),
    };
    let mut mounts = Mounts::default();
    for mount in &instruction.mounts {
        mounts.add(work, mount).await.map_err(failed)?;
    }
    if let Script::File(_, content) = &script {
        let path = work.context.work.0.join(format!("script-{vertex}"));
        write_private(&path, content.as_bytes(), 0o755).map_err(|error| failed(error.to_string()))?;
        mounts.bind(path, "/dev/pipes/script", true);
    }
    let environment = environment(work);
    let digest = digest(work, instruction, &argv, &environment, &mounts, &script);
    let key = work.key.then(&[b"run", &digest]);
    if work.cached(&key) {
        return Ok(true);
    }
    let flight = work.context.builder.flights.of(&key);
    let _turn = work.turn(&flight).await;
    if work.cached(&key) {
        return Ok(true);
    }
    let _permit = work.context.builder.commands.acquire().await.map_err(|error| failed(error.to_string()))?;
    let mut locks = Vec::new();
    for lock in &mounts.locks {
        locks.push(lock.clone().lock_owned().await);
    }
    let spec = spec(work, instruction, argv.clone(), environment, &mounts).map_err(failed)?;
    let stubs = mounts.binds.iter().map(|bind| bind.target.clone()).chain(mounts.tmpfs.iter().map(|(target, _)| target.clone())).collect();
    let container = Container::run(work, spec, vertex).await.map_err(failed)?;
    if container.exit_code != 0 {
        let command = match &instruction.command {
            Command::Shell(_) => format!("{} {}", work.shell().join(" "), argv.last().cloned().unwrap_or_default()),
            Command::Exec(argv) => argv.join(" "),
        };
        return Err(BuildError::Exit { line: step.line, command, code: container.exit_code });
    }
    let arguments: Vec<String> = work.arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let before = if arguments.is_empty() { String::new() } else { format!("|{} {} ", arguments.len(), arguments.join(" ")) };
    let options = work.commit_options(&format!("RUN {before}{} # buildkit", argv.join(" ")));
    let image = container.commit(work, stubs, options).await.map_err(failed)?;
    work.made(&key, image);
    Ok(false)
}

/// What the here-documents of an instruction make of its command.
enum Script {
    None,
    /// Text for the shell.
    Line(String),
    /// A program: its name and its text.
    File(String, String),
}

fn script(instruction: &Run) -> Script {
    let (Command::Shell(line), [first, ..]) = (&instruction.command, &instruction.heredocs[..]) else { return Script::None };
    let alone = line.split_whitespace().count() == 1 && line.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("<<");
    if alone && first.content.starts_with("#!") {
        return Script::File(first.name.clone(), first.content.clone());
    }
    if alone {
        return Script::Line(first.content.clone());
    }
    let mut text = line.clone();
    for doc in &instruction.heredocs {
        text.push_str(&format!("\n{}{}", doc.content, doc.name));
    }
    Script::Line(text)
}

/// The environment of the image, the arguments, and the proxies that were given.
fn environment(work: &Work<'_>) -> Vec<String> {
    let mut all = work.config.env.clone();
    let known = |all: &[String], name: &str| all.iter().any(|entry| entry.split('=').next() == Some(name));
    for (name, value) in &work.arguments {
        if !known(&all, name) {
            all.push(format!("{name}={value}"));
        }
    }
    for (name, value) in &work.context.request.arguments {
        if let Some(value) = value.as_ref().filter(|_| PROXIES.contains(&name.to_ascii_uppercase().as_str()))
            && !known(&all, name)
        {
            all.push(format!("{name}={value}"));
        }
    }
    all
}

#[expect(clippy::too_many_arguments, reason = "each is a part of what the result depends on")]
fn digest(work: &Work<'_>, instruction: &Run, argv: &[String], environment: &[String], mounts: &Mounts, script: &Script) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    argv.iter().for_each(|word| part(word));
    for entry in environment {
        let name = entry.split('=').next().unwrap_or_default().to_ascii_uppercase();
        if !PROXIES.contains(&name.as_str()) || work.arguments.contains_key(&name) {
            part(entry);
        }
    }
    part(&work.config.user);
    part(&work.config.working_dir);
    part(&format!("{:?} {:?}", instruction.network, instruction.security));
    if let Script::File(name, content) = script {
        part(name);
        part(content);
    }
    mounts.parts.iter().for_each(|text| part(text));
    hash.finalize().into()
}

fn spec(work: &Work<'_>, instruction: &Run, argv: Vec<String>, environment: Vec<String>, mounts: &Mounts) -> Result<Spec, String> {
    let mut spec = Spec { host: work.context.request.host.clone(), ..Spec::default() };
    spec.config.image = work.image.to_string();
    spec.config.entrypoint = Some(Vec::new());
    spec.config.command = Some(argv);
    spec.config.env = environment.into_iter().chain(mounts.environment.clone()).collect();
    spec.config.user.clone_from(&work.config.user);
    spec.config.working_directory = if work.config.working_dir.is_empty() { "/".to_owned() } else { work.config.working_dir.clone() };
    spec.config.no_image_volumes = true;
    spec.config.healthcheck = Some(engine::spec::Healthcheck { test: vec!["NONE".to_owned()], ..Default::default() });
    spec.host.log = LogConfig { driver: "none".to_owned(), ..LogConfig::default() };
    spec.host.binds.extend(mounts.binds.iter().cloned());
    spec.host.tmpfs.extend(mounts.tmpfs.iter().cloned());
    match instruction.network.as_deref() {
        Some("none") => spec.host.network_mode = NetworkMode::None,
        Some("host") => spec.host.network_mode = NetworkMode::Host,
        Some(_) | None => {}
    }
    match instruction.security.as_deref() {
        Some("insecure") => Err("security.insecure is not allowed: this engine runs all steps confined".to_owned()),
        Some(_) | None => Ok(spec),
    }
}

/// What the mounts of an instruction come to.
#[derive(Default)]
struct Mounts {
    binds: Vec<Bind>,
    tmpfs: Vec<(String, String)>,
    environment: Vec<String>,
    locks: Vec<Arc<tokio::sync::Mutex<()>>>,
    /// What the result depends on.
    parts: Vec<String>,
    /// Serve agents of ssh keys; they end with the command.
    agents: JoinSet<()>,
}

impl Mounts {
    fn bind(&mut self, source: PathBuf, target: &str, read_only: bool) {
        self.binds.push(Bind {
            source: MountSource::Path(source.to_string_lossy().into_owned()),
            target: target.to_owned(),
            mode: String::new(),
            read_only,
            no_copy: true,
            propagation: Propagation::default(),
            id_map: None,
        });
    }

    async fn add(&mut self, work: &Work<'_>, mount: &RunMount) -> Result<(), String> {
        let mut options = mount.options.clone();
        for (key, value) in &mut options {
            if key != "from" {
                *value = work.expand(value)?;
            }
        }
        let get = |key: &str| options.get(key).map(String::as_str);
        let target = get("target").map(|target| absolute(&work.config.working_dir, target));
        match mount.kind {
            RunMountKind::Tmpfs => {
                let target = target.unwrap_or_default();
                let size = get("size").map(|size| format!("size={size}")).unwrap_or_default();
                self.parts.push(format!("tmpfs {target} {size}"));
                self.tmpfs.push((target, size));
            }
            RunMountKind::Cache => self.cache(work, &options, &target.unwrap_or_default()).await?,
            RunMountKind::Bind => self.files(work, &options, &target.unwrap_or_default()).await?,
            RunMountKind::Secret => self.secret(work, &options, target).await?,
            RunMountKind::Ssh => self.agent(work, &options, target).await?,
        }
        Ok(())
    }

    async fn cache(&mut self, work: &Work<'_>, options: &std::collections::BTreeMap<String, String>, target: &str) -> Result<(), String> {
        let id = options.get("id").map_or(target, String::as_str);
        let name: String = Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut directory = work.context.builder.root.join("mounts").join(&name);
        let sharing = options.get("sharing").map(String::as_str);
        if sharing == Some("private") {
            // Its own: a copy that nobody else sees and that is not kept would lose the cache, so builds take turns.
            directory.push("private");
        }
        let number = |key: &str, default: u32, radix: u32| match options.get(key) {
            None => Ok(default),
            Some(text) => u32::from_str_radix(text, radix).map_err(|_| format!("invalid {key} of a cache mount: '{text}'")),
        };
        let (uid, gid, mode) = (number("uid", 0, 10)?, number("gid", 0, 10)?, number("mode", 0o755, 8)?);
        if !directory.exists() {
            std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&directory).map_err(|error| error.to_string())?;
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid)).map_err(|error| error.to_string())?;
            std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode)).map_err(|error| error.to_string())?;
            if let Some(from) = options.get("from") {
                let tree = origin(work, Some(from)).await?.open(work).await?;
                let source = options.get("source").cloned().unwrap_or_default();
                let to: std::os::fd::OwnedFd = std::fs::File::open(&directory).map_err(|error| error.to_string())?.into();
                let copier = tree::Copier {
                    from: &tree,
                    to: std::os::fd::AsFd::as_fd(&to),
                    attributes: &tree::Attributes::default(),
                    skip: &|_| false,
                };
                copier.copy(&source, "/").map_err(|error| format!("cannot fill the cache of {target}: {error}"))?;
            }
        }
        if matches!(sharing, Some("locked" | "private")) {
            let mut locks = work.context.builder.locks.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.locks.push(locks.entry(name).or_default().clone());
        }
        self.parts.push(format!("cache {target}"));
        self.bind(directory, target, options.get("readonly").is_some_and(|it| it == "true"));
        Ok(())
    }

    /// Files of the context, of a stage or an image: what is written to them is dropped afterwards.
    async fn files(&mut self, work: &Work<'_>, options: &std::collections::BTreeMap<String, String>, target: &str) -> Result<(), String> {
        let from = options.get("from").map(String::as_str);
        let source = tree::clean(options.get("source").map_or("", String::as_str));
        let tree = origin(work, from).await?.open(work).await?;
        let mut hash = Sha256::new();
        tree::digest(&tree, &source, &tree::Attributes::default(), &|_| false, &mut hash)
            .map_err(|error| format!("\"/{source}\": {error}"))?;
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.parts.push(format!("bind {target} {digest}"));
        let writable = options.get("readwrite").is_some_and(|it| it == "true") || options.get("readonly").is_some_and(|it| it == "false");
        // A copy of the build's own: what the command writes to it goes with the build, and no path is resolved twice.
        let directory = work.context.work.0.join(format!("bind-{digest}"));
        let name = source.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("all").to_owned();
        let copy = directory.join(&name);
        if writable || !copy.exists() {
            std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
            let to: std::os::fd::OwnedFd = std::fs::File::open(&directory).map_err(|error| error.to_string())?.into();
            let to = std::os::fd::AsFd::as_fd(&to);
            let copier = tree::Copier { from: &tree, to, attributes: &tree::Attributes::default(), skip: &|_| false };
            copier.copy(&source, &name).map_err(|error| format!("cannot copy `{source}`: {error}"))?;
        }
        self.bind(copy, target, !writable);
        Ok(())
    }

    async fn secret(
        &mut self,
        work: &Work<'_>,
        options: &std::collections::BTreeMap<String, String>,
        target: Option<String>,
    ) -> Result<(), String> {
        let named = options.get("id").or_else(|| options.get("source")).cloned();
        let id = named.or_else(|| target.as_deref().and_then(|target| target.rsplit('/').next()).map(str::to_owned)).unwrap_or_default();
        let Some(value) = work.context.sources.secret(&id).await? else {
            if options.get("required").is_some_and(|it| it == "true") {
                return Err(format!("secret {id}: not found; give it with --secret id={id},src=FILE"));
            }
            return Ok(());
        };
        if let Some(name) = options.get("env") {
            let text = String::from_utf8(value.clone()).map_err(|_| format!("secret {id} is no text and cannot be a variable"))?;
            self.environment.push(format!("{name}={text}"));
            if target.is_none() {
                return Ok(());
            }
        }
        let number = |key: &str, default: u32, radix: u32| options.get(key).map_or(Ok(default), |text| u32::from_str_radix(text, radix));
        let invalid = |_| format!("secret {id}: uid, gid and mode must be numbers");
        let (uid, gid, mode) =
            (number("uid", 0, 10).map_err(invalid)?, number("gid", 0, 10).map_err(invalid)?, number("mode", 0o400, 8).map_err(invalid)?);
        let path = work.context.work.0.join(format!("secret-{}-{}", work.index, self.binds.len()));
        write_private(&path, &value, mode).map_err(|error| error.to_string())?;
        std::os::unix::fs::chown(&path, Some(uid), Some(gid)).map_err(|error| error.to_string())?;
        self.bind(path, &target.unwrap_or_else(|| format!("/run/secrets/{id}")), true);
        Ok(())
    }

    /// A socket that leads to the client's agent. **Source:** Dockerfile reference, "RUN --mount=type=ssh".
    async fn agent(
        &mut self,
        work: &Work<'_>,
        options: &std::collections::BTreeMap<String, String>,
        target: Option<String>,
    ) -> Result<(), String> {
        let id = options.get("id").map_or("default", String::as_str);
        let Some(agent) = work.context.sources.agent(id).await? else {
            if options.get("required").is_some_and(|it| it == "true") {
                return Err(format!("no SSH key \"{id}\" is forwarded by the client; give it with --ssh {id}"));
            }
            return Ok(());
        };
        let number = |key: &str, default: u32, radix: u32| options.get(key).map_or(Ok(default), |text| u32::from_str_radix(text, radix));
        let invalid = |_| format!("ssh {id}: uid, gid and mode must be numbers");
        let (uid, gid, mode) =
            (number("uid", 0, 10).map_err(invalid)?, number("gid", 0, 10).map_err(invalid)?, number("mode", 0o600, 8).map_err(invalid)?);
        let failed = |error: std::io::Error| format!("cannot offer the ssh agent `{id}`: {error}");
        // A name of the build's directory may be longer than the address of a socket: it is bound below a descriptor.
        let directory = work.context.work.0.join("agents");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(failed)?;
        let name = format!("{}-{}", work.index, self.binds.len());
        let open = std::fs::File::open(&directory).map_err(failed)?;
        let short = PathBuf::from(format!("/proc/self/fd/{}/{name}", std::os::fd::AsRawFd::as_raw_fd(&open)));
        // One of a step before, whose command has ended.
        let _ = std::fs::remove_file(&short);
        let listener = tokio::net::UnixListener::bind(&short).map_err(failed)?;
        std::os::unix::fs::chown(&short, Some(uid), Some(gid)).map_err(failed)?;
        std::fs::set_permissions(&short, std::fs::Permissions::from_mode(mode)).map_err(failed)?;
        let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{}", self.agents.len()));
        self.agents.spawn(async move {
            let mut clients = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                clients.spawn(agent(client));
            }
        });
        if !self.environment.iter().any(|entry| entry.starts_with("SSH_AUTH_SOCK=")) {
            self.environment.push(format!("SSH_AUTH_SOCK={target}"));
        }
        self.bind(directory.join(name), &target, true);
        Ok(())
    }
}

fn write_private(path: &std::path::Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
}

/// A container of a step; it is removed when it is dropped.
struct Container {
    engine: Engine,
    id: String,
    exit_code: i32,
}

impl Drop for Container {
    fn drop(&mut self) {
        let (engine, id) = (self.engine.clone(), std::mem::take(&mut self.id));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // One that has gone by itself needs no removal.
            runtime.spawn(async move { engine.remove(&id, true, true).await });
        }
    }
}

impl Container {
    async fn run(work: &Work<'_>, spec: Spec, vertex: usize) -> Result<Self, String> {
        let engine = work.context.builder.engine.clone();
        let options = RunOptions { name: None, spec, platform: None };
        let prepared = engine.prepare_run(options).await.map_err(|error| chain(&error))?.map_err(|error| chain(&error))?;
        let mut container = Self { engine: engine.clone(), id: prepared.id().to_string(), exit_code: 0 };
        let (client, output) = UnixStream::pair().map_err(|error| error.to_string())?;
        output.set_nonblocking(true).map_err(|error| error.to_string())?;
        let output = tokio::net::UnixStream::from_std(output).map_err(|error| error.to_string())?;
        let attach = AttachOptions { stdout: true, stderr: true, stream: true, ..AttachOptions::default() };
        let mut frames = Frames::default();
        let mut running = std::pin::pin!(prepared.run(Some(client.into()), attach));
        let waited = loop {
            tokio::select! {
                waited = &mut running => break waited.map_err(|error| chain(&error))?,
                ready = output.readable() => {
                    ready.map_err(|error| error.to_string())?;
                    if frames.read(&output) {
                        // All is read; the end of the command is still to be told.
                        break running.await.map_err(|error| chain(&error))?;
                    }
                    for text in frames.take() {
                        work.context.tell(vertex, Event::Log(text)).await;
                    }
                }
            }
        };
        // Output is there before the end is told.
        frames.read(&output);
        for text in frames.take() {
            work.context.tell(vertex, Event::Log(text)).await;
        }
        container.exit_code = waited.exit_code;
        Ok(container)
    }

    /// Makes the image, without the empty places that mounts left behind.
    async fn commit(&self, work: &Work<'_>, stubs: Vec<String>, options: image::CommitOptions) -> Result<ImageId, String> {
        let (images, holder, base) = (work.context.builder.images.clone(), self.id.clone(), work.image);
        let made = tokio::task::spawn_blocking(move || -> Result<ImageId, String> {
            if !stubs.is_empty() {
                let snapshot = images.open_snapshot(&holder, image::SnapshotOptions::default()).map_err(|error| chain(&error))?;
                let before = images.open_image(&base).map_err(|error| chain(&error))?;
                let root = images.mount(&snapshot).map_err(|error| chain(&error))?;
                tree::remove_stubs(std::os::fd::AsFd::as_fd(&root), std::os::fd::AsFd::as_fd(&before), &stubs)
                    .map_err(|error| error.to_string())?;
            }
            images.commit_snapshot(&holder, options).map_err(|error| chain(&error))
        });
        made.await.map_err(|panic| panic.to_string())?
    }
}

/// Output in frames: eight bytes of head, then the text.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Frames {
    /// Reads what is there; true at the end of the stream.
    fn read(&mut self, stream: &tokio::net::UnixStream) -> bool {
        let mut buffer = [0; 16 << 10];
        loop {
            match stream.try_read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(_) => return true,
            }
        }
    }

    /// Takes the texts of all whole frames.
    fn take(&mut self) -> Vec<Vec<u8>> {
        let mut texts = Vec::new();
        let mut at = 0;
        while let Some(head) = self.bytes.get(at..at + 8) {
            let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let Some(text) = self.bytes.get(at + 8..at + 8 + length) else { break };
            texts.push(text.to_vec());
            at += 8 + length;
        }
        self.bytes.drain(..at);
        texts
    }
}
