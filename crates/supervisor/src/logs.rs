//! Reads logs back, rotated files included.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::protocol::LogDriver;

/// One entry: a line, or a piece of one that is longer than 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Unix time in nanoseconds.
    pub time: u64,
    /// Where it was written.
    pub stream: Stream,
    /// The bytes, with the newline unless the line goes on in the next entry.
    pub line: Vec<u8>,
    /// Attributes as the JSON object that was written, if any.
    pub attributes: Option<String>,
}

/// Output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Which entries are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only the last so many (before `since` and `until` are applied, as Docker does).
    pub tail: Option<u64>,
    /// Not before this Unix time in nanoseconds.
    pub since: Option<u64>,
    /// Not after this Unix time in nanoseconds.
    pub until: Option<u64>,
    /// Whether new entries are waited for, until [`Logs::container_ended`].
    pub follow: bool,
}

/// A log that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The driver keeps nothing.
    #[error("configured logging driver does not support reading")]
    Unsupported,
    /// A file cannot be read.
    #[error("cannot read the log `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// An entry.
    Entry(LogEntry),
    /// Nothing yet: wait until the descriptor of [`Logs`] is readable, or the container ends.
    Pending,
    /// The end.
    End,
}

/// A reader of a log. Without `follow` it never yields [`Next::Pending`].
#[derive(Debug)]
pub struct Logs {
    inotify: std::os::fd::OwnedFd,
}

impl Logs {
    /// Opens the log at `path`, the current file of [`crate::protocol::Log`].
    ///
    /// # Errors
    /// [`ReadError`]; a log that does not exist yet is empty.
    pub fn open(driver: LogDriver, path: PathBuf, query: Query) -> Result<Self, ReadError> {
        let _ = (driver, path, query);
        Err(ReadError::Unsupported)
    }

    /// Reads on, without blocking on anything but the disk.
    ///
    /// # Errors
    /// [`ReadError`]; damaged entries are skipped.
    pub fn next(&mut self) -> Result<Next, ReadError> {
        Ok(Next::End)
    }

    /// Tells that the container has ended: what is in the log is read, then comes the end.
    pub fn container_ended(&mut self) {}
}

impl AsFd for Logs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
