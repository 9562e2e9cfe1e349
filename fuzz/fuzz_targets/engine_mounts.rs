//! Feeds `engine::fuzz::mounts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| engine::fuzz::mounts(bytes));
