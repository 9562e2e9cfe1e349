//! Times builds: a context of 5,000 files in three stages, cold, cached and with one file changed; and a step of `RUN`.
//!
//! The peer builds with BuildKit where its client has the plugin for it, else with the classic builder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use testkit::daemon::{Daemon, Network};

use super::{Peer, middle};
use crate::{release, setup};

/// Files of the context: 52 MB in 100 directories.
const FILES: usize = 5_000;
const FILE_BYTES: usize = 10_400;
/// Runs that count, of each kind.
const RUNS: usize = 5;
/// Steps of the Dockerfile that measures steps.
const STEPS: usize = 20;

const DOCKERFILE: &str = "FROM busybox AS base
RUN echo base > /base
FROM base AS a
RUN sleep 1; echo a > /a
FROM base AS b
RUN sleep 1; echo b > /b
FROM base AS c
RUN sleep 1; echo c > /c
FROM base
COPY src /src
RUN find /src -type f | wc -l > /count
COPY --from=a /a /a
COPY --from=b /b /b
COPY --from=c /c /c
";

/// `bench build [HOST [TEU]]`.
pub(crate) fn alone(args: &[&str]) -> Result<()> {
    setup::run()?;
    let teu = args.get(1).map_or_else(release, |path| Ok(PathBuf::from(path)))?;
    let daemon = Daemon::with_busybox(&teu, Network::Host)?;
    let peer = args.first().map(|host| Peer::new(host, &daemon)).transpose()?;
    let (context, steps) = (daemon.dir().join("context"), daemon.dir().join("steps"));
    std::fs::create_dir_all(&steps)?;
    fill(&context)?;
    let runs: String = (0..STEPS).map(|step| format!("RUN echo {step}\n")).collect();
    std::fs::write(steps.join("Dockerfile"), format!("FROM busybox\n{runs}"))?;
    let (mut own, mut theirs) = (Figures::default(), Figures::default());
    for run in 0..RUNS {
        own.add(&context, &steps, run, &|| daemon.command())?;
        if let Some(peer) = &peer {
            theirs.add(&context, &steps, run + RUNS, &|| builder(peer))?;
        }
    }
    for (name, own, theirs) in [
        ("cold", own.cold, theirs.cold),
        ("fully cached", own.cached, theirs.cached),
        ("one file changed", own.changed, theirs.changed),
        ("a step of RUN", own.step, theirs.step),
    ] {
        let own = middle(own);
        let theirs = (!theirs.is_empty()).then(|| middle(theirs));
        let (docker, ratio) =
            theirs.map_or(("–".to_owned(), "–".to_owned()), |it| (format!("{it:.0} ms"), format!("{:.1}×", it / own)));
        println!("build, {name}: teu {own:.0} ms, docker {docker}, ratio {ratio}");
    }
    Ok(())
}

/// Milliseconds of each run.
#[derive(Default)]
struct Figures {
    cold: Vec<f64>,
    cached: Vec<f64>,
    changed: Vec<f64>,
    step: Vec<f64>,
}

impl Figures {
    fn add(&mut self, context: &Path, steps: &Path, run: usize, command: &dyn Fn() -> Command) -> Result<()> {
        self.cold.push(build(command(), context, &["--no-cache"])?);
        // What the cold build left counts for the next ones.
        build(command(), context, &[])?;
        self.cached.push(build(command(), context, &[])?);
        std::fs::write(context.join("src/d7/f7"), format!("changed {run}"))?;
        self.changed.push(build(command(), context, &[])?);
        #[expect(clippy::cast_precision_loss, reason = "twenty steps")]
        self.step.push(build(command(), steps, &["--no-cache"])? / STEPS as f64);
        Ok(())
    }
}

fn build(mut command: Command, context: &Path, args: &[&str]) -> Result<f64> {
    command.args(["build", "-q", "-t", "bench-build"]).args(args).arg(context);
    let begin = Instant::now();
    let output = command.output()?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn builder(peer: &Peer<'_>) -> Command {
    let has = peer.command().args(["buildx", "version"]).output().is_ok_and(|output| output.status.success());
    let mut command = peer.command();
    command.env("DOCKER_BUILDKIT", if has { "1" } else { "0" });
    command
}

fn fill(context: &Path) -> Result<()> {
    std::fs::create_dir_all(context)?;
    std::fs::write(context.join("Dockerfile"), DOCKERFILE)?;
    let mut seed = 1_u64;
    for file in 0..FILES {
        let directory = context.join(format!("src/d{}", file % 100));
        std::fs::create_dir_all(&directory)?;
        let mut bytes = Vec::with_capacity(FILE_BYTES);
        while bytes.len() < FILE_BYTES {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&seed.to_le_bytes());
        }
        std::fs::write(directory.join(format!("f{file}")), bytes)?;
    }
    Ok(())
}
