//! Process 1 of containers with `--init`.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs `docker-init [--] PROGRAM ARGUMENTS…`: starts the program, forwards signals to it, reaps
/// orphans, and ends as it ended.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let _ = arguments;
    ExitCode::from(127)
}
