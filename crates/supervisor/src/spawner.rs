//! The small process that is forked before the engine has threads, and forks supervisors.
//!
//! A fork costs in proportion to the memory of the process that forks, and is safe only in one with
//! a single thread; the engine has much of the one and many of the other.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::AssertUnwindSafe;

use rustix::process::Signal;
use sys::cgroup::FastMigration;
use sys::fork::Fork;
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
    let _shows_the_engines = sys::process::set_title("teu spawner");
    // Supervisors are reaped by the kernel.
    set_disposition(Signal::CHILD, Disposition::Ignore)?;
    // Without it a container takes longer to start, and nothing else.
    let migration = FastMigration::hold().ok();
    loop {
        let Some((message, fds)) = sys::seqpacket::receive(engine.as_fd())? else {
            drop(migration);
            sys::process::exit_now(0);
        };
        // If the fork fails the connection is closed, and the engine sees that.
        if let Ok(Fork::Child) = sys::fork::fork() {
            drop(engine);
            if let Some(migration) = migration {
                migration.leave_to_parent();
            }
            end(|| {
                set_disposition(Signal::CHILD, Disposition::Default)?;
                rustix::process::setsid()?;
                rustix::thread::set_name(c"teu-supervisor")?;
                supervisor::main(&message, fds)
            });
        }
    }
}
