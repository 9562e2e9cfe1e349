//! Feeds `builder::fuzz::dockerfile`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| builder::fuzz::dockerfile(bytes));
