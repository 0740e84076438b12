#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vipcast_vrrp_fuzz::packet(data));
