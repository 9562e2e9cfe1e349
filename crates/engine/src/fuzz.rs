//! What must hold for texts of strangers; the fuzzer and the tests below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::spec::{Bind, VolumeFrom};

/// A mount that can be read is written into a record as a text that reads as the same mount.
pub fn mounts(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        same_again::<Bind>(text);
        same_again::<VolumeFrom>(text);
    }
}

fn same_again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let again = read.to_string().parse::<T>().ok();
        assert_eq!(Some(read), again, "{text:?}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text(text in "\\PC{0,40}") {
            super::mounts(text.as_bytes());
        }

        #[test]
        fn nearly_mounts(text in "(/|[a-z]{0,3}|\\.{1,2}|:|ro|rw|z|nocopy|rshared|idmap|idmap=|[0-9]{1,3}|,){0,12}") {
            super::mounts(text.as_bytes());
        }
    }
}
