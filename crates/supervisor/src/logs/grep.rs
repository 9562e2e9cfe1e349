//! Finds the entries of a log whose text matches a pattern, on the raw bytes of the files.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::log::json;

/// What stands before the text in an entry of `json-file`.
const JSON_HEAD: &[u8] = b"{\"log\":\"";

/// A pattern to look for.
#[derive(Clone, Debug)]
pub struct Grep {
    regex: Regex,
    /// The pattern itself if it has no special characters, as `json-file` writes it.
    literal: Option<Finder<'static>>,
}

/// Two are the same if their patterns are.
impl PartialEq for Grep {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str()
    }
}

impl Eq for Grep {}

/// A pattern that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("invalid pattern: {0}")]
pub struct PatternError(String);

/// Where the next entry that may match begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// At this byte.
    At(usize),
    /// In none of the whole entries, which end at this byte.
    Nowhere(usize),
}

impl Grep {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn new(pattern: &str) -> Result<Self, PatternError> {
        let regex = Regex::new(pattern).map_err(|error| PatternError(error.to_string()))?;
        let literal = (!pattern.is_empty() && regex_syntax::escape(pattern) == pattern).then(|| {
            let mut escaped = Vec::new();
            json::escape(pattern.as_bytes(), &mut escaped);
            Finder::new(&escaped).into_owned()
        });
        Ok(Self { regex, literal })
    }

    /// Whether a text matches, its newline apart.
    pub(super) fn matches(&self, line: &[u8]) -> bool {
        self.regex.is_match(line.strip_suffix(b"\n").unwrap_or(line))
    }

    /// Skips entries of `json-file` that cannot match; `bytes` begins with an entry.
    pub(super) fn skip_json(&self, bytes: &[u8]) -> Found {
        if let Some(literal) = &self.literal {
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
            return match literal.find(&bytes[..whole]) {
                Some(at) => Found::At(memchr::memrchr(b'\n', &bytes[..at]).map_or(0, |at| at + 1)),
                None => Found::Nowhere(whole),
            };
        }
        let mut start = 0;
        while let Some(length) = memchr::memchr(b'\n', &bytes[start..]) {
            if self.may_match(&bytes[start..start + length]) {
                return Found::At(start);
            }
            start += length + 1;
        }
        Found::Nowhere(start)
    }

    /// A text without escapes stands in the file as it is; any other is decoded first.
    fn may_match(&self, entry: &[u8]) -> bool {
        let Some(text) = entry.strip_prefix(JSON_HEAD) else { return true };
        let end = memchr::memchr2(b'"', b'\\', text).unwrap_or(text.len());
        match text.get(end..) {
            Some([b'"', ..] | [b'\\', b'n', b'"', ..]) => self.regex.is_match(&text[..end]),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Found, Grep};

    const LOG: &[u8] = b"{\"log\":\"one\\n\",\"stream\":\"stdout\",\"time\":\"x\"}\n{\"log\":\"a \\u003cb\\u003e\\n\",\"stream\":\"stdout\",\"time\":\"x\"}\n{\"log\":\"thr";

    fn second() -> usize {
        LOG.iter().position(|byte| *byte == b'\n').unwrap() + 1
    }

    #[test]
    fn entries_that_cannot_match_are_skipped() {
        let whole = LOG.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        assert_eq!(Grep::new("one").unwrap().skip_json(LOG), Found::At(0));
        assert_eq!(Grep::new("<b>").unwrap().skip_json(LOG), Found::At(second()));
        assert_eq!(Grep::new("thr").unwrap().skip_json(LOG), Found::Nowhere(whole));
        assert_eq!(Grep::new("^o.e$").unwrap().skip_json(LOG), Found::At(0));
        // With escapes only the decoded text decides.
        assert_eq!(Grep::new("^x+$").unwrap().skip_json(LOG), Found::At(second()));
        assert!(Grep::new("(").is_err());
    }
}
