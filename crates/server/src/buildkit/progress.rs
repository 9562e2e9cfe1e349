//! What the builder tells, as a client of BuildKit hears it.

use std::collections::HashMap;
use std::sync::Arc;

use builder::{BuildError, Event, Update};
use buildkit::proto::VertexWarning;
use buildkit::{Build, Fault, Vertex};
use tokio::sync::mpsc;

/// Carries all updates to the client; answers the step that failed.
pub(super) async fn carry(build: &Arc<Build>, mut updates: mpsc::Receiver<Update>) -> Option<String> {
    let mut steps: HashMap<usize, Vertex> = HashMap::new();
    let mut failed = None;
    while let Some(Update { vertex, event }) = updates.recv().await {
        if let Event::Started(name) = &event {
            steps.insert(vertex, build.vertex(name).await);
            continue;
        }
        let step = match steps.get(&vertex) {
            Some(step) => step.clone(),
            None => build.vertex("[internal]").await,
        };
        match event {
            Event::Started(_) => {}
            Event::Log(bytes) => step.log(1, bytes).await,
            Event::Cached => step.cached().await,
            Event::Done => step.done().await,
            Event::Failed(reason) => {
                failed.get_or_insert_with(|| step.digest.clone());
                step.failed(&told(&reason)).await;
            }
            Event::Warning(text) => step.warning(VertexWarning { level: 1, short: text.into_bytes(), ..VertexWarning::default() }).await,
        }
    }
    failed
}

/// What went wrong, without the place: clients show the lines of the file.
fn told(reason: &str) -> String {
    let exit = || {
        let (command, code) = reason.strip_prefix("The command '")?.rsplit_once("' returned a non-zero code: ")?;
        Some((command, code.split(' ').next()?))
    };
    match exit() {
        Some((command, code)) => failed_process(command, code),
        None => reason.to_owned(),
    }
}

/// **Source:** moby/buildkit, `solver/llbsolver/ops/exec.go`.
fn failed_process(command: &str, code: impl std::fmt::Display) -> String {
    format!("process \"{command}\" did not complete successfully: exit code: {code}")
}

/// A failed build as clients print it, with the lines of the Dockerfile.
pub(super) fn fault(error: &BuildError, vertex: Option<String>, file: (&str, &[u8])) -> Fault {
    let (line, message) = match error {
        BuildError::Parse(cause) => (cause.line, error.to_string()),
        BuildError::Step { line, reason, .. } => (*line, reason.clone()),
        BuildError::Exit { line, command, code } => (*line, failed_process(command, code)),
        BuildError::Target(_) | BuildError::Dependency | BuildError::Internal(_) => (0, error.to_string()),
    };
    Fault { message, vertex, file: Some((file.0.to_owned(), file.1.to_vec())), lines: (line, last_line(file.1, line)) }
}

/// The last line of an instruction that begins on `line`.
fn last_line(file: &[u8], line: usize) -> usize {
    let text = String::from_utf8_lossy(file);
    let continued = |line: &str| line.trim_end().ends_with('\\') || line.trim_start().starts_with('#');
    let more = text.lines().skip(line.saturating_sub(1)).take_while(|line| continued(line)).count();
    (line + more).min(text.lines().count().max(line))
}

#[cfg(test)]
mod tests {
    use super::last_line;

    #[test]
    fn a_failed_command_is_told_in_the_words_of_buildkit() {
        let reason = "The command '/bin/sh -c false' returned a non-zero code: 3 (dockerfile line 5)";
        assert_eq!(super::told(reason), "process \"/bin/sh -c false\" did not complete successfully: exit code: 3");
        assert_eq!(super::told("no space"), "no space");
    }

    #[test]
    fn an_instruction_ends_where_no_line_continues() {
        let file = b"FROM a\nRUN x \\\n# note\n  y\nRUN z\\\n";
        assert_eq!([1, 2, 5, 0].map(|line| last_line(file, line)), [1, 4, 5, 0]);
    }
}
