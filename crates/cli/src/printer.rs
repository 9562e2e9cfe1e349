//! The only place that prints.

use std::io::{IsTerminal as _, Write as _};

/// Writes text to standard output as it is. A reader that went away is no error of ours.
pub fn raw(bytes: &[u8]) {
    let mut stdout = std::io::stdout().lock();
    let _reader_gone = stdout.write_all(bytes).and_then(|()| stdout.flush());
}

/// Writes a line to standard output.
pub fn line(text: &str) {
    raw(format!("{text}\n").as_bytes());
}

/// Writes bytes to standard error as they are.
pub fn raw_error(bytes: &[u8]) {
    let _reader_gone = std::io::stderr().lock().write_all(bytes);
}

/// Writes a line to standard error.
pub fn error(text: &str) {
    raw_error(format!("{text}\n").as_bytes());
}

/// Whether standard output is a terminal.
#[must_use]
pub fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether standard error is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether colours are wanted on standard output. **Source:** <https://no-color.org>.
#[must_use]
pub fn colours() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal.is_empty() || terminal == "dumb");
    stdout_is_terminal() && !refused && !dumb
}
