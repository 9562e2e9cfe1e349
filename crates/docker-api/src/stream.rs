//! Docker's multiplexed stream: frames of an eight-byte head and a payload.

use std::io::{self, Read};

/// Length of a frame's head.
/// **Source:** Engine API, `ContainerAttach`, "Stream format".
pub const HEAD_LENGTH: usize = 8;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes for standard input; never sent by an engine today.
    Stdin,
    /// Bytes of standard output, or of the terminal.
    Stdout,
    /// Bytes of standard error.
    Stderr,
    /// A text of the engine: the stream failed.
    SystemError,
    /// How a run ended; only on `POST /teu/run`.
    Result,
}

impl Kind {
    /// The byte that stands for the kind.
    pub const fn code(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::SystemError => 3,
            Self::Result => 4,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Stdin,
            1 => Self::Stdout,
            2 => Self::Stderr,
            3 => Self::SystemError,
            4 => Self::Result,
            _ => return None,
        })
    }
}

/// The head of a frame with `length` bytes of payload.
pub fn head(kind: Kind, length: u32) -> [u8; HEAD_LENGTH] {
    let [a, b, c, d] = length.to_be_bytes();
    [kind.code(), 0, 0, 0, a, b, c, d]
}

/// Takes a multiplexed stream apart.
#[derive(Debug)]
pub struct Demultiplexer<R> {
    source: R,
}

impl<R: Read> Demultiplexer<R> {
    /// Reads frames from `source`.
    pub fn new(source: R) -> Self {
        Self { source }
    }

    /// Reads the next frame's payload into `payload`; none at the stream's end.
    ///
    /// # Errors
    /// The source failed, ended within a frame, or is no multiplexed stream.
    pub fn next(&mut self, payload: &mut Vec<u8>) -> io::Result<Option<Kind>> {
        let mut head = [0; HEAD_LENGTH];
        let mut filled = 0;
        while let Some(rest) = head.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.source.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let [code, _, _, _, a, b, c, d] = head;
        let Some(kind) = Kind::from_code(code) else {
            let text = format!("unrecognized input header: {code}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        payload.clear();
        let read = (&mut self.source)
            .take(u64::from(length))
            .read_to_end(payload)?;
        if u64::try_from(read).ok() != Some(u64::from(length)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart_as_they_were_joined() {
        let mut bytes = Vec::new();
        for (kind, text) in [
            (Kind::Stdout, "out"),
            (Kind::Stderr, ""),
            (Kind::Result, "{}"),
        ] {
            bytes.extend(head(kind, u32::try_from(text.len()).unwrap()));
            bytes.extend(text.as_bytes());
        }
        let mut frames = Demultiplexer::new(bytes.as_slice());
        let mut payload = Vec::new();
        let mut seen = Vec::new();
        while let Some(kind) = frames.next(&mut payload).unwrap() {
            seen.push((kind, String::from_utf8(payload.clone()).unwrap()));
        }
        assert_eq!(
            seen,
            [
                (Kind::Stdout, "out".to_owned()),
                (Kind::Stderr, String::new()),
                (Kind::Result, "{}".to_owned())
            ]
        );
    }

    #[test]
    fn a_cut_frame_and_a_foreign_byte_are_errors() {
        let mut payload = Vec::new();
        let cut = [1, 0, 0, 0, 0, 0, 0, 9, b'x'];
        let error = Demultiplexer::new(&cut[..]).next(&mut payload).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let cut = [1, 0, 0];
        let error = Demultiplexer::new(&cut[..]).next(&mut payload).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let foreign = *b"GET / HTTP/1.1";
        let error = Demultiplexer::new(&foreign[..])
            .next(&mut payload)
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
