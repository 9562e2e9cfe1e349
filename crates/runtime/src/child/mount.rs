//! The mounts of the specification, each made detached and attached by descriptor.

mod cgroups;
mod copy_up;
mod idmap;
mod procfs;

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use oci::runtime::{Mount, NamespaceType, Spec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use sys::mount::Attributes;

use super::path::{self, Kind};
use super::{Failure, Outcome, Trying as _, namespace};

/// A mount's options, sorted by who takes them.
#[derive(Debug, Default)]
pub(super) struct Options {
    bind: bool,
    recursive: bool,
    attributes: Attributes,
    recursive_attributes: Attributes,
    propagation: Vec<MountPropagationFlags>,
    copy_up: bool,
    idmap: Option<bool>,
    /// Whether the other owners are shown already.
    mapped: bool,
    /// For the file system: `key=value` or a flag.
    data: Vec<String>,
}

/// Propagation by its name.
pub(super) fn propagation(name: &str) -> Option<MountPropagationFlags> {
    use MountPropagationFlags as Flags;
    let kind = match name.strip_prefix('r').unwrap_or(name) {
        "private" => Flags::PRIVATE,
        "shared" => Flags::SHARED,
        "slave" => Flags::DOWNSTREAM,
        "unbindable" => Flags::UNBINDABLE,
        _ => return None,
    };
    Some(if name.starts_with('r') { kind | Flags::REC } else { kind })
}

/// Attribute options: name, bits set, bits cleared. **Source:** runtime-spec, `config.md`, Linux mount options.
const ATTRIBUTES: [(&str, u64, u64); 19] = [
    ("ro", sys::mount::READ_ONLY, 0),
    ("rw", 0, sys::mount::READ_ONLY),
    ("nosuid", sys::mount::NO_SUID, 0),
    ("suid", 0, sys::mount::NO_SUID),
    ("nodev", sys::mount::NO_DEV, 0),
    ("dev", 0, sys::mount::NO_DEV),
    ("noexec", sys::mount::NO_EXEC, 0),
    ("exec", 0, sys::mount::NO_EXEC),
    ("noatime", sys::mount::NO_ATIME, sys::mount::ATIME),
    ("atime", 0, sys::mount::ATIME),
    ("relatime", 0, sys::mount::ATIME),
    ("norelatime", 0, sys::mount::ATIME),
    ("strictatime", sys::mount::STRICT_ATIME, sys::mount::ATIME),
    ("nostrictatime", 0, sys::mount::ATIME),
    ("nodiratime", sys::mount::NO_DIR_ATIME, 0),
    ("diratime", 0, sys::mount::NO_DIR_ATIME),
    ("nosymfollow", sys::mount::NO_SYMFOLLOW, 0),
    ("symfollow", 0, sys::mount::NO_SYMFOLLOW),
    ("defaults", 0, 0),
];

impl Options {
    fn parse(mount: &Mount) -> Self {
        let mut options = Self { bind: mount.kind.as_deref() == Some("bind"), ..Self::default() };
        for option in &mount.options {
            options.add(option);
        }
        if mount.kind.as_deref() == Some("bind") && !options.recursive && mount.options.iter().all(|option| option != "bind") {
            options.recursive = true;
        }
        options
    }

    fn add(&mut self, option: &str) {
        if let Some(flags) = propagation(option) {
            return self.propagation.push(flags);
        }
        if let Some((_, set, clear)) = ATTRIBUTES.iter().find(|(name, ..)| *name == option) {
            self.attributes.set = self.attributes.set & !clear | set;
            self.attributes.clear = self.attributes.clear & !set | clear;
            return;
        }
        let inner = option.strip_prefix('r').unwrap_or_default();
        if let Some((_, set, clear)) = ATTRIBUTES.iter().find(|(name, ..)| *name == inner) {
            self.recursive_attributes.set |= set;
            self.recursive_attributes.clear |= clear;
            return;
        }
        match option {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.idmap = Some(false),
            "ridmap" => self.idmap = Some(true),
            // Taken by mount(8), not by the kernel.
            "async" | "auto" | "noauto" | "_netdev" | "user" | "nouser" | "nofail" => {}
            // Podman passes an empty one along.
            "" => {}
            _ => self.data.push(option.to_owned()),
        }
    }
}

/// Makes the mounts in order, but for those of cgroups on which no other depends: they come last, see [`late`]. Answers their
/// places in the list.
pub(crate) fn all(
    spec: &Spec,
    root: &OwnedFd,
    early: Vec<Option<OwnedFd>>,
    cgroup: &crate::cgroup::Cgroup,
    admission: &mut namespace::Admission<'_>,
) -> Outcome<Vec<usize>> {
    let mut late = Vec::new();
    for (index, (mount, tree)) in spec.mounts.iter().zip(early).enumerate() {
        if is_cgroups(mount) {
            if spec.mounts[index + 1..].iter().all(|other| are_apart(mount, other)) {
                late.push(index);
                continue;
            }
            admission.wait()?;
        }
        one(spec, root, mount, tree, cgroup).map_err(|failure| failed(mount, &failure))?;
    }
    Ok(late)
}

/// Makes the mounts that [`all`] has left, once this process is in its cgroup.
pub(crate) fn late(
    spec: &Spec,
    root: &OwnedFd,
    places: &[usize],
    cgroup: &crate::cgroup::Cgroup,
    admission: &mut namespace::Admission<'_>,
) -> Outcome<()> {
    for mount in places.iter().filter_map(|place| spec.mounts.get(*place)) {
        admission.wait()?;
        one(spec, root, mount, None, cgroup).map_err(|failure| failed(mount, &failure))?;
    }
    Ok(())
}

fn is_cgroups(mount: &Mount) -> bool {
    matches!(mount.kind.as_deref(), Some("cgroup" | "cgroup2")) && !Options::parse(mount).bind
}

/// Whether neither mount lies on or below the other.
fn are_apart(one: &Mount, other: &Mount) -> bool {
    let (one, other) = (path::normal(&one.destination), path::normal(&other.destination));
    !one.starts_with(&other) && !other.starts_with(&one)
}

/// Opens the sources that must be opened before the root is mounted: a process whose root is covered may make no user
/// namespace, which other owners need, and the mounts of the host are no peers any more, which a shared mount needs.
pub(crate) fn early(spec: &Spec) -> Outcome<Vec<Option<OwnedFd>>> {
    let open = |mount: &Mount| {
        let options = Options::parse(mount);
        let maps = options.idmap.or_else(|| (!mount.uid_mappings.is_empty()).then_some(options.recursive));
        let peers =
            options.propagation.iter().any(|flags| flags.intersects(MountPropagationFlags::SHARED | MountPropagationFlags::DOWNSTREAM));
        // Looking into another container's mounts leaves this process at the root that is on top by then.
        let elsewhere = mount.source.as_deref().is_some_and(|source| elsewhere(source).is_some());
        if !options.bind || maps.is_none() && !peers && !elsewhere {
            return Ok(None);
        }
        let tree = open_source(mount, &options)?;
        if let Some(recursive) = maps {
            idmap::apply(spec, mount, tree.as_fd(), recursive)?;
        }
        Ok(Some(tree))
    };
    spec.mounts.iter().map(|mount| open(mount).map_err(|failure| failed(mount, &failure))).collect()
}

/// A detached copy of what a bind mount shows.
fn open_source(mount: &Mount, options: &Options) -> Outcome<OwnedFd> {
    let source = mount.source.as_deref().ok_or_else(|| Failure("a bind mount needs a source".into()))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | if options.recursive { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let tree = match (elsewhere(source), open_tree(CWD, source, flags)) {
        (Some((pid, path)), Err(rustix::io::Errno::INVAL)) => open_elsewhere(pid, &path, flags),
        // A detached mount of whoever runs us, under its descriptor's name in /proc: nothing is to be copied, it is attached itself.
        (None, Err(rustix::io::Errno::INVAL)) if source.starts_with("/proc") => {
            rustix::fs::open(source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(std::io::Error::from)
        }
        (_, tree) => tree.map_err(std::io::Error::from),
    };
    tree.trying(|| format!("mount src={}", source.display()))
}

fn failed(mount: &Mount, failure: &Failure) -> Failure {
    let source = mount.source.as_deref().unwrap_or(Path::new("none"));
    Failure(format!("error mounting \"{}\" to rootfs at \"{}\": {failure}", source.display(), mount.destination.display()))
}

#[allow(clippy::too_many_arguments, reason = "one mount has these sides, all of them only here")]
fn one(spec: &Spec, root: &OwnedFd, mount: &Mount, early: Option<OwnedFd>, cgroup: &crate::cgroup::Cgroup) -> Outcome<()> {
    let mut options = Options::parse(mount);
    let kind = mount.kind.as_deref().unwrap_or("none");
    if options.bind {
        options.mapped = early.is_some();
        let tree = early.map_or_else(|| open_source(mount, &options), Ok)?;
        let folder = path::is_folder(&tree).trying(|| "stat".into())?;
        return attach(spec, root, mount, &options, tree, if folder { Kind::Folder } else { Kind::File });
    }
    match kind {
        "cgroup" | "cgroup2" => return cgroups::mount(spec, root, mount, cgroup),
        "proc" if !namespace::is_new(spec, NamespaceType::Pid) && spec_user(spec) => {
            return rebind(spec, root, mount, &options, "/proc");
        }
        "sysfs" if !namespace::is_new(spec, NamespaceType::Network) && spec_user(spec) => {
            return rebind(spec, root, mount, &options, "/sys");
        }
        "mqueue" if !namespace::is_new(spec, NamespaceType::Ipc) && spec_user(spec) => {
            return rebind(spec, root, mount, &options, "/dev/mqueue");
        }
        _ => {}
    }
    let mut data = options.data.clone();
    // The kernel labels these file systems itself. **Source:** runc, `libcontainer/rootfs_linux.go`, `mountPropagate`.
    if !matches!(kind, "proc" | "sysfs") {
        data.extend(super::label::mount_context(spec)?);
    }
    let tree = make(kind, mount.source.as_deref(), &data)?;
    attach(spec, root, mount, &options, tree, Kind::Folder)
}

/// A path in the mounts of another container, written as `/proc/PID/root/PATH`.
fn elsewhere(source: &Path) -> Option<(&str, PathBuf)> {
    let (pid, path) = source.to_str()?.strip_prefix("/proc/")?.split_once("/root/")?;
    pid.bytes().all(|byte| byte.is_ascii_digit()).then(|| (pid, Path::new("/").join(path)))
}

/// Copies a mount of another mount namespace; the kernel copies only those of the caller's, so it is entered for that.
fn open_elsewhere(pid: &str, path: &Path, flags: OpenTreeFlags) -> std::io::Result<OwnedFd> {
    let open = |path: String| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let own = open("/proc/self/ns/mnt".to_owned())?;
    let other = open(format!("/proc/{pid}/ns/mnt"))?;
    let root = rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    sys::process::setns(other.as_fd(), sys::process::NEW_MOUNT)?;
    let tree = open_tree(CWD, path, flags);
    sys::process::setns(own.as_fd(), sys::process::NEW_MOUNT)?;
    // The namespace's root need not be the one that this process had.
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    Ok(tree?)
}

fn spec_user(spec: &Spec) -> bool {
    namespace::find(spec, NamespaceType::User).is_some()
}

/// A user namespace that does not own the namespace behind a file system cannot mount it anew: the host's is passed on.
fn rebind(spec: &Spec, root: &OwnedFd, mount: &Mount, options: &Options, source: &str) -> Outcome<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags).trying(|| format!("opening {source}"))?;
    attach(spec, root, mount, options, tree, Kind::Folder)
}

/// A new file system, mounted nowhere yet.
pub(super) fn make(kind: &str, source: Option<&Path>, data: &[String]) -> Outcome<OwnedFd> {
    let fs = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).trying(|| format!("file system {kind}"))?;
    let source = source.unwrap_or(Path::new(kind));
    fsconfig_set_string(&fs, "source", source).trying(|| format!("source {}", source.display()))?;
    for option in data {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&fs, key, value),
            None => fsconfig_set_flag(&fs, option.as_str()),
        }
        .trying(|| format!("option {option}"))?;
    }
    fsconfig_create(&fs).trying(|| format!("mounting {kind}"))?;
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).trying(|| format!("mounting {kind}"))
}

