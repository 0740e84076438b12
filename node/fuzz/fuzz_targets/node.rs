#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vipcast_node_fuzz::node(data));
