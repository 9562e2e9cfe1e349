//! One stage: its base, and its steps one after another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{CommitOptions, ImageId, Images, Snapshot, SnapshotOptions};
use oci::image::{Config, Empty, Healthcheck};

use crate::build::{Base, Context};
use crate::cache::{Flight, Key};
use crate::dockerfile::{Command, Dockerfile, Instruction, Step, expand};
use crate::error::BuildError;
use crate::source::Named;
use crate::{Event, copy, run, tree};

/// What BuildKit writes into the history, so that tools know what a line means.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// What a stage made.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) image: ImageId,
}

/// A stage at work.
pub(crate) struct Work<'a> {
    pub(crate) context: &'a Arc<Context>,
    pub(crate) index: usize,
    pub(crate) image: ImageId,
    pub(crate) config: Config,
    pub(crate) key: Key,
    /// Arguments that are declared by now.
    pub(crate) arguments: BTreeMap<String, String>,
    /// What was done since the last layer, for the history.
    pending: Vec<String>,
    author: String,
    /// Whether the base has triggers, which read of the context what the Dockerfile does not name.
    pub(crate) triggered: bool,
    /// Number of the step that is done, and of all, as people are told.
    position: usize,
    total: usize,
}

/// Builds one stage.
pub(crate) async fn run(context: &Arc<Context>, index: usize) -> Result<Outcome, BuildError> {
    let stage = &context.file.stages[index];
    let base = base(context, index).await?;
    let Base { image, mut config, key } = base;
    // Times are part of what is made.
    let key = context.plan.epoch.map_or_else(|| key.clone(), |epoch| key.then(&[b"epoch", &epoch.to_le_bytes()]));
    let mut steps = Vec::new();
    for trigger in std::mem::take(&mut config.on_build) {
        steps.push(Dockerfile::trigger(&trigger, stage.line, context.file.directives.escape)?);
    }
    let triggered = !steps.is_empty();
    steps.extend(stage.steps.iter().cloned());
    let total = 1 + steps.iter().filter(|step| makes_layer(&step.instruction)).count();
    let mut work = Work {
        context,
        index,
        image,
        config,
        key,
        arguments: BTreeMap::new(),
        pending: Vec::new(),
        author: String::new(),
        triggered,
        position: 1,
        total,
    };
    for step in &steps {
        work.step(step).await?;
    }
    if index == context.plan.target {
        for (name, value) in &context.request.labels {
            work.config.labels.insert(name.clone(), value.clone());
            work.noted(format!("LABEL {name}={value}"));
        }
    }
    work.finish().await
}

fn makes_layer(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_))
}

async fn base(context: &Arc<Context>, index: usize) -> Result<Base, BuildError> {
    let stage = &context.file.stages[index];
    let name = &context.plan.bases[index];
    let fail = |reason: String| BuildError::Step { line: stage.line, text: stage.text.clone(), reason };
    let number = name.parse::<usize>().is_ok();
    let of = |image: ImageId| {
        let found = context.builder.images.get(&image).ok_or_else(|| fail(format!("the image {image} has gone")))?;
        Ok(Base { image, config: found.config.config.clone(), key: Key::of_image(&image) })
    };
    let named = context.request.contexts.get(name);
    if named == Some(&Named::Files) {
        return Err(fail(format!("the context {name} is a directory and cannot be a base; use COPY --from={name}")));
    }
    if let Some(other) = context.find_stage(name, index).filter(|_| !number && named.is_none()) {
        return of(context.stage(other).await?.image);
    }
    let name = if let Some(Named::Image(name)) = named { name } else { name };
    let platform = context.plan.platforms[index].clone().or_else(|| context.request.platform.clone());
    if name == "scratch" {
        let platform = platform.unwrap_or_else(|| context.plan.platform.clone());
        return of(context.builder.images.scratch(platform).map_err(|error| fail(error.to_string()))?);
    }
    let label = label(context, index, 1, None);
    let vertex = context.start(format!("{label} {}", stage.text)).await;
    match context.sources.image(name, platform.as_ref(), context.request.pull).await {
        Ok(image) => {
            context.tell(vertex, Event::Done).await;
            of(image)
        }
        Err(reason) => {
            context.tell(vertex, Event::Failed(reason.clone())).await;
            Err(fail(reason))
        }
    }
}

