//! The connection that survives a collision (RFC 4271 §6.8, RFC 6286 §2.3).

use std::net::Ipv4Addr;

use super::connection::Side;
use crate::wire::Asn;

/// The connection of the speaker with the higher identifier survives; with equal identifiers, which are valid only
/// between two ASes, that of the higher ASN. Both speakers reach the same result.
pub(super) fn survivor(ours: (Ipv4Addr, Asn), theirs: (Ipv4Addr, Asn)) -> Side {
    if ours > theirs { Side::Ours } else { Side::Theirs }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_speakers_choose_the_same_connection() {
        let cases = [
            (([10, 0, 0, 2], 65001), ([10, 0, 0, 1], 65002), Side::Ours),
            (([10, 0, 0, 1], 65002), ([10, 0, 0, 2], 65001), Side::Theirs),
            (([10, 0, 0, 1], 65002), ([10, 0, 0, 1], 65001), Side::Ours),
            (([192, 0, 0, 1], 65001), ([10, 0, 0, 1], 65001), Side::Ours),
        ];
        for ((our_id, our_as), (their_id, their_as), want) in cases {
            let ours = (Ipv4Addr::from(our_id), Asn(our_as));
            let theirs = (Ipv4Addr::from(their_id), Asn(their_as));
            assert_eq!(survivor(ours, theirs), want, "{ours:?} against {theirs:?}");
            assert_ne!(survivor(theirs, ours), want, "the peer would keep the other connection");
        }
    }
}
