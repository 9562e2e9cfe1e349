//! What must hold for bytes of strangers; the fuzzer and the tests below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::{Launch, Message, Request, codec};

/// A message of the protocol that can be read is written as something that reads as the same.
pub fn protocol(bytes: &[u8]) {
    same_again::<Request>(bytes);
    same_again::<Message>(bytes);
    same_again::<Launch>(bytes);
}

fn same_again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    if let Ok(message) = codec::decode::<T>(bytes, &mut Vec::new()) {
        let again = serde_json::to_vec(&message).ok().and_then(|text| codec::decode(&text, &mut Vec::new()).ok());
        assert_eq!(Some(message), again);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::protocol::{Command, Launch, Request};

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::protocol(&bytes);
        }

        #[test]
        fn nearly_messages(at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4), cut in 0..4_usize) {
            let request = Request { sequence: 7, command: Command::SignalExec { exec_id: "x".into(), signal: 9 } };
            for text in [serde_json::to_vec(&request).unwrap(), serde_json::to_vec(&Launch::default()).unwrap()] {
                let at = at.index(text.len());
                let mut text = text;
                text.splice(at..(at + cut).min(text.len()), bytes.clone());
                super::protocol(&text);
            }
        }
    }
}
