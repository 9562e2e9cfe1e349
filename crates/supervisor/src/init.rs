//! Process 1 of containers with `--init`.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use rustix::process::{Pid, Signal, WaitOptions};
use sys::fork::Fork;

/// Exit code if the program is not found. **Source:** POSIX, Shell Command Language, 2.8.2.
const NOT_FOUND: u8 = 127;
/// Exit code if it cannot be executed.
const NOT_EXECUTABLE: u8 = 126;

/// Runs `docker-init [--] PROGRAM ARGUMENTS…`: starts the program, forwards signals to it, reaps
/// orphans, and ends as it ended.
#[must_use]
pub fn main(mut arguments: Vec<OsString>) -> ExitCode {
    let program = arguments.iter().skip(1).position(|argument| argument != "--");
    arguments.drain(..program.map_or(arguments.len(), |at| at + 1));
    match run(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&format!("docker-init: {error}\n"), NOT_FOUND),
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
    ExitCode::from(code)
}

fn run(arguments: Vec<OsString>) -> io::Result<u8> {
    if arguments.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no program"));
    }
    // Before the fork, so that no signal is lost between the two.
    let mask = sys::signal::block_all()?;
    match sys::fork::fork()? {
        Fork::Child => execute(arguments, mask),
        Fork::Parent(child) => wait_for(child),
    }
}

/// Becomes the program, in a process group of its own that owns the terminal, if there is one.
fn execute(arguments: Vec<OsString>, mask: sys::signal::Mask) -> ! {
    let failed = |error: &io::Error| {
        let name = arguments[0].to_string_lossy();
        let found = error.kind() != io::ErrorKind::NotFound;
        let code = if found { NOT_EXECUTABLE } else { NOT_FOUND };
        fail(&format!("docker-init: exec {name} failed: {error}\n"), code);
        sys::process::exit_now(i32::from(code))
    };
    let _ = rustix::process::setpgid(None, None);
    let terminal = rustix::stdio::stdin();
    if rustix::termios::isatty(terminal) {
        // SIGTTOU is still blocked, so a background group may do this.
        let _ = rustix::termios::tcsetpgrp(terminal.as_fd(), rustix::process::getpgrp());
    }
    if let Err(error) = sys::signal::restore(mask) {
        failed(&error);
    }
    #[expect(clippy::disallowed_methods, reason = "it forks nothing: this process becomes the program")]
    let mut program = std::process::Command::new(&arguments[0]);
    failed(&program.args(&arguments[1..]).exec())
}

/// Reaps until the program has ended, and passes signals on to it.
fn wait_for(child: Pid) -> io::Result<u8> {
    loop {
        let signal = sys::signal::wait()?;
        if signal != Signal::CHILD {
            // It may have ended just now.
            let _ = rustix::process::kill_process(child, signal);
            continue;
        }
        while let Some((pid, status)) = rustix::process::wait(WaitOptions::NOHANG).ok().flatten() {
            if pid == child {
                let code = status.exit_status().or_else(|| Some(128 + status.terminating_signal()?));
                return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX));
            }
        }
    }
}
