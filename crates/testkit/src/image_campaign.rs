//! The crash campaign for images: clients load, import, commit, remove and prune while the engine is killed and restarted.
//!
//! Every answer a client got is a promise. After the last restart each promise is checked, every image is written out
//! again (the engine digests each layer as it does so), and what is on the disk must be what the images name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemon::Daemon;

/// Clients at work at the same time.
const CLIENTS: u32 = 3;
/// The engine lives at most this long between kills, spread evenly.
const LIFE: Duration = Duration::from_millis(400);
/// How long a client waits after a failure: the engine is away.
const PAUSE: Duration = Duration::from_millis(10);

/// What a client was promised about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Present,
    Absent,
    /// A request was cut off: both outcomes are right.
    Open,
}

/// What the campaign found.
#[derive(Debug, Default)]
pub struct Report {
    /// How often the engine was killed.
    pub kills: u32,
    /// Acknowledged acts.
    pub done: usize,
    /// Acknowledged, afterwards unknown.
    pub lost: Vec<String>,
    /// Acknowledged as removed, afterwards there.
    pub resurrected: Vec<String>,
    /// Images that cannot be written out again, and records that were set aside.
    pub damaged: Vec<String>,
    /// What is on the disk and belongs to no image.
    pub left: Vec<String>,
}

impl Report {
    /// Whether nothing was lost, resurrected, damaged or left.
    #[must_use]
    pub fn clean(&self) -> bool {
        [&self.lost, &self.resurrected, &self.damaged, &self.left].iter().all(|list| list.is_empty())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "kills {}, acknowledged {}", self.kills, self.done)?;
        write!(f, "lost {:?}, resurrected {:?}, damaged {:?}, left {:?}", self.lost, self.resurrected, self.damaged, self.left)
    }
}

/// Runs the campaign on an engine that has the image `busybox:latest`.
///
/// # Errors
/// If the engine does not come back; what it loses or leaves is in the report.
pub fn run(daemon: &mut Daemon, kills: u32, seed: u64) -> Result<Report> {
    let archives = (0..CLIENTS).map(|client| archive(daemon, client)).collect::<Result<Vec<_>>>()?;
    let tar = crate::busybox::archive(daemon.dir())?;
    let promises = Mutex::new(BTreeMap::new());
    let done = Mutex::new(0);
    let over = AtomicBool::new(false);
    let (program, host) = (daemon.command().get_program().to_owned(), daemon.host());
    let teu = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.env("DOCKER_HOST", &host).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let success = command.status().is_ok_and(|status| status.success());
        if success {
            *done.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
        } else {
            std::thread::sleep(PAUSE);
        }
        success
    };
    std::thread::scope(|scope| -> Result<()> {
        for (client, archive) in archives.iter().enumerate() {
            let (promises, over, teu, tar) = (&promises, &over, &teu, &tar);
            scope.spawn(move || {
                let mut round = 0_u32;
                while !over.load(Ordering::Relaxed) {
                    work(teu, promises, &format!("client{client}"), (archive, tar), round);
                    round += 1;
                }
            });
        }
        let mut random = seed;
        let result = (0..kills).try_for_each(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = u32::try_from((random >> 33) % 1000).unwrap_or_default();
            std::thread::sleep(LIFE * share / 1000);
            daemon.kill()?;
            daemon.restart().map(drop)
        });
        over.store(true, Ordering::Relaxed);
        result
    })?;
    // Once more, so that what the last life began is swept.
    daemon.kill()?;
    daemon.restart()?;
    let mut report = Report { kills, done: done.into_inner().unwrap_or_default(), ..Report::default() };
    let promises = promises.into_inner().ok().context("a client panicked")?;
    check(daemon, &promises, &mut report)?;
    Ok(report)
}

