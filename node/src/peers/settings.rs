//! The settings of a peer for the BGP crate.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use vipcast_bgp::transport::{PeerAddress, Transport};
use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{GracefulRestart, HoldTime, PeerConfig};

use crate::model::Peer;

/// Its address and socket options; `None`: its router was not heard yet.
pub fn transport(peer: &Peer) -> Option<Transport> {
    Some(Transport {
        segment_size: peer.tcp_mss,
        address: PeerAddress {
            remote: SocketAddr::new(peer.address.ip()?, peer.port),
            source: peer.source_address,
        },
        interface: peer.interface.clone(),
        reach: peer.reach,
        authentication: peer.authentication.clone(),
        // Longer than the Send Hold Timer, which has a better reason (RFC 9687: twice the hold time here).
        user_timeout: (peer.hold_time != HoldTime::NONE)
            .then(|| peer.hold_time.duration() * 2 + Duration::from_secs(1)),
    })
}

/// The settings of its session.
pub(super) fn bgp_config(
    peer: &Peer,
    router_id: Ipv4Addr,
    restarted: Option<BTreeSet<Family>>,
    seed: u64,
) -> PeerConfig {
    PeerConfig {
        hold_time: peer.hold_time,
        connect_retry: peer.connect_retry,
        mode: peer.mode,
        families: peer.families.clone(),
        next_hops: peer.next_hop,
        med: peer.med,
        extended_next_hop: peer.extended_next_hop,
        graceful_restart: peer.graceful_restart.map(|graceful| GracefulRestart {
            restart_time: graceful.restart_time,
            notification: graceful.notification,
            restarted,
        }),
        role: peer.role,
        require_role: peer.require_role,
        seed,
        any_external: peer.peer_as.is_none(),
        awaits_bfd: peer.bfd.is_some_and(|bfd| bfd.strict),
        ..PeerConfig::new(peer.local_as, peer.peer_as.unwrap_or(Asn(0)), router_id)
    }
}
