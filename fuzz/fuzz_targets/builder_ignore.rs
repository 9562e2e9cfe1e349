//! Feeds `builder::fuzz::ignore`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| builder::fuzz::ignore(bytes));
