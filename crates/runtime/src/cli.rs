//! The command line of an OCI runtime, compatible with runc's: `create`, `start`, `state`, `kill`, `delete` and the rest.
//!
//! **Source:** runtime-spec, `runtime.md`; opencontainers/runtime-tools, `docs/command-line-interface.md`; runc(8).

mod arguments;
mod create;
mod error;
mod exec;
mod features;
mod foreground;
mod life;
mod log;
mod output;
mod process;
mod record;
mod report;
mod resources;
mod template;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use arguments::{Parsed, Syntax};
pub use error::CliError;
use error::During as _;

/// Where containers are recorded unless `--root` says otherwise.
const ROOT: &str = "/run/teu/oci";

/// Options before the command.
#[derive(Debug)]
struct Global {
    root: PathBuf,
    log: log::Log,
}

const GLOBAL: Syntax = Syntax {
    flags: &["debug", "systemd-cgroup", "version", "v", "help", "h"],
    values: &["root", "log", "log-format", "rootless", "criu"],
    repeated: &[],
    short: &[],
    stop_at_word: true,
};

/// Runs one command; `arguments` are those after the program's name (and after `oci`).
#[must_use]
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let parsed = match GLOBAL.parse(arguments) {
        Ok(parsed) => parsed,
        Err(error) => return log::Log::stderr().fail(&error),
    };
    if parsed.has("version") || parsed.has("v") {
        return finish(output::version(), &log::Log::stderr());
    }
    let log = match log::Log::open(parsed.value("log"), parsed.value("log-format")) {
        Ok(log) => log,
        Err(error) => return log::Log::stderr().fail(&error),
    };
    let global = Global { root: parsed.path("root").unwrap_or_else(|| PathBuf::from(ROOT)), log };
    if parsed.has("systemd-cgroup") {
        return global
            .log
            .fail(&CliError::Unsupported("--systemd-cgroup: cgroups are made on the cgroup file system; set the cgroupfs driver"));
    }
    match dispatch(&global, parsed) {
        Ok(code) => code,
        Err(error) => global.log.fail(&error),
    }
}

fn finish(result: Result<(), CliError>, log: &log::Log) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => log.fail(&error),
    }
}

fn dispatch(global: &Global, parsed: Parsed) -> Result<ExitCode, CliError> {
    let help = parsed.has("help") || parsed.has("h");
    let mut rest = parsed.words.into_iter();
    let Some(command) = rest.next().filter(|_| !help) else {
        output::help()?;
        return Ok(ExitCode::SUCCESS);
    };
    let rest: Vec<OsString> = rest.collect();
    if ["create", "run", "exec"].iter().any(|name| command == *name) {
        crate::protect::own_file().during(|| "cannot protect the runtime's own file".into())?;
    }
    let done = |()| ExitCode::SUCCESS;
    match command.to_string_lossy().as_ref() {
        "create" => create::create(global, rest).map(done),
        "run" => create::run(global, rest),
        "start" => life::start(global, rest).map(done),
        "state" => report::state(global, rest).map(done),
        "kill" => life::kill(global, rest).map(done),
        "delete" => life::delete(global, rest).map(done),
        "pause" => life::pause(global, rest).map(done),
        "resume" => life::resume(global, rest).map(done),
        "exec" => exec::exec(global, rest),
        "list" => report::list(global, rest).map(done),
        "ps" => report::ps(global, rest).map(done),
        "events" => report::events(global, rest).map(done),
        "update" => resources::update(global, rest).map(done),
        "features" => features::features().map(done),
        "spec" => template::spec(rest).map(done),
        "help" => output::help().map(done),
        other => Err(CliError::Usage(format!("no such command: {other}"))),
    }
}
