//! A container with busybox, and an engine's view of it.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use oci::runtime::{Linux, Mount, Namespace, NamespaceType, Process, Root, Spec};
use rustix::event::{PollFd, PollFlags, Timespec};
use supervisor::logs::{LogEntry, Logs, Next, Query};
use supervisor::protocol::{Attach, Command, Event, Exec, Exit, Launch, Log, LogDriver, Message, Outcome, Request, VERSION};
use supervisor::spawner::Spawner;
use supervisor::{Control, Received};

/// Longest wait for anything; a test that needs more has failed.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// A root file system that all tests share, never written to.
fn root() -> PathBuf {
    static ROOT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = ROOT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "etc", "tmp", "proc", "sys", "dev", "sbin"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", folder.path().join("bin/busybox")).unwrap();
        for name in [
            "sh", "cat", "sleep", "echo", "seq", "yes", "head", "stty", "kill", "printf", "ps", "touch", "tail", "dd", "true", "false",
            "wc", "grep",
        ] {
            std::os::unix::fs::symlink("busybox", folder.path().join("bin").join(name)).unwrap();
        }
        std::fs::write(folder.path().join("sbin/docker-init"), "").unwrap();
        folder
    });
    folder.path().to_owned()
}

/// A container under test, with the connection that came from its launch.
pub(crate) struct Bundle {
    /// Removed last.
    _folder: tempfile::TempDir,
    pub(crate) launch: Launch,
    pub(crate) engine: Engine,
}

/// A connection to a supervisor.
pub(crate) struct Engine {
    control: Control,
    sequence: u64,
    /// Heard while a reply was waited for.
    heard: Vec<Event>,
    pub(crate) namespace: Option<OwnedFd>,
}

impl Engine {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { control: Control::new(socket).unwrap(), sequence: 0, heard: Vec::new(), namespace: None }
    }

    fn receive(&mut self) -> Option<Message> {
        wait(self.control.as_fd(), PollFlags::IN);
        let Received { message, mut fds } = self.control.receive().unwrap()?;
        if let Some(fd) = fds.pop() {
            self.namespace = Some(fd);
        }
        Some(message)
    }

    /// Sends a command and waits for its reply.
    pub(crate) fn ask(&mut self, command: Command, fds: &[BorrowedFd<'_>]) -> Outcome {
        self.sequence += 1;
        let request = Request { sequence: self.sequence, command };
        self.control.send(&request, fds).unwrap();
        loop {
            match self.receive().expect("the supervisor has ended") {
                Message::Reply(reply) => {
                    assert_eq!(reply.sequence, self.sequence);
                    return reply.result;
                }
                Message::Event(event) => self.heard.push(event),
            }
        }
    }

    /// As `ask`, for commands that are simply done.
    pub(crate) fn tell(&mut self, command: Command) {
        assert_eq!(self.ask(command, &[]), Outcome::Done);
    }

    /// The next event.
    pub(crate) fn event(&mut self) -> Option<Event> {
        if !self.heard.is_empty() {
            return Some(self.heard.remove(0));
        }
        match self.receive()? {
            Message::Event(event) => Some(event),
            Message::Reply(reply) => panic!("a reply to nothing: {reply:?}"),
        }
    }

    /// Waits for an event that is one of these.
    pub(crate) fn wait_for<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            let event = self.event().expect("the supervisor has ended");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    pub(crate) fn wait_for_exit(&mut self) -> Exit {
        self.wait_for(|event| if let Event::Exited(exit) = event { Some(*exit) } else { None })
    }

    pub(crate) fn wait_for_exec(&mut self, wanted: &str) -> i32 {
        self.wait_for(|event| match event {
            Event::ExecExited { exec_id, code } if exec_id == wanted => Some(code),
            _ => None,
        })
    }

    /// Attaches a new client.
    pub(crate) fn attach(&mut self, attach: Attach) -> UnixStream {
        let (ours, theirs) = client();
        assert_eq!(self.ask(Command::Attach(attach), &[theirs.as_fd()]), Outcome::Done);
        ours
    }

    /// Executes with a new client.
    pub(crate) fn exec(&mut self, exec: Exec) -> (UnixStream, i32) {
        let (ours, theirs) = client();
        match self.ask(Command::Exec(Box::new(exec)), &[theirs.as_fd()]) {
            Outcome::ExecStarted { pid } => (ours, pid),
            other => panic!("{other:?}"),
        }
    }
}

/// Two ends of a client's stream; ours gives up after a while.
pub(crate) fn client() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    (ours, theirs)
}

/// Waits until a descriptor is ready.
pub(crate) fn wait(fd: BorrowedFd<'_>, flags: PollFlags) {
    let mut fds = [PollFd::new(&fd, flags)];
    assert_ne!(rustix::event::poll(&mut fds, Some(&PATIENCE)).unwrap(), 0, "nothing happens");
}

