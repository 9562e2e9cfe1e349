//! `start`, `kill`, `delete`, `pause` and `resume`.

use std::ffi::OsString;
use std::fs;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::arguments::Syntax;
use super::error::During as _;
use super::record::{Record, Status};
use super::{CliError, Global};
use crate::hook;

/// Lets a created container run.
pub(super) fn start(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    let record = Record::load(global, &Syntax::WORDS.parse(arguments)?.only_id()?)?;
    match record.status() {
        Status::Created => {}
        Status::Stopped => {
            return Err(CliError::State("cannot start a container that has stopped".into()));
        }
        Status::Running | Status::Paused => {
            return Err(CliError::State("cannot start an already running container".into()));
        }
    }
    let fifo = record.fifo();
    // ENXIO if the process that waits at the other end has just died.
    let end = rustix::fs::open(&fifo, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .during(|| "cannot start a container that has stopped".into())?;
    fs::remove_file(&fifo).during(|| format!("cannot remove {}", fifo.display()))?;
    rustix::io::write(&end, b"s").during(|| "cannot tell the container to start".into())?;
    let hooks = record.spec.hooks.as_ref().map(|hooks| hooks.poststart.as_slice()).unwrap_or_default();
    if let Err(failure) = hook::run("poststart", hooks, &record.state(Status::Running)) {
        global.log.warn(&failure.to_string());
    }
    Ok(())
}

/// Sends a signal, SIGTERM unless another is named.
pub(super) fn kill(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    const SYNTAX: Syntax = Syntax { flags: &["all"], values: &[], repeated: &[], short: &[('a', "all")], stop_at_word: false };
    let parsed = SYNTAX.parse(arguments)?;
    let record = Record::load(global, &parsed.id()?)?;
    let name = parsed.words.get(1).map_or_else(|| "SIGTERM".into(), |word| word.to_string_lossy());
    let signal = signal(&name).ok_or_else(|| CliError::Usage(format!("unknown signal \"{name}\"")))?;
    if parsed.has("all") {
        return record.cgroup().signal_all(signal).during(|| "cannot signal the processes".into());
    }
    let gone = || CliError::State("container not running".into());
    let process = record.process().ok_or_else(gone)?;
    let pidfd = pidfd_open(process, PidfdFlags::empty()).map_err(|_| gone())?;
    // The number may have been given to another process before the descriptor was opened.
    record.process().ok_or_else(gone)?;
    pidfd_send_signal(&pidfd, signal).during(|| format!("cannot send {name}"))?;
    if signal == Signal::KILL && record.cgroup().frozen() {
        // A frozen process dies only when it goes on.
        record.cgroup().thaw().during(|| "cannot resume".into())?;
    }
    Ok(())
}

/// Removes a container that has stopped; `--force` kills it first.
pub(super) fn delete(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    const SYNTAX: Syntax = Syntax { flags: &["force"], values: &[], repeated: &[], short: &[('f', "force")], stop_at_word: false };
    let parsed = SYNTAX.parse(arguments)?;
    let (id, force) = (parsed.only_id()?, parsed.has("force"));
    let record = match Record::load(global, &id) {
        Ok(record) => record,
        Err(CliError::NotFound) if force => {
            // One whose creation was cut off has a folder and no record.
            let _none = fs::remove_dir_all(global.root.join(&id));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    match record.status() {
        Status::Stopped => {}
        // A container that never ran may go, as with runc.
        Status::Created => {}
        status @ (Status::Running | Status::Paused) if !force => {
            return Err(CliError::State(format!("cannot delete container {id} that is not stopped: {}", status.name())));
        }
        Status::Running | Status::Paused => {}
    }
    destroy(global, &record)
}

/// Kills what is left, then removes the cgroup and the record, then runs the last hooks.
pub(super) fn destroy(global: &Global, record: &Record) -> Result<(), CliError> {
    if let Some(pid) = record.process()
        && let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
    {
        let _already_dead = pidfd_send_signal(&pidfd, Signal::KILL);
        let cgroup = record.cgroup();
        if cgroup.frozen() {
            cgroup.thaw().during(|| "cannot resume".into())?;
        }
        let mut wait = [PollFd::new(&pidfd, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut wait, None)).during(|| "cannot wait for the process".into())?;
    }
    record.cgroup().remove().during(|| "cannot remove the cgroup".into())?;
    fs::remove_dir_all(&record.folder).during(|| format!("cannot remove {}", record.folder.display()))?;
    let hooks = record.spec.hooks.as_ref().map(|hooks| hooks.poststop.as_slice()).unwrap_or_default();
    if let Err(failure) = hook::run("poststop", hooks, &record.state(Status::Stopped)) {
        global.log.warn(&failure.to_string());
    }
    Ok(())
}

/// Stops all processes of a container.
pub(super) fn pause(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    let record = Record::load(global, &Syntax::WORDS.parse(arguments)?.only_id()?)?;
    match record.status() {
        Status::Running | Status::Created => record.cgroup().freeze().during(|| "cannot pause".into()),
        Status::Paused => Err(CliError::State("container already paused".into())),
        Status::Stopped => Err(CliError::State("container not running".into())),
    }
}

/// Lets them go on.
pub(super) fn resume(global: &Global, arguments: Vec<OsString>) -> Result<(), CliError> {
    let record = Record::load(global, &Syntax::WORDS.parse(arguments)?.only_id()?)?;
    if record.status() != Status::Paused {
        return Err(CliError::State("container not paused".into()));
    }
    record.cgroup().thaw().during(|| "cannot resume".into())
}

/// Names in the order of their numbers. **Source:** signal(7), x86 and arm.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD",
    "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A signal by its number or its name, with or without `SIG`.
fn signal(text: &str) -> Option<Signal> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = name.parse().ok().or_else(|| {
        let index = SIGNALS.iter().position(|known| *known == name)?;
        i32::try_from(index + 1).ok()
    });
    let real_time = || {
        let (base, sign, rest) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => (34, 1, rest.trim_start_matches('+')),
            (_, Some(rest)) => (64, -1, rest.trim_start_matches('-')),
            _ => return None,
        };
        let offset: i32 = if rest.is_empty() { 0 } else { rest.parse().ok()? };
        Some(base + sign * offset).filter(|number| (34..=64).contains(number))
    };
    number.or_else(real_time).and_then(sys::signalfd::by_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        assert_eq!(signal("SIGKILL"), Some(Signal::KILL));
        assert_eq!(signal("term"), Some(Signal::TERM));
        assert_eq!(signal("9"), Some(Signal::KILL));
        assert_eq!(signal("RTMIN+1").map(|signal| signal.as_raw()), Some(35));
        assert_eq!(signal("RTMAX-2").map(|signal| signal.as_raw()), Some(62));
        assert_eq!(signal("0"), None);
        assert_eq!(signal("nosuch"), None);
    }
}
