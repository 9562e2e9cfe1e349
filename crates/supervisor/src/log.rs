//! Writes output into the log: lines, their encoding, rotation.

mod file;
pub(crate) mod json;
pub(crate) mod local;
mod split;

use std::io;

use crate::logs::Stream;
use crate::protocol;
use crate::time::Formatter;
use file::RotatingFile;
pub(crate) use file::rotated;
use split::Splitter;

/// Encoded bytes after which they are written, however much input is left.
const BATCH_BYTES: usize = 96 << 10;

/// The log of one container.
#[derive(Debug)]
pub(crate) struct Log {
    file: RotatingFile,
    encoder: Encoder,
    splitters: [Splitter; 2],
    last_time: u64,
    batch: Vec<u8>,
}

/// How an entry becomes bytes.
#[derive(Debug)]
enum Encoder {
    Json { formatter: Formatter, tails: [Vec<u8>; 2] },
    Local,
}

impl Encoder {
    fn append(&mut self, stream: Stream, time: u64, piece: split::Piece<'_>, output: &mut Vec<u8>) {
        match self {
            Self::Json { formatter, tails } => {
                output.extend_from_slice(b"{\"log\":\"");
                json::escape(piece.bytes, output);
                if piece.newline {
                    output.extend_from_slice(b"\\n");
                }
                output.extend_from_slice(&tails[index_of(stream)]);
                formatter.append(time, output);
                output.extend_from_slice(b"\"}\n");
            }
            Self::Local => local::append(stream, time, piece.bytes, piece.newline, output),
        }
    }
}

fn index_of(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl Log {
    /// Opens the log; `None` if nothing is to be kept.
    ///
    /// # Errors
    /// As open(2).
    pub(crate) fn open(options: &protocol::Log) -> io::Result<Option<Self>> {
        let encoder = match options.driver {
            protocol::LogDriver::None => return Ok(None),
            protocol::LogDriver::Local => Encoder::Local,
            protocol::LogDriver::JsonFile => Encoder::Json {
                formatter: Formatter::default(),
                tails: ["stdout", "stderr"].map(|stream| json::tail(stream, &options.attributes)),
            },
        };
        Ok(Some(Self { file: RotatingFile::open(options)?, encoder, splitters: Default::default(), last_time: 0, batch: Vec::new() }))
    }

    /// Appends output that was read at a time. A failure to write loses these entries, and a
    /// later entry says so; the container goes on.
    pub(crate) fn write(&mut self, stream: Stream, mut output: &[u8], now: u64) {
        let mut splitter = std::mem::take(&mut self.splitters[index_of(stream)]);
        while let Some(piece) = splitter.next(&mut output) {
            self.append(stream, piece, now);
        }
        self.splitters[index_of(stream)] = splitter;
        self.flush();
    }

    /// Appends what is left of unfinished lines, at the end of output.
    pub(crate) fn finish(&mut self, now: u64) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let mut splitter = std::mem::take(&mut self.splitters[index_of(stream)]);
            if let Some(piece) = splitter.rest() {
                self.append(stream, piece, now);
            }
        }
        self.flush();
        // The last entries may have been the first that could be written again.
        self.tell_lost(self.last_time.saturating_add(1));
        self.flush();
    }

    /// Adds an entry about those that were lost, once there is hope to write it.
    fn tell_lost(&mut self, time: u64) {
        if let Some(lost) = self.file.take_lost() {
            let notice = format!("{lost} bytes of the log were lost: they could not be written");
            let notice = split::Piece { bytes: notice.as_bytes(), newline: true, line_time: &mut None };
            self.encoder.append(Stream::Stderr, time, notice, &mut self.batch);
        }
    }

    /// Each line has a later time than the one before, so that a reader can go on from a time;
    /// the pieces of one long line share theirs.
    fn append(&mut self, stream: Stream, piece: split::Piece<'_>, now: u64) {
        if self.file.is_full(self.batch.len()) {
            self.flush();
            self.file.rotate();
        }
        self.last_time = now.max(self.last_time.saturating_add(1));
        let time = *piece.line_time.get_or_insert(self.last_time);
        if piece.newline {
            *piece.line_time = None;
        }
        self.tell_lost(time);
        self.encoder.append(stream, time, piece, &mut self.batch);
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if !self.batch.is_empty() {
            self.file.append(&self.batch);
            self.batch.clear();
        }
    }
}
