//! Commands on files, logs and many containers.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::daemon::Daemon;

use super::{Peer, field, middle, time};

/// Small files that are copied.
const FILES: u32 = 10_000;
/// Copies of each kind that count.
const COPIES: usize = 5;
/// Lines of the log that is searched.
const LINES: u32 = 700_000;
/// Containers in the long list.
const LISTED: u32 = 500;
/// Containers whose figures are streamed.
const WATCHED: u32 = 100;
/// How long they are.
const WATCH: Duration = Duration::from_secs(10);

pub(super) fn run(daemon: &Daemon, peer: Option<&Peer<'_>>) -> Result<()> {
    copies(daemon, peer)?;
    search(daemon)?;
    lists(daemon, peer)?;
    stats(daemon)
}

fn ratio(name: &str, own: f64, docker: Option<f64>, unit: &str) {
    let shown = docker.map_or("–".into(), |value| format!("{value:.1} {unit}"));
    println!("{name}: teu {own:.1} {unit}, docker {shown}, ratio {}", docker.map_or("–".into(), |value| format!("{:.1}×", value / own)));
}

/// Copies many small files into a container and out of it.
fn copies(daemon: &Daemon, peer: Option<&Peer<'_>>) -> Result<()> {
    let folder = daemon.dir().join("small");
    for index in 0..FILES {
        let place = folder.join(format!("d{}", index / 100));
        std::fs::create_dir_all(&place)?;
        std::fs::write(place.join(format!("f{index}")), format!("content of {index}\n").repeat(20))?;
    }
    let source = folder.to_string_lossy().into_owned();
    let measure = |command: &dyn Fn() -> Command| -> Result<(f64, f64)> {
        time(command().args(["run", "-d", "--name", "copies", "busybox", "sleep", "100000"]))?;
        let (mut into, mut out) = (Vec::new(), Vec::new());
        let out_of = daemon.dir().join(format!("out-{}", command().get_program().to_string_lossy().replace('/', "-")));
        std::fs::create_dir_all(&out_of)?;
        for run in 0..COPIES {
            into.push(time(command().args(["cp", &source, &format!("copies:/in{run}")]))?);
            // Nothing is deleted between the runs: for a minute ext4 looks at each freed inode before it takes another
            // (fs/ext4/ialloc.c, `recently_deleted`), which would be most of the time measured.
            out.push(time(command().args(["cp", &format!("copies:/in{run}")]).arg(out_of.join(run.to_string())))?);
        }
        time(command().args(["rm", "-f", "copies"]))?;
        Ok((middle(into), middle(out)))
    };
    let (into, out) = measure(&|| daemon.command())?;
    let docker = peer.map(|peer| measure(&|| peer.command())).transpose()?;
    ratio("cp of 10,000 small files, in", into, docker.map(|(into, _)| into), "ms");
    ratio("cp of 10,000 small files, out", out, docker.map(|(_, out)| out), "ms");
    Ok(())
}

/// Searches a log for what is not in it.
fn search(daemon: &Daemon) -> Result<()> {
    let script = format!("yes 'a line of about sixty characters, as web servers write them' | head -n {LINES}");
    daemon.ok(["run", "-d", "--name", "searched", "--log-opt", "max-size=-1", "busybox", "sh", "-c", &script])?;
    daemon.ok(["wait", "searched"])?;
    let path = daemon.ok(["inspect", "-f", "{{.LogPath}}", "searched"])?;
    let bytes = std::fs::metadata(&path).with_context(|| path.clone())?.len();
    for (name, pattern) in [("a text", "needle in the hay"), ("an expression", "need[a-z]+ [0-9]")] {
        let mut times = Vec::new();
        for _ in 0..COPIES {
            times.push(time(daemon.command().args(["logs", "--grep", pattern, "searched"]))?);
        }
        #[allow(clippy::cast_precision_loss, reason = "a few digits are shown")]
        let speed = bytes as f64 / middle(times) / 1e6;
        println!("logs --grep of {name}: {speed:.2} GB/s over {} MB", bytes / 1_000_000);
    }
    daemon.ok(["rm", "searched"])?;
    Ok(())
}

/// Lists and inspects many containers.
fn lists(daemon: &Daemon, peer: Option<&Peer<'_>>) -> Result<()> {
    let measure = |command: &dyn Fn() -> Command| -> Result<(f64, f64)> {
        let names: Vec<String> = (0..LISTED).map(|index| format!("listed{index}")).collect();
        for name in &names {
            time_at_once(command().args(["create", "--name", name, "busybox", "true"]))?;
        }
        let (mut ps, mut inspect) = (Vec::new(), Vec::new());
        for _ in 0..COPIES {
            ps.push(time(command().args(["ps", "-a"]))?);
            inspect.push(time(command().args(["inspect", "listed7"]))?);
        }
        for names in names.chunks(100) {
            time_at_once(command().arg("rm").args(names))?;
        }
        Ok((middle(ps), middle(inspect)))
    };
    let (ps, inspect) = measure(&|| daemon.command())?;
    let docker = peer.map(|peer| measure(&|| peer.command())).transpose()?;
    ratio("ps -a of 500 containers", ps, docker.map(|(ps, _)| ps), "ms");
    ratio("inspect", inspect, docker.map(|(_, inspect)| inspect), "ms");
    Ok(())
}

fn time_at_once(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// What the engine spends on the figures of many containers.
fn stats(daemon: &Daemon) -> Result<()> {
    for index in 0..WATCHED {
        daemon.ok(["run", "-d", "--name", &format!("watched{index}"), "--network", "none", "busybox", "sleep", "100000"])?;
    }
    let mut watcher = daemon.command().arg("stats").stdout(Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_secs(2));
    let (before, begin) = (ticks(daemon.pid())?, Instant::now());
    std::thread::sleep(WATCH);
    let (after, took) = (ticks(daemon.pid())?, begin.elapsed().as_secs_f64());
    watcher.kill()?;
    watcher.wait()?;
    #[allow(clippy::cast_precision_loss, reason = "a few ticks")]
    let share = (after - before) as f64 / took;
    println!(
        "stats of {WATCHED} containers: the engine takes {share:.1} % of a core, {} KiB RSS",
        field(std::path::Path::new(&format!("/proc/{}/status", daemon.pid())), "VmRSS:")?
    );
    let names: Vec<String> = (0..WATCHED).map(|index| format!("watched{index}")).collect();
    daemon.ok(["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)))?;
    Ok(())
}

/// Processor time of a process in hundredths of a second. **Source:** proc_pid_stat(5), `utime` and `stime`.
fn ticks(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let number = |at: usize| -> Result<u64> { Ok(fields.get(at).context("the line is too short")?.parse()?) };
    Ok(number(11)? + number(12)?)
}
