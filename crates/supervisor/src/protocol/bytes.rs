//! Bytes in JSON.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes that are written as hexadecimal digits in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(self.0.len() * 2);
        for byte in &self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Hexadecimal;
        impl serde::de::Visitor<'_> for Hexadecimal {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an even number of hexadecimal digits")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
                let (pairs, rest) = text.as_bytes().as_chunks::<2>();
                if !rest.is_empty() {
                    return Err(E::invalid_length(text.len(), &self));
                }
                pairs
                    .iter()
                    .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
                    .collect::<Option<Vec<u8>>>()
                    .map(Bytes)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Hexadecimal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Bytes;

    proptest! {
        #[test]
        fn come_back(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let json = serde_json::to_string(&Bytes(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap().0, bytes);
        }

        #[test]
        fn refuse_what_is_not_hexadecimal(text in "[0-9a-z]{0,9}") {
            let good = text.len() % 2 == 0 && text.bytes().all(|c| c.is_ascii_hexdigit());
            let json = format!("\"{text}\"");
            prop_assert_eq!(serde_json::from_str::<Bytes>(&json).is_ok(), good);
        }
    }
}
