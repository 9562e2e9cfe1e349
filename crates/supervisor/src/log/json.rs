//! Docker's `json-file` encoding.

use std::collections::BTreeMap;

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// How a byte stands in a string: as it is, escaped, or as part of a longer character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Plain,
    Escaped,
    Beyond,
}

/// **Source:** moby `daemon/logger/jsonfilelog/jsonlog/jsonlogbytes.go`: control characters, quotes,
/// backslashes, and `<`, `>`, `&` are escaped.
const CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte < 0x20 {
            classes[byte] = Class::Escaped;
        } else if byte >= 0x80 {
            classes[byte] = Class::Beyond;
        }
        byte += 1;
    }
    let mut index = 0;
    while index < 5 {
        classes[b"\"\\<>&"[index] as usize] = Class::Escaped;
        index += 1;
    }
    classes
};

/// Appends bytes as the inside of a JSON string, as Docker's Go code does.
pub(crate) fn escape(mut bytes: &[u8], output: &mut Vec<u8>) {
    while !bytes.is_empty() {
        let plain = run(bytes, Class::Plain);
        output.extend_from_slice(&bytes[..plain]);
        bytes = &bytes[plain..];
        let beyond = run(bytes, Class::Beyond);
        escape_beyond(&bytes[..beyond], output);
        bytes = &bytes[beyond..];
        let escaped = run(bytes, Class::Escaped);
        for byte in &bytes[..escaped] {
            match byte {
                b'"' | b'\\' => output.extend_from_slice(&[b'\\', *byte]),
                b'\n' => output.extend_from_slice(b"\\n"),
                b'\r' => output.extend_from_slice(b"\\r"),
                _ => {
                    let [high, low] = [byte >> 4, byte & 15].map(|d| HEXADECIMAL[usize::from(d)]);
                    output.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                }
            }
        }
        bytes = &bytes[escaped..];
    }
}

fn run(bytes: &[u8], class: Class) -> usize {
    bytes.iter().position(|b| CLASSES[usize::from(*b)] != class).unwrap_or(bytes.len())
}

/// Line separators, which end lines in JavaScript, are escaped; each byte that is no UTF-8 becomes
/// a replacement character.
fn escape_beyond(bytes: &[u8], output: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        let mut valid = chunk.valid();
        while let Some(at) = valid.find(['\u{2028}', '\u{2029}']) {
            let (before, separator) = valid.split_at(at);
            output.extend_from_slice(before.as_bytes());
            let name: &[u8] = if separator.starts_with('\u{2028}') { b"\\u2028" } else { b"\\u2029" };
            output.extend_from_slice(name);
            valid = &separator['\u{2028}'.len_utf8()..];
        }
        output.extend_from_slice(valid.as_bytes());
        for _ in chunk.invalid() {
            output.extend_from_slice(b"\\ufffd");
        }
    }
}

/// All that stands between the text of an entry and its time.
pub(crate) fn tail(stream: &str, attributes: &BTreeMap<String, String>) -> Vec<u8> {
    let mut tail = format!("\",\"stream\":\"{stream}\"").into_bytes();
    if !attributes.is_empty() {
        tail.extend_from_slice(b",\"attrs\":{");
        for (index, (key, value)) in attributes.iter().enumerate() {
            tail.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
            escape(key.as_bytes(), &mut tail);
            tail.extend_from_slice(b"\":\"");
            escape(value.as_bytes(), &mut tail);
            tail.push(b'"');
        }
        tail.push(b'}');
    }
    tail.extend_from_slice(b",\"time\":\"");
    tail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn escape(bytes: &[u8]) -> String {
        let mut output = Vec::new();
        super::escape(bytes, &mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn escapes_as_docker_does() {
        assert_eq!(escape(b"a\"b\\c\td\re<&>\x7f"), "a\\\"b\\\\c\\u0009d\\re\\u003c\\u0026\\u003e\x7f");
        assert_eq!(escape("ä\u{2028}x\u{2029}€".as_bytes()), "ä\\u2028x\\u2029€");
        assert_eq!(escape(b"\xffa\xe2\x82z"), "\\ufffda\\ufffd\\ufffdz");
    }

    proptest! {
        #[test]
        fn is_json_of_the_same_text(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let text: String = serde_json::from_str(&format!("\"{}\"", escape(&bytes))).unwrap();
            let mut expected = String::new();
            for chunk in bytes.utf8_chunks() {
                expected.push_str(chunk.valid());
                expected.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
            }
            prop_assert_eq!(text, expected);
        }
    }
}
