//! The tests on another kernel: pure cgroup v2, AppArmor, whatever the virtual machine has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::{call, cargo, workspace};

/// The packages whose tests run there: those that need the kernel.
const PACKAGES: [&str; 3] = ["runtime", "supervisor", "teu"];

/// Builds the tests, lays their programs into a folder and has `runner` run them.
///
/// `runner` is a program that runs one shell command in a virtual machine as root, with the folder in the variable `SHARE` seen
/// as /share, and ends with the command's exit code. The machine needs `busybox-static`.
pub(crate) fn run(runner: &str, filter: &[&str]) -> Result<()> {
    let mut build = cargo();
    build.args(["test", "--no-run", "--message-format=json"]);
    build.args(PACKAGES.iter().flat_map(|name| ["--package", name]));
    let output = build.stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the tests do not compile");
    let text = String::from_utf8(output.stdout)?;
    let share = workspace().join("target/vm");
    if share.exists() {
        std::fs::remove_dir_all(&share)?;
    }
    std::fs::create_dir_all(&share)?;
    let mut script = String::from("set -u; failed=0\n");
    let words: String = filter.iter().map(|word| format!(" '{word}'")).collect();
    let mut runs = String::new();
    for (index, program) in text.lines().filter_map(program).enumerate() {
        let shared = format!("{index}-{}", program.path.file_name().unwrap_or_default().display());
        copy(&program.path, &share.join(&shared))?;
        if program.is_test {
            runs += &format!("echo '== {shared}'; /share/{shared} --test-threads 2{words} || failed=1\n");
        } else {
            // The tests look for it where cargo has put it.
            let (path, folder) = (program.path.display(), program.path.parent().unwrap_or(Path::new("/")).display());
            script += &format!("mkdir -p '{folder}' && cp '/share/{shared}' '{path}'\n");
        }
    }
    script += &runs;
    script += "exit $failed\n";
    std::fs::write(share.join("run.sh"), script)?;
    call(Command::new(runner).arg("sh /share/run.sh").env("SHARE", &share))
}

/// A program that cargo has built.
struct Program {
    path: PathBuf,
    is_test: bool,
}

/// Reads one message of cargo's. **Source:** The Cargo Book, "JSON messages", `compiler-artifact`.
fn program(line: &str) -> Option<Program> {
    let path = line.split_once("\"executable\":\"")?.1.split('"').next()?;
    // Of a test's profile; the program that a test runs has `false` there.
    Some(Program { path: path.into(), is_test: line.contains("\"test\":true}") })
}

/// Copies a program without what only a debugger reads: the virtual machine is slow.
fn copy(from: &Path, to: &Path) -> Result<()> {
    call(Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(from)).context("cannot copy a program")
}
