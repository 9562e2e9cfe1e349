//! Names and identities of networks, endpoints and links.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::address::serde_by_text;

/// The text is not sixty-four lower-case hex digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid identity: {text}")]
pub struct IdError {
    /// What was given.
    pub text: String,
}

macro_rules! identity {
    ($(#[$doc:meta])+ $name:ident) => {
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Draws a new one from the kernel's random numbers.
            ///
            /// # Errors
            /// What `getrandom` answers.
            pub fn random() -> std::io::Result<Self> {
                let mut bytes = [0; 32];
                let mut filled = 0;
                while filled < bytes.len() {
                    filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
                }
                Ok(Self(bytes))
            }

            /// The first twelve hex digits, as lists show them.
            #[must_use]
            pub fn short(&self) -> String {
                self.to_string().chars().take(12).collect()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bad = || IdError { text: text.to_owned() };
                if text.len() != 64 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(bad());
                }
                let mut bytes = [0; 32];
                for (index, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| bad())?;
                }
                Ok(Self(bytes))
            }
        }

        serde_by_text!($name);
    };
}

identity! {
    /// Sixty-four hex digits that name one network for life. Source: Docker Engine API, `Network.Id`.
    NetworkId
}
identity! {
    /// Sixty-four hex digits that name one attachment. Source: Docker Engine API, `EndpointSettings.EndpointID`.
    EndpointId
}

/// The name of a network interface: 1 to 15 bytes without `/`, `:` and spaces.
///
/// Source: Linux, `dev_valid_name` in net/core/dev.c.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkName(String);

/// The text cannot name a network interface.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid interface name: {text}")]
pub struct LinkNameError {
    /// What was given.
    pub text: String,
}

impl LinkName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LinkName {
    type Err = LinkNameError;

    fn from_str(text: &str) -> Result<Self, LinkNameError> {
        let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
        if fits && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b':') {
            Ok(Self(text.to_owned()))
        } else {
            Err(LinkNameError { text: text.to_owned() })
        }
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_by_text!(LinkName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_random_and_round_trip() {
        let id = NetworkId::random().unwrap();
        assert_ne!(id, NetworkId::random().unwrap());
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short().len(), 12);
        assert!("é".repeat(32).parse::<NetworkId>().is_err());
    }

    #[test]
    fn interface_names_have_bounds() {
        assert!("teu0".parse::<LinkName>().is_ok());
        for text in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-letters!"] {
            assert!(text.parse::<LinkName>().is_err(), "{text}");
        }
    }
}
