//! The PROXY protocol (haproxy.org, proxy-protocol.txt): the header with both addresses of a connection, which a
//! service behind a load balancer expects first. Pure.

use std::net::{IpAddr, SocketAddr};

use crate::check::target::ProxyProtocol;

/// What a connection of version 2 begins with, §2.2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, and the command: a proxied connection, or our own.
const PROXY: u8 = 0x21;
const LOCAL: u8 = 0x20;
/// TCP over each family.
const TCP_V4: u8 = 0x11;
const TCP_V6: u8 = 0x21;

/// The header for a connection between these addresses; without them, as on a unix socket, that of our own connection.
pub(super) fn header(version: ProxyProtocol, ends: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let ends =
        ends.map(|(from, to)| ((from.ip().to_canonical(), from.port()), (to.ip().to_canonical(), to.port())));
    match (version, ends) {
        (ProxyProtocol::V1, Some(((from, from_port), (to, to_port)))) => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {from} {to} {from_port} {to_port}\r\n").into_bytes()
        }
        (ProxyProtocol::V1, None) => b"PROXY UNKNOWN\r\n".to_vec(),
        (ProxyProtocol::V2, Some(((from, from_port), (to, to_port)))) => {
            let mut addresses = Vec::new();
            let family = if from.is_ipv4() { TCP_V4 } else { TCP_V6 };
            for ip in [from, to] {
                match ip {
                    IpAddr::V4(v4) => addresses.extend(v4.octets()),
                    IpAddr::V6(v6) => addresses.extend(v6.octets()),
                }
            }
            for port in [from_port, to_port] {
                addresses.extend(port.to_be_bytes());
            }
            version_2(PROXY, family, &addresses)
        }
        (ProxyProtocol::V2, None) => version_2(LOCAL, 0, &[]),
    }
}

fn version_2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap_or_default().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, addresses].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        let v4 = Some((end("192.0.2.1:56324"), end("198.51.100.1:443")));
        let v6 = Some((end("[2001:db8::1]:1"), end("[2001:db8::2]:443")));
        let mapped = Some((end("[::ffff:192.0.2.1]:56324"), end("[::ffff:198.51.100.1]:443")));
        let text = |ends| String::from_utf8(header(ProxyProtocol::V1, ends)).unwrap();
        assert_eq!(text(v4), "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n");
        assert_eq!(text(mapped), text(v4));
        assert_eq!(text(v6), "PROXY TCP6 2001:db8::1 2001:db8::2 1 443\r\n");
        assert_eq!(text(None), "PROXY UNKNOWN\r\n");
        let begin = [0x0d, 0x0a, 0x0d, 0x0a, 0, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
        let binary = |ends| header(ProxyProtocol::V2, ends);
        let rest = [0x21, 0x11, 0, 12, 192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];
        assert_eq!(binary(v4), [&begin[..], &rest].concat());
        assert_eq!(binary(v6)[12..16], [0x21, 0x21, 0, 36]);
        assert_eq!(binary(v6).len(), 16 + 36);
        assert_eq!(binary(None), [&begin[..], &[0x20, 0, 0, 0]].concat());
    }
}
