//! Where failures are told: standard error, and the file of `--log` that callers read.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::ExitCode;

use super::error::{During as _, line};
use super::{CliError, output};

#[derive(Debug)]
pub(super) struct Log {
    file: Option<File>,
    json: bool,
}

impl Log {
    pub(super) fn stderr() -> Self {
        Self { file: None, json: false }
    }

    pub(super) fn open(path: Option<&OsString>, format: Option<&OsString>) -> Result<Self, CliError> {
        let json = match format.map(|format| format.to_string_lossy()).as_deref() {
            None | Some("text" | "") => false,
            Some("json") => true,
            Some(other) => return Err(CliError::Usage(format!("invalid log-format: {other}"))),
        };
        let file = match path.filter(|path| !path.is_empty()) {
            Some(path) => Some(
                OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(path)
                    .during(|| format!("cannot open log file {}", path.to_string_lossy()))?,
            ),
            None => None,
        };
        Ok(Self { file, json })
    }

    /// Tells a failure everywhere; the exit code of all failures is 1, as runc's.
    pub(super) fn fail(&self, error: &CliError) -> ExitCode {
        let text = line(error);
        self.write("error", &text);
        // Nobody may be reading.
        let _closed = writeln!(std::io::stderr(), "{text}");
        ExitCode::FAILURE
    }

    pub(super) fn warn(&self, text: &str) {
        self.write("warning", text);
    }

    fn write(&self, level: &str, text: &str) {
        let Some(mut file) = self.file.as_ref() else {
            return;
        };
        let time = output::time(std::time::SystemTime::now());
        let entry = if self.json {
            serde_json::json!({ "level": level, "msg": text, "time": time }).to_string()
        } else {
            format!("time=\"{time}\" level={level} msg={text:?}")
        };
        // A full disk must not hide the failure that is told.
        let _full = writeln!(file, "{entry}");
    }
}
