//! Feeds `image::fuzz::tar_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| image::fuzz::tar_index(bytes));
