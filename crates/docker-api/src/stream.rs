//! Docker's framing of several streams in one: eight bytes of header, then the data.
//!
//! **Source:** Docker Engine API, `ContainerAttach`, "Stream format".

use std::io::{self, Read};

/// Longest frame that is read; Docker sends at most 32 KiB at once.
const FRAME_BYTES_MAX: u32 = 64 << 20;

/// Where a frame belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Standard input, which servers echo as 0.
    Stdin,
    /// Standard output, or the bytes of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
    /// A message of the engine itself.
    System,
    /// How a `POST /teu/run` ended, as JSON: our own extension.
    Result,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::System,
            4 => Self::Result,
            _ => return None,
        })
    }
}

/// Reads one frame into `buffer`; `None` at the end of the stream.
///
/// # Errors
/// If the stream breaks off inside a frame or is not framed.
pub fn read_frame(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut header = [0; 8];
    let mut filled = 0;
    while filled < header.len() {
        match stream.read(&mut header[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let [kind, _, _, _, size @ ..] = header;
    let size = u32::from_be_bytes(size);
    let kind = Kind::parse(kind).filter(|_| size <= FRAME_BYTES_MAX);
    let kind = kind.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("unrecognized input header: {}", header[0])))?;
    buffer.resize(usize::try_from(size).unwrap_or_default(), 0);
    stream.read_exact(buffer)?;
    Ok(Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_until_the_end() {
        let mut bytes: &[u8] = &[1, 0, 0, 0, 0, 0, 0, 2, b'h', b'i', 2, 0, 0, 0, 0, 0, 0, 0];
        let mut buffer = Vec::new();
        assert_eq!(read_frame(&mut bytes, &mut buffer).unwrap(), Some(Kind::Stdout));
        assert_eq!(buffer, b"hi");
        assert_eq!(read_frame(&mut bytes, &mut buffer).unwrap(), Some(Kind::Stderr));
        assert!(buffer.is_empty());
        assert_eq!(read_frame(&mut bytes, &mut buffer).unwrap(), None);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        let mut buffer = Vec::new();
        assert!(read_frame(&mut &b"HTTP/1.1 200"[..], &mut buffer).is_err());
        assert!(read_frame(&mut &[1u8, 0, 0][..], &mut buffer).is_err());
    }
}
