#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| leadline_ehr::fuzz::run("er7", bytes));
