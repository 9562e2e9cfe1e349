//! Paths inside a container's root, always resolved beneath a descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, mkdirat, open, openat2};
use rustix::io::Errno;

use super::{Failure, Outcome, Trying as _};

/// What a mount target must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    File,
}

/// Opens a root folder of this or another container.
pub(crate) fn open_root(path: &Path) -> Outcome<OwnedFd> {
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).trying(|| format!("opening the root {}", path.display()))
}

/// Opens `path` as the container would see it: links stay inside the root, magic links are refused.
pub(crate) fn resolve(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    lookup(root, path, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// As [`resolve`], without following any link: for /proc, /sys and /dev, whose place an image must not choose.
pub(crate) fn resolve_plain(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    lookup(root, path, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

fn lookup(root: impl AsFd, path: &Path, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    loop {
        match openat2(&root, relative, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // A rename elsewhere raced with the look-up of `..`: the kernel asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Opens a mount target, making what is missing with the links of the image followed inside the root.
pub(crate) fn ensure(root: impl AsFd, path: &Path, kind: Kind) -> Outcome<OwnedFd> {
    match resolve(&root, path) {
        Ok(fd) => Ok(fd),
        Err(Errno::NOENT) => make(root, path, kind),
        Err(error) => Err(Failure(format!("opening {} in the container: {error}", path.display()))),
    }
}

/// Makes what is missing of a path. The longest part that exists is resolved afresh, so that a link planted meanwhile leads
/// nowhere outside, and what is below it is made and opened name by name.
fn make(root: impl AsFd, path: &Path, kind: Kind) -> Outcome<OwnedFd> {
    let what = || format!("making {} in the container", path.display());
    let normal = normal(path);
    let mut exists = normal.parent().unwrap_or(&normal);
    let mut folder = loop {
        match (resolve(&root, exists), exists.parent()) {
            (Ok(folder), _) => break folder,
            (Err(Errno::NOENT), Some(parent)) => exists = parent,
            (Err(error), _) => return Err(Failure(format!("{}: {error}", what()))),
        }
    };
    let missing = normal.strip_prefix(exists).unwrap_or(&normal);
    let mut names = missing.components().filter_map(|part| if let Component::Normal(name) = part { Some(name) } else { None }).peekable();
    while let Some(name) = names.next() {
        if kind == Kind::File && names.peek().is_none() {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, name, flags, Mode::from_raw_mode(0o644)).trying(what)?;
        } else {
            match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(Failure(format!("{}: {error}", what()))),
            }
        }
        folder = lookup(&folder, Path::new(name), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS).trying(what)?;
    }
    Ok(folder)
}

/// A path without `.` and `..`, resolved as text.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => {
                result.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    result
}

/// Whether a descriptor is of a folder.
pub(crate) fn is_folder(fd: impl AsFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) == FileType::Directory)
}

/// Changes into the working directory, which is made if it is missing, and checks that it lies inside the root.
pub(crate) fn change_directory(cwd: &Path) -> Outcome<()> {
    let cwd = if cwd.as_os_str().is_empty() { Path::new("/") } else { cwd };
    let what = || format!("chdir to cwd (\"{}\") set in config.json failed", cwd.display());
    rustix::process::chdir(cwd).trying(what)?;
    // A leaked descriptor of the host as cwd shows as unreachable (CVE-2024-21626).
    let reached = rustix::process::getcwd(Vec::new()).trying(what)?;
    if reached.to_bytes().first() != Some(&b'/') {
        return Err(Failure(format!("{}: it is outside of the container's root", what())));
    }
    Ok(())
}
