#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| branchline_fuzz::targets::frame_tail(data));
