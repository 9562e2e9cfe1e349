//! The container's first process, from its first instruction to the program.
//!
//! The order matters: ids before mounts (files get the right owners), mounts before pivot (sources are the host's),
//! the bounding set before the user changes (it needs CAP_SETPCAP), the filter where the kernel allows it.

mod device;
mod identity;
mod label;
mod mask;
mod mount;
mod namespace;
mod path;
mod program;
mod root;
mod sysctl;
mod terminal;

use std::os::fd::{AsFd as _, OwnedFd};

use oci::runtime::{NamespaceType, Process, Spec};

use crate::create::Gate;
use crate::seccomp::Program;
use crate::sync::{End, Message};
use crate::{Stdio, capability};

pub(crate) use identity::{Identity, apply_limits, apply_scheduling};
pub(crate) use label::Labels;
pub(crate) use namespace::{Joined, flag as namespace_flag};
pub(crate) use path::normal as normal_path;
pub(crate) use program::{environment, find as find_program, strings as c_strings};
pub(crate) use terminal::take as take_terminal;

/// Opens a terminal of the file system that the process is in, for `exec`.
pub(crate) fn open_terminal(size: Option<&oci::runtime::ConsoleSize>) -> Outcome<terminal::Terminal> {
    terminal::open(&path::open_root("/".as_ref())?, size, false)
}

/// Why the process could not be set up; the text is the whole message for people.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

pub(crate) type Outcome<T> = Result<T, Failure>;

/// Adds what was tried to a failure of the kernel.
pub(crate) trait Trying<T> {
    fn trying(self, what: impl FnOnce() -> String) -> Outcome<T>;
}

