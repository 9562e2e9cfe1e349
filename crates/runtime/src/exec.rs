//! A further process in a running container.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::{NamespaceType, Process, Spec};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use sys::process::Side;

use crate::Stdio;
use crate::cgroup::Cgroup;
use crate::child::{self, Failure, Identity, Outcome, Trying as _};
use crate::seccomp::Program;
use crate::sync::{End, Message, pair};

/// What is needed to run a process in a container.
#[derive(Debug)]
pub struct ExecRequest<'a> {
    /// Name of the container.
    pub id: &'a str,
    /// Folder of its bundle.
    pub bundle: &'a Path,
    /// First process of the container.
    pub pid: Pid,
    /// Its descriptor.
    pub pidfd: BorrowedFd<'a>,
    /// The container's specification.
    pub spec: &'a Spec,
    /// The process to run.
    pub process: &'a Process,
    /// The container's cgroup.
    pub cgroup: &'a Cgroup,
    /// Standard streams.
    pub stdio: Stdio,
    /// A ready filter; `None` compiles `spec.linux.seccomp`.
    pub seccomp: Option<&'a Program>,
    /// Descriptors after 2 that the program inherits.
    pub preserve_fds: u32,
}

/// The process could not be run; nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[error("exec failed: unable to start container process: {0}")]
pub struct ExecError(String);

/// A running process, a child of the caller.
#[derive(Debug)]
pub struct ExecProcess {
    /// As the caller sees it.
    pub pid: Pid,
    /// Its descriptor; readable when it has ended.
    pub pidfd: OwnedFd,
    /// Master of its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// Runs a process in the namespaces and the cgroup of a container; returns when exec has succeeded or failed.
///
/// Forks: the caller must be single-threaded.
///
/// # Errors
/// What is wrong with the process, or what the kernel refused.
pub fn exec(request: ExecRequest<'_>) -> Result<ExecProcess, ExecError> {
    run(request).map_err(|failure| ExecError(failure.0))
}

fn run(mut request: ExecRequest<'_>) -> Outcome<ExecProcess> {
    let own_filter;
    let filter = match (request.seccomp, request.spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref())) {
        (Some(filter), _) => Some(filter),
        (None, Some(profile)) => {
            own_filter = crate::seccomp::compile(profile).map_err(|error| Failure(error.to_string()))?;
            Some(&own_filter)
        }
        (None, None) => None,
    };
    let (ours, theirs) = pair().trying(|| "socketpair".into())?;
    // The pid namespace is entered by the parent for its next child and left again at once: the child is then inside it.
    let own =
        open("/proc/self/ns/pid", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).trying(|| "opening the own pid namespace".into())?;
    sys::process::setns(request.pidfd, sys::process::NEW_PID).trying(|| "joining the container's pid namespace".into())?;
    let into = request.cgroup.unified_folder().trying(|| "opening the cgroup".into())?;
    let side = sys::process::clone3(0, into.as_ref().map(OwnedFd::as_fd)).trying(|| "clone".into());
    if let Ok(Side::Child) = side {
        drop(ours);
        let failure = match in_child(request, filter, &theirs) {
            Ok(never) => match never {},
            Err(failure) => failure,
        };
        let _the_parent_may_be_gone = theirs.send(b'e', &failure.0, None);
        sys::process::exit_now(1)
    }
    sys::process::setns(own.as_fd(), sys::process::NEW_PID).trying(|| "returning to the own pid namespace".into())?;
    let Side::Parent { pid, pidfd } = side? else {
        return Err(Failure("clone".into()));
    };
    drop(theirs);
    drop(std::mem::replace(&mut request.stdio, Stdio::Inherit));
    match guide(&ours, pid, &request) {
        Ok(terminal) => Ok(ExecProcess { pid, pidfd, terminal }),
        Err(failure) => {
            let _already_dead = pidfd_send_signal(&pidfd, Signal::KILL);
            let _reaped = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            Err(failure)
        }
    }
}

