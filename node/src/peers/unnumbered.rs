//! Peers that are known by their link: the choice of the router on each link.
//!
//! ```text
//!  first one heard ─► the router ── another one is heard, and it ... ──► the other one
//!                                    has been silent for SILENCE,
//!                                    or has had no session for TRIAL (PROVEN after an earlier session)
//! ```
//!
//! A link has one router. The router stays the same while its session is up, even if others advertise themselves. Any
//! host on a link can send an advertisement, so the first one heard may be wrong: a router without a session gives way
//! to another one, and each one heard has one turn before any has a second.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::time::Duration;

use vipcast_bgp::Instant;

use crate::effect::Effect;
use crate::frozen::{Error, past, peers as frozen};
use crate::model::{Peer, RouterAddress};
use crate::names::PeerName;
use crate::outbox::Outbox;
use crate::record::What;

/// A router that was silent for three of its intervals gives way to another one.
const SILENCE: Duration = Duration::from_secs(30);
/// The time for a router's first session while another one advertises itself: enough for some attempts.
const TRIAL: Duration = Duration::from_secs(30);
/// The same after its last session: the router may be rebooting, which takes minutes.
const PROVEN: Duration = Duration::from_secs(300);

/// The routers on the links of unnumbered peers.
#[derive(Debug, Clone, Default)]
pub(super) struct Unnumbered {
    /// By interface.
    links: BTreeMap<String, Link>,
}

#[derive(Debug, Clone)]
struct Link {
    /// The begin of the wait for its router.
    since: Instant,
    router: Option<Router>,
    /// Routers that had their turn without a session.
    tried: BTreeSet<Ipv6Addr>,
    /// Other routers that were warned of.
    warned: BTreeSet<Ipv6Addr>,
}

#[derive(Debug, Clone, Copy)]
struct Router {
    address: Ipv6Addr,
    heard_at: Instant,
    chosen_at: Instant,
    /// When its session was last up.
    stood_at: Option<Instant>,
}

/// The most other routers that are remembered on one link.
const OTHERS: usize = 16;

impl Unnumbered {
    /// Listens for routers on exactly the links of these peers.
    pub(super) fn set(&mut self, peers: &BTreeMap<PeerName, Peer>, now: Instant, out: &mut Outbox) {
        let on_links = peers.values().filter(|peer| is_on_link(peer));
        let links: BTreeSet<String> = on_links.filter_map(|peer| peer.interface.clone()).collect();
        if !links.iter().eq(self.links.keys()) {
            out.push(Effect::ListenForRouters(links.clone()));
        }
        self.follow(&links, now);
    }

    fn follow(&mut self, links: &BTreeSet<String>, now: Instant) {
        self.links.retain(|interface, _| links.contains(interface));
        for interface in links {
            self.links.entry(interface.clone()).or_insert_with(|| Link::new(now));
        }
    }

    pub(super) fn freeze(&self) -> BTreeMap<String, frozen::Link> {
        let one = |Link { since, router, tried, warned }: &Link| frozen::Link {
            since: *since,
            router: router.map(|Router { address, heard_at, chosen_at, stood_at }| frozen::Router {
                address,
                heard_at,
                chosen_at,
                stood_at,
            }),
            tried: tried.clone(),
            warned: warned.clone(),
        };
        self.links.iter().map(|(interface, link)| (interface.clone(), one(link))).collect()
    }

    /// After a hand-over: what was known of the links.
    pub(super) fn resume(
        &mut self,
        before: &BTreeMap<String, frozen::Link>,
        now: Instant,
    ) -> Result<(), Error> {
        let past = |at| past(at, now, "links");
        for (interface, frozen::Link { since, router, tried, warned }) in before {
            let Some(link) = self.links.get_mut(interface) else { continue };
            let router = match router {
                Some(frozen::Router { address, heard_at, chosen_at, stood_at }) => Some(Router {
                    address: *address,
                    heard_at: past(*heard_at)?,
                    chosen_at: past(*chosen_at)?,
                    stood_at: stood_at.map(past).transpose()?,
                }),
                None => None,
            };
            *link = Link { since: past(*since)?, router, tried: tried.clone(), warned: warned.clone() };
        }
        Ok(())
    }

    /// Fills in the known routers of these peers.
    pub(super) fn fill_in(&self, peers: &mut BTreeMap<PeerName, Peer>) {
        for peer in peers.values_mut().filter(|peer| is_on_link(peer)) {
            let link = peer.interface.as_ref().and_then(|interface| self.links.get(interface));
            peer.address = RouterAddress::OnLink(link.and_then(|link| Some(link.router?.address)));
        }
    }

    /// Takes an advertisement; `stands`: the session with the known router is up. Returns whether the router has
    /// changed.
    pub(super) fn heard(
        &mut self,
        interface: &str,
        router: Ipv6Addr,
        stands: bool,
        now: Instant,
        out: &mut Outbox,
    ) -> bool {
        // A link that a reload has just removed.
        let Some(link) = self.links.get_mut(interface) else { return false };
        link.heard(interface, router, stands, now, out)
    }

