//! Bytes of a log file to entries; nothing in them is trusted.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LogEntry, Stream};
use crate::log::local;
use crate::time;

/// Longest entry that is believed: 16 KiB escaped sixfold, and attributes.
const JSON_BYTES_MAX: usize = 1 << 20;

/// The format.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decoder {
    Json,
    Local,
}

/// What the front of some bytes is, and how many of them it takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    Entry(LogEntry, usize),
    Damaged(usize),
    /// More bytes are needed.
    Incomplete,
}

/// **Source:** moby `daemon/logger/jsonfilelog/jsonlog/jsonlog.go`.
#[derive(Deserialize)]
struct JsonEntry<'a> {
    #[serde(borrow, default)]
    log: Cow<'a, str>,
    #[serde(borrow, default)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default)]
    attrs: BTreeMap<String, String>,
}

impl Decoder {
    /// Decodes the front of `bytes`.
    pub(super) fn decode(self, bytes: &[u8]) -> Decoded {
        match self {
            Self::Json => decode_json(bytes),
            Self::Local => decode_local(bytes),
        }
    }
}

fn decode_json(bytes: &[u8]) -> Decoded {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let damaged = bytes.len() > JSON_BYTES_MAX;
        return if damaged { Decoded::Damaged(bytes.len()) } else { Decoded::Incomplete };
    };
    match parse_json(&bytes[..end]) {
        Some(entry) => Decoded::Entry(entry, end + 1),
        None => Decoded::Damaged(end + 1),
    }
}

fn parse_json(line: &[u8]) -> Option<LogEntry> {
    let entry: JsonEntry<'_> = serde_json::from_slice(line).ok()?;
    let attributes = (!entry.attrs.is_empty()).then(|| serde_json::to_string(&entry.attrs).ok());
    Some(LogEntry {
        time: time::parse(&entry.time)?,
        stream: if entry.stream == "stderr" { Stream::Stderr } else { Stream::Stdout },
        line: entry.log.into_owned().into_bytes(),
        attributes: attributes.flatten(),
    })
}

fn decode_local(bytes: &[u8]) -> Decoded {
    let Some((first, rest)) = bytes.split_first_chunk::<4>() else {
        return Decoded::Incomplete;
    };
    // Without lengths nothing after a damaged frame can be found.
    let Some(length) = local::length(*first) else {
        return Decoded::Damaged(bytes.len());
    };
    let Some((content, rest)) = rest.split_at_checked(length) else {
        return Decoded::Incomplete;
    };
    let Some(last) = rest.first_chunk::<4>() else {
        return Decoded::Incomplete;
    };
    if first != last {
        return Decoded::Damaged(bytes.len());
    }
    local::parse(content).map_or(Decoded::Damaged(length + 8), |entry| Decoded::Entry(entry, length + 8))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Decoded, Decoder, Stream};
    use crate::log::local;

    #[test]
    fn reads_what_docker_wrote() {
        let line = b"{\"log\":\"a\\u003cb\\n\",\"stream\":\"stderr\",\"attrs\":{\"tag\":\"x\"},\"time\":\"2024-02-29T12:34:56.12Z\"}\n";
        let Decoded::Entry(entry, used) = Decoder::Json.decode(line) else { panic!() };
        assert_eq!((used, entry.stream), (line.len(), Stream::Stderr));
        assert_eq!((entry.line, entry.time), (b"a<b\n".to_vec(), 1_709_210_096_120_000_000));
        assert_eq!(entry.attributes.as_deref(), Some(r#"{"tag":"x"}"#));
    }

    proptest! {
        #[test]
        fn local_frames_come_back(
            entries in prop::collection::vec((any::<bool>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..50), any::<bool>()), 0..5),
        ) {
            let mut bytes = Vec::new();
            for (stderr, time, line, newline) in &entries {
                let stream = if *stderr { Stream::Stderr } else { Stream::Stdout };
                local::append(stream, *time, line, *newline, &mut bytes);
            }
            let mut rest = &bytes[..];
            for (_, time, mut line, newline) in entries {
                let Decoded::Entry(entry, used) = Decoder::Local.decode(rest) else { panic!() };
                line.extend(newline.then_some(b'\n'));
                prop_assert_eq!((entry.time, entry.line), (time, line));
                rest = &rest[used..];
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..300), json in any::<bool>()) {
            let decoder = if json { Decoder::Json } else { Decoder::Local };
            match decoder.decode(&bytes) {
                Decoded::Entry(_, used) | Decoded::Damaged(used) => {
                    prop_assert!((1..=bytes.len()).contains(&used));
                }
                Decoded::Incomplete => {}
            }
        }
    }
}
