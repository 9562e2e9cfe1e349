//! The content of files.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use crate::tar::{Archive, Entry};

use super::{Failure, Limits, UnpackError};

/// Bytes read at a time.
pub(super) const CHUNK: usize = 256 << 10;
/// Zeros of at least this many bytes become a hole.
const HOLE: usize = 4096;
/// After so many bytes the free space is looked at again.
const CHECK_BYTES: u64 = 64 << 20;

/// Looks after the free space.
pub(super) struct Budget {
    limits: Limits,
    unchecked: u64,
}

impl Budget {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, unchecked: CHECK_BYTES }
    }

    /// Takes bytes that will be written.
    fn written(&mut self, file: &OwnedFd, bytes: usize) -> Result<(), Failure> {
        self.unchecked = self.unchecked.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.unchecked < CHECK_BYTES {
            return Ok(());
        }
        self.unchecked = 0;
        let disk = rustix::fs::fstatvfs(file)?;
        if disk.f_bavail.saturating_mul(disk.f_frsize) < self.limits.free_bytes_min {
            return Err(Failure::Kernel(rustix::io::Errno::NOSPC.into()));
        }
        Ok(())
    }
}

/// Writes the data of `entry` into the new, empty `file`.
pub(super) fn write<R: Read>(
    archive: &mut Archive<R>,
    file: &OwnedFd,
    entry: &Entry,
    budget: &mut Budget,
    buffer: &mut [u8],
) -> Result<(), Failure> {
    let mut end = 0;
    match &entry.sparse {
        None => end = copy(archive, file, (0, entry.size), budget, buffer)?,
        Some(segments) => {
            for segment in segments {
                end = copy(archive, file, (segment.offset, segment.length), budget, buffer)?.max(end);
            }
        }
    }
    if end < entry.size {
        rustix::fs::ftruncate(file, entry.size)?;
    }
    Ok(())
}

/// Copies `length` bytes to `offset` and returns where the last byte written ends.
fn copy<R: Read>(
    archive: &mut Archive<R>,
    file: &OwnedFd,
    (offset, length): (u64, u64),
    budget: &mut Budget,
    buffer: &mut [u8],
) -> Result<u64, Failure> {
    let (mut at, mut left, mut end) = (offset, length, 0);
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let chunk = &mut buffer[..want];
        archive.read_exact(chunk).map_err(|error| UnpackError::Tar(error.into()))?;
        let count = u64::try_from(want).unwrap_or_default();
        if want < HOLE || !is_zero(chunk) {
            budget.written(file, want)?;
            write_all_at(file, chunk, at)?;
            end = at + count;
        }
        at += count;
        left -= count;
    }
    Ok(end)
}

fn is_zero(chunk: &[u8]) -> bool {
    // Comparing a slice with itself shifted by one is a single memcmp(3).
    chunk[0] == 0 && chunk[1..] == chunk[..chunk.len() - 1]
}

fn write_all_at(file: &OwnedFd, mut chunk: &[u8], mut at: u64) -> io::Result<()> {
    while !chunk.is_empty() {
        match rustix::io::pwrite(file, chunk, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                chunk = &chunk[count..];
                at += u64::try_from(count).unwrap_or_default();
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
