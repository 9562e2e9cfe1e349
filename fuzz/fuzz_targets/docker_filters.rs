//! Feeds `docker_api::fuzz::filters`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| docker_api::fuzz::filters(bytes));
