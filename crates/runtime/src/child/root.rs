//! The root file system: mounted, entered, the host's left behind.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use oci::runtime::Spec;
use rustix::fs::CWD;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount_change, move_mount, open_tree, unmount};

use super::path::{Kind, ensure, open_root};
use super::{Failure, Outcome, Trying as _};

/// Mounts the root, one of the specification over its own place (where hooks look for it), and returns it.
pub(crate) fn mount(spec: &Spec, bundle: &Path, root_tree: Option<&OwnedFd>) -> Outcome<OwnedFd> {
    let linux = spec.linux.as_ref();
    let propagation = linux.and_then(|linux| linux.rootfs_propagation.as_deref()).unwrap_or("rslave");
    // At least a slave: nothing mounted from here on may reach the host unless it was asked for.
    let flags = super::mount::propagation(propagation).ok_or_else(|| Failure(format!("rootfsPropagation: unknown value {propagation}")))?;
    let first = if flags.contains(MountPropagationFlags::SHARED) {
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC
    } else {
        flags | MountPropagationFlags::REC
    };
    mount_change("/", first).trying(|| "making the mounts private".into())?;
    let spec_root = spec.root.as_ref().map(|root| bundle.join(&root.path));
    let (tree, place) = match root_tree {
        // Over the bundle, which nothing else is read from. Over the host's root this process would count as one in a chroot,
        // which may not make the user namespaces of mounts with other owners. **Source:** Linux, `current_chrooted`.
        Some(tree) => (tree.try_clone().trying(|| "the root's descriptor".into())?, bundle.to_owned()),
        None => {
            let path = spec_root.ok_or_else(|| Failure("root: missing in config.json".into()))?;
            let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            (open_tree(CWD, &path, flags).trying(|| format!("opening root.path {}", path.display()))?, path)
        }
    };
    move_mount(&tree, "", CWD, &place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .trying(|| format!("mounting the root on {}", place.display()))?;
    // pivot_root refuses a shared parent, and unmounting the old root must not reach the host.
    Ok(tree)
}

/// Makes the container's root the root, leaves the host's, and closes what is read-only.
pub(crate) fn enter(spec: &Spec, root: OwnedFd, no_pivot: bool) -> Outcome<()> {
    if let Some(process) = &spec.process {
        // Docker's users rely on it: a missing working directory is made.
        let _exec_reports_it = ensure(&root, &process.cwd, Kind::Folder);
    }
    rustix::process::fchdir(&root).trying(|| "entering the root".into())?;
    if no_pivot {
        move_over(&root)?;
    } else {
        pivot()?;
    }
    rustix::process::chdir("/").trying(|| "entering the root".into())?;
    drop(root);
    let propagation = spec.linux.as_ref().and_then(|linux| linux.rootfs_propagation.as_deref());
    if let Some(flags) = propagation.and_then(super::mount::propagation) {
        mount_change("/", flags).trying(|| "setting rootfsPropagation".into())?;
    }
    if spec.root.as_ref().is_some_and(|root| root.readonly) {
        let own = open_root(Path::new("/"))?;
        let attributes = sys::mount::Attributes { set: sys::mount::READ_ONLY, ..Default::default() };
        sys::mount::set_attributes(own.as_fd(), false, attributes).trying(|| "making the root read-only".into())?;
    }
    Ok(())
}

/// Swaps the roots and leaves the host's. Both arguments are the same folder: the old root ends up on top of the new one and is
/// taken off at once. **Source:** pivot_root(2), notes.
fn pivot() -> Outcome<()> {
    rustix::process::pivot_root(".", ".").trying(|| "pivot_root".into())?;
    // The host's mounts are slaves since the beginning, so this reaches nobody. A change of `.` would meet the new root, whose
    // shared mounts must stay so: only umount2(2) looks at what lies on top.
    unmount(".", UnmountFlags::DETACH).trying(|| "unmounting the host's root".into())
}

/// Covers the host's root with the container's, for hosts whose root is an initial RAM disk, which cannot be pivoted. The host's
/// stays mounted below, so it keeps in only those who may not unmount. **Source:** runc, `--no-pivot`.
fn move_over(root: &OwnedFd) -> Outcome<()> {
    move_mount(root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).trying(|| "moving the root".into())?;
    rustix::process::chroot(".").trying(|| "chroot".into())
}
