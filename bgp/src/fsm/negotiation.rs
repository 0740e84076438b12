//! Negotiation: from two OPENs to the parameters of a session.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::config::{HoldTime, PeerConfig};
use crate::wire::{
    Afi, AsWidth, Asn, Capability, ExtendedNextHop, Family, GracefulRestartFamily, Notification, Open,
    Peering, Role, SessionContext,
    iana::capability as capability_code,
    iana::notification::{OPEN_MESSAGE, open},
};

/// The negotiated parameters of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// The peer's BGP identifier.
    pub peer_router_id: Ipv4Addr,
    /// The peer's ASN.
    pub peer_as: Asn,
    /// The lower of the two hold times, in seconds; 0: none, only BFD detects a dead peer.
    pub hold_time: u16,
    /// Families that both sides offered.
    pub families: BTreeSet<Family>,
    /// Whether AS numbers have four octets on this session (RFC 6793).
    pub four_octet_as: bool,
    /// Whether the peer understands ROUTE-REFRESH (RFC 2918); it may send us one either way.
    pub route_refresh: bool,
    /// Whether answers to ROUTE-REFRESH are framed by BoRR and EoRR (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Whether IPv4 prefixes may have IPv6 next hops (RFC 8950).
    pub extended_next_hop: bool,
    /// The peer's role towards us, if both sides have one (RFC 9234).
    pub peer_role: Option<Role>,
    /// Graceful restart; `None`: the peer drops our routes with the session.
    pub graceful_restart: Option<Keeping>,
}

/// Negotiated graceful restart: the peer keeps our routes when the session is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Keeping {
    /// The restart time that we sent, in seconds.
    pub restart_time: u16,
    /// Whether the peer also keeps them after a NOTIFICATION other than a Hard Reset (RFC 8538 §2).
    pub notification: bool,
}

impl Session {
    /// The hold time (RFC 4271 §4.2); `None`: only BFD detects a dead peer.
    pub fn hold(&self) -> Option<Duration> {
        (self.hold_time > 0).then(|| Duration::from_secs(u64::from(self.hold_time)))
    }

    /// The encoding parameters of this session.
    pub fn context(&self, peering: Peering) -> SessionContext {
        let as_width = if self.four_octet_as { AsWidth::Four } else { AsWidth::Two };
        SessionContext { as_width, peering }
    }
}

/// The capabilities that we offer. After a refusal the next OPEN offers fewer (RFC 5492 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// All capabilities.
    #[default]
    Full,
    /// The required capabilities: the families and four-octet AS numbers.
    Required,
    /// No capability, for a speaker older than RFC 5492.
    Nothing,
}

impl Offer {
    /// The next offer after the peer refused this one with an OPEN Message Error; `None`: the refusal was not about
    /// capabilities.
    pub(super) fn less(self, refusal: &Notification, config: &PeerConfig) -> Option<Self> {
        match (self, refusal.subcode) {
            (Self::Full, open::UNSUPPORTED_CAPABILITY) => {
                // The peer names capabilities that it requires or rejects. A reduced offer helps only with rejected
                // ones.
                let named = refusal.capabilities();
                let required: Vec<u8> =
                    Self::Required.capabilities(config, None).iter().map(Capability::code).collect();
                let optional: Vec<u8> = (self.capabilities(config, None).iter().map(Capability::code))
                    .filter(|code| !required.contains(code))
                    .collect();
                let would_help = named.is_empty() || named.iter().any(|c| optional.contains(&c.code()));
                would_help.then_some(Self::Required)
            }
            (Self::Full | Self::Required, open::UNSUPPORTED_OPTIONAL_PARAMETER) => Some(Self::Nothing),
            // The reduced offer did not help: the next one is full again.
            (Self::Required | Self::Nothing, _) => Some(Self::Full),
            (Self::Full, _) => None,
        }
    }

    /// `restarted` as in [`GracefulRestart`](super::GracefulRestart).
    fn capabilities(self, config: &PeerConfig, restarted: Option<&BTreeSet<Family>>) -> Vec<Capability> {
        let mut capabilities = Vec::new();
        if self == Self::Nothing {
            return capabilities;
        }
        capabilities.extend(config.families.iter().copied().map(Capability::Multiprotocol));
        capabilities.push(Capability::FourOctetAs(config.local_as));
        if let Some(role) = config.role.filter(|_| self == Self::Full || config.require_role) {
            capabilities.push(Capability::Role(role));
        }
        if self == Self::Full {
            capabilities.push(Capability::RouteRefresh);
            capabilities.push(Capability::EnhancedRouteRefresh);
            if config.extended_next_hop && config.families.contains(&Family::IPV4_UNICAST) {
                capabilities.push(Capability::ExtendedNextHop(vec![IPV4_OVER_IPV6]));
            }
            if let Some(graceful_restart) = &config.graceful_restart {
                // Forwarding goes on over a lost session as long as this process lives.
                let forwarding =
                    |family: &Family| restarted.is_none_or(|preserved| preserved.contains(family));
                let family = |family: &Family| GracefulRestartFamily {
                    family: *family,
                    forwarding: forwarding(family),
                };
                capabilities.push(Capability::GracefulRestart {
                    restarting: restarted.is_some(),
                    notification: graceful_restart.notification,
                    restart_time: graceful_restart.restart_time.as_secs(),
                    families: config.families.iter().map(family).collect(),
                });
            }
        }
        capabilities
    }
}

