//! One engine with its own data, socket and bridge.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::leftovers::{self, Leftovers};
use crate::sweep;

/// How long an engine may take to answer after it was started.
const READY: Duration = Duration::from_secs(20);

/// How often a starting engine is checked for an early death.
const CHECK: Duration = Duration::from_millis(200);

/// Where the engine's bridge lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// A network namespace of its own, which vanishes with it.
    Private,
    /// The namespace of the caller.
    Host,
}

/// A running engine; stopped, with its containers, when dropped.
#[derive(Debug)]
pub struct Daemon {
    teu: PathBuf,
    dir: tempfile::TempDir,
    bridge: String,
    network: Network,
    child: Child,
    notify: UnixDatagram,
    /// Locked as long as this process lives, so that a later run knows what is stale.
    _owner: std::fs::File,
    stopped: bool,
}

impl Daemon {
    /// Starts the engine `teu` with everything of its own and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer within 20 seconds; its log is part of the error.
    pub fn start(teu: &Path, network: Network) -> Result<Self> {
        Self::start_on(teu, network, None)
    }

    /// As [`Daemon::with_busybox`], with the engine's data on a file system in memory of `mib` MiB.
    ///
    /// # Errors
    /// As [`Daemon::with_busybox`], or if the file system cannot be mounted.
    pub fn with_small_disk(teu: &Path, network: Network, mib: u32) -> Result<Self> {
        Self::start_on(teu, network, Some(mib))?.import_busybox()
    }

