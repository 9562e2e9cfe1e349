//! Feeds `builder::fuzz::words`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| builder::fuzz::words(bytes));
