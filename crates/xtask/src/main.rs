//! All verbs of the project: `cargo xtask setup|demo|test|bench|oracle|crash|vm|tidy`.
#![allow(clippy::disallowed_methods, reason = "these verbs start compilers, package tools and peers")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "these verbs talk to a person at a terminal")]

mod bench;
mod crash;
mod demo;
mod golden;
mod oracle;
mod setup;
mod tidy;
mod vm;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};

const HELP: &str = "\
cargo xtask VERB

  setup                install what a fresh Debian needs for the other verbs
  demo [stay]          bring WordPress with NGINX and MariaDB up from nothing and read its first post; `stay`: until Enter
  test                 set up, tidy, then every test
  bench pull [HOST [TEU]]  time the pull of an image of 1 GB
  bench build [HOST [TEU]]  time builds of a context of 5,000 files: cold, cached, one file changed
  bench [HOST]         time teu beside the Docker Engine at HOST (a DOCKER_HOST) and the bare system calls
  oracle HOST [record] run one script against teu and the Docker Engine at HOST and compare
  golden BINARY        record what the Docker Compose at BINARY prints for the cases of crates/compose
  crash [KILLS]        kill -9 the engine at random moments under load and count what is left (default 200)
  crash images [KILLS] the same while clients load, import, commit, remove and prune images (default 100)
  vm RUNNER [TEST...]  run the kernel's tests where RUNNER runs a shell command, such as a virtual machine with cgroup v2
  tidy                 check formatting, lints, file sizes and the arrows between crates
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["setup"] => setup::run(),
        ["demo"] => demo::run(false),
        ["demo", "stay"] => demo::run(true),
        ["test"] => test(),
        ["bench", "pull", args @ ..] => bench::pull::alone(args),
        ["bench", "build", args @ ..] => bench::build::alone(args),
        ["bench", host @ ..] => bench::run(host.first().copied()),
        ["oracle", host] => oracle::run(host),
        ["oracle", host, "record"] => oracle::record(host),
        ["golden", binary] => golden::record(binary),
        ["crash"] => crash::run(200),
        ["crash", "images"] => crash::images(100),
        ["crash", "images", kills] => kills.parse().context("KILLS is a number").and_then(crash::images),
        ["crash", kills] => kills.parse().context("KILLS is a number").and_then(crash::run),
        ["vm", runner, filter @ ..] => vm::run(runner, filter),
        ["tidy"] => tidy::run(),
        ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that must hold before a change lands.
fn test() -> Result<()> {
    setup::run()?;
    tidy::run()?;
    call(cargo().args(["test", "--workspace"]))
}

/// The folder of the workspace.
fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// `cargo`, run in the workspace.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// Runs a command and says which one failed.
fn call(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(status.success(), "{} {:?}: {status}", command.get_program().display(), command.get_args().collect::<Vec<_>>());
    Ok(())
}

/// Builds the release binary and returns its path.
fn release() -> Result<PathBuf> {
    call(cargo().args(["build", "--release", "--package", "teu"]))?;
    let output = cargo().args(["metadata", "--no-deps", "--format-version=1"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let target =
        text.split("\"target_directory\":\"").nth(1).and_then(|rest| rest.split('"').next()).context("cargo names no target directory")?;
    let triple = String::from_utf8(Command::new("rustc").args(["--print", "host-tuple"]).output()?.stdout)?;
    Ok(Path::new(target).join(triple.trim()).join("release/teu"))
}
