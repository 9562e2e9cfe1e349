//! The files of a container as it sees them, for one thread of the engine.
//!
//! The thread gets a mount namespace of its own, which nobody else sees and which ends with it: of
//! a running container a copy of its own mounts, of another one its layers and mounts put together
//! anew. The kernel's own file systems (/proc, /sys, /dev and what lies in them) are taken off:
//! through /proc a copy could reach the host.
//! **Source:** mount_namespaces(7); moby, `daemon/containerfs_linux.go`.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, open, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount, open_tree, unmount};

/// Where the files are.
#[derive(Debug)]
pub enum Files {
    /// With this process, whose cgroup's last part is the container's id.
    Running {
        /// The container's first process.
        pid: i32,
        /// The container's id.
        id: String,
    },
    /// In these layers.
    Stopped(Layers),
}

/// The layers and mounts of a container that does not run.
#[derive(Debug)]
pub struct Layers {
    /// All layers on top of each other: a detached mount.
    pub root: OwnedFd,
    /// Binds and volumes.
    pub binds: Vec<Bind>,
    /// A directory of the host over which the root is mounted, for this thread alone.
    pub place: PathBuf,
}

/// A directory or file of the host in a container.
#[derive(Clone, Debug)]
pub struct Bind {
    /// Path on the host.
    pub source: PathBuf,
    /// Path in the container.
    pub destination: PathBuf,
    /// Whether it can be written.
    pub writable: bool,
}

/// Files that cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The process has ended meanwhile.
    #[error("the container has ended")]
    Ended,
    /// The kernel refused.
    #[error("cannot {act}")]
    Kernel {
        /// What was tried.
        act: String,
        /// Why not.
        source: io::Error,
    },
}

type Outcome<T> = Result<T, FilesError>;

fn failed<E: Into<io::Error>>(act: impl Into<String>) -> impl FnOnce(E) -> FilesError {
    let act = act.into();
    move |source| FilesError::Kernel { act, source: source.into() }
}

/// Kernel file systems that no copy may touch.
const KERNEL: [&str; 15] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "tracefs",
    "debugfs",
    "securityfs",
    "bpf",
    "configfs",
    "efivarfs",
    "pstore",
    "fusectl",
];

impl Files {
    /// Gives this thread a mount namespace of its own and opens the container's root in it. The thread must end
    /// soon and must not use paths of the host any more.
    ///
    /// # Errors
    /// [`FilesError`]; the thread must end then, too.
    pub fn enter(&self) -> Outcome<OwnedFd> {
        match self {
            Self::Running { pid, id } => enter_running(*pid, id),
            Self::Stopped(layers) => layers.enter(),
        }
    }
}

