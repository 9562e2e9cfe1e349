//! What the containers of a project say, each line with its container's name before it.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use docker_api::stream::{Kind, read_frame};

use crate::printer;

/// Colours of names, in the order in which containers are attached. **Source:** docker/compose, `cmd/formatter/colors.go`.
const COLOURS: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

/// Where lines go.
#[derive(Clone, Debug)]
pub(super) struct Output {
    shared: Arc<Mutex<Shared>>,
    colours: bool,
    prefixes: bool,
    timestamps: bool,
}

#[derive(Debug)]
struct Shared {
    /// Longest name of those that have said something.
    width: usize,
    /// How many have a colour.
    count: usize,
}

/// One container's part of the output.
#[derive(Clone, Debug)]
pub(super) struct Part {
    output: Output,
    name: String,
    colour: &'static str,
}

impl Output {
    /// `timestamps`: whether each line begins with the time at which it came.
    pub(super) fn new(colours: bool, prefixes: bool, timestamps: bool) -> Self {
        Self { shared: Arc::new(Mutex::new(Shared { width: 0, count: 0 })), colours: colours && printer::colours(), prefixes, timestamps }
    }

    /// Adds a container.
    pub(super) fn part(&self, name: &str) -> Part {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let colour = COLOURS.get(shared.count % COLOURS.len()).copied().unwrap_or_default();
        shared.count += 1;
        Part { output: self.clone(), name: name.to_owned(), colour }
    }
}

impl Part {
    /// Prints one line, without its end.
    pub(super) fn line(&self, line: &[u8], to_stderr: bool) {
        let mut shared = self.output.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.width = shared.width.max(self.name.chars().count());
        let width = shared.width;
        drop(shared);
        let mut bytes = Vec::with_capacity(line.len() + width + 16);
        if self.output.prefixes {
            let prefix = format!("{:width$}  | ", self.name);
            let prefix = if self.output.colours { format!("\x1b[{}m{prefix}\x1b[0m", self.colour) } else { prefix };
            bytes.extend(prefix.as_bytes());
        }
        if self.output.timestamps {
            bytes.extend(jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%9fZ ").to_string().as_bytes());
        }
        bytes.extend(line);
        bytes.push(b'\n');
        if to_stderr {
            printer::raw_error(&bytes);
        } else {
            printer::raw(&bytes);
        }
    }

    /// As [`Part::copy`], all of it to standard error.
    pub(super) fn copy_to_stderr(&self, stream: &mut dyn Read) {
        let mut buffer = Vec::new();
        let mut lines = Lines::default();
        while let Ok(Some(_)) = read_frame(&mut &mut *stream, &mut buffer) {
            lines.0.extend(&buffer);
        }
        for line in lines.0.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.line(trimmed(line), true);
        }
    }

    /// Prints what a container says until it ends; a last line without an end is a line too.
    pub(super) fn copy(&self, stream: &mut dyn Read, multiplexed: bool) {
        if !multiplexed {
            let mut lines = BufReader::new(stream);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                self.line(trimmed(&line), false);
                line.clear();
            }
            return;
        }
        let (mut out, mut err) = (Lines::default(), Lines::default());
        let mut buffer = Vec::new();
        // A stream that breaks has ended.
        while let Ok(Some(kind)) = read_frame(&mut &mut *stream, &mut buffer) {
            let lines = if matches!(kind, Kind::Stderr) { &mut err } else { &mut out };
            let to_stderr = matches!(kind, Kind::Stderr);
            let _infallible = lines.0.write_all(&buffer);
            while let Some(end) = lines.0.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = lines.0.drain(..=end).collect();
                self.line(trimmed(&line), to_stderr);
            }
        }
        for (lines, to_stderr) in [(out, false), (err, true)] {
            if !lines.0.is_empty() {
                self.line(trimmed(&lines.0), to_stderr);
            }
        }
    }
}

/// Bytes that have no line's end yet.
#[derive(Default)]
struct Lines(Vec<u8>);

fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
