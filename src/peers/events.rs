//! What happens to a session: said in the log, but not too often, and passed on as far as it concerns the engine.

use tracing::{debug, info, warn};
use vipcast_bgp::net::PeerId;
use vipcast_bgp::net::clock;
use vipcast_bgp::{Offer, PeerEvent, PrefixMap};
use vipcast_node::engine::Event;

use super::Peers;

/// Different failures of one peer that are remembered.
pub(super) const COMPLAINTS: usize = 8;

/// What is said of a peer, as far as it may be said too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Established,
    Down,
    Failed,
    Stalled,
}

impl Peers {
    /// Logs an event of a session, and tells what of it concerns the engine.
    pub fn event(&mut self, id: PeerId, event: PeerEvent) -> Vec<Event> {
        let found = self.running.iter_mut().find(|(_, running)| running.handle.id() == id);
        let Some((name, running)) = found else { return Vec::new() };
        let Some(address) = running.peer.address.ip() else { return Vec::new() };
        let mut ask = |kind| self.limiter.ask((name.clone(), kind), clock::now());
        match event {
            PeerEvent::Established(session) => {
                running.complained.clear();
                running.withheld = PrefixMap::new();
                let families: Vec<String> = session.families.iter().map(ToString::to_string).collect();
                let status = running.handle.status();
                if let Some(left_out) = ask(Kind::Established) {
                    let reduced = reduced_offer(status.offer);
                    info!(peer = %name, %address, peer_as = %session.peer_as, hold_time = session.hold_time,
                        families = families.join(","), reduced, left_out = some(left_out), "session established");
                    if let Some(ends) = status.endpoints.filter(|ends| ends.local_is_service) {
                        warn!(peer = %name, local = %ends.local.ip(), hint = "set `source_address`, and the router's neighbor to it",
                            "our end of the session is a VIP: the session ends when the VIP leaves this host");
                    }
                }
                vec![Event::PeerUp(name.clone())]
            }
            PeerEvent::Down { reason, was_established } => {
                let status = running.handle.status();
                // What an earlier failure has told is better than a guess at this one.
                let earlier = status.telling.as_ref().filter(|(telling, _)| *telling != reason);
                let hint = if earlier.is_none() { running.hint(&reason, &status) } else { None };
                let earlier = earlier.map(|(telling, _)| telling.to_string());
                let kind = if was_established { Kind::Down } else { Kind::Failed };
                if !was_established && running.complained.contains(&reason) {
                    debug!(peer = %name, %address, reason = reason.to_string(), "still no session");
                } else if let Some(left_out) = ask(kind) {
                    let (reason, left_out) = (reason.to_string(), some(left_out));
                    if was_established {
                        warn!(peer = %name, %address, reason, hint, left_out, "session down");
                    } else {
                        warn!(peer = %name, %address, reason, earlier, hint, left_out, "no session");
                    }
                }
                if !running.complained.contains(&reason) {
                    running.complained.truncate(COMPLAINTS - 1);
                    running.complained.push_front(reason);
                }
                if was_established { vec![Event::PeerDown(name.clone())] } else { Vec::new() }
            }
            // Not asked for.
            PeerEvent::Update(_) => Vec::new(),
            PeerEvent::Synced(version) => {
                debug!(peer = %name, version = version.0, "everything wanted was handed to the kernel");
                Vec::new()
            }
            PeerEvent::Acknowledged(version) => {
                debug!(peer = %name, version = version.0, "everything wanted was acknowledged");
                let withheld = running.handle.status().withheld;
                let mut events = Vec::new();
                if running.withheld != withheld {
                    running.withheld = withheld.clone();
                    events.push(Event::PeerWithholds(name.clone(), withheld));
                }
                events.push(Event::PeerSynced(name.clone(), version));
                events
            }
            PeerEvent::Stalled(stall) => {
                if let Some(left_out) = ask(Kind::Stalled) {
                    warn!(peer = %name, %address, left_out = some(left_out), "{stall}");
                }
                Vec::new()
            }
        }
    }
}

/// What a peer that has refused more is offered; `None`: everything.
pub fn reduced_offer(offer: Offer) -> Option<&'static str> {
    match offer {
        Offer::Full => None,
        Offer::Required => {
            Some("it refused our capabilities: only address families and four-octet AS numbers are offered")
        }
        Offer::Nothing => Some("it refused capabilities: none is offered, so the session is IPv4 alone"),
    }
}

/// A count that is worth a field.
fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}
