//! Feeds `compose::fuzz::project`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compose::fuzz::project(bytes));
