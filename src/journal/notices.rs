//! Lines about what ports have noticed.

use tracing::{debug, info, warn};
use vipcast_bgp::ArrivalLimit;
use vipcast_node::notice::Notice;

/// Writes what a port has noticed.
pub(super) fn write(notice: &Notice) {
    match notice {
        Notice::Speaker(notice) => write_speaker(notice),
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
