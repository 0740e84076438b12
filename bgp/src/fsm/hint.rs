//! Hints for the operator: the thing to look at when there is no session.

use std::time::Duration;

use super::config::PeerConfig;
use super::failure::DialError;
use super::status::DownReason;
use super::{HeardOpen, Stall};
use crate::wire::iana::notification::{self as code, cease, open, update};
use crate::wire::{Capability, Family, Notification, Role};

/// Observations about a peer that explain more than the reason alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// The peer's last OPEN.
    pub open: Option<HeardOpen>,
    /// The lateness of our last KEEPALIVE in the session that ended, because this host or process stood still.
    pub late: Option<Duration>,
    /// The bytes that its TCP did not acknowledge, in the current session or in the one that ended.
    pub stall: Option<Stall>,
}

impl DownReason {
    /// The hint for this reason; `None` if the reason needs none.
    pub fn hint(&self, config: &PeerConfig, seen: &Seen) -> Option<String> {
        self.hint_from_what_was_seen(seen).or_else(|| match self {
            Self::Received(notification) => received(notification, config, seen),
            Self::Sent(notification) => sent(notification, config, seen),
            Self::DialFailed(error) => dial_failed(error),
            Self::Closed(_) => Some(
                "routers close at once when they have no neighbor for our address, or when it is shut down"
                    .to_owned(),
            ),
            Self::SendHoldTimerExpired | Self::LocalAddressGone | Self::BfdDown(_) | Self::Stopped(_) => None,
        })
    }

    /// The hint from observations, which explain a silence better than a guess.
    pub fn hint_from_what_was_seen(&self, seen: &Seen) -> Option<String> {
        let is_silence = match self {
            Self::Received(notification) | Self::Sent(notification) => {
                notification.code == code::HOLD_TIMER_EXPIRED
            }
            Self::Closed(_) | Self::SendHoldTimerExpired => true,
            Self::DialFailed(_) | Self::LocalAddressGone | Self::BfdDown(_) | Self::Stopped(_) => false,
        };
        if !is_silence {
            return None;
        }
        let late = seen.late.map(|late| {
            format!(
                "vipcast stood still: its KEEPALIVE was {:.1} s late; was this host suspended, overloaded or out of memory?",
                late.as_secs_f64()
            )
        });
        late.or_else(|| seen.stall.map(Stall::hint))
    }
}

/// Hints that depend on the transport are in `net::Transport::hint`.
fn dial_failed(error: &DialError) -> Option<String> {
    match error {
        DialError::Refused => Some("is BGP running there, with us as a neighbor?".to_owned()),
        DialError::NoAnswer { .. }
        | DialError::TimedOut { .. }
        | DialError::NoRoute
        | DialError::Reset
        | DialError::NetworkUnreachable
        | DialError::NetworkDown
        | DialError::NoAddress
        | DialError::NoDevice
        | DialError::Interface { .. }
        | DialError::Source { .. }
        | DialError::NoMd5
        | DialError::NoAo
        | DialError::Other(_) => None,
    }
}

