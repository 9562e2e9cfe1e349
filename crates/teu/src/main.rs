//! Chooses the role of the process and wires the engine.

mod daemon;
mod on_demand;
mod options;
mod registries;
mod remote;
mod socket;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// What the process is, by its name or its first argument.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    /// The command line.
    Cli,
    /// The engine.
    Daemon,
    /// An OCI runtime; its arguments follow after so many.
    Oci(usize),
    /// Process 1 of a container with `--init`.
    Init,
}

impl Role {
    fn of(arguments: &[OsString]) -> Self {
        let name = arguments.first().map(Path::new).and_then(Path::file_name);
        match name.and_then(|name| name.to_str()) {
            Some("runc") => return Self::Oci(1),
            Some("docker-init") => return Self::Init,
            _ => {}
        }
        match arguments.get(1).and_then(|first| first.to_str()) {
            Some("daemon") => Self::Daemon,
            Some("oci") => Self::Oci(2),
            _ => Self::Cli,
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match Role::of(&arguments) {
        Role::Daemon => daemon::main(arguments.get(2..).unwrap_or_default()),
        Role::Init => supervisor::init::main(arguments),
        Role::Oci(skipped) => runtime::cli::main(arguments.into_iter().skip(skipped).collect()),
        Role::Cli => {
            let start = || on_demand::start().map_err(|error| std::io::Error::other(format!("{error:#}")));
            cli::main(arguments, cli::Environment { start_daemon: Some(start) })
        }
    }
}