impl Bundle {
    /// A container that will run `sh -c script`, not launched yet.
    pub(crate) fn prepare(script: &str) -> (tempfile::TempDir, Launch) {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        let id = format!("supervisor-{name}");
        let log = Log { driver: LogDriver::JsonFile, path: folder.path().join(format!("{id}-json.log")), files_max: 1, ..Log::default() };
        let launch = Launch {
            version: VERSION,
            id,
            spec: spec(script),
            bundle: folder.path().to_owned(),
            control_path: folder.path().join("control.sock"),
            exit_path: folder.path().join("exit.json"),
            durable_exit: true,
            log,
            ..Launch::default()
        };
        (folder, launch)
    }

    /// Launches and waits for the creation.
    pub(crate) fn launch(spawner: &Spawner, (folder, launch): (tempfile::TempDir, Launch)) -> Self {
        let mut engine = Engine::new(spawner.launch(&launch, None).unwrap());
        match engine.event().unwrap() {
            Event::Created { .. } => {}
            other => panic!("{other:?}"),
        }
        assert!(engine.namespace.is_some());
        Self { _folder: folder, launch, engine }
    }

    /// Launches and starts.
    pub(crate) fn start(spawner: &Spawner, script: &str) -> Self {
        let mut bundle = Self::launch(spawner, Self::prepare(script));
        bundle.engine.tell(Command::Start);
        bundle
    }

    pub(crate) fn connect(&self) -> Engine {
        Engine::new(supervisor::connect(&self.launch.control_path).unwrap())
    }

    /// All entries of the log.
    pub(crate) fn log(&self) -> Vec<LogEntry> {
        self.read_log(Query::default())
    }

    pub(crate) fn read_log(&self, query: Query) -> Vec<LogEntry> {
        let log = &self.launch.log;
        let mut logs = Logs::open(log.driver, log.path.clone(), query).unwrap();
        let mut entries = Vec::new();
        while let Next::Entry(entry) = logs.next().unwrap() {
            entries.push(entry);
        }
        entries
    }

    /// All output in the log as text.
    pub(crate) fn logged(&self) -> String {
        let bytes: Vec<u8> = self.log().into_iter().flat_map(|entry| entry.line).collect();
        String::from_utf8(bytes).unwrap()
    }
}

impl Drop for Bundle {
    /// Kills what still runs, and checks that nothing is left.
    fn drop(&mut self) {
        let kill = Command::Signal { signal: 9, all: false };
        let request = Request { sequence: u64::MAX, command: kill };
        let _ = self.engine.control.send(&request, &[]);
        let mut ended = [PollFd::new(&self.engine.control, PollFlags::IN)];
        while rustix::event::poll(&mut ended, Some(&PATIENCE)).unwrap_or(0) > 0 {
            if !matches!(self.engine.control.receive(), Ok(Some(_))) {
                break;
            }
        }
        if !std::thread::panicking() {
            assert!(!self.launch.control_path.exists(), "the control socket is left");
            let group = PathBuf::from("/sys/fs/cgroup/memory/teu").join(&self.launch.id);
            assert!(!group.exists(), "a cgroup is left");
        }
    }
}

/// Reads a stream to its end.
pub(crate) fn read_all(client: &mut UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads until some text has come, and returns all.
pub(crate) fn read_until(client: &mut UnixStream, wanted: &str) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.contains(wanted) {
            return text;
        }
        let read = client.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the stream ended with `{text}`, without `{wanted}`");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

/// Takes frames apart: standard output and standard error.
pub(crate) fn unframe(mut bytes: &[u8]) -> (String, String) {
    let mut streams = [Vec::new(), Vec::new()];
    while let Some((header, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let (content, rest) = rest.split_at(usize::try_from(length).unwrap());
        streams[usize::from(header[0] - 1)].extend_from_slice(content);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    let [stdout, stderr] = streams.map(|stream| String::from_utf8(stream).unwrap());
    (stdout, stderr)
}

/// An exec of `sh -c script`.
pub(crate) fn shell(exec_id: &str, script: &str) -> Exec {
    Exec { exec_id: exec_id.to_owned(), process: process(script), attach: everything() }
}

/// A client of all three streams, multiplexed.
pub(crate) fn everything() -> Attach {
    Attach { stdin: true, stdout: true, stderr: true, multiplexed: true, ..Attach::default() }
}

fn process(script: &str) -> Process {
    Process {
        args: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["PATH=/bin".to_owned()],
        cwd: "/".into(),
        ..Process::default()
    }
}

fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.to_owned()),
        source: Some(kind.into()),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..Mount::default()
    }
}

fn spec(script: &str) -> Spec {
    use NamespaceType::{Cgroup, Ipc, Mount as Mounts, Network, Pid, Uts};
    let namespaces = [Mounts, Pid, Network, Ipc, Uts, Cgroup];
    Spec {
        oci_version: oci::runtime::VERSION.to_owned(),
        process: Some(process(script)),
        root: Some(Root { path: root(), readonly: true }),
        mounts: vec![
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["newinstance", "ptmxmode=0666", "mode=0620"]),
            mount("/tmp", "tmpfs", &["nosuid", "nodev"]),
        ],
        linux: Some(Linux { namespaces: namespaces.map(|kind| Namespace { kind, path: None }).to_vec(), ..Linux::default() }),
        ..Spec::default()
    }
}
