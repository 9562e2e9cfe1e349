//! The oracle's script: what people type, and what an engine answered, made comparable.

use std::fmt::Write as _;
use std::process::{Command, Output};

use anyhow::Result;

/// Commands run in order on an engine that has the image `busybox:latest` and no container. `$` lines are words for
/// `sh -c` in which `docker` is the client under test.
pub const SCRIPT: &str = include_str!("script.txt");

/// One command and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// As in the script.
    pub command: String,
    /// Exit code; −1 for a signal.
    pub code: i32,
    /// Standard output, made comparable.
    pub stdout: String,
    /// Standard error, made comparable.
    pub stderr: String,
}

/// Runs the script; `client` gives a shell whose `docker` function is the client under test.
///
/// # Errors
/// If the shell cannot be started.
pub fn run(client: &dyn Fn() -> Command) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for line in SCRIPT.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Output { status, stdout, stderr } = client().arg("-c").arg(line).output()?;
        steps.push(Step {
            command: line.to_owned(),
            code: status.code().unwrap_or(-1),
            stdout: comparable(&stdout),
            stderr: comparable(&stderr),
        });
    }
    Ok(steps)
}

/// How Docker's layers wrap what the runtime says; a sentence without them says the same.
const WRAPPERS: [&str; 2] = [
    "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: ",
    "OCI runtime exec failed: exec failed: unable to start container process: ",
];

/// Replaces what differs between two runs of the same engine: ids, widths of columns, wrappers of errors.
fn comparable(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    for wrapper in WRAPPERS {
        text = text.replace(wrapper, "");
    }
    let mut result = String::new();
    for line in text.lines() {
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        let _infallible = writeln!(result, "{}", words.join(" "));
    }
    result
}

/// One word with ids and digests named as such.
fn word(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let hex = core.strip_prefix("sha256:").unwrap_or(core);
    if (hex.len() == 64 || hex.len() == 12)
        && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
        && hex.bytes().any(|byte| byte.is_ascii_digit())
    {
        return word.replace(core, "<id>");
    }
    word.to_owned()
}

/// Says how two runs differ; empty when they agree.
#[must_use]
pub fn differences(ours: &[Step], theirs: &[Step]) -> Vec<String> {
    let pairs = ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs);
    pairs
        .map(|(ours, theirs)| {
            format!(
                "$ {}\n  ours   ({}) {:?} {:?}\n  theirs ({}) {:?} {:?}",
                ours.command, ours.code, ours.stdout, ours.stderr, theirs.code, theirs.stdout, theirs.stderr
            )
        })
        .collect()
}

/// Writes steps as text that a person can read and [`parse`] can read back.
#[must_use]
pub fn print(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        let _infallible = writeln!(text, "$ {}\ncode {}", step.command, step.code);
        for line in step.stdout.lines() {
            let _infallible = writeln!(text, "out {line}");
        }
        for line in step.stderr.lines() {
            let _infallible = writeln!(text, "err {line}");
        }
    }
    text
}

/// Reads what [`print`] wrote; lines of other kinds are comments.
#[must_use]
pub fn parse(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind == "$" {
            steps.push(Step { command: rest.to_owned(), code: -1, stdout: String::new(), stderr: String::new() });
        }
        let Some(step) = steps.last_mut() else {
            continue;
        };
        match kind {
            "code" => step.code = rest.parse().unwrap_or(-1),
            "out" => step.stdout.extend([rest, "\n"]),
            "err" => step.stderr.extend([rest, "\n"]),
            _ => {}
        }
    }
    steps
}
