//! Feeds `compose::fuzz::dotenv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| compose::fuzz::dotenv(bytes));
