//! Feeds `cli::fuzz::mount`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cli::fuzz::mount(bytes));
