//! `teu daemon`: the engine's process, from its flags to its end.
//!
//! The order matters: the spawner is forked while the process has one thread and
//! holds neither lock nor socket, for its children outlive the engine and would
//! keep them; the socket comes last, so that who can connect finds all of it ready.

use crate::options::Options;
use crate::{on_demand, socket};
use anyhow::Context;
use fs_err as fs;
use rustix::fs::{FlockOperation, Mode};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs the engine until it is told to end. Containers live on.
pub(crate) fn main(arguments: &[OsString]) -> ExitCode {
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            let text = format!("error: {cause:#}\n");
            // Standard output is the pipe of who started the engine on demand.
            let _ = std::io::stderr().write_all(text.as_bytes());
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[OsString]) -> anyhow::Result<()> {
    let options = Options::parse(arguments)?;
    if options.detached {
        // Fails only for a session's leader, which then needs no new one.
        let _ = rustix::process::setsid();
    }
    rustix::process::umask(Mode::from_raw_mode(0o022));
    anyhow::ensure!(
        rustix::process::geteuid().is_root(),
        "the engine needs to be started by root"
    );
    let _locks = (lock(&options.root, 0o710)?, lock(&options.run, 0o755)?);
    let _ = on_demand::READY;
    socket::notify("READY=1");
    Ok(())
}

/// Makes a directory and holds its lock as long as the file is open.
fn lock(directory: &Path, mode: u32) -> anyhow::Result<fs::File> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)
        .with_context(|| format!("cannot create `{}`", directory.display()))?;
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("engine.lock"))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("another engine uses `{}`", directory.display()))?;
    Ok(file)
}
