//! Layers on top of each other: detached overlay mounts.
//!
//! Nothing of them shows in the host's table of mounts, and they end with their last descriptor.
//! **Source:** Linux, `Documentation/filesystems/overlayfs.rst`; `lowerdir+` needs Linux 6.5.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// A lower layer.
#[derive(Clone, Debug)]
pub(crate) enum Lower {
    /// A directory.
    Directory(PathBuf),
    /// A detached mount.
    Mount(Arc<OwnedFd>),
}

impl Lower {
    /// Opens its root directory for the calls that end in `at`.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Directory(path) => crate::disk::open_directory(path),
            Self::Mount(mount) => Ok(rustix::fs::openat(mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?),
        }
    }
}

/// A writable layer on top.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upper<'a> {
    pub(crate) path: &'a Path,
    pub(crate) work: &'a Path,
    /// Never sync it.
    pub(crate) volatile: bool,
}

/// Mounts layers on top of each other, the topmost first, read-only.
pub(crate) fn merged(lower: &[Lower]) -> io::Result<OwnedFd> {
    if let [only] = lower {
        // Overlay wants two at least.
        return only.open();
    }
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    set_lower(&context, lower)?;
    rustix::mount::fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Mounts layers, the topmost first, below a writable one.
pub(crate) fn writable(lower: &[Lower], upper: Upper<'_>) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // The name that df(1) and mount(8) show.
    rustix::mount::fsconfig_set_string(&context, "source", "overlay")?;
    set_lower(&context, lower)?;
    rustix::mount::fsconfig_set_string(&context, "upperdir", upper.path.as_os_str().as_bytes())?;
    rustix::mount::fsconfig_set_string(&context, "workdir", upper.work.as_os_str().as_bytes())?;
    if upper.volatile {
        // A start that failed half-way leaves this mark, which refuses the next; only a power cut makes it true, and no volatile
        // snapshot outlives one. **Source:** Linux, `overlayfs.rst`, "Volatile mount".
        let mark = upper.work.join("work/incompat/volatile");
        let _ = (rustix::fs::unlink(mark.join("dirty")), rustix::fs::rmdir(&mark));
        rustix::mount::fsconfig_set_flag(&context, "volatile")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    Ok(rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?)
}

fn set_lower(context: &OwnedFd, lower: &[Lower]) -> io::Result<()> {
    for layer in lower {
        let result = match layer {
            // No limit of length or number, unlike `lowerdir`.
            Lower::Directory(path) => rustix::mount::fsconfig_set_string(context, "lowerdir+", path.as_os_str().as_bytes()),
            Lower::Mount(mount) => rustix::mount::fsconfig_set_fd(context, "lowerdir+", &**mount),
        };
        match result {
            // Kernels before 6.5 know only the joined form.
            Err(Errno::INVAL) => return set_joined(context, lower),
            result => result?,
        }
    }
    Ok(())
}

fn set_joined(context: &OwnedFd, lower: &[Lower]) -> io::Result<()> {
    let joined = lower.iter().map(|layer| match layer {
        Lower::Directory(path) => Ok(path.display().to_string().replace('\\', "\\\\").replace(':', "\\:")),
        Lower::Mount(_) => Err(Errno::INVAL),
    });
    let joined = joined.collect::<Result<Vec<String>, _>>()?.join(":");
    Ok(rustix::mount::fsconfig_set_string(context, "lowerdir", joined)?)
}