/// `[build 2/5]`, or `[2/5]` where there is one stage only.
fn label(context: &Context, index: usize, position: usize, total: Option<usize>) -> String {
    let total = total.unwrap_or_else(|| 1 + context.file.stages[index].steps.iter().filter(|step| makes_layer(&step.instruction)).count());
    let several = context.plan.needed.len() > 1;
    let own = || format!("stage-{index}");
    let name = several.then(|| context.file.stages[index].name.clone().unwrap_or_else(own));
    match name {
        Some(name) => format!("[{name} {position}/{total}]"),
        None => format!("[{position}/{total}]"),
    }
}

impl Work<'_> {
    /// The value of a variable: the environment, then the arguments.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        let env = self.config.env.iter().find_map(|entry| entry.split_once('=').filter(|(key, _)| *key == name));
        env.map(|(_, value)| value.to_owned()).or_else(|| self.arguments.get(name).cloned())
    }

    /// Number of the step that is done.
    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        expand(text, self.context.file.directives.escape, &|name| self.value(name))
    }

    /// Adds a step without a layer to the history and to what later steps depend on.
    fn noted(&mut self, text: String) {
        self.key = self.key.then(&[b"config", text.as_bytes()]);
        self.pending.push(text);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "all others change the configuration")]
    async fn step(&mut self, step: &Step) -> Result<(), BuildError> {
        if !makes_layer(&step.instruction) {
            return self.configure(&step.instruction).map_err(|reason| fail(step, reason));
        }
        self.position += 1;
        let label = label(self.context, self.index, self.position, Some(self.total));
        let vertex = self.context.start(format!("{label} {}", step.text)).await;
        let done = match &step.instruction {
            Instruction::Run(instruction) => run::run(self, step, instruction, vertex).await,
            Instruction::Copy(instruction) => copy::copy(self, step, instruction, false).await,
            Instruction::Add(instruction) => copy::copy(self, step, instruction, true).await,
            Instruction::Workdir(path) => self.workdir(step, path).await,
            other => self.configure(other).map(|()| false).map_err(|reason| fail(step, reason)),
        };
        let event = match &done {
            Ok(true) => Event::Cached,
            Ok(false) => Event::Done,
            Err(error) => Event::Failed(error.to_string()),
        };
        self.context.tell(vertex, event).await;
        done.map(drop)
    }

    #[expect(clippy::too_many_lines, reason = "a few lines for each instruction")]
    fn configure(&mut self, instruction: &Instruction) -> Result<(), String> {
        match instruction {
            Instruction::Env(pairs) => {
                // All values see the environment from before the instruction.
                let values =
                    pairs.iter().map(|(key, value)| Ok((self.expand(key)?, self.expand(value)?))).collect::<Result<Vec<_>, String>>()?;
                for (key, value) in &values {
                    let entry = format!("{key}={value}");
                    match self.config.env.iter_mut().find(|known| known.split('=').next() == Some(key.as_str())) {
                        Some(known) => known.clone_from(&entry),
                        None => self.config.env.push(entry),
                    }
                }
                let text = values.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ");
                self.noted(format!("ENV {text}"));
            }
            Instruction::Label(pairs) => {
                let mut texts = Vec::new();
                for (key, value) in pairs {
                    let (key, value) = (self.expand(key)?, self.expand(value)?);
                    texts.push(format!("{key}={value}"));
                    self.config.labels.insert(key, value);
                }
                self.noted(format!("LABEL {}", texts.join(" ")));
            }
            Instruction::Arg(arguments) => self.declare(arguments)?,
            Instruction::Cmd(command) => {
                let argv = self.argv(command);
                self.noted(format!("CMD {}", json(&argv)));
                self.config.cmd = Some(argv);
            }
            Instruction::Entrypoint(command) => {
                let argv = self.argv(command);
                self.noted(format!("ENTRYPOINT {}", json(&argv)));
                // A command of the base was meant for its own entry point.
                if !self.pending.iter().any(|text| text.starts_with("CMD ")) {
                    self.config.cmd = None;
                }
                self.config.entrypoint = (!argv.is_empty()).then_some(argv);
            }
            Instruction::Shell(argv) => {
                self.noted(format!("SHELL {argv:?}"));
                self.config.shell = Some(argv.clone());
            }
            Instruction::User(user) => {
                self.config.user = self.expand(user)?;
                self.noted(format!("USER {}", self.config.user));
            }
            Instruction::StopSignal(signal) => {
                let signal = self.expand(signal)?;
                signal.parse::<engine::spec::Signal>().map_err(|error| error.to_string())?;
                self.noted(format!("STOPSIGNAL {signal}"));
                self.config.stop_signal = Some(signal);
            }
            Instruction::Expose(ports) => {
                let mut texts = Vec::new();
                for port in ports {
                    texts.extend(self.expand(port)?.split_whitespace().map(str::to_owned));
                }
                texts.sort();
                let mut changed = oci::image::Config { exposed_ports: std::mem::take(&mut self.config.exposed_ports), ..Config::default() };
                image::changes::apply(&mut changed, &[format!("EXPOSE {}", texts.join(" "))])?;
                self.config.exposed_ports = changed.exposed_ports;
                self.noted(format!("EXPOSE {}", texts.join(" ")));
            }
            Instruction::Volume(paths) => {
                for path in paths {
                    let path = self.expand(path)?;
                    if path.is_empty() {
                        return Err("VOLUME specified can not be an empty string".to_owned());
                    }
                    self.config.volumes.insert(path, Empty {});
                }
                self.noted(format!("VOLUME {paths:?}"));
            }
            Instruction::Healthcheck { flags, test } => self.healthcheck(flags, test.as_ref())?,
            Instruction::Maintainer(author) => {
                self.author = self.expand(author)?;
                self.noted(format!("MAINTAINER {}", self.author));
            }
            Instruction::OnBuild(trigger) => {
                self.config.on_build.push(trigger.clone());
                self.noted(format!("ONBUILD {trigger}"));
            }
            Instruction::From { .. } | Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_) => {}
        }
        Ok(())
    }

    fn declare(&mut self, arguments: &[(String, Option<String>)]) -> Result<(), String> {
        for (name, default) in arguments {
            let value = match (self.context.request.arguments.get(name), default) {
                (Some(given), _) => given.clone(),
                (None, Some(text)) => Some(self.expand(text)?),
                (None, None) => self.context.plan.globals.get(name).cloned(),
            };
            let text = value.as_ref().map_or_else(|| format!("ARG {name}"), |value| format!("ARG {name}={value}"));
            match value {
                Some(value) => drop(self.arguments.insert(name.clone(), value)),
                None => drop(self.arguments.remove(name)),
            }
            self.pending.push(text);
        }
        Ok(())
    }

    fn healthcheck(&mut self, flags: &BTreeMap<String, String>, test: Option<&Command>) -> Result<(), String> {
        let words: Vec<String> = flags.iter().map(|(name, value)| format!("--{name}={value}")).collect();
        let line = match test {
            None => "HEALTHCHECK NONE".to_owned(),
            Some(Command::Shell(line)) => format!("HEALTHCHECK {} CMD {line}", words.join(" ")),
            Some(Command::Exec(argv)) => format!("HEALTHCHECK {} CMD {}", words.join(" "), json(argv)),
        };
        let mut changed = Config::default();
        image::changes::apply(&mut changed, std::slice::from_ref(&line))?;
        self.config.healthcheck = changed.healthcheck.or(Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() }));
        self.noted(line);
        Ok(())
    }

    /// Program and arguments of a command.
    pub(crate) fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(argv) => argv.clone(),
            Command::Shell(line) if line.is_empty() => Vec::new(),
            Command::Shell(line) => {
                let mut argv = self.shell();
                argv.push(line.clone());
                argv
            }
        }
    }

    pub(crate) fn shell(&self) -> Vec<String> {
        self.config.shell.clone().unwrap_or_else(|| ["/bin/sh", "-c"].map(str::to_owned).into())
    }

    async fn workdir(&mut self, step: &Step, path: &str) -> Result<bool, BuildError> {
        let path = self.expand(path).map_err(|reason| fail(step, reason))?;
        let path = absolute(&self.config.working_dir, &path);
        self.config.working_dir.clone_from(&path);
        let text = format!("WORKDIR {path}");
        let key = self.key.then(&[b"workdir", path.as_bytes()]);
        self.layer(step, key, text, move |root| tree::make_directories(root, &path, None).map(drop).map_err(|error| error.to_string()))
            .await
    }

    /// Takes a step's result from the cache, or makes it by writing into a snapshot. Answers whether it was there.
    pub(crate) async fn layer(
        &mut self,
        step: &Step,
        key: Key,
        text: String,
        write: impl FnOnce(std::os::fd::BorrowedFd<'_>) -> Result<(), String> + Send + 'static,
    ) -> Result<bool, BuildError> {
        if self.cached(&key) {
            return Ok(true);
        }
        let flight = self.context.builder.flights.of(&key);
        let _turn = self.turn(&flight).await;
        if self.cached(&key) {
            return Ok(true);
        }
        let options = self.commit_options(&text);
        let (images, image) = (self.context.builder.images.clone(), self.image);
        let made = tokio::task::spawn_blocking(move || -> Result<ImageId, String> {
            let scratch = Scratch::new(&images, &image)?;
            {
                let root = images.mount(&scratch.snapshot).map_err(|error| chain(&error))?;
                write(std::os::fd::AsFd::as_fd(&root))?;
            }
            images.commit_snapshot(&scratch.holder, options).map_err(|error| chain(&error))
        });
        let image = made.await.map_err(|panic| BuildError::Internal(panic.to_string()))?.map_err(|reason| fail(step, reason))?;
        self.made(&key, image);
        Ok(false)
    }

    /// Waits until no other build does the same step; one that wants nothing of the cache does not wait.
    pub(crate) async fn turn<'f>(&self, flight: &'f Flight) -> Option<tokio::sync::MutexGuard<'f, ()>> {
        if self.context.request.no_cache { None } else { Some(flight.lock().await) }
    }

    /// Goes on with a result that is there, if there is one.
    pub(crate) fn cached(&mut self, key: &Key) -> bool {
        if self.context.request.no_cache {
            return false;
        }
        let images = &self.context.builder.images;
        let Some(image) = self.context.builder.cache.get(key, |image| images.get(image).is_some()) else { return false };
        self.go_on(key, image);
        true
    }

    /// Goes on with a new result.
    pub(crate) fn made(&mut self, key: &Key, image: ImageId) {
        self.context.builder.cache.put(key, image);
        self.go_on(key, image);
    }

    fn go_on(&mut self, key: &Key, image: ImageId) {
        self.key = key.clone();
        self.image = image;
        self.pending.clear();
    }

    pub(crate) fn commit_options(&self, text: &str) -> CommitOptions {
        CommitOptions {
            author: self.author.clone(),
            comment: COMMENT.to_owned(),
            steps_before: self.pending.clone(),
            created_by: text.to_owned(),
            created_at: self.context.plan.epoch,
            config: serde_json::to_value(&self.config).unwrap_or_default(),
            ..CommitOptions::default()
        }
    }

    /// Makes the image of the stage: the last layer's with the configuration as it is now.
    async fn finish(mut self) -> Result<Outcome, BuildError> {
        let Some(text) = self.pending.pop() else { return Ok(Outcome { image: self.image }) };
        let config = serde_json::to_vec(&self.config).map_err(|error| BuildError::Internal(error.to_string()))?;
        let before = self.pending.join("\n");
        let key = self.key.then(&[b"finish", before.as_bytes(), text.as_bytes(), &config]);
        if !self.cached(&key) {
            let options = self.commit_options(&text);
            let (images, image) = (self.context.builder.images.clone(), self.image);
            let made = tokio::task::spawn_blocking(move || -> Result<ImageId, String> {
                let scratch = Scratch::new(&images, &image)?;
                images.commit_snapshot(&scratch.holder, options).map_err(|error| chain(&error))
            });
            let image = made.await.map_err(|panic| BuildError::Internal(panic.to_string()))?.map_err(BuildError::Internal)?;
            self.made(&key, image);
        }
        Ok(Outcome { image: self.image })
    }
}

/// A snapshot that goes when it is dropped.
struct Scratch<'a> {
    images: &'a Images,
    holder: String,
    snapshot: Snapshot,
}

impl<'a> Scratch<'a> {
    fn new(images: &'a Images, image: &ImageId) -> Result<Self, String> {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        let holder = format!("build-{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let snapshot = images.snapshot(&holder, image, SnapshotOptions { volatile: true }).map_err(|error| chain(&error))?;
        Ok(Self { images, holder, snapshot })
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // What is left is swept at the next start.
        drop(self.images.remove_snapshot(&self.holder));
        drop(self.images.empty_trash());
    }
}

/// A path against a working directory, cleaned.
pub(crate) fn absolute(directory: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    format!("/{}", tree::clean(&joined))
}

pub(crate) fn fail(step: &Step, reason: impl Into<String>) -> BuildError {
    BuildError::Step { line: step.line, text: step.text.clone(), reason: reason.into() }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

fn json(argv: &[String]) -> String {
    serde_json::to_string(argv).unwrap_or_default()
}
