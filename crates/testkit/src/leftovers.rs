//! Counts what an engine may have left on the machine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::daemon::Daemon;
use crate::sweep;

/// What is still there, by kind; empty when the machine is clean.
pub type Leftovers = BTreeMap<&'static str, Vec<String>>;

/// Lists mounts, cgroups, supervisors and directories that a running engine without containers should not have.
///
/// Network interfaces that the engine keeps ready are not told from leaked ones here; [`Daemon::stop`] counts them.
///
/// # Errors
/// If the kernel's tables cannot be read.
pub fn count(daemon: &Daemon) -> Result<Leftovers> {
    let mut found = Leftovers::new();
    // The engine and its children are no leftovers, nor is the process that the spawner has ready for the next container.
    let engines = |pid: i32| pid.unsigned_abs() == daemon.pid() || parent(pid) == Some(daemon.pid());
    let ready = |pid: i32| {
        let spawner = parent(pid).and_then(|pid| i32::try_from(pid).ok());
        spawner.is_some_and(|spawner| parent(spawner) == Some(daemon.pid())) && name(pid) == "teu-spawner"
    };
    let own = |pid: i32| engines(pid) || ready(pid);
    machine(daemon.dir(), daemon.bridge(), &own, &mut found)?;
    Ok(found)
}

/// Lists all that an engine which has ended may have left; `links` says whether it shared the caller's network namespace.
///
/// # Errors
/// If the kernel's tables cannot be read.
pub(crate) fn after(dir: &Path, links: bool, bridge: &str) -> Result<Leftovers> {
    let mut found = Leftovers::new();
    // The spawner and the process it has ready end when they see that the engine has.
    for pid in sweep::processes(dir).into_iter().filter(|pid| name(*pid) == "teu-spawner") {
        await_end(pid);
    }
    machine(dir, bridge, &|_| false, &mut found)?;
    if links {
        let list = std::process::Command::new("ip").args(["-o", "link"]).output()?.stdout;
        for line in String::from_utf8(list)?
            .lines()
            .filter(|line| line.contains(&format!(" {bridge}:")) || line.contains(&format!("master {bridge} ")))
        {
            found.entry("links").or_default().push(line.to_owned());
        }
        let tables = std::process::Command::new("nft").args(["list", "tables"]).output()?.stdout;
        for line in String::from_utf8(tables)?.lines().filter(|line| line.contains(bridge)) {
            found.entry("rules").or_default().push(line.to_owned());
        }
    }
    Ok(found)
}

fn machine(dir: &Path, bridge: &str, own: &dyn Fn(i32) -> bool, found: &mut Leftovers) -> Result<()> {
    let mut add = |kind, item: String| found.entry(kind).or_default().push(item);
    let text = dir.to_string_lossy().into_owned();
    for line in std::fs::read_to_string("/proc/self/mountinfo")?.lines().filter(|line| line.contains(&text)) {
        // The small disk of the engine itself.
        if line.split(' ').nth(4) == Some(&format!("{text}/root")) {
            continue;
        }
        add("mounts", line.to_owned());
    }
    for parent in sweep::cgroup_parents(bridge) {
        for entry in std::fs::read_dir(parent)?.flatten().filter(|entry| entry.path().is_dir()) {
            add("cgroups", entry.path().display().to_string());
        }
    }
    for pid in sweep::processes(dir).into_iter().filter(|pid| !own(*pid)) {
        add("supervisors", format!("{pid} {}", name(pid)));
    }
    for sub in ["run/containers", "run/endpoints", "root/containers", "root/records", "root/snapshots", "root/trash", "root/staging"] {
        for entry in std::fs::read_dir(dir.join(sub)).into_iter().flatten().flatten() {
            add("directories", entry.path().display().to_string());
        }
    }
    Ok(())
}

/// As [`count`], after giving what is torn down off the path a bounded time.
///
/// # Errors
/// As [`count`].
pub fn settled(daemon: &Daemon) -> Result<Leftovers> {
    for _ in 0..50 {
        if count(daemon)?.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    count(daemon)
}

/// Waits for the end of a process, but not for ever.
fn await_end(pid: i32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let pidfd =
        rustix::process::Pid::from_raw(pid).and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    if let Some(pidfd) = pidfd {
        // Who stays is counted.
        let _ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&Timespec { tv_sec: 5, tv_nsec: 0 }));
    }
}

fn name(pid: i32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn parent(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
