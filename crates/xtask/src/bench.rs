//! Times teu beside a Docker Engine, in turn, as whole commands a person would type.

mod bare;
pub(crate) mod build;
mod commands;
mod netlink;
pub(crate) mod pull;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use testkit::busybox;
use testkit::daemon::{Daemon, Network};

use crate::{release, setup};

/// Runs of each command that count.
const RUNS: usize = 30;
/// Pause before each run: back-to-back loops hide what an idle kernel costs.
const GAP: Duration = Duration::from_millis(25);
/// Log lines of the log measurement.
const LINES: u32 = 500_000;

pub(crate) fn run(host: Option<&str>) -> Result<()> {
    setup::run()?;
    let teu = release()?;
    let daemon = Daemon::with_busybox(&teu, Network::Host)?;
    let peer = host.map(|host| Peer::new(host, &daemon)).transpose()?;
    println!("{:<34} {:>10} {:>10} {:>8} {:>10} {:>8}", "median of 30, 25 ms apart", "teu", "docker", "ratio", "bare", "to bare");
    let bare = bare::Bare { image: daemon.dir().join("busybox"), folder: daemon.dir().to_owned(), bridge: daemon.bridge().to_owned() };
    let runs: [(&str, &[&str], Option<bool>); 6] = [
        ("run --rm IMAGE true", &["run", "--rm", "busybox", "true"], Some(true)),
        ("run --rm --network none", &["run", "--rm", "--network", "none", "busybox", "true"], Some(false)),
        ("run --rm --network host", &["run", "--rm", "--network", "host", "busybox", "true"], None),
        ("run --rm -p 1 port", &["run", "--rm", "-p", "19000:80", "busybox", "true"], None),
        ("run --rm -p 20 ports", &["run", "--rm", "-p", "19000-19019:80-99", "busybox", "true"], None),
        ("run --rm -p 1000 ports", &["run", "--rm", "-p", "19000-19999:8000-8999", "busybox", "true"], None),
    ];
    for (name, args, network) in runs {
        let mut calls = || network.map(|network| bare.run(network)).transpose();
        row(name, &daemon, peer.as_ref(), args, &mut calls)?;
    }
    let idle = ["run", "-d", "--name", "idle", "busybox", "sleep", "100000"];
    daemon.ok(idle)?;
    if let Some(peer) = &peer {
        peer.ok(&idle)?;
    }
    row("exec C true", &daemon, peer.as_ref(), &["exec", "idle", "true"], &mut || Ok(None))?;
    row("ps", &daemon, peer.as_ref(), &["ps"], &mut || Ok(None))?;
    runtimes(&daemon, &teu)?;
    logs(&daemon, peer.as_ref())?;
    commands::run(&daemon, peer.as_ref())?;
    many(&daemon)?;
    memory(&daemon)?;
    archives(&daemon, peer.as_ref())?;
    pull::run(&daemon, peer.as_ref())?;
    if let Some(peer) = &peer {
        peer.ok(&["rm", "-f", "idle"])?;
    }
    Ok(())
}

/// A Docker Engine to compare with.
struct Peer<'a> {
    host: &'a str,
}

impl<'a> Peer<'a> {
    fn new(host: &'a str, daemon: &Daemon) -> Result<Self> {
        let peer = Self { host };
        let tar = busybox::archive(daemon.dir())?;
        peer.ok(&["import", &tar.to_string_lossy(), "busybox:latest"])?;
        Ok(peer)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host).stdin(Stdio::null());
        command
    }

    fn ok(&self, args: &[&str]) -> Result<()> {
        let output = self.command().args(args).output()?;
        ensure!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// One line of the table: both engines run the same words in turn, with the bare system calls where there are such.
fn row(name: &str, daemon: &Daemon, peer: Option<&Peer<'_>>, args: &[&str], bare: &mut dyn FnMut() -> Result<Option<f64>>) -> Result<()> {
    let (mut own, mut theirs, mut least) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let ours = time(daemon.command().args(args))?;
        let docker = peer.map(|peer| time(peer.command().args(args))).transpose()?;
        std::thread::sleep(GAP);
        let calls = bare()?;
        if run > 0 {
            own.push(ours);
            theirs.extend(docker);
            least.extend(calls);
        }
    }
    let own = middle(own);
    let middle = |values: Vec<f64>| (!values.is_empty()).then(|| middle(values));
    let show = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1} ms"));
    let times = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}×"));
    let (docker, bare) = (middle(theirs), middle(least));
    let ratios = [docker.map(|docker| docker / own), bare.map(|bare| own / bare)].map(times);
    println!("{name:<34} {:>10} {:>10} {:>8} {:>10} {:>8}", show(Some(own)), show(docker), ratios[0], show(bare), ratios[1]);
    Ok(())
}

