//! From two OPENs to one session.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use bytes::Bytes;
use serde::Serialize;

use super::config::{HoldTime, PeerConfig};
use crate::wire::{
    AsWidth, Asn, Capability, Family, Notification, Open, Peering, SessionContext,
    iana::notification::{OPEN_MESSAGE, open},
};

/// What both sides agreed on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// The peer's ASN.
    pub peer_as: Asn,
    /// The lower of the two hold times, in seconds.
    pub hold_time: u16,
    /// Families that both sides offered.
    pub families: BTreeSet<Family>,
    /// Whether AS numbers have four octets on this session (RFC 6793).
    pub four_octet_as: bool,
    /// Whether the peer understands ROUTE-REFRESH (RFC 2918); it may send us one either way.
    pub route_refresh: bool,
}

impl Session {
    /// How this session encodes.
    pub fn context(&self, peering: Peering) -> SessionContext {
        let as_width = if self.four_octet_as { AsWidth::Four } else { AsWidth::Two };
        SessionContext { as_width, peering }
    }
}

/// The OPEN that we send.
pub(super) fn our_open(config: &PeerConfig) -> Open {
    let mut capabilities: Vec<Capability> =
        config.families.iter().copied().map(Capability::Multiprotocol).collect();
    capabilities.push(Capability::RouteRefresh);
    capabilities.push(Capability::FourOctetAs(config.local_as));
    Open::new(config.local_as, config.hold_time.as_secs(), config.router_id, capabilities)
}

/// What the peer's OPEN makes of ours, or the NOTIFICATION that refuses it (RFC 4271 §6.2).
pub(super) fn negotiate(config: &PeerConfig, theirs: &Open) -> Result<Session, Notification> {
    if theirs.asn != config.peer_as {
        return Err(refusal(open::BAD_PEER_AS));
    }
    // RFC 6286 §2.2: only inside an AS must identifiers differ.
    if config.peering() == Peering::Internal && theirs.router_id == config.router_id {
        return Err(refusal(open::BAD_BGP_IDENTIFIER));
    }
    // The decoder has refused 1 and 2; 0 would turn off the timers that notice a dead peer.
    let Some(hold_time) = HoldTime::from_secs(theirs.hold_time) else {
        return Err(refusal(open::UNACCEPTABLE_HOLD_TIME));
    };
    let offered = |wanted: &Capability| theirs.capabilities.contains(wanted);
    let mut theirs_families: BTreeSet<Family> = theirs
        .capabilities
        .iter()
        .filter_map(|c| if let Capability::Multiprotocol(family) = c { Some(*family) } else { None })
        .collect();
    if theirs_families.is_empty() {
        // RFC 4760 §8: a speaker without the capability speaks IPv4 unicast.
        theirs_families.insert(Family::IPV4_UNICAST);
    }
    let families: BTreeSet<Family> = config.families.intersection(&theirs_families).copied().collect();
    if families.is_empty() {
        let required: Vec<_> = config.families.iter().copied().map(Capability::Multiprotocol).collect();
        return Err(Notification::unsupported_capability(&required)
            .unwrap_or_else(|_too_many| refusal(open::UNSUPPORTED_CAPABILITY)));
    }
    Ok(Session {
        peer_router_id: theirs.router_id,
        peer_as: theirs.asn,
        hold_time: hold_time.min(config.hold_time).as_secs(),
        families,
        four_octet_as: theirs.capabilities.iter().any(|c| matches!(c, Capability::FourOctetAs(_))),
        route_refresh: offered(&Capability::RouteRefresh),
    })
}

fn refusal(subcode: u8) -> Notification {
    Notification::new(OPEN_MESSAGE, subcode, Bytes::new())
}
