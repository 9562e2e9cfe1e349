//! Feeds `oci::fuzz::image_reference`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oci::fuzz::image_reference(bytes));
