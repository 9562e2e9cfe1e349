//! Device nodes and the links of /dev.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci::runtime::{Device, Spec};
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, chmodat, makedev, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};

use super::path::{self, Kind};
use super::{Failure, Outcome, Trying as _, mount};

/// Nodes that every container has: path, major, minor. **Source:** runtime-spec, `config-linux.md`, default devices.
const DEFAULT: [(&str, u32, u32); 6] =
    [("/dev/null", 1, 3), ("/dev/zero", 1, 5), ("/dev/full", 1, 7), ("/dev/random", 1, 8), ("/dev/urandom", 1, 9), ("/dev/tty", 5, 0)];

/// Links that every container has.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Makes the nodes, where /dev is a file system of the container's own.
pub(crate) fn make(spec: &Spec, root: &OwnedFd) -> Outcome<()> {
    let own =
        spec.mounts.iter().any(|mount| path::normal(&mount.destination) == Path::new("/dev") && mount.kind.as_deref() == Some("tmpfs"));
    let linux = spec.linux.as_ref();
    if own {
        let dev = path::resolve_plain(root, Path::new("/dev")).trying(|| "/dev must be a folder, not a link".into())?;
        for (name, target) in LINKS {
            match symlinkat(target, &dev, name) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(Failure(format!("linking /dev/{name}: {error}"))),
            }
        }
        for (path, major, minor) in DEFAULT {
            let device = Device {
                path: path.into(),
                kind: "c".into(),
                major: Some(major.into()),
                minor: Some(minor.into()),
                file_mode: Some(0o666),
                ..Device::default()
            };
            node(root, &device)?;
        }
    }
    linux
        .into_iter()
        .flat_map(|linux| &linux.devices)
        .filter(|device| !own || !DEFAULT.iter().any(|(path, ..)| device.path == Path::new(path)))
        .try_for_each(|device| node(root, device))
}

fn node(root: &OwnedFd, device: &Device) -> Outcome<()> {
    let what = || format!("creating device node {}", device.path.display());
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(Failure(format!("{}: unknown type `{other}`", what()))),
    };
    let folder = path::ensure(root, device.path.parent().unwrap_or(Path::new("/")), Kind::Folder)?;
    let name = device.path.file_name().ok_or_else(|| Failure(format!("{}: it has no name", what())))?;
    let number = |number: Option<i64>| u32::try_from(number.unwrap_or_default());
    let (major, minor) = (number(device.major).trying(what)?, number(device.minor).trying(what)?);
    let mode = Mode::from_raw_mode(device.file_mode.unwrap_or(0o666) & 0o7777);
    match mknodat(&folder, name, kind, mode, makedev(major, minor)) {
        Ok(()) => {}
        Err(Errno::EXIST) => return Ok(()),
        // In a user namespace nodes cannot be made: the host's is bound.
        Err(Errno::PERM) => return bind(root, device),
        Err(error) => return Err(Failure(format!("{}: {error}", what()))),
    }
    // Without the file mode creation mask, and never through a link: the node was made here a moment ago.
    chmodat(&folder, name, mode, rustix::fs::AtFlags::empty()).trying(what)?;
    let (uid, gid) = (Uid::from_raw(device.uid.unwrap_or_default()), Gid::from_raw(device.gid.unwrap_or_default()));
    rustix::fs::chownat(&folder, name, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW).trying(what)
}

fn bind(root: &OwnedFd, device: &Device) -> Outcome<()> {
    let what = || format!("binding device node {}", device.path.display());
    let tree = open_tree(CWD, &device.path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC).trying(what)?;
    let target = path::ensure(root, &device.path, Kind::File)?;
    mount::place(&tree, &target)
}
