//! Echo requests and their answers (RFC 792, RFC 4443 §4), and ICMP errors. Pure.

use std::net::IpAddr;

/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
/// At the beginning of the data: no other sender's packets have it.
pub(super) const TOKEN: usize = 8;

/// The two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// What all packets of one probe have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Echo {
    pub(super) version: Version,
    /// Sockets of datagrams have another one that the kernel chose, and hear of answers to that alone.
    pub(super) id: u16,
    pub(super) token: [u8; TOKEN],
}

/// An ICMP error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IcmpError {
    pub(super) version: Version,
    pub(super) icmp_type: u8,
    pub(super) code: u8,
    pub(super) from: Option<IpAddr>,
}

impl Version {
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    fn request(self) -> u8 {
        match self {
            Self::V4 => 8,
            Self::V6 => 128,
        }
    }

    fn reply(self) -> u8 {
        match self {
            Self::V4 => 0,
            Self::V6 => 129,
        }
    }
}

impl Echo {
    /// A request with `size` bytes of data, at least [`TOKEN`].
    pub(super) fn request(&self, sequence: u16, size: u16) -> Vec<u8> {
        let mut packet = vec![self.version.request(), 0, 0, 0];
        packet.extend(self.id.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend(self.token);
        packet.resize(HEADER + usize::from(size).max(TOKEN), b'v');
        // Over IPv6 it covers addresses as well, and the kernel fills it in (RFC 3542 §3.1).
        if self.version == Version::V4 {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    /// The sequence number that a packet answers; `None` when it is not an answer to us. Over IPv4 a raw socket gives the
    /// header of IP as well.
    pub(super) fn answered(&self, packet: &[u8], with_ip_header: bool) -> Option<u16> {
        let packet = if with_ip_header { packet.get(ip_header(packet)?..)? } else { packet };
        let ours = *packet.first()? == self.version.reply()
            && *packet.get(1)? == 0
            && packet.get(HEADER..HEADER + TOKEN)? == self.token;
        if !ours {
            return None;
        }
        Some(u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]))
    }

    /// Whether an error is about one of our requests, of which at least the header is quoted.
    pub(super) fn is_about_us(&self, quoted: &[u8]) -> bool {
        quoted.first() == Some(&self.version.request()) && quoted.get(4..6) == Some(&self.id.to_be_bytes())
    }
}

/// The length of an IPv4 header.
fn ip_header(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    (first >> 4 == 4).then_some(usize::from(first & 0x0f) * 4)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()])));
    let mut sum: u32 = words.sum();
    while let carry @ 1.. = sum >> 16 {
        sum = (sum & 0xffff) + carry;
    }
    !u16::try_from(sum).unwrap_or_default()
}

impl IcmpError {
    /// `host unreachable, says 192.0.2.254`.
    pub(super) fn in_words(&self) -> String {
        // RFC 792 and RFC 1812 §5.2.7.1; RFC 4443 §3.
        let what = match (self.version, self.icmp_type, self.code) {
            (Version::V4, 3, 0) => "network unreachable",
            (Version::V4, 3, 1) => "host unreachable",
            (Version::V4, 3, 2) => "protocol unreachable",
            (Version::V6, 1, 0) => "no route",
            (Version::V6, 1, 3) => "address unreachable",
            (Version::V4, 3, 4) | (Version::V6, 2, _) => "packets too large for the way",
            (Version::V4, 3, 9 | 10 | 13) | (Version::V6, 1, 1 | 5 | 6) => "prohibited",
            (Version::V4, 3, _) | (Version::V6, 1, _) => "destination unreachable",
            (Version::V4, 11, _) | (Version::V6, 3, _) => "time exceeded on the way, which may be a loop",
            (Version::V4 | Version::V6, _, _) => "refused",
        };
        match self.from {
            Some(from) => format!("{what}, says {from}"),
            None => what.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: Echo = Echo { version: Version::V4, id: 0x0102, token: *b"abcdefgh" };
    const V6: Echo = Echo { version: Version::V6, ..V4 };

    #[test]
    fn a_request_is_as_the_rfcs_say() {
        assert_eq!(V4.request(3, 8), b"\x08\x00\x65\x65\x01\x02\x00\x03abcdefgh");
        assert_eq!(V6.request(3, 9), b"\x80\x00\x00\x00\x01\x02\x00\x03abcdefghv");
        // What is summed with its checksum makes all ones (RFC 1071 §1).
        assert_eq!(checksum(&V4.request(0xffff, 57)), 0);
    }

    #[test]
    fn only_answers_with_our_token_are_ours() {
        let answer = |echo: &Echo| {
            let mut packet = echo.request(7, 8);
            packet[0] = echo.version.reply();
            packet
        };
        assert_eq!(V4.answered(&answer(&V4), false), Some(7));
        assert_eq!(V6.answered(&answer(&V6), false), Some(7));
        let ip = [&[0x46][..], &[0; 23], &answer(&V4)].concat();
        assert_eq!(V4.answered(&ip, true), Some(7));
        let others = Echo { token: [0; TOKEN], ..V4 };
        assert_eq!(others.answered(&answer(&V4), false), None);
        assert_eq!(V4.answered(&V4.request(7, 8), false), None);
        assert_eq!(V4.answered(&answer(&V4)[..15], false), None);
    }

    #[test]
    fn errors_about_others_are_not_ours() {
        assert!(V4.is_about_us(&V4.request(1, 56)) && V4.is_about_us(&V4.request(1, 56)[..8]));
        assert!(!V4.is_about_us(&Echo { id: 1, ..V4 }.request(1, 56)));
        assert!(!V4.is_about_us(b""));
    }

    #[test]
    fn refusals_are_told_in_words() {
        let refusal = |version, icmp_type, code| {
            IcmpError { version, icmp_type, code, from: Some("192.0.2.254".parse().unwrap()) }.in_words()
        };
        assert_eq!(refusal(Version::V4, 3, 1), "host unreachable, says 192.0.2.254");
        assert_eq!(refusal(Version::V4, 3, 13), "prohibited, says 192.0.2.254");
        assert_eq!(refusal(Version::V6, 1, 3), "address unreachable, says 192.0.2.254");
        assert_eq!(
            refusal(Version::V6, 3, 0),
            "time exceeded on the way, which may be a loop, says 192.0.2.254"
        );
        let alone = IcmpError { version: Version::V6, icmp_type: 1, code: 0, from: None };
        assert_eq!(alone.in_words(), "no route");
    }

    proptest! {
        #[test]
        fn no_packet_makes_us_panic(packet: Vec<u8>, with_ip_header: bool) {
            V4.answered(&packet, with_ip_header);
            V6.answered(&packet, with_ip_header);
            V4.is_about_us(&packet);
            checksum(&packet);
        }
    }
}
