//! Feeds `image::fuzz::whiteout`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::fuzz::whiteout(bytes));
