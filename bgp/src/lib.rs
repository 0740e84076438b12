//! vipcast-bgp

pub mod wire;
