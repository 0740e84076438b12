//! Peers that are known by their link: which router each of them is.
//!
//! A link has one router. The first one heard is it, and stays it for as long as its session stands or it goes on
//! advertising itself; another one on the same link is warned of, and takes its place when it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use vipcast_bgp::host::Host;

use crate::config::model::{Peer, RouterAddress};
use crate::discovery::{Discovery, Heard};
use crate::names::PeerName;

/// A router that was not heard for three of its intervals has given way to another one.
const SILENCE: Duration = Duration::from_secs(30);

/// The routers on the links that have such peers.
#[derive(Debug)]
pub(super) struct Unnumbered {
    discovery: Discovery,
    /// By interface.
    routers: BTreeMap<String, Router>,
    since: Instant,
}

#[derive(Debug)]
struct Router {
    address: Ipv6Addr,
    heard_at: Instant,
    /// Others on its link that were warned of.
    others: BTreeSet<Ipv6Addr>,
}

/// Others on one link that are remembered.
const OTHERS: usize = 16;

impl Unnumbered {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<Heard>) {
        let (discovery, heard) = Discovery::new();
        (Self { discovery, routers: BTreeMap::new(), since: Instant::now() }, heard)
    }

    /// Listens on the links of these peers, and fills in what is known of their routers.
    pub(super) fn set(
        &mut self,
        peers: &mut BTreeMap<PeerName, Peer>,
        host: &watch::Receiver<Host>,
        now: Instant,
    ) {
        let links: BTreeSet<String> = peers
            .values()
            .filter(|peer| is_on_link(peer))
            .filter_map(|peer| peer.interface.clone())
            .collect();
        self.routers.retain(|interface, _| links.contains(interface));
        self.discovery.set(&links, host);
        self.since = now;
        self.fill_in(peers);
    }

    /// Fills in what is known of the routers of these peers.
    pub(super) fn fill_in(&self, peers: &mut BTreeMap<PeerName, Peer>) {
        for peer in peers.values_mut().filter(|peer| is_on_link(peer)) {
            let router = peer.interface.as_ref().and_then(|interface| self.routers.get(interface));
            peer.address = RouterAddress::OnLink(router.map(|router| router.address));
        }
    }

    /// Takes note of a router; `stands`: the session with the one that is known does. Whether another one is known now.
    pub(super) fn heard(&mut self, Heard { interface, router }: &Heard, stands: bool, now: Instant) -> bool {
        if let Some(known) = self.routers.get_mut(interface) {
            if known.address == *router {
                known.heard_at = now;
                return false;
            }
            if stands || now.saturating_duration_since(known.heard_at) < SILENCE {
                if known.others.len() < OTHERS && known.others.insert(*router) {
                    warn!(interface, router = %known.address, other = %router,
                        hint = "a link with several routers takes a peer with an `address` for each",
                        "a second router advertises itself on this link; the session is with the first");
                }
                return false;
            }
        }
        info!(interface, %router, "router found by its advertisement");
        let found = Router { address: *router, heard_at: now, others: BTreeSet::new() };
        self.routers.insert(interface.clone(), found);
        true
    }

    /// Since when those that were not heard yet are waited for.
    pub(super) fn since(&self) -> Instant {
        self.since
    }
}

fn is_on_link(peer: &Peer) -> bool {
    matches!(peer.address, RouterAddress::OnLink(_))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_router_of_a_link_stays_until_it_is_silent_and_its_session_is_gone() {
        let (mut unnumbered, _heard) = Unnumbered::new();
        let start = Instant::now();
        let steps = [
            // Seconds, router, whether a session stands; whether it is another one now.
            (0, "fe80::1", false, true),
            (1, "fe80::2", false, false),
            (10, "fe80::1", false, false),
            (39, "fe80::2", false, false),
            (41, "fe80::2", true, false),
            (42, "fe80::2", false, true),
            (43, "fe80::1", false, false),
        ];
        for (seconds, router, stands, want) in steps {
            let heard = Heard { interface: "eth0".to_owned(), router: router.parse().unwrap() };
            let now = start + Duration::from_secs(seconds);
            assert_eq!(unnumbered.heard(&heard, stands, now), want, "{router} after {seconds} s");
        }
    }
}
