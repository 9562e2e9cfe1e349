//! Creating and starting a container, seen from its parent.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::runtime::{IdMapping, NamespaceType, Spec};
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};

use crate::Stdio;
use crate::cgroup::Cgroup;
use crate::child::{self, Failure, Joined, Outcome, Plan, Trying as _};
use crate::clone::has_new;
use crate::seccomp::Program;
use crate::sync::{End, Message, pair};

/// What is needed to create a container.
#[derive(Debug)]
pub struct CreateRequest<'a> {
    /// Name of the container, unique on this host.
    pub id: &'a str,
    /// What it is.
    pub spec: &'a Spec,
    /// Folder of the bundle; paths of the specification are relative to it.
    pub bundle: &'a Path,
    /// The root file system, instead of `spec.root.path`: a detached mount, as from `fsmount(2)`.
    pub root_tree: Option<&'a OwnedFd>,
    /// Standard streams.
    pub stdio: Stdio,
    /// A ready filter; `None` compiles `spec.linux.seccomp`.
    pub seccomp: Option<&'a Program>,
    /// How the start is told.
    pub gate: Gate,
    /// Descriptors after 2 that the program inherits.
    pub preserve_fds: u32,
    /// Covers the host's root instead of leaving it, where pivot_root(2) cannot be used.
    pub no_pivot: bool,
}

/// How a created container learns that it may start.
#[derive(Debug)]
pub enum Gate {
    /// By [`Container::start`].
    Message,
    /// When a byte is written to this FIFO (its non-blocking reading end).
    Fifo(OwnedFd),
}

/// The container could not be created; nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[error("unable to start container process: error during container init: {0}")]
pub struct CreateError(String);

/// The container could not be started; it is dead.
#[derive(Debug, thiserror::Error)]
#[error("unable to start container process: {0}")]
pub struct StartError(String);

/// A created container. Dropping it leaves the process alone.
#[derive(Debug)]
pub struct Container {
    pid: Pid,
    pidfd: OwnedFd,
    end: End,
    terminal: Option<OwnedFd>,
    cgroup: Cgroup,
    warnings: Vec<String>,
}

