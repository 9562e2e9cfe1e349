//! Feeds `compose::fuzz::interpolation`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compose::fuzz::interpolation(bytes));
