//! Detach keys: input that lets an attached client go.

use serde::{Deserialize, Serialize};

/// A sequence of input bytes that lets a client go; empty is never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    /// `ctrl-p,ctrl-q`. **Source:** `docker attach`, `--detach-keys`.
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

/// A detach key that cannot be parsed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("Unknown character: '{key}'")]
pub struct ParseDetachKeysError {
    /// The key as it was written.
    pub key: String,
}

impl DetachKeys {
    /// No keys at all.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Parses keys separated by commas: one character, or `ctrl-` with `a`–`z` or one of
    /// `@[\]^_`. **Source:** moby/term, `ToBytes`.
    ///
    /// # Errors
    /// A key that is none of these.
    pub fn parse(text: &str) -> Result<Self, ParseDetachKeysError> {
        let unknown = |key: &str| ParseDetachKeysError { key: key.to_owned() };
        let parse_key = |key: &str| match (key.strip_prefix("ctrl-"), key.as_bytes()) {
            (Some(control), _) => match control.as_bytes() {
                [letter @ b'a'..=b'z'] => Ok(letter - b'a' + 1),
                [b'@'] => Ok(0),
                [sign @ b'['..=b'_'] => Ok(sign - b'@'),
                _ => Err(unknown(key)),
            },
            (None, [byte]) if byte.is_ascii() => Ok(*byte),
            (None, _) => Err(unknown(key)),
        };
        text.split(',').map(parse_key).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::DetachKeys;

    #[test]
    fn parses_what_docker_parses() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q"), Ok(DetachKeys::default()));
        assert_eq!(DetachKeys::parse("a,ctrl-@,ctrl-_").map(|k| k.0), Ok(vec![b'a', 0, 31]));
        assert!(DetachKeys::parse("ctrl-").is_err());
        assert!(DetachKeys::parse("shift-a").is_err());
        assert!(DetachKeys::parse("").is_err());
    }
}
