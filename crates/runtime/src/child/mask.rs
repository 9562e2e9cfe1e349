//! Masked and read-only paths.

use std::os::fd::{AsFd as _, OwnedFd};

use oci::runtime::Spec;
use rustix::fs::{CWD, FileType, OFlags, ResolveFlags, fstat, major, minor, openat2};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::path::{is_folder, resolve};
use super::{Failure, Outcome, Trying as _, mount};

/// Hides the masked paths and closes the read-only ones; those that do not exist need neither.
pub(crate) fn apply(spec: &Spec, root: &OwnedFd) -> Outcome<()> {
    let Some(linux) = &spec.linux else {
        return Ok(());
    };
    for path in &linux.readonly_paths {
        let what = || format!("making {} read-only", path.display());
        let target = match resolve(root, path) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(Failure(format!("{}: {error}", what()))),
        };
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::AT_RECURSIVE;
        let tree = open_tree(&target, "", flags).trying(what)?;
        let attributes = sys::mount::Attributes { set: sys::mount::READ_ONLY, ..Default::default() };
        sys::mount::set_attributes(tree.as_fd(), true, attributes).trying(what)?;
        mount::place(&tree, &target)?;
    }
    if linux.masked_paths.is_empty() {
        return Ok(());
    }
    let null = null()?;
    let mut empty: Option<OwnedFd> = None;
    for path in &linux.masked_paths {
        let what = || format!("masking {}", path.display());
        let target = match resolve(root, path) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(Failure(format!("{}: {error}", what()))),
        };
        let source = match (is_folder(&target).trying(what)?, &empty) {
            (false, _) => &null,
            (true, Some(empty)) => empty,
            (true, None) => {
                // The first is attached itself: before Linux 6.15 a mount that is attached nowhere cannot be copied.
                mount::place(empty.insert(folder()?), &target)?;
                continue;
            }
        };
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
        let tree = open_tree(source, "", flags).trying(what)?;
        mount::place(&tree, &target)?;
    }
    Ok(())
}

/// The host's null device, checked by its number: the container's own may be anything (CVE-2025-31133).
fn null() -> Outcome<OwnedFd> {
    let what = || "opening /dev/null".to_owned();
    let null =
        openat2(CWD, "/dev/null", OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty(), ResolveFlags::NO_SYMLINKS).trying(what)?;
    let stat = fstat(&null).trying(what)?;
    let device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if device { Ok(null) } else { Err(Failure("/dev/null is not the null device".into())) }
}

/// An empty read-only folder.
fn folder() -> Outcome<OwnedFd> {
    let tree = mount::make("tmpfs", None, &["size=0".into(), "nr_inodes=1".into(), "mode=755".into()])?;
    let attributes = sys::mount::Attributes { set: sys::mount::READ_ONLY, ..Default::default() };
    sys::mount::set_attributes(tree.as_fd(), false, attributes).trying(|| "masking a folder".into())?;
    Ok(tree)
}