/// RFC 8950 §4.
const IPV4_OVER_IPV6: ExtendedNextHop = ExtendedNextHop { family: Family::IPV4_UNICAST, next_hop: Afi::IPV6 };

/// The OPEN that we send.
pub(super) fn our_open(config: &PeerConfig, offer: Offer, restarted: Option<&BTreeSet<Family>>) -> Open {
    let capabilities = offer.capabilities(config, restarted);
    Open::new(config.local_as, config.hold_time.as_secs(), config.router_id, capabilities)
}

/// The session from both OPENs, or the NOTIFICATION that refuses the peer's (RFC 4271 §6.2).
pub(super) fn negotiate(config: &PeerConfig, offer: Offer, theirs: &Open) -> Result<Session, Notification> {
    let fits = match config.any_external {
        true => theirs.asn != config.local_as,
        false => theirs.asn == config.peer_as,
    };
    if !fits {
        return Err(refusal(open::BAD_PEER_AS));
    }
    // RFC 6286 §2.2: only inside an AS must identifiers differ.
    if config.peering() == Peering::Internal && theirs.router_id == config.router_id {
        return Err(refusal(open::BAD_BGP_IDENTIFIER));
    }
    let ours = offer.capabilities(config, None);
    let peer_role = role_of(config, &ours, &theirs.capabilities)?;
    // The decoder has refused 1 and 2; 0 turns the timers off, and then BFD must detect a dead peer.
    let hold_time = match HoldTime::from_secs(theirs.hold_time) {
        Some(hold_time) => hold_time,
        None if config.hold_time == HoldTime::NONE => HoldTime::NONE,
        None => return Err(refusal(open::UNACCEPTABLE_HOLD_TIME)),
    };
    let both = |wanted: &Capability| ours.contains(wanted) && theirs.capabilities.contains(wanted);
    let mut theirs_families: BTreeSet<Family> = theirs
        .capabilities
        .iter()
        .filter_map(|c| if let Capability::Multiprotocol(family) = c { Some(*family) } else { None })
        .collect();
    if theirs_families.is_empty() {
        // RFC 4760 §8: a speaker without the capability speaks IPv4 unicast.
        theirs_families.insert(Family::IPV4_UNICAST);
    }
    let mut families: BTreeSet<Family> = config.families.intersection(&theirs_families).copied().collect();
    if offer == Offer::Nothing {
        families.retain(|family| *family == Family::IPV4_UNICAST);
    }
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
        four_octet_as: offer != Offer::Nothing && theirs.has_four_octet_as(),
        route_refresh: theirs.capabilities.contains(&Capability::RouteRefresh),
        enhanced_route_refresh: both(&Capability::EnhancedRouteRefresh),
        extended_next_hop: [&ours, &theirs.capabilities].into_iter().all(|c| offers_ipv6_next_hops(c)),
        peer_role,
        graceful_restart: keeping(&ours, &theirs.capabilities),
    })
}

/// The peer's role towards us, if both sides have one, or the refusal of a role that does not match ours (RFC 9234
/// §4.2).
fn role_of(
    config: &PeerConfig,
    ours: &[Capability],
    theirs: &[Capability],
) -> Result<Option<Role>, Notification> {
    let Some(role) = config.role.filter(|role| ours.contains(&Capability::Role(*role))) else {
        return Ok(None);
    };
    // An unassigned value also counts as a role, and matches none.
    let mut told = theirs.iter().filter(|capability| capability.code() == capability_code::ROLE);
    let Some(first) = told.next() else {
        return if config.require_role { Err(refusal(open::ROLE_MISMATCH)) } else { Ok(None) };
    };
    let counterpart = role.counterpart();
    let agrees = |capability: &Capability| *capability == Capability::Role(counterpart);
    if agrees(first) && told.all(agrees) { Ok(Some(counterpart)) } else { Err(refusal(open::ROLE_MISMATCH)) }
}

/// A helper lists no family (RFC 4724 §3), so its capability alone is enough.
fn keeping(ours: &[Capability], theirs: &[Capability]) -> Option<Keeping> {
    let told = |capabilities: &[Capability]| {
        capabilities.iter().find_map(|c| match c {
            Capability::GracefulRestart { restart_time, notification, .. } => {
                Some(Keeping { restart_time: *restart_time, notification: *notification })
            }
            Capability::Multiprotocol(_)
            | Capability::RouteRefresh
            | Capability::EnhancedRouteRefresh
            | Capability::ExtendedNextHop(_)
            | Capability::Role(_)
            | Capability::FourOctetAs(_)
            | Capability::Unknown { .. } => None,
        })
    };
    let (ours, theirs) = (told(ours)?, told(theirs)?);
    Some(Keeping { notification: ours.notification && theirs.notification, ..ours })
}

/// The entry may be one of several.
fn offers_ipv6_next_hops(capabilities: &[Capability]) -> bool {
    capabilities.iter().any(|c| match c {
        Capability::ExtendedNextHop(entries) => entries.contains(&IPV4_OVER_IPV6),
        Capability::Multiprotocol(_)
        | Capability::RouteRefresh
        | Capability::EnhancedRouteRefresh
        | Capability::Role(_)
        | Capability::GracefulRestart { .. }
        | Capability::FourOctetAs(_)
        | Capability::Unknown { .. } => false,
    })
}

fn refusal(subcode: u8) -> Notification {
    Notification::new(OPEN_MESSAGE, subcode, Bytes::new())
}