/// The hint for the peer's NOTIFICATION. The tests have a table of all known codes, with hint or deliberately without.
fn received(notification: &Notification, config: &PeerConfig, seen: &Seen) -> Option<String> {
    let PeerConfig { local_as, router_id, .. } = config;
    let text = match (notification.code, notification.subcode) {
        (code::OPEN_MESSAGE, open::UNSUPPORTED_VERSION_NUMBER) => {
            "the router speaks another version of BGP than 4: is this the address of a router?".to_owned()
        }
        (code::OPEN_MESSAGE, open::BAD_PEER_AS) => {
            let they = seen.open.as_ref().map(|open| format!("; the router itself is AS {}", open.asn));
            format!(
                "the router's `remote-as` for us is not our local_as {local_as}{}",
                they.unwrap_or_default()
            )
        }
        (code::OPEN_MESSAGE, open::BAD_BGP_IDENTIFIER) => {
            format!("another router uses our router_id {router_id}, or the peer itself does")
        }
        (code::OPEN_MESSAGE, open::UNSUPPORTED_OPTIONAL_PARAMETER) => {
            "the router does not know capabilities (RFC 5492), or misreads them; the next attempts offer none"
                .to_owned()
        }
        (code::OPEN_MESSAGE, open::AUTHENTICATION_FAILURE) => {
            "the router wants BGP's own authentication, which RFC 4271 removed: use TCP MD5 or TCP-AO on both sides"
                .to_owned()
        }
        (code::OPEN_MESSAGE, open::UNACCEPTABLE_HOLD_TIME) => unacceptable_hold_time(config),
        (code::OPEN_MESSAGE, open::UNSUPPORTED_CAPABILITY) => unsupported_capability(notification, config),
        (code::OPEN_MESSAGE, open::GROUPING_CONFLICT) => {
            "some routers send this when there is no common address family: both sides must activate one".to_owned()
        }
        (code::OPEN_MESSAGE, open::GROUPING_REQUIRED) => {
            "the router wants a session for each group of address families (multisession), which vipcast does not have: turn that off there"
                .to_owned()
        }
        (code::OPEN_MESSAGE, open::CAPABILITY_VALUE_MISMATCH) => {
            "the router rejects the value of a capability: compare the address families and the role of both sides"
                .to_owned()
        }
        (code::OPEN_MESSAGE, open::ROLE_MISMATCH) => role_mismatch(config, seen),
        (code::UPDATE_MESSAGE, update::MALFORMED_AS_PATH) => {
            format!("the router rejects our AS path: with `enforce-first-as` our local_as {local_as} must be its `remote-as` for us")
        }
        (code::UPDATE_MESSAGE, update::AS_ROUTING_LOOP) => {
            "the router found its own AS in our path: set `allowas-in` there, or give the nodes AS numbers of their own".to_owned()
        }
        (code::UPDATE_MESSAGE, update::INVALID_NEXT_HOP_ATTRIBUTE) => {
            "the router rejects our next hop: is `next_hop` an address of this host that it can reach?".to_owned()
        }
        (code::CEASE, cease::MAXIMUM_PREFIXES) => {
            "raise the maximum-prefix limit for us on the router".to_owned()
        }
        (code::CEASE, cease::ADMINISTRATIVE_SHUTDOWN) => {
            "the router's operator has shut this session down; only the router can undo it".to_owned()
        }
        (code::CEASE, cease::PEER_DECONFIGURED | cease::CONNECTION_REJECTED) => {
            "the router has no neighbor configured for our address".to_owned()
        }
        (code::CEASE, cease::OUT_OF_RESOURCES) => {
            "the router is short of memory, or of room for neighbors or routes: look at its log".to_owned()
        }
        (code::CEASE, cease::HARD_RESET) => {
            return notification.inside_hard_reset().and_then(|inside| received(&inside, config, seen));
        }
        (code::CEASE, cease::BFD_DOWN) => "the router's BFD session with us is down: see `bfd` in the log of both sides".to_owned(),
        (code::SEND_HOLD_TIMER_EXPIRED, _) => {
            "we read nothing from the router for its send hold time: was this host suspended or overloaded?".to_owned()
        }
        (code::MESSAGE_HEADER | code::UPDATE_MESSAGE | code::FINITE_STATE_MACHINE | code::ROUTE_REFRESH_MESSAGE, _)
        | (code::OPEN_MESSAGE, code::UNSPECIFIC) => {
            "one of the two does not follow the protocol: please report it, with the log of both sides".to_owned()
        }
        // The hold timer belongs to the transport; the other codes explain themselves, or the router comes back.
        (_, _) => return None,
    };
    Some(text)
}

