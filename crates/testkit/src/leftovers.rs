//! Counts what an engine may have left on the machine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::daemon::Daemon;

/// What is still there, by kind; empty when the machine is clean.
pub type Leftovers = BTreeMap<&'static str, Vec<String>>;

/// Interfaces that a running engine keeps ready for the next containers; they go when it stops.
const PREPARED: usize = 2;

/// Lists mounts, cgroups, network interfaces, supervisors and directories that belong to `ids` or to the engine's folder.
///
/// # Errors
/// If the kernel's tables cannot be read.
pub fn count(daemon: &Daemon, ids: &[String]) -> Result<Leftovers> {
    let mut found = Leftovers::new();
    let dir = daemon.dir().to_string_lossy().into_owned();
    let mut add = |kind, item: String| found.entry(kind).or_default().push(item);
    for line in std::fs::read_to_string("/proc/self/mountinfo")?.lines().filter(|line| line.contains(&dir)) {
        add("mounts", line.to_owned());
    }
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
        cgroups(&hierarchy.path().join("teu"), ids, &mut |path| add("cgroups", path));
    }
    let table = daemon.in_network("ip").args(["-o", "link"]).output()?.stdout;
    let table = String::from_utf8(table)?;
    let links: Vec<&str> =
        table.lines().filter(|line| line.contains("veth") && line.contains(&format!("master {}", daemon.bridge()))).collect();
    if links.len() > PREPARED {
        links.iter().for_each(|line| add("links", (*line).to_owned()));
    }
    for process in std::fs::read_dir("/proc")?.flatten() {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let name = process.file_name().to_string_lossy().into_owned();
        // The engine and its spawner, the engine's only child, are no leftovers.
        let own = name == daemon.pid().to_string() || parent(&name) == Some(daemon.pid());
        if command.contains(&dir) && name.bytes().all(|byte| byte.is_ascii_digit()) && !own {
            add("supervisors", format!("{name} {command}"));
        }
    }
    for sub in ["run/containers", "root/containers", "root/snapshots", "root/trash", "root/image/snapshots", "root/image/trash"] {
        for entry in std::fs::read_dir(daemon.dir().join(sub)).into_iter().flatten().flatten() {
            add("directories", entry.path().display().to_string());
        }
    }
    Ok(found)
}

/// As [`count`], after giving what is torn down off the path a bounded time.
///
/// # Errors
/// As [`count`].
pub fn settled(daemon: &Daemon, ids: &[String]) -> Result<Leftovers> {
    for _ in 0..50 {
        if count(daemon, ids)?.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    count(daemon, ids)
}

fn cgroups(path: &Path, ids: &[String], add: &mut dyn FnMut(String)) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if ids.iter().any(|id| name.contains(id.as_str())) {
            add(entry.path().display().to_string());
        }
        if entry.path().is_dir() {
            cgroups(&entry.path(), ids, add);
        }
    }
}

fn parent(pid: &str) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}
