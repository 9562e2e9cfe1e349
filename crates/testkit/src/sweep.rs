//! Clears away what an engine for tests and its containers have on the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Result;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

/// Where the folders of engines for tests are.
pub(crate) const PARENT: &str = "/var/tmp";
/// How the names of these folders begin.
pub(crate) const PREFIX: &str = "teu-";
/// File in such a folder that the test's process holds locked as long as it lives.
const OWNER: &str = "owner";

/// Marks a folder as in use by this process.
///
/// # Errors
/// As open(2) and flock(2).
pub(crate) fn own(dir: &Path) -> Result<std::fs::File> {
    let file = std::fs::File::create(dir.join(OWNER))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Clears what test runs that were killed have left.
pub(crate) fn stale() {
    for entry in std::fs::read_dir(PARENT).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(suffix) = name.strip_prefix(PREFIX) else { continue };
        let Ok(owner) = std::fs::OpenOptions::new().write(true).open(entry.path().join(OWNER)) else { continue };
        // Held while it is cleared, so that two test runs do not meet.
        if flock(&owner, FlockOperation::NonBlockingLockExclusive).is_ok() {
            clear(&entry.path(), &format!("{PREFIX}{}", suffix.to_lowercase()));
            // What cannot be deleted is found by the next run.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends the engine in `dir`, its supervisors and its containers; removes its control groups, links and rules.
pub(crate) fn clear(dir: &Path, bridge: &str) {
    for pid in processes(dir) {
        kill(pid);
    }
    for parent in cgroup_parents(bridge) {
        for _ in 0..100 {
            empty(&parent);
            if !parent.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    network(bridge);
    let root = dir.join("root");
    // The data of an engine on a small disk.
    while is_mount(&root) && Command::new("umount").arg(&root).status().is_ok_and(|status| status.success()) {}
}

fn is_mount(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().any(|line| line.split(' ').nth(4) == path.to_str())
}

/// Deletes the bridge and the rules.
pub(crate) fn network(bridge: &str) {
    let rules = format!("delete table inet teu-{bridge}");
    let admin = format!("delete table inet teu-{bridge}-admin");
    for (program, args) in [("ip", vec!["link", "delete", bridge]), ("nft", vec![rules.as_str()]), ("nft", vec![admin.as_str()])] {
        // None of them need be there.
        let _ = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// The engine in `dir`, its spawner and its supervisors, which keep its environment.
pub(crate) fn processes(dir: &Path) -> Vec<i32> {
    let socket = format!("NOTIFY_SOCKET={}/", dir.display());
    let mut found = Vec::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(socket.as_bytes())) {
            found.push(pid);
        }
    }
    found
}

/// The control groups of an engine's containers in every hierarchy.
pub(crate) fn cgroup_parents(bridge: &str) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let each = std::fs::read_dir(root).into_iter().flatten().flatten().map(|hierarchy| hierarchy.path().join(bridge));
    each.chain([root.join(bridge)]).filter(|path| path.exists()).collect()
}

/// Kills what is in a tree of control groups and removes it, from the leaves.
fn empty(path: &Path) {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            empty(&entry.path());
        }
    }
    // A frozen process does not die.
    let _ = std::fs::write(path.join("freezer.state"), "THAWED");
    for line in std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Ok(pid) = line.parse() {
            kill(pid);
        }
    }
    // Still busy: the caller tries again.
    let _ = std::fs::remove_dir(path);
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself.
        let _ = kill_process(pid, Signal::KILL);
    }
}
