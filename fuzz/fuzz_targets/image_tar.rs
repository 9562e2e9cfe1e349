//! Feeds `image::fuzz::tar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::fuzz::tar(bytes));
