//! What Docker Compose prints for the golden cases of the crate `compose`, recorded for tests without it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};

/// Stands for the folder of a case in what is recorded.
const FOLDER: &str = "@FOLDER@";
/// Stands for the folder above it.
const ABOVE: &str = "@ABOVE@";

/// Runs the Docker Compose at `binary` over all cases.
pub(crate) fn record(binary: &str) -> Result<()> {
    let binary = std::fs::canonicalize(binary).with_context(|| format!("cannot find {binary}"))?;
    let tests = crate::workspace().join("crates/compose/tests");
    let mut count = 0;
    for case in folders(&tests.join("golden"))? {
        golden(&binary, &case)?;
        count += 1;
    }
    for case in folders(&tests.join("refused"))? {
        // It took 23 GB and minutes for a bomb of aliases; what it makes of one is no use to know.
        if case.ends_with("bomb") {
            continue;
        }
        let output = config(&binary, &case, &[])?;
        ensure!(!output.status.success(), "Docker Compose accepts {}", case.display());
        count += 1;
    }
    println!("recorded {count} cases");
    Ok(())
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    Ok(folders)
}

fn golden(binary: &Path, case: &Path) -> Result<()> {
    let folder = case.display().to_string();
    let above = case.parent().unwrap_or(case).display().to_string();
    for (name, words) in [("expected.yaml", &[][..]), ("expected.json", &["--format", "json"]), ("expected.hash", &["--hash=*"])] {
        let output = config(binary, case, words)?;
        if !output.status.success() {
            bail!("{folder}: {}", String::from_utf8_lossy(&output.stderr));
        }
        let text = String::from_utf8(output.stdout)?;
        std::fs::write(case.join(name), text.replace(&folder, FOLDER).replace(&above, ABOVE))?;
    }
    Ok(())
}

/// `config` in the folder of a case, with its words and variables and no others.
fn config(binary: &Path, case: &Path, words: &[&str]) -> Result<Output> {
    let read = |name: &str| std::fs::read_to_string(case.join(name)).unwrap_or_default();
    let args = read("args");
    let (before, after) = args.split_once("SERVICES").unwrap_or((&args, ""));
    let mut command = Command::new("prlimit");
    command.arg("--as=8000000000").arg(binary).current_dir(case).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/home/user");
    command.envs(read("env").lines().filter_map(|line| line.split_once('=')));
    command.args(before.split_whitespace()).arg("config").args(words);
    if words.first() != Some(&"--hash=*") {
        command.args(after.split_whitespace());
    }
    command.output().context("cannot start prlimit")
}
