//! Progress streams of the engine: one JSON object a line; bars on a terminal, plain lines elsewhere.
//!
//! **Source:** moby, `client/pkg/jsonmessage/jsonmessage.go`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read};

use serde_json::Value;

use crate::error::{Failure, Outcome};
use crate::json::text;
use crate::{human, printer, terminal};

/// Narrower terminals get numbers without a bar.
const BAR_COLUMNS_MIN: u16 = 110;

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Only failures.
    Quiet,
    /// A line for each step.
    Plain,
    /// A line for each object, which changes.
    Bars,
    /// The engine's own lines.
    Json,
}

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// For commands whose output it is.
    Stdout,
    /// For commands that have an output of their own.
    Stderr,
}

impl Target {
    fn write(self, text: &str) {
        match self {
            Self::Stdout => printer::raw(text.as_bytes()),
            Self::Stderr => printer::raw_error(text.as_bytes()),
        }
    }

    /// What suits the target: bars on a terminal, plain lines elsewhere.
    #[must_use]
    pub fn style(self) -> Style {
        let is_terminal = match self {
            Self::Stdout => printer::stdout_is_terminal(),
            Self::Stderr => printer::stderr_is_terminal(),
        };
        if is_terminal { Style::Bars } else { Style::Plain }
    }
}

/// Prints a progress stream to standard output; with `quiet` only its failures.
///
/// # Errors
/// The failure that the stream tells of.
pub fn print(stream: impl Read, quiet: bool) -> Outcome<()> {
    let style = if quiet { Style::Quiet } else { Target::Stdout.style() };
    show(stream, Target::Stdout, style)
}

/// Prints a progress stream.
///
/// # Errors
/// The failure that the stream tells of.
pub fn show(stream: impl Read, target: Target, style: Style) -> Outcome<()> {
    let mut screen = Screen { target, lines: HashMap::new() };
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let Ok(value) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        if style == Style::Json {
            target.write(&format!("{}\n", line.trim_end()));
        }
        if let Some(message) = value.pointer("/errorDetail/message").or_else(|| value.get("error")).and_then(Value::as_str) {
            return Err(Failure::new(message));
        }
        match style {
            Style::Quiet | Style::Json => {}
            Style::Plain => plain(&value, target),
            Style::Bars => screen.update(&value),
        }
    }
    Ok(())
}

fn plain(value: &Value, target: Target) {
    if let Some(stream) = value.get("stream").and_then(Value::as_str) {
        target.write(stream);
    } else if bar(value, 0).is_empty() {
        let (id, status) = (text(value, "id"), text(value, "status"));
        if !status.is_empty() {
            target.write(&if id.is_empty() { format!("{status}\n") } else { format!("{id}: {status}\n") });
        }
    }
}

/// Lines that change, counted from the first.
struct Screen {
    target: Target,
    lines: HashMap<String, usize>,
}

impl Screen {
    fn update(&mut self, value: &Value) {
        if let Some(stream) = value.get("stream").and_then(Value::as_str) {
            self.target.write(stream);
            return;
        }
        let (id, status) = (text(value, "id"), text(value, "status"));
        if status.is_empty() {
            return;
        }
        let columns = terminal::size().map_or(BAR_COLUMNS_MIN, |(_, columns)| columns);
        let detail = value.get("progressDetail").is_some();
        if id.is_empty() || !detail {
            // A line that stays ends those that change.
            self.lines.clear();
            self.target.write(&if id.is_empty() { format!("{status}\n") } else { format!("{id}: {status}\n") });
            return;
        }
        let bar = bar(value, columns);
        let shown = if bar.is_empty() { format!("{id}: {status}") } else { format!("{id}: {status} {bar}") };
        let count = self.lines.len();
        match self.lines.get(id) {
            None => {
                self.lines.insert(id.to_owned(), count);
                self.target.write(&format!("{shown}\n"));
            }
            Some(line) => {
                let up = count - line;
                self.target.write(&format!("\x1b[{up}A\x1b[2K\r{shown}\r\x1b[{up}B"));
            }
        }
    }
}

/// Bar and numbers; empty where there is nothing to count.
#[allow(clippy::cast_precision_loss, reason = "sizes are rounded to four figures")]
fn bar(value: &Value, columns: u16) -> String {
    let number = |name: &str| value.pointer(&format!("/progressDetail/{name}")).and_then(Value::as_i64).unwrap_or(0);
    let (current, total) = (number("current"), number("total"));
    if current <= 0 && total <= 0 {
        return String::new();
    }
    let shown = human::size(current as f64);
    if total <= 0 {
        return format!("{shown:>8}");
    }
    let half = usize::try_from(current.saturating_mul(50) / total).unwrap_or(0).min(50);
    let boxed = if columns > BAR_COLUMNS_MIN { format!("[{}>{}] ", "=".repeat(half), " ".repeat(50 - half)) } else { String::new() };
    if current > total { format!("{boxed}{shown:>8}") } else { format!("{boxed}{shown:>8}/{}", human::size(total as f64)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_dockers() {
        let value = serde_json::json!({"progressDetail": {"current": 50, "total": 100}});
        assert_eq!(bar(&value, 200), format!("[{}>{}]      50B/100B", "=".repeat(25), " ".repeat(25)));
        assert_eq!(bar(&value, 80), "     50B/100B");
        assert_eq!(bar(&serde_json::json!({"progressDetail": {}}), 200), "");
    }
}
