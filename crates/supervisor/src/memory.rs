//! The memory controller of a container: kills for want of memory, and its detailed counters.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use runtime::cgroup::{Cgroup, Mode};
use rustix::event::EventfdFlags;
use rustix::fs::inotify;

/// The folder in which the memory of a container is counted; `None` if it is not.
fn folder(cgroup: &Cgroup) -> Option<PathBuf> {
    let counts = |name: &str| name.split(',').any(|part| part == "memory");
    let hierarchy = cgroup.hierarchies().iter().find(|hierarchy| cgroup.mode() == Mode::Unified || counts(&hierarchy.name))?;
    let path = cgroup.path().strip_prefix("/").unwrap_or(cgroup.path());
    Some(hierarchy.mount.join(path)).filter(|folder| folder.is_dir())
}

/// Lines of `memory.stat`; empty if there are none.
pub(crate) fn counters(cgroup: &Cgroup) -> BTreeMap<String, u64> {
    let text = folder(cgroup).and_then(|folder| fs_err::read_to_string(folder.join("memory.stat")).ok());
    let line = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.unwrap_or_default().lines().filter_map(line).collect()
}

/// A descriptor that becomes readable when memory has run out.
#[derive(Debug)]
pub(crate) struct OomWatch(OwnedFd);

impl OomWatch {
    /// Begins to watch.
    ///
    /// **Source:** Linux, `Documentation/admin-guide/cgroup-v1/memory.rst`, 9 and 10 (an eventfd that
    /// is written to `cgroup.event_control`); `cgroup-v2.rst`, `memory.events` (a file-modified event).
    pub(crate) fn new(cgroup: &Cgroup) -> io::Result<Self> {
        let folder = folder(cgroup).ok_or(io::ErrorKind::NotFound)?;
        if cgroup.mode() == Mode::Unified {
            let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
            let watch = inotify::init(flags)?;
            inotify::add_watch(&watch, folder.join("memory.events"), inotify::WatchFlags::MODIFY)?;
            return Ok(Self(watch));
        }
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let file = fs_err::File::open(folder.join("memory.oom_control"))?;
        let registration = format!("{} {}", event.as_raw_fd(), file.as_raw_fd());
        fs_err::write(folder.join("cgroup.event_control"), registration)?;
        Ok(Self(event))
    }

    /// Takes what has been reported, so that the descriptor is not readable until the next time.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let mut events = [0; 4096];
        match rustix::io::read(&self.0, &mut events) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
