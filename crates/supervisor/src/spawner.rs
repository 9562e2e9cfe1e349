//! The small process that is forked before the engine has threads, and forks supervisors.
//!
//! A fork costs in proportion to the memory of the process that forks, and is safe only in one with
//! a single thread; the engine has much of the one and many of the other. The next supervisor is forked in advance: it waits
//! for a launch with all done that needs no container, and has the spawner fork another when it takes one.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PipeFlags;
use rustix::process::Signal;
use sys::cgroup::FastMigration;
use sys::fork::Fork;
use sys::process::Title;
use sys::signal::{Disposition, set_disposition};

use crate::protocol::{Launch, codec};
use crate::supervisor;

/// The engine's end of the spawner; the spawner ends when it is dropped, the supervisors do not.
#[derive(Debug)]
pub struct Spawner(OwnedFd);

/// Forks the spawner.
///
/// # Errors
/// As fork(2); and if the process has threads already, since only one of them would be there
/// afterwards, with locks that nobody opens.
pub fn start() -> io::Result<Spawner> {
    let (ours, theirs) = sys::seqpacket::pair()?;
    match sys::fork::fork()? {
        Fork::Parent(_) => Ok(Spawner(ours)),
        Fork::Child => end(|| {
            drop(ours);
            match run(theirs)? {}
        }),
    }
}

impl Spawner {
    /// Starts a supervisor that creates a container; [`crate::protocol::Event::Created`] or
    /// `CreateFailed` follows on the connection, for [`crate::Control::new`].
    ///
    /// `root` is a detached mount that becomes the container's root, instead of `spec.root.path`, and ends with it.
    ///
    /// # Errors
    /// As socketpair(2) and sendmsg(2); `BrokenPipe` if the spawner has died.
    pub fn launch(&self, launch: &Launch, root: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
        let (ours, theirs) = sys::seqpacket::pair()?;
        let fds: Vec<BorrowedFd<'_>> = std::iter::once(theirs.as_fd()).chain(root).collect();
        codec::send(self.0.as_fd(), launch, &fds)?;
        Ok(ours)
    }
}

/// Runs the code of a forked child and ends the process, even if it panics: the frames above
/// belong to the parent and must not be returned to.
fn end(child: impl FnOnce() -> io::Result<()>) -> ! {
    let result = std::panic::catch_unwind(AssertUnwindSafe(child));
    sys::process::exit_now(i32::from(!matches!(result, Ok(Ok(())))))
}

fn run(engine: OwnedFd) -> io::Result<Infallible> {
    sys::fork::detach(engine.as_fd())?;
    rustix::thread::set_name(c"teu-spawner")?;
    // Without it they show the engine's words.
    let title = sys::process::Title::find().ok();
    if let Some(title) = title {
        title.write("teu spawner");
    }
    // Supervisors are reaped by the kernel.
    set_disposition(Signal::CHILD, Disposition::Ignore)?;
    // Without it a container takes longer to start, and nothing else.
    let mut migration = FastMigration::hold().ok();
    loop {
        // Its other end belongs to the waiting supervisor alone: a byte says that it has work, the end that it is gone.
        let (taken, take) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        match sys::fork::fork() {
            Ok(Fork::Child) => {
                drop(taken);
                if let Some(migration) = migration.take() {
                    migration.leave_to_parent();
                }
                end(|| wait(engine, take, title))
            }
            Ok(Fork::Parent(_)) => drop(take),
            // The next launch fails: its connection is closed, and the engine sees that.
            Err(_) => drop(sys::seqpacket::receive(engine.as_fd())?),
        }
        let word = rustix::io::retry_on_intr(|| rustix::io::read(&taken, &mut [0; 1]));
        if word != Ok(1) && is_closed(&engine)? {
            drop(migration);
            sys::process::exit_now(0);
        }
    }
}

/// Whether the engine has closed its end.
fn is_closed(engine: &OwnedFd) -> io::Result<bool> {
    let mut ends = [PollFd::new(engine, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })))?;
    Ok(ends[0].revents().contains(PollFlags::HUP))
}

/// Becomes a supervisor with the next launch.
fn wait(engine: OwnedFd, take: OwnedFd, title: Option<Title>) -> io::Result<()> {
    set_disposition(Signal::CHILD, Disposition::Default)?;
    rustix::process::setsid()?;
    runtime::cgroup::look_ahead();
    let Some((message, fds)) = sys::seqpacket::receive(engine.as_fd())? else {
        return Ok(());
    };
    drop(engine);
    // A spawner that has gone makes no more; this launch is none the worse.
    let _has_work = rustix::io::write(&take, &[0]);
    drop(take);
    rustix::thread::set_name(c"teu-supervisor")?;
    supervisor::main(&message, fds, title)
}
