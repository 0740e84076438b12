//! The addresses that can belong to a host, and so be a next hop (RFC 4271 §6.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the address can belong to one host, judged by its range.
///
/// | | not a host's |
/// | --- | --- |
/// | IPv4 | 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4, 255.255.255.255 |
/// | IPv6 | `::`, `::1`, ff00::/8, ::ffff:0:0/96 (v4-mapped) |
///
/// The rest of 240.0.0.0/4 is in use inside some networks and passes.
#[must_use]
pub fn is_host(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_ipv4_host(v4),
        IpAddr::V6(v6) => is_ipv6_host(v6),
    }
}

fn is_ipv4_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && !address.is_loopback() && !address.is_multicast() && !address.is_broadcast()
}

fn is_ipv6_host(address: Ipv6Addr) -> bool {
    let nowhere = address.is_unspecified() || address.is_loopback();
    !nowhere && !address.is_multicast() && address.to_ipv4_mapped().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_host_can_have_is_told_from_one_that_a_host_can_have() {
        let hosts = [
            "10.0.0.1",
            "1.0.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.254.0.1",
            "223.255.255.255",
            "240.0.0.1",
            "255.255.255.254",
            "2001:db8::1",
            "fe80::1",
            "fd00::1",
            "::2",
            "::10.0.0.1",
            "64:ff9b::1",
        ];
        let none = [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "::1",
            "ff02::1",
            "ff00::",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
        ];
        for address in hosts {
            assert!(is_host(address.parse().unwrap()), "{address} is a host's");
        }
        for address in none {
            assert!(!is_host(address.parse().unwrap()), "{address} is no host's");
        }
    }
}