impl<T, E: std::fmt::Display> Trying<T> for Result<T, E> {
    fn trying(self, what: impl FnOnce() -> String) -> Outcome<T> {
        self.map_err(|error| Failure(format!("{}: {error}", what())))
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Everything the process needs, prepared by the parent.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    pub(crate) id: &'a str,
    pub(crate) spec: &'a Spec,
    pub(crate) bundle: &'a std::path::Path,
    pub(crate) root_tree: Option<&'a std::os::fd::OwnedFd>,
    pub(crate) stdio: Stdio,
    pub(crate) filter: Option<&'a Program>,
    pub(crate) cgroup: &'a crate::cgroup::Cgroup,
    pub(crate) gate: Gate,
    pub(crate) preserve_fds: u32,
    /// Namespaces that are still to be entered.
    pub(crate) joined: Vec<Joined>,
    pub(crate) no_pivot: bool,
}

/// Runs the child; returns only to report a failure.
pub(crate) fn run(plan: Plan<'_>, parent: &End) -> Failure {
    match set_up(plan, parent) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn set_up(mut plan: Plan<'_>, parent: &End) -> Outcome<std::convert::Infallible> {
    let spec = plan.spec;
    let missing = || Failure("process: missing in config.json".into());
    let process = spec.process.as_ref().ok_or_else(missing)?;
    // Nothing of the host may be read through /proc/PID until the program runs.
    sys::process::set_dumpable(false).trying(|| "prctl".into())?;
    let mut admission = namespace::Admission::new(spec, parent);
    if namespace::is_new(spec, NamespaceType::User) {
        // Its ids are nobody's until the parent has mapped them.
        admission.wait()?;
    }
    rustix::process::setsid().trying(|| "setsid".into())?;
    let _no_keyrings_here = sys::process::join_session_keyring();
    let labels = Labels::open(process)?;
    namespace::enter(spec, std::mem::take(&mut plan.joined))?;
    if namespace::find(spec, NamespaceType::User).is_some() {
        Identity::root().apply_ids()?;
    }
    if namespace::is_new(spec, NamespaceType::Network) {
        sys::process::loopback_up().trying(|| "bringing up lo".into())?;
    }
    sysctl::apply(spec)?;
    let terminal = files(&plan, process, parent, &mut admission)?;
    admission.wait()?;
    namespace::names(spec)?;
    for warning in apply_limits(process)? {
        let _the_parent_may_be_gone = parent.send(b'w', &warning, None);
    }
    apply_scheduling(process)?;
    redirect(&mut plan.stdio, terminal.as_ref())?;
    let prepared = prepare(process, &labels, plan.filter, parent)?;
    parent.send(b'r', "", terminal.as_ref().map(|terminal| terminal.master.as_fd())).trying(|| "telling the parent".into())?;
    drop(terminal);
    match plan.gate {
        Gate::Message => {
            let message = parent.receive().trying(|| "waiting for the start".into())?;
            if !matches!(message, Message::Start) {
                // The parent is gone: nobody will ever start this container.
                sys::process::exit_now(1)
            }
        }
        Gate::Fifo(fd) => wait_for_fifo(&fd)?,
    }
    if let Some(hooks) = &spec.hooks {
        let state = crate::hook::state(plan.id, plan.bundle, spec, "created", 1);
        crate::hook::run("startContainer", &hooks.start_container, &state)?;
    }
    prepared.execute(plan.preserve_fds)
}

/// The root file system with all its mounts, and the terminal that lives in it.
fn files(
    plan: &Plan<'_>,
    process: &Process,
    parent: &End,
    admission: &mut namespace::Admission<'_>,
) -> Outcome<Option<terminal::Terminal>> {
    let spec = plan.spec;
    let wanted = matches!(plan.stdio, Stdio::Terminal);
    let size = process.console_size.as_ref();
    if !namespace::is_new(spec, NamespaceType::Mount) {
        return wanted.then(|| open_terminal(size)).transpose();
    }
    let sources = mount::early(spec)?;
    let root = root::mount(spec, plan.bundle, plan.root_tree)?;
    let late = mount::all(spec, &root, sources, plan.cgroup, admission)?;
    device::make(spec, &root)?;
    mount::late(spec, &root, &late, plan.cgroup, admission)?;
    if let Some(hooks) = &spec.hooks {
        admission.wait()?;
        parent.send(b'h', "", None).trying(|| "asking for hooks".into())?;
        parent.wait_joined().map_err(Failure)?;
        let state = crate::hook::state(plan.id, plan.bundle, spec, "creating", 0);
        crate::hook::run("createContainer", &hooks.create_container, &state)?;
    }
    let terminal = wanted.then(|| terminal::open(&root, size, true)).transpose()?;
    mask::apply(spec, &root)?;
    root::enter(spec, root, plan.no_pivot)?;
    Ok(terminal)
}

/// What exec needs when everything else is done.
#[derive(Debug)]
pub(crate) struct Prepared {
    program: std::ffi::CString,
    args: Vec<std::ffi::CString>,
    env: Vec<std::ffi::CString>,
}

impl Prepared {
    /// Becomes the program.
    pub(crate) fn execute(self, preserve_fds: u32) -> Outcome<std::convert::Infallible> {
        // The caller may ignore or block signals; a program expects neither.
        sys::signalfd::reset().trying(|| "resetting signals".into())?;
        sys::process::close_on_exec_from(3 + preserve_fds).trying(|| "close_range".into())?;
        sys::process::execve(&self.program, &self.args, &self.env)
            .map_err(|error| Failure(format!("exec {}: {}", self.program.to_string_lossy(), program::explain(&error))))
    }
}

/// Takes the identity, finds the program and loads the filter; the last steps before exec, the same for `exec`.
pub(crate) fn prepare(process: &Process, labels: &Labels, filter: Option<&Program>, parent: &End) -> Outcome<Prepared> {
    let load = |filter: &Program| {
        let listener = filter.load().trying(|| "loading the seccomp filter".into())?;
        // At once: from here on any call may wait for an answer of the one who listens.
        listener.map_or(Ok(()), |listener| parent.send(b'n', "", Some(listener.as_fd())).trying(|| "telling the parent".into()))
    };
    labels.write()?;
    let identity = Identity::new(&process.user);
    let sets = process.capabilities.as_ref().map(capability::Sets::new);
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).trying(|| "no_new_privs".into())?;
    }
    if let Some(sets) = &sets {
        sets.bound().trying(|| "bounding set".into())?;
    }
    // Without no_new_privs loading a filter needs CAP_SYS_ADMIN, so it comes before the identity changes.
    if let Some(filter) = filter.filter(|_| !process.no_new_privileges) {
        load(filter)?;
    }
    rustix::thread::set_keep_capabilities(true).trying(|| "keeping capabilities".into())?;
    identity.apply_ids()?;
    rustix::thread::set_keep_capabilities(false).trying(|| "keeping capabilities".into())?;
    path::change_directory(&process.cwd)?;
    if let Some(sets) = &sets {
        sets.apply().trying(|| "setting capabilities".into())?;
    }
    let env = environment(process)?;
    let program = find_program(process)?;
    let prepared = Prepared { program, args: c_strings(&process.args)?, env: c_strings(&env)? };
    if let Some(filter) = filter.filter(|_| process.no_new_privileges) {
        load(filter)?;
    }
    Ok(prepared)
}

/// Puts the streams on 0, 1 and 2.
fn redirect(stdio: &mut Stdio, terminal: Option<&terminal::Terminal>) -> Outcome<()> {
    match std::mem::replace(stdio, Stdio::Inherit) {
        Stdio::Inherit => Ok(()),
        Stdio::Pipes { stdin, stdout, stderr } => {
            for (fd, target) in [(&stdin, 0), (&stdout, 1), (&stderr, 2)] {
                sys::process::redirect(fd.as_fd(), target).trying(|| "redirecting the streams".into())?;
            }
            Ok(())
        }
        Stdio::Terminal => take_terminal(terminal.ok_or_else(|| Failure("no terminal was opened".into()))?),
    }
}

/// Blocks until `start` writes to the FIFO; one that nobody has opened for writing yet is silent, not at its end.
fn wait_for_fifo(fd: &OwnedFd) -> Outcome<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    let what = || "waiting for start".to_owned();
    while poll(&mut [PollFd::new(fd, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
    match rustix::io::read(fd, &mut [0; 1]).trying(what)? {
        // Whoever opened it has gone without a word.
        0 => sys::process::exit_now(1),
        _ => Ok(()),
    }
}
