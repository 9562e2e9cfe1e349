//! Reads logs back, rotated files included.

mod decode;
mod files;
mod grep;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify;

use crate::protocol::LogDriver;
use decode::{Decoded, Decoder};
use files::LogFile;
use grep::Found;
pub use grep::{Grep, PatternError};

/// One entry: a line, or a piece of one that is longer than 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Unix time in nanoseconds.
    pub time: u64,
    /// Where it was written.
    pub stream: Stream,
    /// The bytes, with the newline unless the line goes on in the next entry.
    pub line: Vec<u8>,
    /// Attributes that were written with it, as a JSON object.
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
    /// Only the last so many, counted before `since` and `until` are applied, as Docker does.
    pub tail: Option<u64>,
    /// Not before this Unix time in nanoseconds.
    pub since: Option<u64>,
    /// Not after this Unix time in nanoseconds.
    pub until: Option<u64>,
    /// Only those whose text matches.
    pub grep: Option<Grep>,
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
    path: PathBuf,
    query: Query,
    decoder: Decoder,
    /// Those still to be read, oldest first; the first is being read.
    files: VecDeque<LogFile>,
    inotify: OwnedFd,
    ended: bool,
}

impl Logs {
    /// Opens the log at `path`, the current file of [`crate::protocol::Log`].
    ///
    /// # Errors
    /// [`ReadError`]; a log that does not exist yet is empty.
    pub fn open(driver: LogDriver, path: PathBuf, query: Query) -> Result<Self, ReadError> {
        let decoder = match driver {
            LogDriver::None => return Err(ReadError::Unsupported),
            LogDriver::JsonFile => Decoder::Json,
            LogDriver::Local => Decoder::Local,
        };
        let failed = |source| ReadError::Io { path: path.clone(), source };
        // The watch comes before the first look, so that nothing falls between the two.
        let inotify = watch(&path, query.follow).map_err(failed)?;
        let mut files = files::open_all(&path).map_err(failed)?;
        if let Some(tail) = query.tail {
            files::seek_to_tail(&mut files, decoder, tail).map_err(failed)?;
        }
        Ok(Self { path, query, decoder, files, inotify, ended: false })
    }

    /// Reads on, without blocking on anything but the disk.
    ///
    /// # Errors
    /// [`ReadError`]; damaged entries are skipped.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot say that there is nothing yet")]
    pub fn next(&mut self) -> Result<Next, ReadError> {
        self.step().map_err(|source| ReadError::Io { path: self.path.clone(), source })
    }

    /// Tells that the container has ended: what is in the log is read, then comes the end.
    pub fn container_ended(&mut self) {
        self.ended = true;
    }

    fn step(&mut self) -> io::Result<Next> {
        loop {
            if let Some(entry) = self.next_in_files()? {
                if self.query.until.is_some_and(|until| entry.time > until) {
                    return Ok(Next::End);
                }
                if self.query.since.is_none_or(|since| entry.time >= since) {
                    return Ok(Next::Entry(entry));
                }
                continue;
            }
            if !self.query.follow {
                return Ok(Next::End);
            }
            // What is written after the queue was emptied fills it again, and all before is seen
            // by the look that follows.
            let woken = empty(&self.inotify)?;
            let found = self.look_for_newer_files()?;
            if !woken && !found {
                return Ok(if self.ended { Next::End } else { Next::Pending });
            }
        }
    }

    /// The next entry of the files that are open; the last of them stays, it may grow.
    fn next_in_files(&mut self) -> io::Result<Option<LogEntry>> {
        while let Some(file) = self.files.front_mut() {
            loop {
                if let (Some(grep), Decoder::Json) = (&self.query.grep, self.decoder) {
                    match grep.skip_json(file.unread()) {
                        Found::At(start) | Found::Nowhere(start) => file.consume(start),
                    }
                }
                match self.decoder.decode(file.unread()) {
                    Decoded::Entry(entry, used) => {
                        file.consume(used);
                        if self.query.grep.as_ref().is_some_and(|grep| !grep.matches(&entry.line)) {
                            continue;
                        }
                        return Ok(Some(entry));
                    }
                    Decoded::Damaged(used) => file.consume(used),
                    Decoded::Incomplete => {
                        if !file.fill()? {
                            break;
                        }
                    }
                }
            }
            if self.files.len() == 1 {
                break;
            }
            self.files.pop_front();
        }
        Ok(None)
    }

    /// After a rotation, queues the files that are newer than the one that was read last. Says
    /// whether there is something to read.
    fn look_for_newer_files(&mut self) -> io::Result<bool> {
        let mut all = files::open_all(&self.path)?;
        let Some(current) = self.files.back_mut() else {
            self.files = all;
            return Ok(!self.files.is_empty());
        };
        // A file that was rotated out of existence makes all that is left newer.
        let known = all.iter().position(|file| file.inode() == current.inode());
        let newer = all.split_off(known.map_or(0, |at| at + 1));
        let truncated = current.restart_if_truncated()?;
        let grown = current.has_grown()?;
        let found = !newer.is_empty();
        self.files.extend(newer);
        Ok(found || truncated || grown)
    }
}

fn watch(path: &Path, follow: bool) -> io::Result<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let inotify = inotify::init(flags)?;
    if let (true, Some(directory)) = (follow, path.parent()) {
        let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
        inotify::add_watch(&inotify, directory, events)?;
    }
    Ok(inotify)
}

/// Empties the queue of events and says whether there was one.
fn empty(inotify: &OwnedFd) -> io::Result<bool> {
    let mut any = false;
    let mut events = [0; 4096];
    loop {
        match rustix::io::read(inotify, &mut events) {
            Ok(0) | Err(rustix::io::Errno::AGAIN) => return Ok(any),
            Ok(_) => any = true,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl AsFd for Logs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Logs {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_raw_fd()
    }
}
