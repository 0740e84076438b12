//! Notices in words.

use vipcast_bgp::ArrivalLimit;
use vipcast_node::notice::Notice;

use super::told::{Told, told};
use crate::exporters;

/// Tells a notice of a port.
pub(super) fn tell(notice: &Notice) -> Told {
    match notice {
        Notice::Observing { socket } => {
            let socket = socket.display().to_string();
            told!(info Notice: socket, "only observing: nothing is bound or announced, and no session is opened")
        }
        Notice::Speaker(notice) => tell_speaker(notice),
        Notice::Deaf { address, error, hint } => {
            told!(warn Notice: %address, %error, hint, "cannot listen for peers yet; trying again, and dialling meanwhile")
        }
        Notice::NoIdentity { towards, error } => {
            told!(warn Notice: towards = towards.map(|towards| towards.to_string()), %error, hint = "or write `router_id` in the configuration",
                "our router id is not known yet: waiting for the address towards the first peer")
        }
        Notice::LinkUnheard { interface, error } => {
            told!(warn Notice:
                interface,
                error,
                hint = "raw sockets need CAP_NET_RAW",
                "cannot look for the router on this link; trying again"
            )
        }
        Notice::BfdStarted { priority } => told!(info Notice: %priority, "BFD started"),
        Notice::BfdNotStarted { error } => told!(error Notice: %error, "cannot start BFD"),
        Notice::BfdHangs => told!(warn Notice: "BFD did not end in time"),
        Notice::AddressesUnlisted => {
            told!(warn Notice: "the kernel is slow to list the host's addresses: no VIP is bound until then")
        }
        Notice::CheckPanicked { check, error } => {
            told!(error Notice: %check, %error, "the check panicked and begins anew")
        }
        Notice::OverrideForgotten { what, error } => {
            told!(warn Notice: what, error, "a saved override is unreadable and is dropped")
        }
        Notice::OtherDaemons(daemons) => {
            told!(warn Notice: hint = exporters::HINT, "{}", exporters::running_in_words(daemons))
        }
        Notice::AnnouncedElsewhere { vip, peer, next_hop } => {
            told!(warn Notice: hint = exporters::HINT, "{}", exporters::announced_in_words(*vip, peer, *next_hop))
        }
    }
}

fn tell_speaker(notice: &vipcast_bgp::Notice) -> Told {
    use vipcast_bgp::Notice as N;
    match notice {
        N::Listens { address } => told!(info Notice: %address, "listening for peers"),
        N::NotAccepted { error } => told!(warn Notice: %error, "cannot accept a BGP connection"),
        N::Stranger { ip } => {
            told!(info Notice: %ip, "connection from an address that is no peer's, closed; said once an hour")
        }
        N::KeyNotSet { peer, listener, cause } => {
            told!(warn Notice: %peer, %listener, cause, "connections from this peer are refused")
        }
        N::ShutOut { from, left_out } => {
            told!(debug Notice: %from, left_out, "connection closed: the key of this peer is not set")
        }
        N::NotSetUp { from, cause, left_out } => {
            told!(warn Notice: %from, cause, left_out, "connection closed: its socket cannot be set up")
        }
        N::Unheard { peer, dropped } => {
            told!(warn Notice: %peer, cause = dropped.to_string(), "no session with this peer")
        }
        N::NotLimited { listener, limit, error } => {
            let address = listener;
            match limit {
                ArrivalLimit::SegmentSize => {
                    told!(debug Notice: %address, %error, "cannot set the segment size")
                }
                ArrivalLimit::LowestTtl => {
                    told!(debug Notice: %address, %error, "cannot set the lowest TTL to accept")
                }
            }
        }
        N::HostUnknown { error } => told!(warn Notice: %error, "cannot watch the host's addresses"),
        N::HostUnheard { error } => {
            told!(warn Notice: %error, "cannot hear of the host's addresses; trying again")
        }
        N::HostMissed => {
            told!(debug Notice: "changes of the host's addresses were lost; asking for all of them")
        }
    }
}
