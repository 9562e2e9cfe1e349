//! The bare system calls of a container's start, made by this process: what no engine can go below.
//!
//! Namespaces, control groups, an overlay root, the mounts, devices, masked and read-only paths of a default container, with a pair
//! of links at a bridge where a network is asked for; then `busybox true`, its end, and everything taken away again. The filter of
//! system calls and the capabilities are left out.

use std::ffi::CString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{CWD, FileType, Mode, OFlags, makedev, mknodat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::process::{NEW_CGROUP, NEW_IPC, NEW_MOUNT, NEW_NETWORK, NEW_PID, NEW_UTS, Side};

use super::netlink;

/// The controllers of v1 that every container joins.
const CONTROLLERS: [&str; 5] = ["pids", "freezer", "memory", "cpuacct", "blkio"];
const MASKED: [&str; 6] = ["proc/kcore", "proc/keys", "proc/latency_stats", "proc/timer_list", "proc/sched_debug", "proc/interrupts"];
const MASKED_FOLDERS: [&str; 5] = ["proc/acpi", "proc/asound", "proc/scsi", "sys/firmware", "sys/devices/virtual/powercap"];
const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];
const NODES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Where the bare containers live.
pub(super) struct Bare {
    /// A root file system with busybox.
    pub(super) image: PathBuf,
    /// A folder to work in.
    pub(super) folder: PathBuf,
    /// A bridge with an address.
    pub(super) bridge: String,
}

impl Bare {
    /// Starts one, with or without a network, and returns the milliseconds from nothing to nothing.
    pub(super) fn run(&self, network: bool) -> Result<f64> {
        let begin = Instant::now();
        let groups = groups();
        for group in &groups {
            fs::create_dir_all(group)?;
        }
        for group in groups.iter().filter(|group| group.join("pids.max").exists()) {
            fs::write(group.join("pids.max"), "2048")?;
        }
        let (upper, work) = (self.folder.join("upper"), self.folder.join("work"));
        fs::create_dir_all(&upper)?;
        fs::create_dir_all(&work)?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let options =
            [("lowerdir", Some(text(&self.image))), ("upperdir", Some(text(&upper))), ("workdir", Some(text(&work))), ("volatile", None)];
        let root = make("overlay", &options)?;
        let (mut gate, mut opened) = std::io::pipe()?;
        let unified = is_unified();
        let into = if unified { Some(folder(&groups[0])?) } else { None };
        // Only one thread is here: the children that other measurements started are processes.
        match sys::process::clone3(NEW_MOUNT | NEW_PID | NEW_NETWORK | NEW_IPC | NEW_UTS, into.as_ref().map(OwnedFd::as_fd))? {
            Side::Child => {
                drop(opened);
                let _gone_if_empty = gate.read(&mut [0]);
                let failed = child(&root, &self.folder, network);
                let _nobody_else_hears =
                    writeln!(std::io::stderr(), "bare container: {:#}", failed.err().unwrap_or_else(|| anyhow::anyhow!("it returned")));
                sys::process::exit_now(1)
            }
            Side::Parent { pid, pidfd } => {
                drop(gate);
                let number = pid.as_raw_nonzero().to_string();
                if !unified {
                    for group in &groups {
                        fs::write(group.join("cgroup.procs"), &number)?;
                    }
                }
                if network {
                    let namespace = fs::File::open(format!("/proc/{number}/ns/net"))?;
                    netlink::pair("bare0", &self.bridge, namespace.as_fd())?;
                }
                opened.write_all(&[1])?;
                let ended = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)?.context("it has not ended")?;
                ensure!(ended.exit_status() == Some(0), "the bare container failed: {ended:?}");
            }
        }
        drop(root);
        for group in &groups {
            fs::remove_dir(group)?;
        }
        fs::remove_dir_all(&upper)?;
        fs::remove_dir_all(&work)?;
        Ok(begin.elapsed().as_secs_f64() * 1e3)
    }
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

fn groups() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if is_unified() {
        return vec![root.join("teu-bare")];
    }
    CONTROLLERS.iter().map(|name| root.join(name)).filter(|path| path.is_dir()).map(|path| path.join("teu-bare")).collect()
}

fn folder(path: &Path) -> Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A key, and its value unless it is a flag.
type MountOption = (&'static str, Option<String>);

/// A file system, mounted nowhere yet.
fn make(kind: &str, options: &[MountOption]) -> Result<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).with_context(|| kind.to_owned())?;
    fsconfig_set_string(&fs, "source", kind)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(&fs, *key, value.as_str()),
            None => fsconfig_set_flag(&fs, *key),
        }
        .with_context(|| format!("{kind}: {key}"))?;
    }
    fsconfig_create(&fs).with_context(|| kind.to_owned())?;
    Ok(fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn place(tree: &OwnedFd, path: &Path) -> Result<()> {
    move_mount(tree, "", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).with_context(|| path.display().to_string())
}

/// Sets everything up inside and becomes the program.
fn child(root: &OwnedFd, place_of_root: &Path, network: bool) -> Result<()> {
    sys::process::unshare(NEW_CGROUP)?;
    if network {
        netlink::address("eth0")?;
    }
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)?;
    place(root, place_of_root)?;
    rustix::process::fchdir(root)?;
    let value = |text: &str| Some(text.to_owned());
    let cgroup = if is_unified() { "cgroup2" } else { "tmpfs" };
    let mounts: [(&str, &str, Vec<MountOption>); 7] = [
        ("proc", "proc", vec![]),
        ("dev", "tmpfs", vec![("mode", value("755")), ("size", value("65536k"))]),
        ("dev/pts", "devpts", vec![("newinstance", None), ("ptmxmode", value("0666"))]),
        ("sys", "sysfs", vec![]),
        ("dev/mqueue", "mqueue", vec![]),
        ("dev/shm", "tmpfs", vec![("size", value("67108864"))]),
        ("sys/fs/cgroup", cgroup, vec![]),
    ];
    for (target, kind, options) in &mounts {
        fs::create_dir_all(target)?;
        place(&make(kind, options)?, Path::new(target))?;
    }
    for (name, major, minor) in NODES {
        mknodat(CWD, Path::new("dev").join(name), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    for path in READ_ONLY.iter().filter(|path| Path::new(path).exists()) {
        let tree = open_tree(CWD, *path, flags | OpenTreeFlags::AT_RECURSIVE)?;
        let attributes = sys::mount::Attributes { set: sys::mount::READ_ONLY, ..Default::default() };
        sys::mount::set_attributes(tree.as_fd(), true, attributes)?;
        place(&tree, Path::new(path))?;
    }
    for path in MASKED.iter().filter(|path| Path::new(path).exists()) {
        place(&open_tree(CWD, "dev/null", flags)?, Path::new(path))?;
    }
    for path in MASKED_FOLDERS.iter().filter(|path| Path::new(path).exists()) {
        place(&make("tmpfs", &[("size", value("0"))])?, Path::new(path))?;
    }
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    rustix::system::sethostname(b"bare")?;
    rustix::thread::set_no_new_privs(true)?;
    sys::process::close_on_exec_from(3)?;
    let word = |text: &str| CString::new(text);
    match sys::process::execve(&word("/bin/busybox")?, &[word("busybox")?, word("true")?], &[word("PATH=/bin")?]) {
        Err(error) => bail!("exec: {error}"),
        Ok(never) => match never {},
    }
}

/// The number of a link.
pub(super) fn index(name: &str) -> Result<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{name}/ifindex")).with_context(|| format!("no link {name}"))?;
    Ok(text.trim().parse()?)
}

/// The number of a descriptor, as netlink takes it.
pub(super) fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}
