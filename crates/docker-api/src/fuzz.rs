//! What must hold for bytes of strangers; the fuzzer and the tests below feed these.
//!
//! # Panics
//! Each of them, if a promise is broken.

use crate::filters::Filters;
use crate::stream::read_frame;

/// Frames end, and hold no more than the stream did.
pub fn frames(bytes: &[u8]) {
    let (mut rest, mut buffer, mut held) = (bytes, Vec::new(), 0);
    while let Ok(Some(_)) = read_frame(&mut rest, &mut buffer) {
        held += 8 + buffer.len();
    }
    assert!(held <= bytes.len());
}

/// Filters that can be read are written as something that reads as the same.
pub fn filters(bytes: &[u8]) {
    if let Some(filters) = std::str::from_utf8(bytes).ok().and_then(|text| Filters::parse(text).ok()) {
        assert_eq!(Filters::parse(&filters.to_json()).ok(), Some(filters));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            super::frames(&bytes);
            super::filters(&bytes);
        }

        #[test]
        fn nearly_frames(frames in prop::collection::vec((0..6_u8, 0..40_u8, 0..40_usize), 0..8)) {
            let bytes: Vec<u8> = frames
                .iter()
                .flat_map(|(kind, size, held)| [*kind, 0, 0, 0, 0, 0, 0, *size].into_iter().chain(std::iter::repeat_n(0, *held)))
                .collect();
            super::frames(&bytes);
        }

        #[test]
        fn nearly_filters(text in r#"\{("[a-z]{0,3}":(\["[a-z]{0,3}"\]|\{"[a-z]{0,3}":(true|false|1)\}|null|7),?){0,3}\}"#) {
            super::filters(text.as_bytes());
        }
    }
}