/// The hint for our own NOTIFICATION.
fn sent(notification: &Notification, config: &PeerConfig, seen: &Seen) -> Option<String> {
    let PeerConfig { peer_as, router_id, .. } = config;
    let text = match (notification.code, notification.subcode) {
        (code::OPEN_MESSAGE, open::UNSUPPORTED_VERSION_NUMBER) => {
            "the router speaks another version of BGP than 4: is this the address of a router?".to_owned()
        }
        (code::OPEN_MESSAGE, open::BAD_PEER_AS) => match &seen.open {
            Some(_) if config.any_external => {
                format!(
                    "the router's AS is ours, {}, but `peer_as: external` needs another one",
                    config.local_as
                )
            }
            Some(open) if open.asn != *peer_as => {
                format!("the router is AS {}, not our configured peer_as {peer_as}", open.asn)
            }
            Some(_) | None => format!("the router's AS is not our configured peer_as {peer_as}"),
        },
        (code::OPEN_MESSAGE, open::BAD_BGP_IDENTIFIER) => {
            format!("another router uses our router_id {router_id}, or the peer itself does")
        }
        (code::OPEN_MESSAGE, open::UNACCEPTABLE_HOLD_TIME) => unacceptable_hold_time(config),
        (code::OPEN_MESSAGE, open::UNSUPPORTED_CAPABILITY) => {
            "both sides must activate a common address family".to_owned()
        }
        (code::OPEN_MESSAGE, open::ROLE_MISMATCH) => role_mismatch(config, seen),
        (
            code::MESSAGE_HEADER
            | code::OPEN_MESSAGE
            | code::UPDATE_MESSAGE
            | code::FINITE_STATE_MACHINE
            | code::ROUTE_REFRESH_MESSAGE,
            _,
        ) => "one of the two does not follow the protocol: please report it, with the log of both sides"
            .to_owned(),
        // We ended the session on purpose, or the transport has a better hint.
        (_, _) => return None,
    };
    Some(text)
}

fn unacceptable_hold_time(config: &PeerConfig) -> String {
    format!("the router must accept a hold time of {} s, and offer at least 3 s", config.hold_time.as_secs())
}

/// The data lists the capabilities that the peer misses in our OPEN, or rejects (RFC 5492 §5).
fn unsupported_capability(notification: &Notification, config: &PeerConfig) -> String {
    let named = notification.capabilities();
    let families: Vec<Family> = named.iter().filter_map(family_of).collect();
    if named.is_empty() {
        return "both sides must activate a common address family".to_owned();
    }
    if !families.is_empty() {
        let (theirs, ours) = (listed(&families), listed(&config.families));
        return format!(
            "both sides must activate a common address family: the router names {theirs}, `families` here has {ours}"
        );
    }
    let names = listed(&named);
    let unknown = named.iter().any(|capability| matches!(capability, Capability::Unknown { .. }));
    if unknown {
        format!("the router names {names}, which vipcast does not have: turn off the requirement there")
    } else {
        format!(
            "the router names {names}: turn that on or off there; the next attempts leave out optional capabilities"
        )
    }
}

/// A short list: a peer may name as many items as fit into a message.
fn listed<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 4;
    let mut names: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    names.dedup();
    let more = names.len().saturating_sub(SHOWN);
    names.truncate(SHOWN);
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

fn family_of(capability: &Capability) -> Option<Family> {
    if let Capability::Multiprotocol(family) = capability { Some(*family) } else { None }
}

/// The hint for a Role Mismatch (RFC 9234 §4.2).
fn role_mismatch(config: &PeerConfig, seen: &Seen) -> String {
    let theirs = seen.open.as_ref().and_then(|open| open.role);
    match (theirs, config.role) {
        (Some(theirs), Some(ours)) => {
            format!(
                "the router is `{theirs}`, which does not go with `role: {ours}`: write `role: {}`",
                theirs.counterpart()
            )
        }
        (Some(theirs), None) => {
            format!(
                "the router is `{theirs}` and requires a BGP role (RFC 9234): write `role: {}`",
                theirs.counterpart()
            )
        }
        (None, Some(ours)) => format!(
            "the router does not tell its BGP role (RFC 9234), or does not expect `{ours}`; its role must be `{}`",
            ours.counterpart()
        ),
        (None, None) => format!(
            "the router requires a BGP role (RFC 9234): write `role: {}` if it is your provider",
            Role::Customer
        ),
    }
}