impl Container {
    /// First process, as the caller sees it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Descriptor of the first process; readable when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Takes the master of the terminal, if it has one.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Opens its network namespace.
    ///
    /// # Errors
    /// If the process is gone.
    pub fn network_namespace(&self) -> std::io::Result<OwnedFd> {
        Ok(open(format!("/proc/{}/ns/net", self.pid.as_raw_nonzero()), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// What did not go quite as asked, in words for people.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Lets the program run; returns when exec has succeeded or failed.
    ///
    /// # Errors
    /// If exec fails; the process has then ended.
    pub fn start(&mut self) -> Result<(), StartError> {
        self.end.send(b's', "", None).map_err(|error| StartError(error.to_string()))?;
        match self.end.receive() {
            Ok(Message::Closed) => Ok(()),
            Ok(Message::Failed(text)) => Err(StartError(text)),
            Ok(other) => Err(StartError(format!("unexpected message: {other:?}"))),
            Err(error) => Err(StartError(error.to_string())),
        }
    }
}

/// Makes the namespaces, cgroups and mounts of a container; its process then waits for the start.
///
/// Forks: the caller must be single-threaded.
///
/// # Errors
/// What is wrong with the specification, or what the kernel refused. The process and the cgroup are removed again.
pub fn create(request: CreateRequest<'_>) -> Result<Container, CreateError> {
    if let Some(fault) = crate::spec_check::fault(request.spec, request.root_tree.is_some()) {
        return Err(CreateError(fault));
    }
    let linux = request.spec.linux.as_ref();
    let own_filter;
    let filter = match (request.seccomp, linux.and_then(|linux| linux.seccomp.as_ref())) {
        (Some(filter), _) => Some(filter),
        (None, Some(profile)) => {
            own_filter = crate::seccomp::compile(profile).map_err(|error| CreateError(error.to_string()))?;
            Some(&own_filter)
        }
        (None, None) => None,
    };
    let cgroup = Cgroup::plan(request.id, linux).map_err(|error| CreateError(error.to_string()))?;
    match fork(request, filter, cgroup) {
        Ok(container) => Ok(container),
        Err((failure, cgroup)) => {
            // The failure is what the caller must know; a cgroup that stays is found by its name at the next start.
            let _best_effort = cgroup.remove();
            Err(CreateError(failure.0))
        }
    }
}

fn fork(request: CreateRequest<'_>, filter: Option<&Program>, cgroup: Cgroup) -> Result<Container, (Failure, Cgroup)> {
    let spec = request.spec;
    let result = (|| {
        let (ours, theirs) = pair().trying(|| "socketpair".into())?;
        let mut joined = Joined::open(spec)?;
        let into = cgroup.unified_folder().trying(|| "opening the cgroup".into())?;
        let side = crate::clone::first_process(spec, &mut joined, into.as_ref().map(OwnedFd::as_fd))?;
        Ok((ours, theirs, joined, side))
    })();
    let (ours, theirs, joined, side) = match result {
        Ok(parts) => parts,
        Err(failure) => return Err((failure, cgroup)),
    };
    match side {
        sys::process::Side::Child => {
            drop(ours);
            let plan = Plan {
                id: request.id,
                spec,
                bundle: request.bundle,
                root_tree: request.root_tree,
                stdio: request.stdio,
                filter,
                cgroup: &cgroup,
                gate: request.gate,
                preserve_fds: request.preserve_fds,
                joined,
                no_pivot: request.no_pivot,
            };
            let failure = child::run(plan, &theirs);
            let _the_parent_may_be_gone = theirs.send(b'e', &failure.0, None);
            sys::process::exit_now(1)
        }
        sys::process::Side::Parent { pid, pidfd } => {
            drop(theirs);
            drop(request.stdio);
            let mut container = Container { pid, pidfd, end: ours, terminal: None, cgroup, warnings: Vec::new() };
            match guide(&mut container, request.id, request.bundle, spec) {
                Ok(()) => Ok(container),
                Err(failure) => {
                    let _already_dead = pidfd_send_signal(&container.pidfd, Signal::KILL);
                    let _reaped = waitid(WaitId::PidFd(container.pidfd.as_fd()), WaitIdOptions::EXITED);
                    Err((failure, container.cgroup))
                }
            }
        }
    }
}

/// Does for the child what it cannot do itself, and lets it go on.
fn admit(container: &mut Container, spec: &Spec) -> Outcome<()> {
    let folder = format!("/proc/{}", container.pid.as_raw_nonzero());
    // The child mounts its files meanwhile.
    container.cgroup.make(spec.linux.as_ref()).map_err(|error| Failure(error.to_string()))?;
    container.cgroup.join(container.pid).trying(|| "entering the cgroup".into())?;
    if let Some(score) = spec.process.as_ref().and_then(|process| process.oom_score_adj) {
        lower_or_raise(&format!("{folder}/oom_score_adj"), score, &mut container.warnings)?;
    }
    if let Some(linux) = spec.linux.as_ref().filter(|_| has_new(spec, NamespaceType::User)) {
        write_mappings(&folder, &linux.uid_mappings, &linux.gid_mappings)?;
    }
    container.end.send(b'j', "", None).trying(|| "telling the child".into())
}

/// Helps the child until it is ready.
fn guide(container: &mut Container, id: &str, bundle: &Path, spec: &Spec) -> Outcome<()> {
    if let Err(failure) = admit(container, spec) {
        // A child that has ended meanwhile has said why; what could not be done with it is but the consequence.
        return match container.end.receive_now() {
            Ok(Some(Message::Failed(text))) => Err(Failure(text)),
            _ => Err(failure),
        };
    }
    loop {
        match container.end.receive().trying(|| "waiting for the child".into())? {
            Message::Ready(terminal) => {
                container.terminal = terminal;
                return Ok(());
            }
            Message::Hooks => {
                let hooks = spec.hooks.as_ref();
                let pid = container.pid.as_raw_nonzero().get();
                for (kind, list) in
                    [("prestart", hooks.map(|hooks| &hooks.prestart)), ("createRuntime", hooks.map(|hooks| &hooks.create_runtime))]
                {
                    let state = crate::hook::state(id, bundle, spec, "creating", pid);
                    crate::hook::run(kind, list.map(Vec::as_slice).unwrap_or_default(), &state)?;
                }
                container.end.send(b'j', "", None).trying(|| "telling the child".into())?;
            }
            Message::Listener(fd) => {
                let state = crate::hook::state(id, bundle, spec, "creating", container.pid.as_raw_nonzero().get());
                crate::seccomp::listener::hand_over(spec, &state, container.pid, fd)?;
            }
            Message::Warning(text) => container.warnings.push(text),
            Message::Failed(text) => return Err(Failure(text)),
            Message::Closed => {
                return Err(Failure("the process died while it was set up (out of memory?)".into()));
            }
            other @ (Message::Joined | Message::Start) => {
                return Err(Failure(format!("unexpected message: {other:?}")));
            }
        }
    }
}

/// Lowering the score needs CAP_SYS_RESOURCE; without it the container keeps the caller's score and a warning is left.
fn lower_or_raise(file: &str, score: i64, warnings: &mut Vec<String>) -> Outcome<()> {
    match std::fs::write(file, score.to_string()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            warnings.push(format!("oomScoreAdj: setting {score} needs CAP_SYS_RESOURCE"));
            Ok(())
        }
        Err(error) => Err(Failure(format!("setting oomScoreAdj {score}: {error}"))),
    }
}

/// Writes the mappings of a new user namespace through the /proc folder of its first process.
pub(crate) fn write_mappings(folder: &str, uids: &[IdMapping], gids: &[IdMapping]) -> Outcome<()> {
    for (name, mappings) in [("uid_map", uids), ("gid_map", gids)] {
        let lines: String = mappings.iter().map(|map| format!("{} {} {}\n", map.container_id, map.host_id, map.size)).collect();
        std::fs::write(format!("{folder}/{name}"), lines).trying(|| format!("writing {name}"))?;
    }
    Ok(())
}
