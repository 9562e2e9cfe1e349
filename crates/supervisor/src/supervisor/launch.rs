//! From the fork to a created container.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci::runtime::{Mount, Spec};
use rustix::fs::{Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::pty::OpenptFlags;

use super::{FIRST, Memory, Process, Settings, Supervisor, chain};
use crate::connections::Connections;
use crate::log::Log;
use crate::poller::{Poller, Ready, Source};
use crate::protocol::{Event, Launch, Phase, Stdin, codec};
use crate::streams::{Ends, InputEnd, Streams};
use runtime::cgroup::OomWatch;
use sys::process::Title;

/// Where our own init is put. **Source:** Docker, `--init`: `/sbin/docker-init -- PROGRAM`.
const INIT_PATH: &str = "/sbin/docker-init";
/// Of the supervisors when memory is short: they hold little, and a container without one is lost.
const OOM_SCORE: &str = "-999";

/// Digits of an id as `docker ps` shows it.
const SHORT_ID: usize = 12;

/// Runs a supervisor to its end. The message is a [`Launch`], the first descriptor the connection, the next the root, if any.
pub(crate) fn main(message: &[u8], mut fds: Vec<OwnedFd>, title: Option<Title>) -> io::Result<()> {
    let launch = codec::decode::<Launch>(message, &mut fds);
    let mut fds = fds.into_iter();
    let control = fds.next().ok_or(io::ErrorKind::InvalidData)?;
    let root = fds.next();
    rustix::io::ioctl_fionbio(&control, true)?;
    let mut poller = Poller::new()?;
    let mut connections = Connections::default();
    connections.add(control, &mut poller)?;
    let launch = launch.map_err(|error| chain(&error));
    if let (Ok(launch), Some(title)) = (&launch, title) {
        let short = launch.id.get(..SHORT_ID).unwrap_or(&launch.id);
        title.write(&format!("teu supervisor {short}"));
    }
    // The root is let go of here: from now on it belongs to the container's mounts alone.
    let result = launch.and_then(|launch| create(launch, root, &mut poller));
    let created = match result {
        Ok(created) => created,
        Err(message) => {
            connections.broadcast(Event::CreateFailed { message }, None, &mut poller);
            return Ok(());
        }
    };
    let mut supervisor = Supervisor::new(created, poller, connections);
    // Whatever fails from here on must not leave a container that nobody looks after.
    let result = supervisor.begin().and_then(|()| supervisor.serve());
    if result.is_err() && supervisor.phase != Phase::Exited {
        super::death::remove_cgroup(supervisor.container.cgroup());
    }
    result
}

/// What [`create`] makes.
struct Created {
    settings: Settings,
    listener: OwnedFd,
    container: runtime::Container,
    network_namespace: OwnedFd,
    first: Process,
}

/// Makes the control socket, the log and the container; undoes all if one of them fails.
fn create(mut launch: Launch, root: Option<OwnedFd>, poller: &mut Poller) -> Result<Created, String> {
    let path = launch.control_path.clone();
    let listener = sys::seqpacket::listen(&path).map_err(|error| format!("cannot listen at `{}`: {error}", path.display()))?;
    let created = create_container(&mut launch, root.as_ref(), poller);
    let (container, network_namespace, first) = match created {
        Ok(parts) => parts,
        Err(message) => {
            let _ = rustix::fs::unlink(&path);
            return Err(message);
        }
    };
    let seccomp = launch.seccomp.as_ref();
    let seccomp = seccomp.and_then(|bytes| runtime::seccomp::Program::from_bytes(&bytes.0).ok());
    let settings = Settings {
        id: launch.id,
        bundle: launch.bundle,
        spec: Spec { process: None, mounts: Vec::new(), hooks: None, ..launch.spec },
        seccomp,
        control_path: path,
        exit_path: launch.exit_path,
        durable_exit: launch.durable_exit,
        log: launch.log,
    };
    Ok(Created { settings, listener, container, network_namespace, first })
}

fn create_container(
    launch: &mut Launch,
    root: Option<&OwnedFd>,
    poller: &mut Poller,
) -> Result<(runtime::Container, OwnedFd, Process), String> {
    let log = Log::open(&launch.log).map_err(|error| format!("cannot open the log `{}`: {error}", launch.log.path.display()))?;
    if launch.init {
        let run = launch.control_path.parent().unwrap_or(Path::new("/"));
        put_init_first(&mut launch.spec, run).map_err(|error| format!("cannot prepare docker-init: {error}"))?;
    }
    let seccomp = match &launch.seccomp {
        Some(bytes) => Some(runtime::seccomp::Program::from_bytes(&bytes.0).map_err(|error| chain(&error))?),
        None => None,
    };
    let terminal = launch.spec.process.as_ref().is_some_and(|process| process.terminal);
    let stdin = if terminal { Stdin::Closed } else { launch.stdin };
    let (stdio, mut ends) = standard_streams(terminal, stdin != Stdin::Closed).map_err(|error| error.to_string())?;
    let request = runtime::CreateRequest {
        id: &launch.id,
        spec: &launch.spec,
        bundle: &launch.bundle,
        root_tree: root,
        stdio,
        seccomp: seccomp.as_ref(),
        gate: runtime::Gate::Message,
        preserve_fds: 0,
        no_pivot: false,
    };
    let mut container = runtime::create(request).map_err(|error| chain(&error))?;
    let once = launch.stdin == Stdin::Once && !terminal;
    let end = if once { InputEnd::Close } else { InputEnd::LetGo };
    let prepared = container.network_namespace().and_then(|namespace| {
        if let Some(master) = container.take_terminal() {
            ends = terminal_ends(master)?;
        }
        let streams = Streams::new(FIRST, ends, end, log);
        Ok((namespace, first_process(&container, streams, poller)?))
    });
    match prepared {
        Ok((namespace, first)) => Ok((container, namespace, first)),
        Err(error) => {
            super::death::remove_cgroup(container.cgroup());
            Err(error.to_string())
        }
    }
}

fn first_process(container: &runtime::Container, mut streams: Streams, poller: &mut Poller) -> io::Result<Process> {
    streams.watch_outputs(poller)?;
    let pidfd = container.pidfd().try_clone_to_owned()?;
    let exit_token = Some(poller.add(pidfd.as_fd(), Source::Exit(FIRST), Ready::IN)?);
    Ok(Process { exec_id: None, pid: container.pid(), pidfd, exit_token, streams })
}

/// Makes the streams of a process: its own side, and ours. A terminal's comes later.
pub(super) fn standard_streams(terminal: bool, input: bool) -> io::Result<(runtime::Stdio, Ends)> {
    if terminal {
        return Ok((runtime::Stdio::Terminal, Ends::default()));
    }
    let (stdin, our_stdin) = if input {
        let (theirs, ours) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        (theirs, Some(ours))
    } else {
        (open_null()?, None)
    };
    let (our_stdout, stdout) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    let (our_stderr, stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    // Each end of a pipe has flags of its own, so the process's stay blocking.
    for ours in our_stdin.iter().chain([&our_stdout, &our_stderr]) {
        rustix::io::ioctl_fionbio(ours, true)?;
    }
    let ends = Ends { input: our_stdin, stdout: Some(our_stdout), stderr: Some(our_stderr), terminal: None };
    Ok((runtime::Stdio::Pipes { stdin, stdout, stderr }, ends))
}

/// Our side of a terminal.
pub(super) fn terminal_ends(master: OwnedFd) -> io::Result<Ends> {
    rustix::io::ioctl_fionbio(&master, true)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let peer = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    Ok(Ends { input: Some(master.try_clone()?), stdout: Some(master), stderr: None, terminal: Some(peer) })
}

pub(super) fn open_null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Puts our init before the program: this very binary, mounted read-only, so that nothing inside
/// can change it through `/proc/self/exe` or its path.
fn put_init_first(spec: &mut Spec, run: &Path) -> io::Result<()> {
    spec.mounts.push(Mount {
        destination: INIT_PATH.into(),
        kind: Some("bind".to_owned()),
        source: Some(own_binary(run)?),
        options: ["bind", "ro", "nosuid", "nodev"].map(str::to_owned).to_vec(),
        ..Mount::default()
    });
    if let Some(process) = &mut spec.process {
        process.args.splice(0..0, [INIT_PATH.to_owned(), "--".to_owned()]);
    }
    Ok(())
}

/// A path of the binary that runs here. After an upgrade there is none any more, and a copy is put
/// into the container's run directory. (`/proc/self/exe` itself leads into another mount
/// namespace than the container's, from which nothing can be bound: open_tree(2), EINVAL.)
fn own_binary(run: &Path) -> io::Result<PathBuf> {
    if let Some(path) = runtime::protect::own_path() {
        return Ok(path);
    }
    let copy = run.join("docker-init");
    fs_err::copy("/proc/self/exe", &copy)?;
    Ok(copy)
}

impl Supervisor {
    fn new(created: Created, poller: Poller, connections: Connections) -> Self {
        Self {
            settings: created.settings,
            poller,
            listener: created.listener,
            connections,
            container: created.container,
            network_namespace: Some(created.network_namespace),
            phase: Phase::Created,
            started_at: None,
            paused: false,
            memory: Memory::default(),
            last_signal: None,
            processes: BTreeMap::from([(FIRST, created.first)]),
            next_process: FIRST + 1,
            unheard: Vec::new(),
            scratch: Vec::new(),
            unannounced: None,
            farewell: None,
        }
    }

    /// Tells that the container is created, and begins to listen.
    fn begin(&mut self) -> io::Result<()> {
        let pid = self.container.pid().as_raw_nonzero().get();
        let namespace = self.network_namespace.as_ref().map(AsFd::as_fd);
        self.connections.broadcast(Event::Created { pid }, namespace, &mut self.poller);
        self.poller.add(self.listener.as_fd(), Source::Listener, Ready::IN)?;
        // Without a memory controller there is nothing to watch.
        if let Ok(watch) = OomWatch::new(self.container.cgroup()) {
            let token = self.poller.add(watch.as_fd(), Source::OutOfMemory, Ready::IN)?;
            self.memory.watch = Some((watch, token));
        }
        // Only now, as the container's process inherits it.
        let _ = fs_err::write("/proc/self/oom_score_adj", OOM_SCORE);
        Ok(())
    }
}
