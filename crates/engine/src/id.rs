//! Ids and names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Sixty-four lower-case hexadecimal digits that name one container for life.
///
/// **Source:** Docker Engine API, `ContainerCreateResponse.Id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId([u8; 32]);

/// Sixty-four lower-case hexadecimal digits that name one exec.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExecId([u8; 32]);

/// Text that is not an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id")]
pub struct ParseIdError(pub String);

fn parse(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Fills bytes from the kernel's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        // getrandom(2) fails only before the pool is ready; then it waits, so this ends.
        let rest = bytes.get_mut(filled..).unwrap_or_default();
        filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// Makes a new one by chance.
            pub(crate) fn random() -> Self {
                loop {
                    let id = Self(random());
                    // A short id of digits alone could be taken for a number, as in a host name.
                    if id.short().parse::<u64>().is_err() {
                        return id;
                    }
                }
            }

            /// The first 12 digits.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string().chars().take(12).collect()
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse(text).map(Self).ok_or_else(|| ParseIdError(text.to_owned()))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl TryFrom<String> for $name {
            type Error = ParseIdError;
            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}
id!(ContainerId);
id!(ExecId);

/// A container's name, without the slash that lists show before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// A name with signs that are not allowed; the text is Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
pub struct ParseNameError(pub String);

impl FromStr for ContainerName {
    type Err = ParseNameError;
    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let name = text.strip_prefix('/').unwrap_or(text);
        let mut signs = name.chars();
        let first = signs.next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if first && (2..=255).contains(&name.len()) && signs.all(rest) {
            Ok(Self(name.to_owned()))
        } else {
            Err(ParseNameError(text.to_owned()))
        }
    }
}

impl ContainerName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ContainerName {
    type Error = ParseNameError;
    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_survive_their_text() {
        let id = ContainerId::random();
        assert_eq!(id.to_string().len(), 64);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("ab".parse::<ContainerId>().is_err());
        assert!("G".repeat(64).parse::<ContainerId>().is_err());
        assert_eq!(id.short().len(), 12);
    }

    #[test]
    fn names_are_checked() {
        for name in ["ab", "/web-1.x_y", "0a"] {
            assert!(name.parse::<ContainerName>().is_ok(), "{name}");
        }
        for name in ["", "a", "/", "-ab", "a b", "ä1", "a/b"] {
            assert!(name.parse::<ContainerName>().is_err(), "{name}");
        }
    }
}