#[allow(clippy::too_many_arguments, reason = "one mount has these six sides, all of them only here")]
/// Sets the attributes of a detached tree and attaches it at its place in the root.
fn attach(spec: &Spec, root: &OwnedFd, mount: &Mount, options: &Options, tree: OwnedFd, kind: Kind) -> Outcome<()> {
    let what = || "setting mount attributes".to_owned();
    let maps = options.idmap.or_else(|| (!mount.uid_mappings.is_empty()).then_some(options.recursive));
    if let Some(recursive) = maps.filter(|_| !options.mapped) {
        idmap::apply(spec, mount, tree.as_fd(), recursive)?;
    }
    if options.attributes != Attributes::default() {
        sys::mount::set_attributes(tree.as_fd(), false, options.attributes).trying(what)?;
    }
    if options.recursive_attributes != Attributes::default() {
        sys::mount::set_attributes(tree.as_fd(), true, options.recursive_attributes).trying(what)?;
    }
    let target = target(root, &mount.destination, mount.kind.as_deref(), kind)?;
    procfs::check(root, &target, &tree)?;
    if options.copy_up {
        copy_up::copy(&target, &tree)?;
    }
    place(&tree, &target)?;
    for flags in &options.propagation {
        let recursive = flags.contains(MountPropagationFlags::REC);
        let propagation = u64::from((*flags - MountPropagationFlags::REC).bits());
        sys::mount::set_attributes(tree.as_fd(), recursive, Attributes { propagation, ..Default::default() })
            .trying(|| "setting propagation".into())?;
    }
    Ok(())
}

/// Where a mount goes. /proc and /sys must be the image's own folders, not links of it (CVE-2019-19921, CVE-2023-27561).
fn target(root: &OwnedFd, destination: &Path, fs: Option<&str>, kind: Kind) -> Outcome<OwnedFd> {
    if matches!(fs, Some("proc" | "sysfs")) {
        path::ensure(root, destination, kind)?;
        return path::resolve_plain(root, destination).trying(|| format!("{} must be a folder, not a link", destination.display()));
    }
    let target = path::ensure(root, destination, kind)?;
    let folder = path::is_folder(&target).trying(|| "stat".into())?;
    if folder != (kind == Kind::Folder) {
        return Err(Failure("not a directory: Are you trying to mount a directory onto a file (or vice-versa)? Check if the specified host path exists and is the expected type".into()));
    }
    Ok(target)
}

/// Attaches a detached tree on an open place.
pub(super) fn place(tree: &OwnedFd, target: &OwnedFd) -> Outcome<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags).trying(|| "attaching the mount".into())
}
