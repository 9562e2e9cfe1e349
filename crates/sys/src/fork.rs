//! Copies of this process that execute nothing.

use std::io;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::process::Pid;

/// The two returns of a fork.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fork {
    /// In the process that called, with the child's id.
    Parent(Pid),
    /// In the child.
    Child,
}

/// Forks as the C library does, which also learns the child's thread id, so that the child can live
/// on as an ordinary process. The caller must be single-threaded, as other threads' locks stay closed in the child.
///
/// # Errors
/// `Unsupported` if the process has more than one thread; else as fork(2).
pub fn fork() -> io::Result<Fork> {
    if thread_count()? != 1 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the process has threads already"));
    }
    // SAFETY: fork(2); with a single thread the child may call anything, see above.
    let pid = unsafe { libc::fork() };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent))
}

/// Lets a forked child go of all that belongs to its parent, but one descriptor: others, terminal, directory.
///
/// # Errors
/// As close_range(2), open(2), dup3(2) and setsid(2).
pub fn detach(kept: BorrowedFd<'_>) -> io::Result<()> {
    let number = u32::try_from(kept.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if number > 3 {
        crate::process::close_range(3, number - 1)?;
    }
    crate::process::close_range(number + 1, u32::MAX)?;
    let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty())?;
    for standard in 0..3 {
        crate::process::redirect(null.as_fd(), standard)?;
    }
    drop(null);
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    Ok(())
}

/// Counts the threads of this process. **Source:** proc(5), `/proc/pid/task`: one directory each.
fn thread_count() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/task")?.st_nlink.saturating_sub(2))
}
