//! The container's terminal, from its own devpts instance and never by name (CVE-2025-52565).

use std::os::fd::OwnedFd;
use std::path::Path;

use oci::runtime::ConsoleSize;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::path::{self, Kind};
use super::{Failure, Outcome, Trying as _, mount};

/// Both ends of a pseudo-terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    pub(crate) master: OwnedFd,
    slave: OwnedFd,
}

/// Opens a terminal; with `console` it is also bound to /dev/console.
pub(crate) fn open(root: &OwnedFd, size: Option<&ConsoleSize>, console: bool) -> Outcome<Terminal> {
    let what = || "opening a terminal".to_owned();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat2(
        root,
        "dev/pts/ptmx",
        flags,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
    .trying(what)?;
    // 0x1cd1: the file system is devpts, statfs(2).
    let kind = rustix::fs::fstatfs(&master).trying(what)?.f_type;
    if u64::try_from(kind).ok() != Some(0x1cd1) {
        return Err(Failure(format!("{}: /dev/pts is no devpts", what())));
    }
    unlockpt(&master).trying(what)?;
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).trying(what)?;
    if let Some(size) = size {
        let cells = |cells: u64| u16::try_from(cells).unwrap_or(u16::MAX);
        let size = Winsize { ws_row: cells(size.height), ws_col: cells(size.width), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).trying(what)?;
    }
    if console {
        let tree = open_tree(&slave, "", OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH)
            .trying(what)?;
        path::ensure(root, Path::new("/dev/console"), Kind::File)?;
        let target = path::resolve_plain(root, Path::new("/dev/console")).trying(|| "/dev/console must not be a link".into())?;
        mount::place(&tree, &target)?;
    }
    Ok(Terminal { master, slave })
}

/// Makes it the controlling terminal and the three streams of the calling session leader.
pub(crate) fn take(terminal: &Terminal) -> Outcome<()> {
    use std::os::fd::AsFd as _;
    rustix::process::ioctl_tiocsctty(&terminal.slave).trying(|| "taking the terminal".into())?;
    for target in 0..3 {
        sys::process::redirect(terminal.slave.as_fd(), target).trying(|| "redirecting to the terminal".into())?;
    }
    Ok(())
}