    fn start_on(teu: &Path, network: Network, mib: Option<u32>) -> Result<Self> {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep::stale);
        let dir = tempfile::Builder::new().prefix(sweep::PREFIX).tempdir_in(sweep::PARENT)?;
        let owner = sweep::own(dir.path())?;
        let bridge = dir.path().file_name().and_then(OsStr::to_str).unwrap_or(sweep::PREFIX).to_lowercase();
        if let Some(mib) = mib {
            let root = dir.path().join("root");
            std::fs::create_dir(&root)?;
            let status = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&root).status()?;
            ensure!(status.success(), "cannot mount a tmpfs: {status}");
        }
        let notify = UnixDatagram::bind(dir.path().join("notify.sock"))?;
        notify.set_read_timeout(Some(CHECK))?;
        let child = spawn(teu, dir.path(), &bridge, network)?;
        let mut daemon = Self { teu: teu.to_owned(), dir, bridge, network, child, notify, _owner: owner, stopped: false };
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts an engine with the busybox image loaded as `busybox:latest`.
    ///
    /// # Errors
    /// As [`Daemon::start`], or if the import fails.
    pub fn with_busybox(teu: &Path, network: Network) -> Result<Self> {
        Self::start(teu, network)?.import_busybox()
    }

    fn import_busybox(self) -> Result<Self> {
        let tar = crate::busybox::archive(self.dir.path())?;
        let output = self.teu(["import".as_ref(), tar.as_os_str(), "busybox:latest".as_ref()])?;
        ensure!(output.status.success(), "import failed: {}", String::from_utf8_lossy(&output.stderr));
        Ok(self)
    }

    /// Folder that holds everything of this engine.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Path of the API socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("teu.sock")
    }

    /// Value for `DOCKER_HOST`.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Name of the default bridge.
    #[must_use]
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Process id of the engine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A command of our own CLI, aimed at this engine.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.teu);
        command.env("DOCKER_HOST", self.host()).env_remove("DOCKER_CONTEXT").env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// A command of the unmodified Docker CLI, aimed at this engine.
    #[must_use]
    pub fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", self.host()).env_remove("DOCKER_CONTEXT").stdin(Stdio::null());
        command
    }

    /// Runs our own CLI and returns what it printed.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn teu<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output> {
        self.command().args(args).output().context("cannot start teu")
    }

    /// Runs our own CLI, which must succeed, and returns its standard output, trimmed.
    ///
    /// # Errors
    /// If it fails; its output is part of the error.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<String> {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let output = self.teu(&args)?;
        ensure!(
            output.status.success(),
            "teu {args:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
    }

    /// A command inside the engine's network namespace.
    #[must_use]
    pub fn in_network(&self, program: &str) -> Command {
        let mut command;
        match self.network {
            Network::Host => command = Command::new(program),
            Network::Private => {
                command = Command::new("nsenter");
                command.arg(format!("--net=/proc/{}/ns/net", self.pid())).arg("--").arg(program);
            }
        }
        command.stdin(Stdio::null());
        command
    }

    /// Kills the engine at once, as a crash would, and reaps it.
    ///
    /// # Errors
    /// If the signal cannot be sent.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts the engine again on the same data; returns how long it took to answer.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn restart(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        self.child = match self.network {
            Network::Host => spawn(&self.teu, self.dir.path(), &self.bridge, self.network)?,
            Network::Private => {
                bail!("a private network namespace dies with its engine: use Network::Host")
            }
        };
        self.wait_ready()?;
        Ok(begin.elapsed())
    }

    /// What the engine has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        let mut message = [0; 256];
        loop {
            match self.notify.recv(&mut message) {
                Ok(length) if message[..length].starts_with(b"READY=1") => {
                    return ping(&self.socket());
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the engine ended: {status}\n{}", self.log());
            }
            ensure!(begin.elapsed() < READY, "the engine does not answer\n{}", self.log());
        }
    }

    /// Removes all containers, ends the engine in good order and tells what is left on the machine.
    ///
    /// # Errors
    /// If the engine does not end well or the kernel's tables cannot be read.
    pub fn stop(&mut self) -> Result<Leftovers> {
        if self.child.try_wait()?.is_some() {
            self.child = spawn(&self.teu, self.dir.path(), &self.bridge, self.network)?;
            self.wait_ready()?;
        }
        let ids = self.ok(["ps", "-aq", "--no-trunc"])?;
        if !ids.is_empty() {
            self.teu(["rm", "-f", "-v"].into_iter().chain(ids.lines()))?;
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        self.stopped = true;
        ensure!(status.success(), "the engine ended with {status}\n{}", self.log());
        let left = leftovers::after(self.dir(), self.network == Network::Host, &self.bridge)?;
        sweep::clear(self.dir.path(), &self.bridge);
        Ok(left)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.stopped {
            return;
        }
        if let Err(error) = self.stop() {
            // A test that fails here must not leave an engine running.
            let _already_dead = self.child.kill();
            let _reaped = self.child.wait();
            sweep::clear(self.dir.path(), &self.bridge);
            let _no_terminal = writeln!(std::io::stderr(), "cannot stop the test engine: {error:#}\n{}", self.log());
        }
    }
}

fn spawn(teu: &Path, dir: &Path, bridge: &str, network: Network) -> Result<Child> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.join("log"))?;
    let mut command = match network {
        Network::Host => Command::new(teu),
        Network::Private => {
            let mut command = Command::new("unshare");
            command.args(["--net", "--", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]).arg(teu);
            command
        }
    };
    command.arg("daemon").arg("--root").arg(dir.join("root")).arg("--run").arg(dir.join("run"));
    command.arg("--socket").arg(dir.join("teu.sock")).args(["--bridge", bridge, "--cgroup-parent", bridge]);
    // Its own, so that the host's does not count; a test may write another.
    let policy = dir.join("policy.json");
    if !policy.exists() {
        std::fs::write(&policy, r#"{"default":[{"type":"insecureAcceptAnything"}]}"#)?;
    }
    command.arg("--policy").arg(policy);
    command.env("NOTIFY_SOCKET", dir.join("notify.sock"));
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().context("cannot start the engine")
}

/// Asks the engine whether it lives.
///
/// # Errors
/// If it does not answer `OK`.
pub fn ping(socket: &Path) -> Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(READY))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: teu\r\nConnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    ensure!(line.starts_with("HTTP/1.1 200"), "unexpected answer: {line}");
    Ok(())
}
