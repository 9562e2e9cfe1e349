//! `create` and `run`.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use oci::runtime::Spec;
use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::arguments::{Parsed, Syntax};
use super::error::During as _;
use super::process::{Console, Receiver, write_pid_file};
use super::record::{self, Record, Status};
use super::{CliError, Global, foreground, life, output};
use crate::create::Gate;
use crate::hook;
use crate::{Container, CreateRequest};

const SYNTAX: Syntax = Syntax {
    flags: &["detach", "keep", "no-pivot", "no-new-keyring", "no-subreaper"],
    values: &["bundle", "console-socket", "pidfd-socket", "pid-file", "preserve-fds"],
    repeated: &[],
    short: &[('b', "bundle"), ('d', "detach")],
    stop_at_word: false,
};

/// `create`: the container is made and waits for `start`.
pub(super) fn create(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    let parsed = SYNTAX.parse(arguments)?;
    let made = make(global, &parsed, true)?;
    made.told(global, &parsed)
}

/// `run`: create and start, and unless detached also wait and delete.
pub(super) fn run(global: &Global, arguments: Vec<OsString>) -> Result<ExitCode, CliError> {
    let parsed = SYNTAX.parse(arguments)?;
    let detached = parsed.has("detach");
    let mut made = make(global, &parsed, false)?;
    if let Err(error) = made.container.start() {
        made.undo();
        return Err(error.into());
    }
    made.after_start(global);
    if detached {
        made.told(global, &parsed)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(path) = parsed.path("pid-file") {
        write_pid_file(&path, made.container.pid())?;
    }
    let terminal = made.container.take_terminal();
    let code = foreground::wait(made.container.pid(), made.container.pidfd(), terminal)?;
    if !parsed.has("keep") {
        life::destroy(global, &made.record)?;
    }
    Ok(code)
}

/// A container that this command has made.
#[derive(Debug)]
struct Made {
    record: Record,
    container: Container,
    receiver: Option<Receiver>,
}

fn make(global: &Global, parsed: &Parsed, waits: bool) -> Result<Made, CliError> {
    let id = parsed.only_id()?;
    let bundle = parsed.path("bundle").unwrap_or_else(|| PathBuf::from("."));
    let bundle = fs::canonicalize(&bundle).during(|| format!("cannot open bundle {}", bundle.display()))?;
    let spec = read_spec(&bundle)?;
    let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
    let detached = waits || parsed.has("detach");
    let console = Console::new(terminal, detached, parsed.path("console-socket").as_deref())?;
    let folder = record::claim(global, &id)?;
    let result = make_in(&folder, &id, &bundle, &spec, parsed, console, waits);
    match result {
        Ok(made) => {
            for warning in made.container.warnings() {
                global.log.warn(warning);
            }
            Ok(made)
        }
        Err(error) => {
            // The error is what the caller must know; a folder that stays is seen as one that is being made.
            let _best_effort = fs::remove_dir_all(&folder);
            Err(error)
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "the parts of one container, each used once")]
fn make_in(folder: &Path, id: &str, bundle: &Path, spec: &Spec, parsed: &Parsed, console: Console, waits: bool) -> Result<Made, CliError> {
    let gate = if waits { Gate::Fifo(fifo(&folder.join("exec.fifo"))?) } else { Gate::Message };
    // Hooks, root and root mount are relative to it, as are the sources of bind mounts.
    rustix::process::chdir(bundle).during(|| format!("cannot enter {}", bundle.display()))?;
    let request = CreateRequest {
        id,
        spec,
        bundle,
        root_tree: None,
        stdio: console.stdio,
        seccomp: None,
        gate,
        preserve_fds: parsed.number("preserve-fds")?.unwrap_or_default(),
        no_pivot: parsed.has("no-pivot"),
    };
    let container = crate::create(request)?;
    let pid = container.pid().as_raw_nonzero().get();
    let record = Record {
        id: id.into(),
        bundle: bundle.to_owned(),
        pid,
        pid_start: record::stat(pid).map(|(_, start)| start).unwrap_or_default(),
        created: output::time(std::time::SystemTime::now()),
        spec: spec.clone(),
        folder: folder.to_owned(),
    };
    let made = Made { record, container, receiver: console.receiver };
    if let Err(error) = made.record.save() {
        made.undo();
        return Err(error);
    }
    Ok(made)
}

impl Made {
    /// Tells the caller who the container is: pid file, pidfd, terminal.
    fn told(mut self, global: &Global, parsed: &Parsed) -> Result<(), CliError> {
        let result = self.tell(parsed);
        if result.is_err() {
            // Nobody knows of it: it must not stay.
            let _first_error_counts = life::destroy(global, &self.record);
        }
        result
    }

    fn tell(&mut self, parsed: &Parsed) -> Result<(), CliError> {
        if let (Some(receiver), Some(master)) = (&self.receiver, self.container.take_terminal()) {
            receiver.send(&master, "/dev/ptmx")?;
        }
        if let Some(path) = parsed.path("pidfd-socket") {
            Receiver::connect(&path)?.send(self.container.pidfd(), "pidfd")?;
        }
        match parsed.path("pid-file") {
            Some(path) => write_pid_file(&path, self.container.pid()),
            None => Ok(()),
        }
    }

    /// Runs the hooks that follow a start; their failures are warnings. **Source:** runtime-spec, `runtime.md`, Lifecycle.
    fn after_start(&self, global: &Global) {
        let hooks = self.record.spec.hooks.as_ref().map(|hooks| hooks.poststart.as_slice()).unwrap_or_default();
        if let Err(failure) = hook::run("poststart", hooks, &self.record.state(Status::Running)) {
            global.log.warn(&failure.to_string());
        }
    }

    fn undo(&self) {
        // The error that led here is what the caller must know.
        let _already_dead = rustix::process::pidfd_send_signal(self.container.pidfd(), rustix::process::Signal::KILL);
        let _reaped =
            rustix::process::waitid(rustix::process::WaitId::PidFd(self.container.pidfd()), rustix::process::WaitIdOptions::EXITED);
        let _best_effort = self.container.cgroup().remove();
        let _best_effort = fs::remove_dir_all(&self.record.folder);
    }
}

fn read_spec(bundle: &Path) -> Result<Spec, CliError> {
    let path = bundle.join("config.json");
    let file = File::open(&path).during(|| format!("JSON specification file {} not found", path.display()))?;
    serde_json::from_reader(std::io::BufReader::new(file))
        .map_err(|source| CliError::Json { what: format!("cannot read {}", path.display()), source })
}

/// The reading end of a new FIFO; it does not block, the waiting process polls it.
fn fifo(path: &Path) -> Result<OwnedFd, CliError> {
    let what = || format!("cannot make {}", path.display());
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).during(what)?;
    rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).during(what)
}

/// Reads a JSON document that an option names.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let what = || format!("cannot read {}", path.display());
    let text = if path == Path::new("-") {
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut text).during(what)?;
        text
    } else {
        fs::read(path).during(what)?
    };
    serde_json::from_slice(&text).map_err(|source| CliError::Json { what: what(), source })
}