/// Makes an archive of an image with a layer of its own.
fn archive(daemon: &Daemon, client: u32) -> Result<PathBuf> {
    let (name, image) = (format!("maker{client}"), format!("client{client}:load"));
    daemon.ok([
        "run",
        "--name",
        &name,
        "--network",
        "none",
        "busybox",
        "sh",
        "-c",
        "for n in 1 2 3 4 5; do head -c 400000 /dev/urandom >/$n; done",
    ])?;
    daemon.ok(["commit", &name, &image])?;
    let path = daemon.dir().join(format!("{name}.tar"));
    daemon.ok(["save", "-o", &path.to_string_lossy(), &image])?;
    daemon.ok(["rmi", &image])?;
    Ok(path)
}

/// One round of a client, as far as the engine answers.
fn work(teu: &dyn Fn(&[&str]) -> bool, promises: &Mutex<BTreeMap<String, Promise>>, client: &str, sources: (&Path, &Path), round: u32) {
    let set = |name: &str, promise| {
        if let Ok(mut map) = promises.lock() {
            map.insert(name.to_owned(), promise);
        }
    };
    let (archive, tar) = (sources.0.to_string_lossy(), sources.1.to_string_lossy());
    let maker = client.replace("client", "maker");
    let names = ["load", "import", "commit"].map(|tag| format!("{client}:{tag}"));
    let acts: [&[&str]; 3] = [&["load", "-q", "-i", &archive], &["import", &tar, &names[1]], &["commit", &maker, &names[2]]];
    for (name, act) in names.iter().zip(acts) {
        set(name, Promise::Open);
        if teu(act) {
            set(name, Promise::Present);
        }
    }
    for (index, name) in (0_u32..).zip(&names) {
        if (round + index).is_multiple_of(3) {
            continue;
        }
        set(name, Promise::Open);
        if teu(&["rmi", name]) {
            set(name, Promise::Absent);
        }
    }
    teu(&["image", "prune", "-f"]);
}

fn check(daemon: &Daemon, promises: &BTreeMap<String, Promise>, report: &mut Report) -> Result<()> {
    let listing = daemon.ok(["images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}"])?;
    let rows: Vec<(&str, &str)> = listing.lines().filter_map(|line| line.split_once(' ')).collect();
    for (name, promise) in promises {
        let is_there = rows.iter().any(|(_, known)| known == name);
        match (promise, is_there) {
            (Promise::Present, false) => report.lost.push(name.clone()),
            (Promise::Absent, true) => report.resurrected.push(name.clone()),
            (Promise::Present | Promise::Absent | Promise::Open, _) => {}
        }
    }
    let mut layers = BTreeSet::new();
    for id in rows.iter().map(|(id, _)| *id).collect::<BTreeSet<_>>() {
        if let Err(error) = daemon.ok(["save", "-o", "/dev/null", id]) {
            report.damaged.push(format!("{error:#}"));
        }
        let named = daemon.ok(["image", "inspect", "--format", "{{range .RootFS.Layers}}{{println .}}{{end}}", id])?;
        layers.extend(named.lines().filter_map(|digest| digest.strip_prefix("sha256:")).map(str::to_owned));
    }
    let warnings = daemon.ok(["info", "--format", "{{range .Warnings}}{{println .}}{{end}}"])?;
    report.damaged.extend(warnings.lines().filter(|line| line.contains("damaged")).map(str::to_owned));
    // The trash is emptied behind the scenes.
    for _ in 0..100 {
        report.left = strangers(daemon, &layers);
        if report.left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// What lies in the image store and belongs to no image.
fn strangers(daemon: &Daemon, layers: &BTreeSet<String>) -> Vec<String> {
    let mut strangers = Vec::new();
    for directory in ["layers", "tapes", "staging", "trash"] {
        for entry in std::fs::read_dir(daemon.dir().join("root").join(directory)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let wanted = matches!(directory, "layers" | "tapes") && (layers.contains(&name) || name == "empty");
            if !wanted {
                strangers.push(format!("{directory}/{name}"));
            }
        }
    }
    strangers
}
