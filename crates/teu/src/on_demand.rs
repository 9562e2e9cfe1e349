//! Starts the engine when the first command finds none.

use anyhow::{Context, bail};
use fs_err as fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// What the engine writes on its standard output when it listens.
pub(crate) const READY: &[u8] = b"ready\n";

/// Starts the engine of the whole host and waits until it listens.
///
/// The child makes a session of its own, so it outlives the command; it answers on
/// a pipe that is its standard output, so there is nothing to poll.
///
/// # Errors
/// The engine did not come up; the text is its own.
pub(crate) fn start() -> anyhow::Result<()> {
    let run = Path::new("/run/teu");
    fs::create_dir_all(run)?;
    let log = fs::OpenOptions::new().create(true).append(true).open(run.join("daemon.log"))?;
    #[allow(clippy::disallowed_methods, reason = "the command starts the engine once, as a service manager would")]
    let mut child = Command::new("/proc/self/exe")
        .args(["daemon", "--detached"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::from(log.into_parts().0))
        .spawn()
        .context("cannot start the engine")?;
    let mut told = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        let mut piece = [0; 512];
        while !told.ends_with(b"\n") {
            let length = output.read(&mut piece).context("cannot read from the engine")?;
            if length == 0 {
                break;
            }
            told.extend_from_slice(piece.get(..length).unwrap_or_default());
        }
    }
    if told == READY {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&told);
    bail!("the engine did not start: {}", told.trim().trim_start_matches("error: "))
}