/// Times the OCI runtime alone beside those that are installed: `run` of one bundle, without a network.
fn runtimes(daemon: &Daemon, teu: &Path) -> Result<()> {
    let bundle = daemon.dir().join("bundle");
    std::fs::create_dir_all(bundle.join("rootfs"))?;
    let status = Command::new("cp").arg("-a").arg(daemon.dir().join("busybox/.")).arg(bundle.join("rootfs")).status()?;
    ensure!(status.success(), "cannot copy the image: {status}");
    let spec = Command::new(teu).args(["oci", "spec"]).current_dir(&bundle).status()?;
    ensure!(spec.success(), "teu oci spec: {spec}");
    let path = bundle.join("config.json");
    let text = std::fs::read_to_string(&path)?;
    std::fs::write(&path, text.replace("\"terminal\": true", "\"terminal\": false").replace("\"sh\"", "\"true\""))?;
    let candidates: [(&str, &Path, &[&str]); 3] =
        [("teu oci run", teu, &["oci"]), ("crun run", Path::new("crun"), &[]), ("runc run", Path::new("runc"), &[])];
    for (name, program, first) in candidates {
        let mut times = Vec::new();
        for run in 0..=RUNS {
            let mut command = Command::new(program);
            command.args(first).arg("run").arg(format!("bench-{}-{run}", std::process::id())).current_dir(&bundle);
            match time(&mut command) {
                Ok(took) if run > 0 => times.push(took),
                Ok(_) => {}
                // Not installed, or not for this machine's cgroups.
                Err(error) if name != "teu oci run" => {
                    println!("{name}: left out, {error:#}");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        if !times.is_empty() {
            println!("{name:<34} {:>10}", format!("{:.1} ms", middle(times)));
        }
    }
    Ok(())
}

/// Milliseconds a whole command takes, after a pause.
fn time(command: &mut Command) -> Result<f64> {
    std::thread::sleep(GAP);
    let begin = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let took = begin.elapsed().as_secs_f64() * 1e3;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(took)
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds to save and to load an image of 500 MB in five layers, whole and when it is there already.
fn archives(daemon: &Daemon, peer: Option<&Peer<'_>>) -> Result<()> {
    let path = |name: &str| daemon.dir().join(name).display().to_string();
    let (ours, theirs) = (path("bench-teu.tar"), path("bench-docker.tar"));
    // Half of each file is random and half is text, like programs and what lies beside them.
    for index in 0..5 {
        let (name, image) = (format!("bench{index}"), format!("bench:{index}"));
        let script = format!(
            "mkdir /layer{index}; cd /layer{index}; for n in $(seq 100); do head -c 500000 /dev/urandom >$n; yes line $n | head -c 500000 >>$n; done"
        );
        let from = if index == 0 { "busybox".to_owned() } else { format!("bench:{}", index - 1) };
        daemon.ok(["run", "--name", &name, "--network", "none", &from, "sh", "-c", &script])?;
        daemon.ok(["commit", &name, &image])?;
        daemon.ok(["rm", &name])?;
    }
    let seconds = |command: &mut Command| time(command).map(|milliseconds| milliseconds / 1e3);
    let save = seconds(daemon.command().args(["save", "-o", &ours, "bench:4"]))?;
    let again = seconds(daemon.command().args(["load", "-i", &ours]))?;
    daemon.ok(["rmi", "bench:0", "bench:1", "bench:2", "bench:3", "bench:4"])?;
    let load = seconds(daemon.command().args(["load", "-i", &ours]))?;
    let docker = peer
        .map(|peer| -> Result<[f64; 3]> {
            let load = seconds(peer.command().args(["load", "-i", &ours]))?;
            let again = seconds(peer.command().args(["load", "-i", &ours]))?;
            let save = seconds(peer.command().args(["save", "-o", &theirs, "bench:4"]))?;
            peer.ok(&["rmi", "bench:4"])?;
            Ok([save, load, again])
        })
        .transpose()?;
    for (index, (name, own)) in
        [("save of 500 MB", save), ("load of 500 MB", load), ("load of what is there", again)].into_iter().enumerate()
    {
        let theirs = docker.map(|times| times[index]);
        println!(
            "{name}: teu {own:.2} s, docker {}, ratio {}",
            theirs.map_or("–".into(), |value| format!("{value:.2} s")),
            theirs.map_or("–".into(), |value| format!("{:.1}×", value / own))
        );
    }
    Ok(())
}

/// Log lines a second, from the program to the file.
fn logs(daemon: &Daemon, peer: Option<&Peer<'_>>) -> Result<()> {
    let script = format!("yes 'a line of about sixty characters, as web servers write them' | head -n {LINES}");
    let args = ["run", "--name", "lines", "busybox", "sh", "-c", &script];
    let detached: Vec<&str> = ["run", "-d"].into_iter().chain(args[1..].iter().copied()).collect();
    let wait = |command: &mut dyn FnMut() -> Command| -> Result<f64> {
        let begin = Instant::now();
        time(command().args(&detached))?;
        time(command().args(["wait", "lines"]))?;
        let seconds = begin.elapsed().as_secs_f64();
        let count = command().args(["logs", "--tail", "1", "lines"]).output()?;
        ensure!(!count.stdout.is_empty(), "the log is empty");
        time(command().args(["rm", "-f", "lines"]))?;
        Ok(f64::from(LINES) / seconds)
    };
    let own = wait(&mut || daemon.command())?;
    let docker = peer.map(|peer| wait(&mut || peer.command())).transpose()?;
    println!(
        "log lines a second: teu {own:.0}, docker {}, ratio {}",
        docker.map_or("–".into(), |value| format!("{value:.0}")),
        docker.map_or("–".into(), |value| format!("{:.1}×", own / value))
    );
    Ok(())
}

/// Two hundred containers, one after another and two at a time; the last must start as fast as the first.
fn many(daemon: &Daemon) -> Result<()> {
    let mut times = Vec::new();
    for index in 0..200 {
        let name = format!("many{index}");
        let begin = Instant::now();
        daemon.ok(["run", "-d", "--name", &name, "busybox", "sleep", "100000"])?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let first = middle(times[..20].to_vec());
    let last = middle(times[180..].to_vec());
    println!("200 × run -d, one after another: first 20 {first:.1} ms, last 20 {last:.1} ms each");
    let overhead = supervisors(daemon)?;
    println!("supervisors of 201 containers: {overhead:.0} KiB PSS each; engine {} KiB RSS", rss(daemon.pid())?);
    let names: Vec<String> = (0..200).map(|index| format!("many{index}")).collect();
    let begin = Instant::now();
    daemon.ok(["rm", "-f"].into_iter().chain(names.iter().map(String::as_str)))?;
    println!("rm -f of 200 running containers: {:.0} ms", begin.elapsed().as_secs_f64() * 1e3);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..2).map(|_| scope.spawn(|| (0..100).try_for_each(|_| daemon.ok(["run", "--rm", "busybox", "true"]).map(|_| ())))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("the worker does not panic"))
    })?;
    println!("200 × run --rm, two at a time: {:.1} ms each", begin.elapsed().as_secs_f64() * 1e3 / 200.0);
    Ok(())
}

fn memory(daemon: &Daemon) -> Result<()> {
    println!("engine after all that: {} KiB RSS", rss(daemon.pid())?);
    Ok(())
}

/// Resident KiB of a process.
fn rss(pid: u32) -> Result<u64> {
    field(Path::new(&format!("/proc/{pid}/status")), "VmRSS:")
}

/// Mean PSS of the supervisors, in KiB: processes of that name with the engine's environment.
fn supervisors(daemon: &Daemon) -> Result<f64> {
    let dir = daemon.dir().to_string_lossy().into_owned();
    let (mut sum, mut count) = (0, 0u32);
    for process in std::fs::read_dir("/proc")?.flatten() {
        let read = |file: &str| String::from_utf8_lossy(&std::fs::read(process.path().join(file)).unwrap_or_default()).into_owned();
        if read("comm").trim() != "teu-supervisor" || !read("environ").contains(&dir) {
            continue;
        }
        sum += field(&process.path().join("smaps_rollup"), "Pss:").unwrap_or(0);
        count += 1;
    }
    #[allow(clippy::cast_precision_loss, reason = "kibibytes of a few processes fit a double exactly")]
    let sum = sum as f64;
    Ok(sum / f64::from(count.max(1)))
}

fn field(path: &Path, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{} has no {name}", path.display()))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
