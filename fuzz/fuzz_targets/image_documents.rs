//! Feeds `image::fuzz::documents`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (&[u8], &[u8], Vec<Vec<u8>>)| image::fuzz::documents(input.0, input.1, &input.2));
