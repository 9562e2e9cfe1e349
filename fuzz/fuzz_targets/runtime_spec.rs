//! Feeds `oci::fuzz::runtime_spec`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oci::fuzz::runtime_spec(bytes));
