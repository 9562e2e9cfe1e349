//! The files of a log, and where its last entries begin.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::decode::Decoder;
use crate::log::{local, rotated};

const BLOCK_BYTES: usize = 128 << 10;
/// Tries to see all files between two rotations.
const SCANS_MAX: u32 = 1000;

/// A file that is read from the front.
#[derive(Debug)]
pub(super) struct LogFile {
    file: fs_err::File,
    inode: u64,
    /// Where in the file the buffer ends.
    offset: u64,
    buffer: Vec<u8>,
    consumed: usize,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match fs_err::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let inode = file.metadata()?.ino();
        Ok(Some(Self { file, inode, offset: 0, buffer: Vec::new(), consumed: 0 }))
    }

    /// What identifies the file under each of its names.
    pub(super) fn inode(&self) -> u64 {
        self.inode
    }

    /// Bytes that were read and not consumed.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.consumed..]
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.consumed += bytes;
    }

    /// Reads one more block; false at the end of the file.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let length = self.buffer.len();
        self.buffer.resize(length + BLOCK_BYTES, 0);
        let read = self.file.file().read_at(&mut self.buffer[length..], self.offset);
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        let read = read?;
        self.offset += u64::try_from(read).unwrap_or(0);
        Ok(read > 0)
    }

    pub(super) fn has_grown(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() > self.offset)
    }

    /// Goes to the front if the file has become shorter than what was read of it.
    pub(super) fn restart_if_truncated(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() >= self.offset {
            return Ok(false);
        }
        (self.offset, self.consumed) = (0, 0);
        self.buffer.clear();
        Ok(true)
    }

    /// Finds where the last `wanted` entries begin; else says how many there are.
    fn find_tail(&self, decoder: Decoder, wanted: u64) -> io::Result<Result<u64, u64>> {
        let length = self.file.metadata()?.len();
        match decoder {
            Decoder::Json => self.find_tail_of_lines(length, wanted),
            Decoder::Local => self.find_tail_of_frames(length, wanted),
        }
    }

    fn find_tail_of_lines(&self, length: u64, wanted: u64) -> io::Result<Result<u64, u64>> {
        let mut block = vec![0; BLOCK_BYTES];
        let (mut end, mut found) = (length, 0);
        while end > 0 {
            let size = usize::try_from(end).unwrap_or(usize::MAX).min(BLOCK_BYTES);
            let start = end - u64::try_from(size).unwrap_or(0);
            self.file.file().read_exact_at(&mut block[..size], start)?;
            for at in (0..size).rev().filter(|at| block[*at] == b'\n') {
                // The newline before the first wanted entry; the one at the very end is no entry's
                // beginning, and without it an unfinished entry is not counted.
                if found == wanted {
                    return Ok(Ok(start + u64::try_from(at).unwrap_or(0) + 1));
                }
                found += 1;
            }
            end = start;
        }
        Ok(if found == wanted { Ok(0) } else { Err(found) })
    }

    fn find_tail_of_frames(&self, length: u64, wanted: u64) -> io::Result<Result<u64, u64>> {
        let (mut end, mut found) = (length, 0);
        while found < wanted && end >= 4 {
            let mut last = [0; 4];
            self.file.file().read_exact_at(&mut last, end - 4)?;
            let frame = local::length(last).and_then(|n| u64::try_from(n + 8).ok());
            let Some(start) = frame.and_then(|frame| end.checked_sub(frame)) else {
                break;
            };
            (end, found) = (start, found + 1);
        }
        Ok(if found == wanted { Ok(end) } else { Err(found) })
    }
}

/// Opens all files of a log, oldest first.
///
/// A rotation renames one file after the other. At each moment a larger number is an older file,
/// but not from one moment to the next; so what was opened counts only if the names still belong
/// to the same files afterwards.
pub(super) fn open_all(path: &Path) -> io::Result<VecDeque<LogFile>> {
    for _ in 0..SCANS_MAX {
        let mut files = Vec::new();
        for_each_name(path, |name| {
            let file = LogFile::open(name)?;
            let found = file.is_some();
            files.push(file);
            Ok(found)
        })?;
        let mut inodes = files.iter().map(|file| file.as_ref().map(LogFile::inode));
        let mut same = true;
        for_each_name(path, |name| {
            let inode = fs_err::metadata(name).ok().map(|metadata| metadata.ino());
            same &= inodes.next() == Some(inode);
            Ok(inode.is_some())
        })?;
        if same {
            return Ok(files.into_iter().flatten().rev().collect());
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "the log is rotated all the time"))
}

/// Calls with the names of a log's files, newest first, while they exist. In the midst of a
/// rotation one may be missing, or the newest two.
fn for_each_name(path: &Path, mut act: impl FnMut(&Path) -> io::Result<bool>) -> io::Result<()> {
    let mut missing = u32::from(!act(path)?);
    for number in 1.. {
        missing = if act(&rotated(path, number))? { 0 } else { missing + 1 };
        if missing >= 3 {
            break;
        }
    }
    Ok(())
}

/// Drops and seeks, so that only the last entries remain.
pub(super) fn seek_to_tail(files: &mut VecDeque<LogFile>, decoder: Decoder, mut wanted: u64) -> io::Result<()> {
    for index in (0..files.len()).rev() {
        match files[index].find_tail(decoder, wanted)? {
            Ok(offset) => {
                files[index].offset = offset;
                files.drain(..index);
                return Ok(());
            }
            Err(found) => wanted -= found,
        }
    }
    Ok(())
}
