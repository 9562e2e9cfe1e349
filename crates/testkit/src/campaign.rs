//! The crash campaign: clients create, start and remove containers while the engine is killed and restarted.
//!
//! Every answer a client got is a promise; after the last restart each promise is checked, everything is removed and the
//! machine is searched for what is left.

use std::collections::BTreeMap;
use std::fmt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::daemon::Daemon;
use crate::leftovers::{self, Leftovers};

/// How the campaign goes.
#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    /// How often the engine is killed.
    pub kills: u32,
    /// Clients at work at the same time.
    pub clients: u32,
    /// The engine lives at least this long between kills.
    pub life_min: Duration,
    /// It lives at most this much longer, spread evenly.
    pub life_spread: Duration,
    /// Seed of the moments.
    pub seed: u64,
}

impl Default for Campaign {
    fn default() -> Self {
        Self { kills: 10, clients: 4, life_min: Duration::from_millis(30), life_spread: Duration::from_millis(400), seed: 1 }
    }
}

/// What a client was promised about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Running,
    Removed,
    /// A request was cut off: both outcomes are right.
    Open,
}

/// What the campaign found.
#[derive(Debug, Default)]
pub struct Report {
    /// Acknowledged creations.
    pub created: usize,
    /// Acknowledged and running, afterwards unknown to the engine.
    pub lost: Vec<String>,
    /// Acknowledged as removed, afterwards there.
    pub resurrected: Vec<String>,
    /// Acknowledged as running, afterwards not running.
    pub stopped: Vec<String>,
    /// What is on the machine after everything was removed.
    pub left: Leftovers,
    /// Milliseconds until the engine answered again, sorted.
    pub restarts: Vec<f64>,
}

impl Report {
    /// Whether nothing was lost, resurrected, stopped or left.
    #[must_use]
    pub fn clean(&self) -> bool {
        self.lost.is_empty() && self.resurrected.is_empty() && self.stopped.is_empty() && self.left.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |share: usize| {
            self.restarts.get((self.restarts.len() * share / 100).min(self.restarts.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        writeln!(f, "kills {}, created {}", self.restarts.len(), self.created)?;
        writeln!(f, "lost {:?}, resurrected {:?}, stopped {:?}", self.lost, self.resurrected, self.stopped)?;
        writeln!(f, "back after min {:.0}, median {:.0}, p95 {:.0}, max {:.0} ms", at(0), at(50), at(95), at(100))?;
        write!(f, "left {:#?}", self.left)
    }
}

/// Runs the campaign on an engine that has the image `busybox:latest`.
///
/// # Errors
/// If the engine does not come back or a table of the kernel cannot be read; what it loses or leaves is in the report.
pub fn run(daemon: &mut Daemon, campaign: &Campaign) -> Result<Report> {
    let promises = Mutex::new(BTreeMap::new());
    let over = AtomicBool::new(false);
    let serial = AtomicU32::new(0);
    let mut report = Report::default();
    let (template, host) = (daemon.command().get_program().to_owned(), daemon.host());
    let teu = |args: &[&str]| {
        let mut command = Command::new(&template);
        command.env("DOCKER_HOST", &host).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..campaign.clients {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    client(&teu, &promises, serial.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        let mut random = campaign.seed;
        let result = (0..campaign.kills).try_for_each(|_| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let share = u32::try_from((random >> 33) % 1000).unwrap_or_default();
            std::thread::sleep(campaign.life_min + campaign.life_spread * share / 1000);
            daemon.kill()?;
            report.restarts.push(daemon.restart()?.as_secs_f64() * 1e3);
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        result
    })?;
    report.restarts.sort_by(f64::total_cmp);
    let promises = promises.into_inner().ok().context("a client panicked")?;
    check(daemon, &promises, &mut report)?;
    Ok(report)
}

/// One life of a container, as far as the engine answers.
fn client(teu: &dyn Fn(&[&str]) -> bool, promises: &Mutex<BTreeMap<String, Promise>>, serial: u32) {
    let name = format!("crash{serial}");
    let set = |promise| {
        if let Ok(mut map) = promises.lock() {
            map.insert(name.clone(), promise);
        }
    };
    set(Promise::Open);
    let volume = format!("{name}:/data");
    let mut args = vec!["run", "-d", "--name", &name];
    if serial.is_multiple_of(3) {
        args.extend(["-v", &volume]);
    }
    args.extend(["busybox", "sleep", "100000"]);
    if !teu(&args) {
        return;
    }
    set(Promise::Running);
    if serial.is_multiple_of(2) {
        set(Promise::Open);
        if teu(&["rm", "-f", &name]) {
            set(Promise::Removed);
        }
    }
}

fn check(daemon: &mut Daemon, promises: &BTreeMap<String, Promise>, report: &mut Report) -> Result<()> {
    let listing = daemon.ok(["ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}} {{.State}}"])?;
    let mut states = BTreeMap::new();
    let mut ids = Vec::new();
    for line in listing.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(id), Some(state)) = (words.next(), words.next(), words.next()) {
            states.insert(name, state);
            ids.push(id.to_owned());
        }
    }
    for (name, promise) in promises {
        let state = states.get(name.as_str()).copied();
        match (promise, state) {
            (Promise::Running, None) => report.lost.push(name.clone()),
            (Promise::Running, Some(state)) if state != "running" => report.stopped.push(format!("{name} {state}")),
            (Promise::Removed, Some(_)) => report.resurrected.push(name.clone()),
            (Promise::Running | Promise::Removed | Promise::Open, _) => {}
        }
    }
    report.created = promises.values().filter(|promise| **promise != Promise::Open).count();
    if !ids.is_empty() {
        daemon.ok(["rm", "-f", "-v"].into_iter().chain(ids.iter().map(String::as_str)))?;
    }
    report.left = leftovers::settled(daemon)?;
    if report.left.is_empty() {
        report.left = daemon.stop()?;
    }
    Ok(())
}
