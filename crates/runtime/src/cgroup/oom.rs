//! Being told when a container runs out of memory.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::fs::inotify;

use super::{Cgroup, Mode};

/// A descriptor that becomes readable when memory has run out.
#[derive(Debug)]
pub struct OomWatch(OwnedFd);

impl OomWatch {
    /// Begins to watch.
    ///
    /// **Source:** Linux, `Documentation/admin-guide/cgroup-v1/memory.rst`, 9 and 10 (an eventfd that
    /// is written to `cgroup.event_control`); `cgroup-v2.rst`, `memory.events` (a file-modified event).
    ///
    /// # Errors
    /// `NotFound` if its memory is not counted; else what the kernel refuses.
    pub fn new(cgroup: &Cgroup) -> io::Result<Self> {
        let folder = cgroup.memory_folder().ok_or(io::ErrorKind::NotFound)?;
        if cgroup.mode() == Mode::Unified {
            let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
            inotify::add_watch(&watch, folder.join("memory.events"), inotify::WatchFlags::MODIFY)?;
            return Ok(Self(watch));
        }
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let file = std::fs::File::open(folder.join("memory.oom_control"))?;
        let registration = format!("{} {}", event.as_raw_fd(), file.as_raw_fd());
        std::fs::write(folder.join("cgroup.event_control"), registration)?;
        Ok(Self(event))
    }

    /// Takes what has been reported, so that the descriptor is not readable until the next time.
    ///
    /// # Errors
    /// As read(2).
    pub fn clear(&self) -> io::Result<()> {
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
