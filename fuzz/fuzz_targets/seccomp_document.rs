//! Feeds `runtime::fuzz::seccomp_document`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| runtime::fuzz::seccomp_document(bytes));
