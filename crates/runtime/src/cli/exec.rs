//! `exec`: one more process in a running container.

use std::ffi::OsString;
use std::process::ExitCode;

use oci::runtime::{Capabilities, Process, User};

use super::arguments::{Parsed, Syntax};
use super::create::read_json;
use super::process::{Console, Receiver, write_pid_file};
use super::record::{Record, Status};
use super::{CliError, Global, foreground};
use crate::ExecRequest;
use rustix::process::{PidfdFlags, pidfd_open};

use super::error::During as _;

const SYNTAX: Syntax = Syntax {
    flags: &["tty", "detach", "no-new-privs", "ignore-paused"],
    values: &[
        "console-socket",
        "pidfd-socket",
        "cwd",
        "user",
        "process",
        "pid-file",
        "process-label",
        "apparmor",
        "preserve-fds",
        "cgroup",
    ],
    repeated: &["env", "cap", "additional-gids"],
    short: &[('e', "env"), ('t', "tty"), ('u', "user"), ('g', "additional-gids"), ('p', "process"), ('d', "detach"), ('c', "cap")],
    stop_at_word: true,
};

pub(super) fn exec(global: &Global, arguments: Vec<OsString>) -> Result<ExitCode, CliError> {
    let parsed = SYNTAX.parse(arguments)?;
    let id = parsed.id()?;
    let record = Record::load(global, &id)?;
    if parsed.has("cgroup") {
        return Err(CliError::Unsupported("--cgroup: a process runs in the container's own cgroup; leave the option away"));
    }
    match record.status() {
        Status::Running | Status::Created => {}
        Status::Paused if parsed.has("ignore-paused") => {}
        Status::Paused => {
            return Err(CliError::State(format!("cannot exec in a paused container {id} (use --ignore-paused to override)")));
        }
        Status::Stopped => {
            return Err(CliError::State("cannot exec in a stopped container".into()));
        }
    }
    let process = process(&record, &parsed)?;
    let console = Console::new(process.terminal, parsed.has("detach"), parsed.path("console-socket").as_deref())?;
    let first = record.process().ok_or_else(|| CliError::State("cannot exec in a stopped container".into()))?;
    let pidfd = pidfd_open(first, PidfdFlags::empty()).during(|| "cannot open the container's process".into())?;
    let running = crate::exec(ExecRequest {
        id: &record.id,
        bundle: &record.bundle,
        pid: first,
        pidfd: std::os::fd::AsFd::as_fd(&pidfd),
        spec: &record.spec,
        process: &process,
        cgroup: &record.cgroup(),
        stdio: console.stdio,
        seccomp: None,
        preserve_fds: parsed.number("preserve-fds")?.unwrap_or_default(),
    })?;
    if let Some(path) = parsed.path("pidfd-socket") {
        Receiver::connect(&path)?.send(&running.pidfd, "pidfd")?;
    }
    if let Some(path) = parsed.path("pid-file") {
        write_pid_file(&path, running.pid)?;
    }
    let mut terminal = running.terminal;
    if let (Some(receiver), Some(master)) = (&console.receiver, terminal.take_if(|_| console.receiver.is_some())) {
        receiver.send(&master, "/dev/ptmx")?;
    }
    if parsed.has("detach") {
        return Ok(ExitCode::SUCCESS);
    }
    foreground::wait(running.pid, std::os::fd::AsFd::as_fd(&running.pidfd), terminal)
}

/// The process of `--process`, or the container's own with other arguments.
fn process(record: &Record, parsed: &Parsed) -> Result<Process, CliError> {
    if let Some(path) = parsed.path("process") {
        return read_json(&path);
    }
    let args: Vec<String> = parsed.words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if args.is_empty() {
        return Err(CliError::Usage("process args cannot be empty".into()));
    }
    let mut process = record.spec.process.clone().unwrap_or_default();
    process.args = args;
    process.terminal = parsed.has("tty");
    process.apparmor_profile = parsed.text("apparmor").or(process.apparmor_profile);
    process.selinux_label = parsed.text("process-label").or(process.selinux_label);
    process.no_new_privileges |= parsed.has("no-new-privs");
    process.env.extend(parsed.all("env"));
    if let Some(cwd) = parsed.path("cwd") {
        process.cwd = cwd;
    }
    if let Some(user) = parsed.text("user") {
        process.user = User { umask: process.user.umask, ..parse_user(&user)? };
    }
    for gid in parsed.all("additional-gids") {
        let gid = gid.parse().map_err(|_| CliError::Usage(format!("invalid group {gid}")))?;
        process.user.additional_gids.push(gid);
    }
    let caps = parsed.all("cap");
    if !caps.is_empty() {
        let own = process.capabilities.get_or_insert_with(Capabilities::default);
        // No inheritable ones: a program without file capabilities must not keep them (CVE-2022-24769).
        for set in [&mut own.bounding, &mut own.effective, &mut own.permitted] {
            set.extend(caps.iter().cloned());
        }
    }
    Ok(process)
}

/// `UID[:GID]`, both numbers of 32 bits: names are the caller's to look up.
fn parse_user(text: &str) -> Result<User, CliError> {
    let number = |part: &str| part.parse::<u32>().map_err(|_| CliError::Usage(format!("invalid user {text}: not a number")));
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (number(uid)?, number(gid)?),
        None => (number(text)?, 0),
    };
    Ok(User { uid, gid, ..User::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_of_32_bits() {
        let user = parse_user("1000:50").unwrap();
        assert_eq!((user.uid, user.gid), (1000, 50));
        assert!(parse_user("4294967296").is_err());
        assert!(parse_user("-1").is_err());
        assert!(parse_user("root").is_err());
    }
}
