//! Log lines of notices.

use tracing::{debug, error, info, warn};
use vipcast_bgp::ArrivalLimit;
use vipcast_node::notice::Notice;

use crate::exporters;

/// Writes a notice of a port.
pub(super) fn write(notice: &Notice) {
    match notice {
        Notice::Speaker(notice) => write_speaker(notice),
        Notice::Deaf { address, error, hint } => {
            warn!(%address, %error, hint, "cannot listen for peers yet; trying again, and dialling meanwhile");
        }
        Notice::NoIdentity { towards, error } => {
            warn!(peer = towards.map(tracing::field::display), %error, hint = "or write `router_id` in the configuration",
                "our router id is not known yet: waiting for the address towards the first peer");
        }
        Notice::LinkUnheard { interface, error } => {
            warn!(
                interface,
                error,
                hint = "raw sockets need CAP_NET_RAW",
                "cannot look for the router on this link; trying again"
            );
        }
        Notice::BfdStarted { priority } => info!(%priority, "BFD started"),
        Notice::BfdNotStarted { error } => error!(%error, "cannot start BFD"),
        Notice::BfdHangs => warn!("BFD did not end in time"),
        Notice::AddressesUnlisted => {
            warn!("the kernel is slow to list the host's addresses: no VIP is bound until then");
        }
        Notice::CheckPanicked { check, error } => {
            error!(%check, %error, "the check panicked and begins anew");
        }
        Notice::DrainForgotten { service, error } => {
            warn!(service, error, "the saved drain of this service is unreadable and is dropped");
        }
        Notice::OtherDaemons(daemons) => {
            warn!(hint = exporters::HINT, "{}", exporters::running_in_words(daemons));
        }
        Notice::AnnouncedElsewhere { vip, peer, next_hop } => {
            warn!(hint = exporters::HINT, "{}", exporters::announced_in_words(*vip, peer, *next_hop));
        }
    }
}

fn write_speaker(notice: &vipcast_bgp::Notice) {
    use vipcast_bgp::Notice as N;
    match notice {
        N::Listens { address } => info!(%address, "listening for peers"),
        N::NotAccepted { error } => warn!(%error, "cannot accept a BGP connection"),
        N::Stranger { ip } => {
            info!(%ip, "connection from an address that is no peer's, closed; said once an hour");
        }
        N::KeyNotSet { peer, listener, cause } => {
            warn!(%peer, %listener, cause, "connections from this peer are refused");
        }
        N::ShutOut { from, left_out } => {
            debug!(%from, left_out, "connection closed: the key of this peer is not set");
        }
        N::NotSetUp { from, cause, left_out } => {
            warn!(%from, cause, left_out, "connection closed: its socket cannot be set up");
        }
        N::Unheard { peer, dropped } => {
            warn!(%peer, cause = dropped.to_string(), "no session with this peer");
        }
        N::NotLimited { listener, limit, error } => {
            let address = listener;
            match limit {
                ArrivalLimit::SegmentSize => debug!(%address, %error, "cannot set the segment size"),
                ArrivalLimit::LowestTtl => debug!(%address, %error, "cannot set the lowest TTL to accept"),
            }
        }
        N::HostUnknown { error } => warn!(%error, "cannot watch the host's addresses"),
        N::HostUnheard { error } => warn!(%error, "cannot hear of the host's addresses; trying again"),
        N::HostMissed => debug!("changes of the host's addresses were lost; asking for all of them"),
    }
}
