//! Packets that the kernel drops before any program reads them: its counters are the only sign of a wrong password or
//! TTL.
//!
//! The counters are those of the whole network namespace, so a drop belongs to any of its connections; it is reported
//! only if it fits the peer's configuration.

use std::fs;
use std::io;

use crate::fsm::Dropped;
use crate::transport::{Authentication, Reach, Transport};

/// Segments dropped so far, from `/proc/net/netstat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Drops {
    md5_missing: u64,
    md5_unexpected: u64,
    md5_wrong: u64,
    ao: u64,
    low_ttl: u64,
}

impl Drops {
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/net/netstat")?))
    }

    /// Pairs of lines, names above numbers; a counter that this kernel lacks is always 0.
    fn parse(text: &str) -> Self {
        let mut drops = Self::default();
        let lines: Vec<&str> = text.lines().collect();
        for [names, numbers] in lines.as_chunks::<2>().0 {
            for (name, number) in names.split(' ').zip(numbers.split(' ')) {
                let Ok(number) = number.parse::<u64>() else { continue };
                match name {
                    "TCPMD5NotFound" => drops.md5_missing = number,
                    "TCPMD5Unexpected" => drops.md5_unexpected = number,
                    "TCPMD5Failure" => drops.md5_wrong = number,
                    "TCPAOBad" | "TCPAOKeyNotFound" | "TCPAORequired" => drops.ao += number,
                    "TCPMinTTLDrop" => drops.low_ttl = number,
                    _ => {}
                }
            }
        }
        drops
    }

    /// The drops since `earlier` that can have come from a peer with this transport.
    pub(super) fn since(&self, earlier: &Self, transport: &Transport) -> Option<Dropped> {
        let moved = |counter: fn(&Self) -> u64| counter(self) > counter(earlier);
        let (md5, ao) = match &transport.authentication {
            None => (false, false),
            Some(Authentication::Md5(_)) => (true, false),
            Some(Authentication::Ao(_)) => (false, true),
        };
        if md5 && moved(|drops| drops.md5_wrong) {
            Some(Dropped::WrongMd5)
        } else if md5 && moved(|drops| drops.md5_missing) {
            Some(Dropped::MissingMd5)
        } else if ao && moved(|drops| drops.ao) {
            Some(Dropped::Ao)
        } else if transport.authentication.is_none() && moved(|drops| drops.md5_unexpected) {
            Some(Dropped::UnexpectedMd5)
        } else if matches!(transport.reach, Reach::TtlSecurity(_)) && moved(|drops| drops.low_ttl) {
            Some(Dropped::LowTtl)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU8;

    use super::*;
    use crate::secret::Secret;
    use crate::transport::PeerAddress;

    const NETSTAT: &str = "TcpExt: SyncookiesSent TCPMD5NotFound TCPMD5Unexpected TCPMD5Failure TCPMinTTLDrop\n\
                           TcpExt: 9 1 2 3 4\nIpExt: InNoRoutes InMcastPkts\nIpExt: 5 6\n";

    #[test]
    fn counters_are_found_by_their_names() {
        let drops = Drops { md5_missing: 1, md5_unexpected: 2, md5_wrong: 3, ao: 0, low_ttl: 4 };
        assert_eq!(Drops::parse(NETSTAT), drops);
        assert_eq!(Drops::parse(""), Drops::default());
    }

    #[test]
    fn a_cause_is_told_where_it_fits_the_peer() {
        let plain = Transport::from(PeerAddress { remote: "10.0.0.1:179".parse().unwrap(), source: None });
        let secret = Secret::new(b"x").unwrap();
        let signed = Transport { authentication: Some(Authentication::Md5(secret)), ..plain.clone() };
        let near = Transport { reach: Reach::TtlSecurity(NonZeroU8::MIN), ..plain.clone() };
        let (before, after) = (Drops::default(), Drops::parse(NETSTAT));
        let told = |drops: Drops, transport| drops.since(&before, transport);
        assert_eq!(told(after, &signed), Some(Dropped::WrongMd5));
        assert_eq!(told(after, &plain), Some(Dropped::UnexpectedMd5));
        let low = Drops { low_ttl: 1, ..before };
        assert_eq!(told(low, &near), Some(Dropped::LowTtl));
        assert_eq!(told(low, &plain), None);
        assert_eq!(after.since(&after, &signed), None);
    }
}