fn enter_running(pid: i32, id: &str) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let proc = open("/proc", flags, Mode::empty()).map_err(failed("open /proc"))?;
    // A descriptor of the process's directory never means another process of the same number.
    let Ok(process) = openat(&proc, pid.to_string(), flags, Mode::empty()) else { return Err(FilesError::Ended) };
    let read = |folder: &OwnedFd, name: &str| -> io::Result<String> {
        io::read_to_string(std::fs::File::from(openat(folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
    };
    if !read(&process, "cgroup").is_ok_and(|text| text.contains(id)) {
        return Err(FilesError::Ended);
    }
    let Ok(namespace) = openat(&process, "ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return Err(FilesError::Ended);
    };
    sys::process::unshare(sys::process::OWN_DIRECTORY).map_err(failed("leave the shared directory"))?;
    sys::process::setns(namespace.as_fd(), sys::process::NEW_MOUNT).map_err(failed("join the container's mounts"))?;
    sys::process::unshare(sys::process::NEW_MOUNT).map_err(failed("copy the container's mounts"))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(failed("make the mounts private"))?;
    let list = || read(&proc, "thread-self/mountinfo").map_err(failed("read the container's mounts"));
    for (path, kind) in mounts(&list()?) {
        if KERNEL.contains(&kind.as_str()) || path == Path::new("/dev") {
            // What lay below goes with it, and is not found again.
            let _ = unmount(&path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        }
    }
    if let Some((path, kind)) = mounts(&list()?).into_iter().find(|(_, kind)| KERNEL.contains(&kind.as_str())) {
        return Err(failed(format!("take {kind} off {}", path.display()))(Errno::BUSY));
    }
    open("/", flags, Mode::empty()).map_err(failed("open the container's root"))
}

/// Places and kinds of mounts. **Source:** proc_pid_mountinfo(5).
fn mounts(text: &str) -> Vec<(PathBuf, String)> {
    let parse = |line: &str| {
        let place = line.split(' ').nth(4)?;
        let kind = line.split(" - ").nth(1)?.split(' ').next()?;
        Some((unescape(place), kind.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

/// Undoes `\040` and the like.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let text: std::ffi::OsString = std::os::unix::ffi::OsStringExt::from_vec(bytes);
    text.into()
}

impl Layers {
    fn enter(&self) -> Outcome<OwnedFd> {
        sys::process::unshare(sys::process::NEW_MOUNT).map_err(failed("make a mount namespace"))?;
        // Nothing that is mounted from here on reaches the host.
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(failed("make the mounts private"))?;
        let mut binds: Vec<&Bind> = self.binds.iter().collect();
        binds.sort_by_key(|bind| bind.destination.components().count());
        let what = |bind: &Bind| format!("mount {} at {}", bind.source.display(), bind.destination.display());
        // All are opened before the root is mounted over a directory of the host.
        let open = |bind: &Bind| detached(bind).map_err(failed(what(bind)));
        let trees = binds.iter().map(|bind| open(bind)).collect::<Outcome<Vec<_>>>()?;
        let root = self.root.try_clone().map_err(failed("keep the container's layers"))?;
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        move_mount(&root, "", CWD, &self.place, flags).map_err(failed(format!("mount over {}", self.place.display())))?;
        for (bind, tree) in binds.into_iter().zip(trees) {
            attach(&root, bind, &tree).map_err(failed(what(bind)))?;
        }
        Ok(root)
    }
}

fn detached(bind: &Bind) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &bind.source, flags)?;
    if !bind.writable {
        let attributes = sys::mount::Attributes { set: sys::mount::READ_ONLY, ..Default::default() };
        sys::mount::set_attributes(tree.as_fd(), true, attributes)?;
    }
    Ok(tree)
}

fn attach(root: &OwnedFd, bind: &Bind, tree: &OwnedFd) -> io::Result<()> {
    let folder = FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode) == FileType::Directory;
    let target = ensure(root, &bind.destination, folder)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, "", &target, "", flags)?)
}

/// Opens a path as the container would see it.
fn resolve(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    loop {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Opens the place of a mount and makes what is missing, as a start of the container would.
fn ensure(root: &OwnedFd, path: &Path, folder: bool) -> io::Result<OwnedFd> {
    let parts: Vec<_> = path.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let mut walked = PathBuf::from("/");
    let mut here = resolve(root, &walked)?;
    for (index, part) in parts.iter().enumerate() {
        walked.push(part);
        here = match resolve(root, &walked) {
            Err(Errno::NOENT) => {
                if !folder && index + 1 == parts.len() {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
                    drop(openat(&here, part.as_os_str(), flags, Mode::from_raw_mode(0o644))?);
                } else {
                    mkdirat(&here, part.as_os_str(), Mode::from_raw_mode(0o755))?;
                }
                resolve(root, &walked)?
            }
            result => result?,
        };
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::{Path, mounts};

    #[test]
    fn places_of_mounts_are_read() {
        let text = "36 35 98:0 /mnt1 /a\\040b rw,noatime master:1 - ext3 /dev/root rw\n37 36 0:5 / /proc rw - proc proc rw\n";
        let found = mounts(text);
        assert_eq!(found[0], (Path::new("/a b").to_owned(), "ext3".to_owned()));
        assert_eq!(found[1], (Path::new("/proc").to_owned(), "proc".to_owned()));
    }
}
