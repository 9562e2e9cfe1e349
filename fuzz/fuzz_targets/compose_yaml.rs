//! Feeds `compose::fuzz::yaml`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compose::fuzz::yaml(bytes));
