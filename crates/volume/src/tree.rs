//! Detached mounts of paths inside volumes and images: what was checked cannot be exchanged before it is mounted.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags};

/// Opens a path as a place, whatever it is.
///
/// # Errors
/// As open(2).
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a path below a directory without following any link.
///
/// **Source:** moby, `volume/safepath/join_linux.go`, `safeOpenFd`.
///
/// # Errors
/// As openat2(2): `EXDEV` for one that leads out, `ELOOP` for a link.
pub fn beneath(directory: &OwnedFd, subpath: &str) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(directory, subpath, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Makes a detached copy of the mount at an open path.
///
/// # Errors
/// As open_tree(2).
pub fn copy(path: &OwnedFd, recursive: bool) -> io::Result<OwnedFd> {
    let recursive = if recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | recursive;
    Ok(rustix::mount::open_tree(path, "", flags)?)
}

/// Makes a detached mount of a part of a detached mount.
///
/// Kernels before 6.15 copy only mounts of the caller's own namespace, so a thread with one of its own attaches the mount at
/// `place` first; the host never sees that, and it ends with the thread.
///
/// # Errors
/// As the calls.
pub fn part(root: &OwnedFd, subpath: &str, place: &Path) -> io::Result<OwnedFd> {
    std::thread::scope(|scope| {
        let work = scope.spawn(|| -> io::Result<OwnedFd> {
            sys::process::unshare(sys::process::NEW_MOUNT)?;
            rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            rustix::mount::move_mount(root.as_fd(), "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            copy(&beneath(&open(place)?, subpath)?, false)
        });
        work.join().unwrap_or_else(|_| Err(io::Error::other("the thread that mounts a part of an image ended")))
    })
}
