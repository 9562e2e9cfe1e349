//! Keeps the program's own file from being written through `/proc/PID/exe` of a container (CVE-2019-5736).
//!
//! Until a container's first process executes its program it runs ours, and the program may be `/proc/self/exe` again. So this
//! process first executes itself from a view of its file that cannot be written, whoever opens it: a detached read-only mount,
//! or without the right to make one a sealed copy in memory.
//! **Source:** runc, `libcontainer/dmz`; memfd_create(2), open_tree(2).

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

const OWN: &str = "/proc/self/exe";

/// Tells the executed program where its file lies, which the view of it does not.
const PATH: &str = "TEU_BINARY";

/// Path of this program's file, if it is still there: after an upgrade there is none any more.
#[must_use]
pub fn own_path() -> Option<PathBuf> {
    let running = rustix::fs::stat(OWN).ok()?;
    let told = std::env::var_os(PATH).map(PathBuf::from);
    let candidates = [told, std::fs::read_link(OWN).ok()];
    candidates
        .into_iter()
        .flatten()
        .find(|path| rustix::fs::stat(path).is_ok_and(|found| (found.st_dev, found.st_ino) == (running.st_dev, running.st_ino)))
}

/// Executes this program again from a protected view of its file, unless it runs from one; returns when it does.
///
/// To be called first in `main`: nothing of the process survives.
///
/// # Errors
/// If neither view can be made or executed.
pub fn own_file() -> io::Result<()> {
    if is_protected()? {
        return Ok(());
    }
    let view = read_only_mount().or_else(|_| sealed_copy())?;
    let strings = |list: Vec<OsString>| -> Vec<CString> {
        // What came in by exec holds no zero bytes.
        list.into_iter().filter_map(|item| CString::new(item.into_vec()).ok()).collect()
    };
    let args = strings(std::env::args_os().collect());
    let own = (PATH.into(), std::fs::read_link(OWN)?.into_os_string());
    let others = std::env::vars_os().filter(|(name, _)| name != PATH);
    let env = others.chain([own]).map(|(mut entry, value): (OsString, _)| {
        entry.push("=");
        entry.push(value);
        entry
    });
    match sys::process::execute_file(view.as_fd(), &args, &strings(env.collect()))? {}
}

fn is_protected() -> io::Result<bool> {
    let own = rustix::fs::open(OWN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let read_only = rustix::fs::fstatvfs(&own)?.f_flag.contains(StatVfsMountFlags::RDONLY);
    let sealed = rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SealFlags::WRITE));
    Ok(read_only || sealed)
}

fn read_only_mount() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let view = open_tree(CWD, OWN, flags)?;
    let attributes = sys::mount::Attributes { set: sys::mount::READ_ONLY, ..Default::default() };
    sys::mount::set_attributes(view.as_fd(), false, attributes)?;
    Ok(view)
}

fn sealed_copy() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut copy = File::from(rustix::fs::memfd_create("teu", flags)?);
    io::copy(&mut File::open(OWN)?, &mut copy)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}
