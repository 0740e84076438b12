//! vipcast-bgp
