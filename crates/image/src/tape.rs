//! What a layer's tar holds besides the content of its files, so that it can be written again byte for byte.
//!
//! A tape is a zstd stream of steps: `0`, a length and bytes that stand in the tar as they are
//! (headers, padding, the end); `1`, the length of a path, the path and a size for the content of
//! a file; `2`, the end. Numbers are 64-bit little-endian. The digest decides whether the result
//! is right, so nothing here needs to be trusted.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};

const RAW: u8 = 0;
const FILE: u8 = 1;
const END: u8 = 2;
/// Longest step of raw bytes, and longest path.
const STEP_BYTES_MAX: u64 = 1 << 20;
/// Raw bytes are written in steps of this length.
const STEP_BYTES: usize = 512 << 10;
/// Raw bytes of a whole layer; a tar with more outside of its files is not recorded.
const RAW_BYTES_MAX: u64 = 1 << 30;
/// Headers compress well at the fastest level.
const LEVEL: i32 = 1;

type Encoder = zstd::Encoder<'static, BufWriter<fs_err::File>>;

/// Passes a tar on and records it, except for the content of files that are announced.
pub(crate) struct Taping<R> {
    input: R,
    encoder: Option<Encoder>,
    raw: Vec<u8>,
    raw_total: u64,
    /// Bytes of a file's content still to come.
    skip: u64,
    failure: Option<io::Error>,
}

impl<R> std::fmt::Debug for Taping<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Taping").field("skip", &self.skip).finish_non_exhaustive()
    }
}

impl<R: Read> Taping<R> {
    /// Starts a tape in the new file `tape`.
    pub(crate) fn new(input: R, tape: fs_err::File) -> io::Result<Self> {
        let encoder = Some(zstd::Encoder::new(BufWriter::new(tape), LEVEL)?);
        Ok(Self { input, encoder, raw: Vec::new(), raw_total: 0, skip: 0, failure: None })
    }

    /// Says that the next `size` bytes are the content of the file `path` and will be read from there.
    pub(crate) fn file(&mut self, path: &[u8], size: u64) -> io::Result<()> {
        self.flush_raw()?;
        self.skip = size;
        let Some(encoder) = &mut self.encoder else {
            return Ok(());
        };
        encoder.write_all(&[FILE])?;
        encoder.write_all(&length(path).to_le_bytes())?;
        encoder.write_all(path)?;
        encoder.write_all(&size.to_le_bytes())
    }

    /// Gives the tape up: a file that it counts on is being replaced.
    pub(crate) fn give_up(&mut self) {
        self.encoder = None;
        self.raw.clear();
    }

    /// Ends the tape; false when it was given up.
    pub(crate) fn finish(mut self) -> io::Result<bool> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.flush_raw()?;
        let Some(mut encoder) = self.encoder else {
            return Ok(false);
        };
        encoder.write_all(&[END])?;
        encoder.finish()?.flush()?;
        Ok(true)
    }

    fn flush_raw(&mut self) -> io::Result<()> {
        let Some(encoder) = self.encoder.as_mut().filter(|_| !self.raw.is_empty()) else {
            return Ok(());
        };
        for step in self.raw.chunks(STEP_BYTES) {
            encoder.write_all(&[RAW])?;
            encoder.write_all(&length(step).to_le_bytes())?;
            encoder.write_all(step)?;
        }
        self.raw_total = self.raw_total.saturating_add(length(&self.raw));
        self.raw.clear();
        Ok(())
    }
}

impl<R: Read> Read for Taping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(count);
        self.skip -= u64::try_from(skipped).unwrap_or_default();
        if self.encoder.is_some() {
            self.raw.extend_from_slice(&buffer[skipped..count]);
            if self.raw.len() >= STEP_BYTES
                && let Err(error) = self.flush_raw()
            {
                self.failure = Some(error);
                self.give_up();
            }
            if self.raw_total > RAW_BYTES_MAX {
                self.give_up();
            }
        }
        Ok(count)
    }
}

/// Writes the tar of a tape to `output`, with the files' content from `root`; returns its bytes.
pub(crate) fn replay(tape: impl Read, root: &OwnedFd, output: &mut impl Write) -> io::Result<u64> {
    walk(tape, |step| match step {
        Step::Raw(bytes) => output.write_all(bytes),
        Step::File { path, size } => {
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = std::fs::File::from(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?);
            let mut reader = BufReader::with_capacity(128 << 10, file.take(size));
            if io::copy(&mut reader, output)? == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
        }
    })
}

/// Returns the bytes of the tar of a tape.
pub(crate) fn size(tape: impl Read) -> io::Result<u64> {
    walk(tape, |_| Ok(()))
}

enum Step<'a> {
    Raw(&'a [u8]),
    File { path: &'a [u8], size: u64 },
}

fn walk(tape: impl Read, mut act: impl FnMut(Step<'_>) -> io::Result<()>) -> io::Result<u64> {
    let mut tape = zstd::Decoder::new(tape)?;
    let mut sum = 0_u64;
    let mut bytes = Vec::new();
    loop {
        let mut kind = [0];
        tape.read_exact(&mut kind)?;
        if kind == [END] {
            return Ok(sum);
        }
        let length = number(&mut tape)?;
        if length > STEP_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.resize(usize::try_from(length).unwrap_or_default(), 0);
        tape.read_exact(&mut bytes)?;
        let added = match kind {
            [RAW] => {
                act(Step::Raw(&bytes))?;
                length
            }
            [FILE] => {
                let size = number(&mut tape)?;
                act(Step::File { path: &bytes, size })?;
                size
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        sum = sum.saturating_add(added);
    }
}

fn number(tape: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    tape.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
