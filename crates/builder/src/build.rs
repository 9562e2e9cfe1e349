//! A whole build: which stages are needed, and all of them at work at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use docker_api::ignore::Ignore;
use engine::Engine;
use image::{ImageId, Images};
use oci::Platform;
use oci::image::Config;
use tokio::sync::{Mutex, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::cache::{Cache, Flights, Key, Pruned, Selections};
use crate::dockerfile::{Dockerfile, Instruction, RunMountKind, Stage, expand};
use crate::error::BuildError;
use crate::index::Index;
use crate::source::{self, Contexts, Named, Sources};
use crate::stage::{self, Outcome};
use crate::tree::View;
use crate::{Event, Update};

/// What is to be built.
#[derive(Debug, Default)]
pub struct Request {
    /// The Dockerfile's bytes.
    pub dockerfile: Vec<u8>,
    /// What of the context is not seen.
    pub ignore: Option<Arc<Ignore>>,
    /// Stage to build; none is the last.
    pub target: Option<String>,
    /// Build arguments; none takes the value from nowhere and unsets the default.
    pub arguments: BTreeMap<String, Option<String>>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Whether nothing is taken from the cache.
    pub no_cache: bool,
    /// Whether base images are always looked for in their registry.
    pub pull: bool,
    /// Platform of the result; none is the host's.
    pub platform: Option<Platform>,
    /// What `RUN` gets where its instruction says nothing.
    pub host: engine::spec::HostConfig,
    /// Named contexts.
    pub contexts: BTreeMap<String, Named>,
}

/// Builds images.
#[derive(Debug)]
pub struct Builder {
    pub(crate) engine: Engine,
    pub(crate) images: Arc<Images>,
    pub(crate) cache: Cache,
    pub(crate) index: Arc<Index>,
    pub(crate) selections: Selections,
    pub(crate) flights: Flights,
    /// Directory of caches and of what is being built.
    pub(crate) root: PathBuf,
    /// As many commands run at a time as there are processors.
    pub(crate) commands: Semaphore,
    /// Cache mounts of which one user at a time is wanted.
    pub(crate) locks: std::sync::Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl Builder {
    /// Opens the builder's directory below the engine's data, and clears what a crash left in it.
    ///
    /// # Errors
    /// The directory cannot be made or read.
    pub fn open(engine: Engine, images: Arc<Images>, root: &Path) -> Result<Self, store::OpenError> {
        let root = root.join("build");
        let work = root.join("work");
        let failed = |source| store::OpenError::Directory { directory: root.clone(), source };
        if work.exists() {
            std::fs::remove_dir_all(&work).map_err(failed)?;
        }
        std::fs::create_dir_all(&work).map_err(failed)?;
        let cache = Cache::open(&root)?;
        let (index, selections) = (Arc::new(Index::open(&root)?), Selections::default());
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Ok(Self {
            engine,
            images,
            cache,
            index,
            selections,
            flights: Flights::default(),
            root,
            commands: Semaphore::new(processors),
            locks: std::sync::Mutex::default(),
        })
    }

    /// A new directory for one build's files, below the builder's own.
    #[must_use]
    pub fn work(&self) -> PathBuf {
        static SERIAL: AtomicUsize = AtomicUsize::new(0);
        self.root.join("work").join(format!("{}-{}", std::process::id(), SERIAL.fetch_add(1, Ordering::Relaxed)))
    }

    /// Forgets cached results, all or those not used since `before` (Unix seconds), and with `all` the cache mounts, too.
    ///
    /// # Errors
    /// A cache mount cannot be deleted.
    pub fn prune(&self, before: Option<u64>, all: bool) -> std::io::Result<Pruned> {
        let gone = self.cache.forget(&|used_at, _| before.is_some_and(|before| used_at >= before));
        let mut pruned = Pruned { entries: gone.into_iter().map(|(key, _)| key).collect(), reclaimed: 0 };
        let mounts = self.root.join("mounts");
        if all && mounts.exists() {
            pruned.reclaimed = size(&mounts)?;
            std::fs::remove_dir_all(&mounts)?;
        }
        Ok(pruned)
    }

    /// Builds; the answer is the image, which has no name yet.
    ///
    /// Dropping the future ends all commands that run.
    ///
    /// # Errors
    /// [`BuildError`]; nothing but the cache is kept then.
    pub async fn build(
        self: &Arc<Self>,
        request: Request,
        sources: Arc<dyn Sources>,
        updates: mpsc::Sender<Update>,
    ) -> Result<ImageId, BuildError> {
        let file = Dockerfile::parse(&request.dockerfile)?;
        let plan = Plan::new(&file, &request)?;
        let mut senders = BTreeMap::new();
        let mut results = Vec::new();
        for index in 0..file.stages.len() {
            let (sender, receiver) = watch::channel(None);
            results.push(receiver);
            if plan.needed.contains(&index) {
                senders.insert(index, sender);
            }
        }
        let target = plan.target;
        let work = self.work();
        let context = Arc::new(Context {
            builder: self.clone(),
            file,
            plan,
            request,
            sources,
            updates,
            results,
            vertices: AtomicUsize::new(1),
            contexts: Contexts::default(),
            work: Work(work),
        });
        let mut stages = JoinSet::new();
        for (index, sender) in senders {
            let context = context.clone();
            stages.spawn(async move {
                let done = stage::run(&context, index).await;
                sender.send_replace(Some(done.clone().map_err(drop)));
                (index, done)
            });
        }
        let mut failure: Option<BuildError> = None;
        let mut image = None;
        while let Some(joined) = stages.join_next().await {
            match joined {
                Ok((index, Ok(outcome))) if index == target => image = Some(outcome.image),
                Ok((_, Ok(_))) => {}
                // The stage that waited for a failed one has nothing to say.
                Ok((_, Err(BuildError::Dependency))) => {}
                Ok((_, Err(error))) => failure = failure.or(Some(error)),
                Err(panic) => failure = failure.or(Some(BuildError::Internal(format!("a stage ended badly: {panic}")))),
            }
        }
        let index = self.index.clone();
        // Nothing waits for it: it is there to spare work after a restart.
        drop(tokio::task::spawn_blocking(move || index.save()));
        match (failure, image) {
            (Some(error), _) => Err(error),
            (None, Some(image)) => Ok(image),
            (None, None) => Err(BuildError::Dependency),
        }
    }
}

/// The directory of one build, which goes with it.
#[derive(Debug)]
pub(crate) struct Work(pub(crate) PathBuf);

impl Drop for Work {
    fn drop(&mut self) {
        // What is left is cleared at the next start.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What all stages of one build share.
pub(crate) struct Context {
    pub(crate) builder: Arc<Builder>,
    pub(crate) file: Dockerfile,
    pub(crate) plan: Plan,
    pub(crate) request: Request,
    pub(crate) sources: Arc<dyn Sources>,
    updates: mpsc::Sender<Update>,
    results: Vec<watch::Receiver<Option<Result<Outcome, ()>>>>,
    vertices: AtomicUsize,
    contexts: Contexts,
    pub(crate) work: Work,
}

impl Context {
    /// Begins a step.
    pub(crate) async fn start(&self, name: String) -> usize {
        let vertex = self.vertices.fetch_add(1, Ordering::Relaxed);
        self.tell(vertex, Event::Started(name)).await;
        vertex
    }

    pub(crate) async fn tell(&self, vertex: usize, event: Event) {
        // A client that has gone ends the build by dropping it.
        let _ = self.updates.send(Update { vertex, event }).await;
    }

    /// Waits for a stage.
    pub(crate) async fn stage(&self, index: usize) -> Result<Outcome, BuildError> {
        let mut result = self.results[index].clone();
        let done = result.wait_for(Option::is_some).await.map_err(|_| BuildError::Dependency)?;
        done.clone().ok_or(BuildError::Dependency)?.map_err(|()| BuildError::Dependency)
    }

    /// The stage that a name or a number behind `--from` means, before stage `before`.
    pub(crate) fn find_stage(&self, name: &str, before: usize) -> Option<usize> {
        find_stage(&self.file, name, before)
    }

    /// Opens the context, or the one with a name. `all` asks for files that the Dockerfile does not name, too.
    pub(crate) async fn files(&self, name: Option<&str>, all: bool) -> Result<View, String> {
        let paths = if all || name.is_some() { None } else { self.plan.reads.clone() };
        let root = self.contexts.open(&*self.sources, name, paths).await?;
        let ignore = self.request.ignore.clone().filter(|ignore| name.is_none() && !ignore.is_empty());
        Ok(View { root, ignore, index: Some(self.builder.index.clone()) })
    }
}

fn find_stage(file: &Dockerfile, name: &str, before: usize) -> Option<usize> {
    let lower = name.to_ascii_lowercase();
    let by_name = file.stages[..before].iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
    by_name.or_else(|| name.parse::<usize>().ok().filter(|index| *index < before))
}

/// Which stages are needed, and what is known before the first of them begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) target: usize,
    pub(crate) needed: BTreeSet<usize>,
    /// Base of each stage, with its variables replaced.
    pub(crate) bases: Vec<String>,
    /// Platform of each stage, where it asks for one.
    pub(crate) platforms: Vec<Option<Platform>>,
    /// Values of the arguments in front of the first stage, and of those that are there by themselves.
    pub(crate) globals: BTreeMap<String, String>,
    /// Platform of the result.
    pub(crate) platform: Platform,
    /// What is read of the context; none is everything.
    reads: Option<Vec<String>>,
    /// `SOURCE_DATE_EPOCH`: the time that the result says it was made at, in Unix seconds.
    pub(crate) epoch: Option<i64>,
}

impl Plan {
    fn new(file: &Dockerfile, request: &Request) -> Result<Self, BuildError> {
        let platform = request.platform.clone().unwrap_or_else(Platform::host);
        let escape = file.directives.escape;
        let mut globals = platform_arguments(&platform, request.target.as_deref());
        for (name, default) in &file.arguments {
            let value = match request.arguments.get(name) {
                Some(given) => given.clone(),
                None => match default {
                    Some(text) => Some(expand(text, escape, &|name| globals.get(name).cloned()).map_err(BuildError::Internal)?),
                    None => continue,
                },
            };
            globals.extend(value.map(|value| (name.clone(), value)));
        }
        let mut bases = Vec::new();
        let mut platforms = Vec::new();
        for stage in &file.stages {
            let fail = |reason| BuildError::Step { line: stage.line, text: stage.text.clone(), reason };
            let value = |name: &str| globals.get(name).cloned();
            let base = expand(&stage.base, escape, &value).map_err(fail)?;
            if base.is_empty() {
                return Err(fail(format!("base name ({}) should not be blank", stage.base)));
            }
            bases.push(base);
            let asked = stage.platform.as_deref().map(|text| expand(text, escape, &value)).transpose().map_err(fail)?;
            let asked = asked.filter(|text| !text.is_empty()).map(|text| text.parse::<Platform>().map_err(|error| fail(error.to_string())));
            platforms.push(asked.transpose()?);
        }
        let target = match &request.target {
            None => file.stages.len() - 1,
            Some(name) => find_stage(file, name, file.stages.len()).ok_or_else(|| BuildError::Target(name.clone()))?,
        };
        let given = request.arguments.get("SOURCE_DATE_EPOCH").cloned().flatten().filter(|text| !text.is_empty());
        let epoch = given.map(|text| {
            let reason = || BuildError::Internal(format!("invalid SOURCE_DATE_EPOCH: \"{text}\" is no number of seconds"));
            text.parse::<i64>().map_err(|_| reason())
        });
        let epoch = epoch.transpose()?;
        let mut plan = Self { target, needed: BTreeSet::new(), bases, platforms, globals, platform, reads: None, epoch };
        plan.need(file, request, target);
        plan.reads = source::reads(file, &plan.needed);
        Ok(plan)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "no other instruction names a stage")]
    /// Marks a stage and all that it needs; each needs only earlier ones.
    fn need(&mut self, file: &Dockerfile, request: &Request, index: usize) {
        if !self.needed.insert(index) {
            return;
        }
        let stage: &Stage = &file.stages[index];
        let mut names = vec![self.bases[index].clone()];
        for step in &stage.steps {
            match &step.instruction {
                Instruction::Copy(copy) | Instruction::Add(copy) => names.extend(copy.from.clone()),
                Instruction::Run(run) => {
                    let binds = run.mounts.iter().filter(|mount| matches!(mount.kind, RunMountKind::Bind | RunMountKind::Cache));
                    names.extend(binds.filter_map(|mount| mount.options.get("from").cloned()));
                }
                _ => {}
            }
        }
        // A base is meant by its name only, a number would be an image; a context stands before a stage of its name.
        for (position, name) in names.iter().enumerate() {
            let none = position == 0 && name.parse::<usize>().is_ok() || request.contexts.contains_key(name);
            if let Some(other) = find_stage(file, name, index).filter(|_| !none) {
                self.need(file, request, other);
            }
        }
    }
}

/// Arguments that are there by themselves. **Source:** Dockerfile reference, "Automatic platform ARGs".
#[must_use]
pub fn platform_arguments(platform: &Platform, target: Option<&str>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (prefix, platform) in [("TARGET", platform), ("BUILD", &Platform::host())] {
        all.insert(format!("{prefix}PLATFORM"), platform.to_string());
        all.insert(format!("{prefix}OS"), platform.os.clone());
        all.insert(format!("{prefix}ARCH"), platform.architecture.clone());
        all.insert(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    all.insert("TARGETSTAGE".to_owned(), target.unwrap_or("default").to_owned());
    all
}

/// What a base image gives its stage.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) image: ImageId,
    pub(crate) config: Config,
    pub(crate) key: Key,
}

fn size(directory: &Path) -> std::io::Result<u64> {
    let mut sum = 0_u64;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        sum = sum.saturating_add(if metadata.is_dir() { size(&entry.path())? } else { metadata.len() });
    }
    Ok(sum)
}
