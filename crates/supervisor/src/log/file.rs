//! A file that is rotated.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;

use crate::protocol;

/// The current file of a log and its predecessors.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: fs_err::File,
    bytes: u64,
    bytes_max: u64,
    files_max: u32,
    lost: u64,
    failed: bool,
}

impl RotatingFile {
    /// Opens the file for appending.
    pub(crate) fn open(options: &protocol::Log) -> io::Result<Self> {
        let file = open(&options.path, false)?;
        Ok(Self {
            bytes: file.metadata()?.len(),
            path: options.path.clone(),
            file,
            bytes_max: options.bytes_max.unwrap_or(u64::MAX),
            files_max: options.files_max.max(1),
            lost: 0,
            failed: false,
        })
    }

    /// Says whether the next entry belongs into a new file, if so many bytes are still unwritten.
    pub(crate) fn is_full(&self, unwritten: usize) -> bool {
        let unwritten = u64::try_from(unwritten).unwrap_or(u64::MAX);
        self.bytes.saturating_add(unwritten) >= self.bytes_max
    }

    /// Appends whole entries. If that fails, none of them stays half, and they count as lost.
    pub(crate) fn append(&mut self, entries: &[u8]) {
        let length = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        match self.file.write_all(entries) {
            Ok(()) => {
                self.bytes = self.bytes.saturating_add(length);
                self.failed = false;
            }
            Err(_) => {
                self.lost = self.lost.saturating_add(length);
                self.failed = true;
                // What was written of it would spoil the entry after it. If this fails too, the
                // reader skips one damaged entry.
                let _ = self.file.set_len(self.bytes);
            }
        }
    }

    /// How many bytes were lost since the last call, once there is hope to write again.
    pub(crate) fn take_lost(&mut self) -> Option<u64> {
        if self.lost == 0 || self.failed {
            // The next success clears `failed`; until then a notice would be lost as well.
            return None;
        }
        Some(std::mem::take(&mut self.lost))
    }

    /// Starts a new file. If that is not possible, the old one goes on.
    pub(crate) fn rotate(&mut self) {
        for number in (1..self.files_max).rev() {
            let from = if number == 1 { self.path.clone() } else { rotated(&self.path, number - 1) };
            let _ = fs_err::rename(from, rotated(&self.path, number));
        }
        if let Ok(file) = open(&self.path, self.files_max == 1) {
            self.file = file;
            self.bytes = 0;
        }
    }
}

/// Path of a rotated file; 1 is the newest.
pub(crate) fn rotated(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

fn open(path: &Path, truncate: bool) -> io::Result<fs_err::File> {
    // **Source:** Docker gives its log files mode 0640.
    let file = fs_err::OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
    if truncate {
        file.set_len(0)?;
    }
    Ok(file)
}