    /// The begin of the wait for the router of a link.
    pub(super) fn since(&self, interface: &str) -> Option<Instant> {
        self.links.get(interface).map(|link| link.since)
    }
}

impl Link {
    fn new(now: Instant) -> Self {
        Self { since: now, router: None, tried: BTreeSet::new(), warned: BTreeSet::new() }
    }

    fn heard(
        &mut self,
        interface: &str,
        address: Ipv6Addr,
        stands: bool,
        now: Instant,
        out: &mut Outbox,
    ) -> bool {
        if let Some(known) = &mut self.router {
            if stands {
                known.stood_at = Some(now);
                self.tried.clear();
            }
            if known.address == address {
                known.heard_at = now;
                return false;
            }
            let known = *known;
            let silent = !stands && now.saturating_duration_since(known.heard_at) >= SILENCE;
            if !silent && !self.gives_way(&known, address, now) {
                if self.warned.len() < OTHERS && self.warned.insert(address) {
                    out.tell(What::SecondRouter {
                        interface: interface.to_owned(),
                        router: known.address,
                        other: address,
                    });
                }
                return false;
            }
            if !silent {
                out.tell(What::RouterGivesWay {
                    interface: interface.to_owned(),
                    router: known.address,
                    other: address,
                });
            }
            if self.tried.contains(&address) || self.tried.len() >= OTHERS {
                // Each has had its turn.
                self.tried.clear();
            }
            self.tried.insert(known.address);
        }
        out.tell(What::RouterFound { interface: interface.to_owned(), router: address });
        self.router = Some(Router { address, heard_at: now, chosen_at: now, stood_at: None });
        true
    }

    /// Whether the router gives way to `other`. A router that had its turn waits until every other had one.
    fn gives_way(&self, known: &Router, other: Ipv6Addr, now: Instant) -> bool {
        let time = if known.stood_at.is_some() { PROVEN } else { TRIAL };
        let again = if self.tried.contains(&other) { SILENCE } else { Duration::ZERO };
        now.saturating_duration_since(known.stood_at.unwrap_or(known.chosen_at)) >= time + again
    }
}

fn is_on_link(peer: &Peer) -> bool {
    matches!(peer.address, RouterAddress::OnLink(_))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::now::Now;

    fn outbox() -> Outbox {
        Outbox::new(Now { mono: Instant::BOOT, wall: Timestamp::UNIX_EPOCH }, 1)
    }

    fn address(last: u16) -> Ipv6Addr {
        Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last)
    }

    /// Seconds, router, whether a session stands; whether it is another one now.
    fn play(steps: &[(u64, u16, bool, bool)]) {
        let start = Instant::BOOT;
        let mut link = Link::new(start);
        for (seconds, router, stands, want) in steps {
            let now = start + Duration::from_secs(*seconds);
            let other = link.heard("eth0", address(*router), *stands, now, &mut outbox());
            assert_eq!(other, *want, "{router} after {seconds} s");
        }
    }

    #[test]
    fn the_router_of_a_link_stays_it_while_its_session_stands_and_until_it_is_silent() {
        play(&[
            (0, 1, false, true),
            (1, 2, false, false),
            (10, 1, true, false),
            (39, 2, true, false),
            (41, 2, false, true),
            (42, 1, false, false),
        ]);
    }

    #[test]
    fn a_router_with_which_no_session_comes_up_gives_way_to_another_one_that_advertises_itself() {
        // A rogue is heard first, and goes on.
        play(&[
            (0, 9, false, true),
            (5, 1, false, false),
            (25, 9, false, false),
            (30, 1, false, true),
            (31, 9, true, false),
            (3000, 9, true, false),
            // The session is lost, and the router is there: it may start anew.
            (3099, 1, false, false),
            (3100, 9, false, false),
            (3290, 1, false, false),
            (3299, 9, false, false),
            (3300, 9, false, true),
        ]);
    }

    #[test]
    fn each_router_of_a_link_has_its_turn_before_any_has_another() {
        // Two rogues, of which one is heard far more often.
        play(&[
            (0, 8, false, true),
            (30, 9, false, true),
            (50, 9, false, false),
            (59, 8, false, false),
            (60, 8, false, false),
            (61, 1, false, true),
            (90, 1, false, false),
            (92, 8, false, false),
            (93, 9, false, false),
            // No other is left.
            (110, 1, false, false),
            (121, 8, false, true),
        ]);
    }

    #[test]
    fn a_reload_does_not_begin_the_wait_for_a_router_anew() {
        let mut unnumbered = Unnumbered::default();
        let start = Instant::BOOT;
        let links = BTreeSet::from(["eth0".to_owned()]);
        unnumbered.follow(&links, start);
        unnumbered.follow(&links, start + SILENCE);
        assert_eq!(unnumbered.since("eth0"), Some(start));
        unnumbered.follow(&BTreeSet::new(), start + SILENCE);
        assert_eq!(unnumbered.since("eth0"), None);
    }
}
