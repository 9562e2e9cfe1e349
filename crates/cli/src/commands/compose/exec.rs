//! `exec` and `attach`: the commands of one container, for a service's.

use super::session::Session;
use crate::error::{Failure, Outcome};
use crate::flags::Given;
use crate::terminal;

/// `exec`.
pub(super) fn exec(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let index = given.number("index")?;
    let container = session.container(&mut client, &given.args[0], index)?;
    if !container.is_running() {
        return Err(Failure::new(format!("service \"{}\" is not running", given.args[0])));
    }
    let mut words = vec!["exec".to_owned()];
    let detach = given.on("detach");
    if detach {
        words.push("--detach".to_owned());
    } else {
        let interactive = given.get("interactive") != Some("false");
        let tty =
            interactive && !given.on("no-tty") && !given.on("no-TTY") && given.get("tty") != Some("false") && terminal::stdin_is_terminal();
        words.extend(interactive.then(|| "--interactive".to_owned()));
        words.extend(tty.then(|| "--tty".to_owned()));
    }
    words.extend(given.on("privileged").then(|| "--privileged".to_owned()));
    for flag in ["user", "workdir"] {
        words.extend(given.get(flag).map(|value| format!("--{flag}={value}")));
    }
    words.extend(given.all("env").iter().map(|pair| format!("--env={pair}")));
    words.push(container.id);
    words.extend(given.args.iter().skip(1).cloned());
    session.cli(&words)
}

/// `attach`.
pub(super) fn attach(session: &mut Session<'_>, given: &Given) -> Outcome<u8> {
    let mut client = session.client()?;
    let container = session.container(&mut client, &given.args[0], given.number("index")?)?;
    let mut words = vec!["attach".to_owned()];
    for flag in ["detach-keys", "sig-proxy", "no-stdin"] {
        words.extend(given.get(flag).map(|value| format!("--{flag}={value}")));
    }
    words.push(container.id);
    session.cli(&words)
}