fn guide(end: &End, pid: Pid, request: &ExecRequest<'_>) -> Outcome<Option<OwnedFd>> {
    let process = request.process;
    request.cgroup.join(pid).trying(|| "entering the cgroup".into())?;
    if let Some(score) = process.oom_score_adj {
        // Without CAP_SYS_RESOURCE the process keeps the caller's score.
        let _best_effort = std::fs::write(format!("/proc/{}/oom_score_adj", pid.as_raw_nonzero()), score.to_string());
    }
    end.send(b'j', "", None).trying(|| "telling the child".into())?;
    let mut terminal = None;
    loop {
        match end.receive().trying(|| "waiting for the child".into())? {
            Message::Ready(master) => terminal = master,
            Message::Listener(fd) => {
                let state = crate::hook::state(request.id, request.bundle, request.spec, "running", request.pid.as_raw_nonzero().get());
                crate::seccomp::listener::hand_over(request.spec, &state, pid, fd)?;
            }
            Message::Closed => return Ok(terminal),
            Message::Failed(text) => return Err(Failure(text)),
            Message::Warning(_) | Message::Joined | Message::Hooks | Message::Start => {}
        }
    }
}

/// The root folder of the container's first process.
fn first_root(pid: Pid) -> Outcome<OwnedFd> {
    let path = format!("/proc/{}/root", pid.as_raw_nonzero());
    open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).trying(|| "opening the container's root".into())
}

/// Leaves a namespace's root that is not the container's: where the creator ran in a chroot, pivot_root(2) has moved the
/// root of the processes, but that of the namespace, which setns(2) enters, is still the host's. The descriptor ends here: none
/// may be there for a working directory to name.
fn enter_root(root: OwnedFd) -> Outcome<()> {
    let mount = |fd: BorrowedFd<'_>, path: &str| {
        rustix::fs::statx(fd, path, rustix::fs::AtFlags::EMPTY_PATH, rustix::fs::StatxFlags::MNT_ID)
            .map(|found| found.stx_mnt_id)
            .trying(|| "finding the root's mount".into())
    };
    if mount(root.as_fd(), "")? == mount(rustix::fs::CWD, "/")? {
        return Ok(());
    }
    rustix::process::fchdir(&root).trying(|| "entering the root".into())?;
    rustix::process::chroot(".").trying(|| "entering the root".into())
}

fn in_child(request: ExecRequest<'_>, filter: Option<&Program>, parent: &End) -> Outcome<std::convert::Infallible> {
    // Nothing of the host may be read through /proc/PID from inside (CVE-2016-9962).
    sys::process::set_dumpable(false).trying(|| "prctl".into())?;
    parent.wait_joined().map_err(Failure)?;
    rustix::process::setsid().trying(|| "setsid".into())?;
    let _no_keyrings_here = sys::process::join_session_keyring();
    let labels = child::Labels::open(request.process)?;
    let kinds = request.spec.linux.iter().flat_map(|linux| &linux.namespaces).map(|namespace| namespace.kind);
    let flags = kinds.filter(|kind| *kind != NamespaceType::Pid).fold(0, |flags, kind| flags | child::namespace_flag(kind));
    let root = first_root(request.pid)?;
    if flags != 0 {
        sys::process::setns(request.pidfd, flags).trying(|| "joining the container's namespaces".into())?;
    }
    enter_root(root)?;
    if flags & sys::process::NEW_USER != 0 {
        Identity::root().apply_ids()?;
    }
    child::apply_limits(request.process)?;
    child::apply_scheduling(request.process)?;
    let terminal = match request.stdio {
        Stdio::Inherit => None,
        Stdio::Pipes { stdin, stdout, stderr } => {
            for (fd, target) in [(&stdin, 0), (&stdout, 1), (&stderr, 2)] {
                sys::process::redirect(fd.as_fd(), target).trying(|| "redirecting the streams".into())?;
            }
            None
        }
        Stdio::Terminal => {
            let terminal = child::open_terminal(request.process.console_size.as_ref())?;
            child::take_terminal(&terminal)?;
            Some(terminal)
        }
    };
    let prepared = child::prepare(request.process, &labels, filter, parent)?;
    parent.send(b'r', "", terminal.as_ref().map(|terminal| terminal.master.as_fd())).trying(|| "telling the parent".into())?;
    drop(terminal);
    prepared.execute(request.preserve_fds)
}
