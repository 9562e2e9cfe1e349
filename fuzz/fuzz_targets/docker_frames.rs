//! Feeds `docker_api::fuzz::frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| docker_api::fuzz::frames(bytes));
