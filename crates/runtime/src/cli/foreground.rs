//! Waiting for a process in the foreground: signals go to it, its terminal is joined with the caller's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use sys::signalfd::SignalFd;

use super::CliError;
use super::error::During as _;

/// Signals that are passed on. **Source:** runc, `signals.go`: all but those that concern the runtime itself.
const FORWARDED: [Signal; 9] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2, Signal::CONT, Signal::WINCH, Signal::ALARM];

/// Returns when the process has ended, with its exit code (128 and the number of the signal that ended it).
pub(super) fn wait(pid: Pid, pidfd: BorrowedFd<'_>, terminal: Option<OwnedFd>) -> Result<ExitCode, CliError> {
    let signals = SignalFd::new(&FORWARDED).during(|| "cannot take signals".into())?;
    let raw = terminal.as_ref().map(|_| Raw::enter());
    let mut joined = terminal.map(Joined::new);
    let result = pump(pid, pidfd, &signals, joined.as_mut());
    drop(raw);
    result.during(|| "cannot wait for the process".into())?;
    status(pidfd)
}

fn pump(pid: Pid, pidfd: BorrowedFd<'_>, signals: &SignalFd, mut joined: Option<&mut Joined>) -> io::Result<()> {
    if let Some(joined) = &joined {
        joined.resize();
    }
    loop {
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        if let Some(joined) = &joined {
            fds.push(PollFd::new(&joined.master, PollFlags::IN));
            if joined.input_open {
                fds.push(PollFd::new(&joined.stdin, PollFlags::IN));
            }
        }
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let is_ready = |index: usize| ready.get(index).copied().unwrap_or_default();
        if is_ready(1) {
            let signal = signals.read()?;
            match (&joined, signal) {
                (Some(joined), Signal::WINCH) => joined.resize(),
                _ => {
                    // It may have ended this moment.
                    let _gone = rustix::process::kill_process(pid, signal);
                }
            }
        }
        if let Some(joined) = joined.as_deref_mut() {
            let output = is_ready(2) && joined.output();
            if is_ready(3) {
                joined.input();
            }
            // The last output comes before the end.
            if output {
                continue;
            }
        }
        if is_ready(0) {
            return Ok(());
        }
    }
}

fn status(pidfd: BorrowedFd<'_>) -> Result<ExitCode, CliError> {
    let status = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED).during(|| "cannot wait for the process".into())?;
    let code = status.as_ref().map(code).unwrap_or_default();
    Ok(ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX)))
}

fn code(status: &WaitIdStatus) -> i32 {
    status.exit_status().or_else(|| Some(128 + status.terminating_signal()?)).unwrap_or(255)
}

/// A container's terminal joined with our own streams.
#[derive(Debug)]
struct Joined {
    master: OwnedFd,
    stdin: io::Stdin,
    input_open: bool,
}

impl Joined {
    fn new(master: OwnedFd) -> Self {
        Self { master, stdin: io::stdin(), input_open: true }
    }

    /// Copies what the terminal says; `false` when it has nothing more to say.
    fn output(&self) -> bool {
        let mut buffer = [0; 8192];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(length) => write_all(io::stdout().as_fd(), buffer.get(..length).unwrap_or_default()),
        }
    }

    fn input(&mut self) {
        let mut buffer = [0; 8192];
        match rustix::io::read(&self.stdin, &mut buffer) {
            Ok(0) | Err(_) => {
                self.input_open = false;
                // The end of a file is a key on a terminal: VEOF, by default ^D.
                let _no_reader = rustix::io::write(&self.master, &[4]);
            }
            Ok(length) => {
                self.input_open = write_all(self.master.as_fd(), buffer.get(..length).unwrap_or_default());
            }
        }
    }

    fn resize(&self) {
        // Without a terminal of our own the size stays.
        if let Ok(size) = tcgetwinsize(&self.stdin) {
            let _gone = tcsetwinsize(&self.master, size);
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match rustix::io::write(fd, bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
    true
}

/// Our own terminal in raw mode, until dropped.
#[derive(Debug)]
struct Raw(Option<Termios>);

impl Raw {
    fn enter() -> Self {
        let stdin = io::stdin();
        let before = isatty(&stdin).then(|| tcgetattr(&stdin).ok()).flatten();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _stays_cooked = tcsetattr(&stdin, OptionalActions::Now, &raw);
        }
        Self(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _stays_raw = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}
