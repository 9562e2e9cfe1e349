//! Feeds `supervisor::fuzz::protocol`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| supervisor::fuzz::protocol(bytes));
