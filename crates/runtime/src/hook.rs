//! Hook programs, each with the container's state on standard input. **Source:** runtime-spec, `config.md`, POSIX-platform hooks.

use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;

use oci::runtime::{Hook, Spec, State};
use rustix::process::Pid;

use crate::child::{Outcome, Trying as _};

/// The state that hooks of a container read.
pub(crate) fn state(id: &str, bundle: &Path, spec: &Spec, status: &str, pid: i32) -> State {
    State {
        oci_version: oci::runtime::VERSION.into(),
        id: id.into(),
        status: status.into(),
        pid: (pid > 0).then_some(pid.into()),
        bundle: bundle.to_owned(),
        annotations: spec.annotations.clone(),
    }
}

/// Runs the hooks of one moment in order; the first that fails ends it.
pub(crate) fn run(kind: &str, hooks: &[Hook], state: &State) -> Outcome<()> {
    for hook in hooks {
        let what = || format!("{kind} hook {}", hook.path.display());
        let text = serde_json::to_vec(state).trying(what)?;
        #[allow(clippy::disallowed_methods, reason = "hooks are programs that the specification asks for")]
        let mut command = std::process::Command::new(&hook.path);
        if let Some((name, rest)) = hook.args.split_first() {
            command.arg0(name).args(rest);
        }
        command.env_clear().envs(hook.env.iter().filter_map(|entry| entry.split_once('=')));
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        let mut child = command.spawn().trying(what)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A hook need not read its input.
            let _broken_pipe = stdin.write_all(&text);
        }
        wait_hook(&mut child, hook.timeout).trying(what)?;
    }
    Ok(())
}

fn wait_hook(child: &mut std::process::Child, timeout: Option<u64>) -> std::io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    if let Some(seconds) = timeout {
        let pidfd = rustix::process::pidfd_open(Pid::from_child(child), rustix::process::PidfdFlags::empty())?;
        let limit = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
        if poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit))? == 0 {
            child.kill()?;
            child.wait()?;
            return Err(std::io::Error::other(format!("killed after {seconds} s")));
        }
    }
    let mut text = String::new();
    if let Some(stderr) = child.stderr.take() {
        stderr.take(4096).read_to_string(&mut text)?;
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("{status}, stderr: {}", text.trim()))) }
}
