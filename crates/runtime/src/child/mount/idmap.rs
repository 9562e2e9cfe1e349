//! Idmapped mounts: a mount that shows other owners, mount_setattr(2) MOUNT_ATTR_IDMAP.

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use oci::runtime::{IdMapping, Mount, NamespaceType, Spec};
use rustix::fs::{Mode, OFlags, open};
use sys::mount::Attributes;
use sys::process::Side;

use crate::child::{Failure, Outcome, Trying as _, namespace};

/// Gives the detached mount `tree` the mappings of the mount, or those of the container's user namespace.
pub(super) fn apply(spec: &Spec, mount: &Mount, tree: BorrowedFd<'_>, recursive: bool) -> Outcome<()> {
    let linux = spec.linux.as_ref();
    let namespace = if mount.uid_mappings.is_empty() && namespace::find(spec, NamespaceType::User).is_some() {
        open("/proc/self/ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).trying(|| "opening the user namespace".into())?
    } else {
        let own = |own: &'_ [IdMapping], general: Option<&[IdMapping]>| {
            if own.is_empty() { general.unwrap_or_default().to_vec() } else { own.to_vec() }
        };
        let uids = own(&mount.uid_mappings, linux.map(|linux| linux.uid_mappings.as_slice()));
        let gids = own(&mount.gid_mappings, linux.map(|linux| linux.gid_mappings.as_slice()));
        mapped(&uids, &gids)?
    };
    let user_namespace = u64::try_from(namespace.as_raw_fd()).unwrap_or_default();
    let attributes = Attributes { set: sys::mount::IDMAP, user_namespace, ..Default::default() };
    sys::mount::set_attributes(tree, recursive, attributes).trying(|| "making an idmapped mount (does its file system support it?)".into())
}

/// A user namespace that exists only for its mappings.
fn mapped(uids: &[IdMapping], gids: &[IdMapping]) -> Outcome<OwnedFd> {
    if uids.is_empty() || gids.is_empty() {
        return Err(Failure("an idmapped mount needs uidMappings and gidMappings".into()));
    }
    match sys::process::clone3(sys::process::NEW_USER, None).trying(|| "making a user namespace".into())? {
        Side::Child => loop {
            // Waits to be killed: it only holds the namespace.
            let _interrupted = rustix::event::poll(&mut [], None);
        },
        Side::Parent { pid: _, pidfd } => {
            let result = folder_of(&pidfd).and_then(|folder| {
                crate::create::write_mappings(&folder, uids, gids)?;
                open(format!("{folder}/ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
                    .trying(|| "opening the user namespace".into())
            });
            let _already_gone = rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL);
            let _reaped = rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), rustix::process::WaitIdOptions::EXITED);
            result
        }
    }
}

/// Where the mounted /proc, which may be of an outer namespace of process ids, has a process.
fn folder_of(pidfd: &OwnedFd) -> Outcome<String> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).trying(|| "looking up a process".into())?;
    // **Source:** pidfd_open(2): the id is that of the namespace that /proc belongs to.
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")).map(str::trim);
    let pid = pid.filter(|pid| pid.parse::<u32>().is_ok_and(|pid| pid != 0));
    pid.map(|pid| format!("/proc/{pid}")).ok_or_else(|| Failure("looking up a process: /proc does not show it".into()))
}
