#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vipcast_bgp_fuzz::frozen(data));
