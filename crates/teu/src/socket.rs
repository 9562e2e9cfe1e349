//! The engine's socket: inherited from the service manager, or made.

use anyhow::Context;
use fs_err as fs;
use rustix::fs::{Gid, Uid};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

/// Makes the socket, for root and the group `docker`, in place of a stale one.
///
/// The caller holds the lock of the run directory, so no other engine listens there.
///
/// # Errors
/// The path is taken by something that is no socket, or cannot be written.
pub(crate) fn listen(path: &Path) -> anyhow::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    if let Ok(found) = fs::symlink_metadata(path) {
        anyhow::ensure!(found.file_type().is_socket(), "cannot listen on `{}`: something else is there", path.display());
        fs::remove_file(path)?;
    }
    // Nobody may connect before the owner is right: root makes it private first.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.with_context(|| format!("cannot listen on `{}`", path.display()))?;
    if let Some(gid) = group_id("docker") {
        // Without the right to give it away the socket stays private.
        let _ = rustix::fs::chown(path, None::<Uid>, Some(Gid::from_raw(gid)));
    }
    fs::set_permissions(path, PermissionsExt::from_mode(0o660))?;
    Ok(listener)
}

/// Takes the first socket that the service manager passes, if it passes one to this process.
///
/// # Errors
/// The variables name a descriptor that is not there.
/// **Source:** sd_listen_fds(3), pidfd_getfd(2).
pub(crate) fn inherited() -> anyhow::Result<Option<UnixListener>> {
    /// Where passed descriptors begin.
    const LISTEN_FDS_START: i32 = 3;
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) || number("LISTEN_FDS").unwrap_or(0) == 0 {
        return Ok(None);
    }
    let own = rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())?;
    let socket = rustix::process::pidfd_getfd(own, LISTEN_FDS_START, rustix::process::PidfdGetfdFlags::empty())
        .context("cannot take the socket of the service manager")?;
    Ok(Some(UnixListener::from(socket)))
}

/// Finds a group's number in `/etc/group`.
/// **Source:** group(5).
fn group_id(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

/// Tells the service manager how the engine is, if it asked.
/// **Source:** sd_notify(3).
pub(crate) fn notify(state: &str) {
    let Some(target) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let Ok(socket) = UnixDatagram::unbound() else {
        return;
    };
    // There is nobody to tell that nobody could be told.
    let _ = match target.to_str().and_then(|text| text.strip_prefix('@')) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt;
            std::os::unix::net::SocketAddr::from_abstract_name(name).and_then(|address| socket.send_to_addr(state.as_bytes(), &address))
        }
        None => socket.send_to(state.as_bytes(), &target),
    };
}
