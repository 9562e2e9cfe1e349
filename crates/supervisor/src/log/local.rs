//! The encoding of the `local` driver: frames that can be read forwards and backwards.
//!
//! | bytes | content |
//! |---|---|
//! | 4 | number n of bytes up to the last four, big-endian |
//! | 1 | bit 0: standard error; bit 1: the line goes on in the next entry |
//! | 8 | Unix time in nanoseconds, big-endian |
//! | n − 9 | the bytes without the newline |
//! | 4 | n again |

use crate::logs::{LogEntry, Stream};

const STDERR: u8 = 1;
const UNFINISHED: u8 = 2;
/// Flags and time.
const HEAD_BYTES: usize = 9;
/// Longest content of a frame that is believed.
pub(crate) const CONTENT_BYTES_MAX: usize = super::split::PIECE_BYTES_MAX + HEAD_BYTES;

/// Appends a frame.
pub(crate) fn append(stream: Stream, time: u64, bytes: &[u8], newline: bool, output: &mut Vec<u8>) {
    let length = u32::try_from(bytes.len() + HEAD_BYTES).unwrap_or(u32::MAX).to_be_bytes();
    let stream = match stream {
        Stream::Stdout => 0,
        Stream::Stderr => STDERR,
    };
    output.extend_from_slice(&length);
    output.push(stream | if newline { 0 } else { UNFINISHED });
    output.extend_from_slice(&time.to_be_bytes());
    output.extend_from_slice(bytes);
    output.extend_from_slice(&length);
}

/// Reads the length that starts or ends a frame; `None` if it cannot be one.
pub(crate) fn length(bytes: [u8; 4]) -> Option<usize> {
    let length = usize::try_from(u32::from_be_bytes(bytes)).ok()?;
    (HEAD_BYTES..=CONTENT_BYTES_MAX).contains(&length).then_some(length)
}

/// Parses what is between the two lengths.
pub(crate) fn parse(content: &[u8]) -> Option<LogEntry> {
    let (head, line) = content.split_first_chunk::<HEAD_BYTES>()?;
    let (flags, time) = head.split_first()?;
    let mut line = line.to_vec();
    if flags & UNFINISHED == 0 {
        line.push(b'\n');
    }
    Some(LogEntry {
        time: u64::from_be_bytes(time.try_into().ok()?),
        stream: if flags & STDERR == 0 { Stream::Stdout } else { Stream::Stderr },
        line,
        attributes: None,
    })
}
