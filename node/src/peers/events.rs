//! Events of a peer: recorded, and passed on to the engine if they concern it.

use vipcast_bgp::{Offer, PeerEvent, PeerStatus, PrefixMap};

use super::Peers;
use crate::effect::PeerId;
use crate::engine::Event;
use crate::outbox::Outbox;
use crate::record::{OfSession, What};

impl Peers {
    /// Records an event of a peer, and returns the events for the engine. `status` is the peer's status after the
    /// event.
    pub(crate) fn happened(
        &mut self,
        id: PeerId,
        event: PeerEvent,
        status: PeerStatus,
        out: &mut Outbox,
    ) -> Vec<Event> {
        let found = self.running.iter_mut().find(|(_, running)| running.id == id);
        let Some((name, running)) = found else { return Vec::new() };
        let Some(address) = running.peer.address.ip() else { return Vec::new() };
        let peer = name.clone();
        let session = |what| What::Session { peer: name.clone(), address, what };
        match event {
            PeerEvent::Established(up) => {
                running.withheld = PrefixMap::new();
                out.tell(session(OfSession::Up {
                    peer_as: up.peer_as,
                    hold_time: up.hold_time,
                    families: up.families.clone(),
                    offer: status.offer,
                }));
                if let Some(ends) = status.endpoints.filter(|ends| ends.local_is_service) {
                    out.tell(session(OfSession::FromService(ends.local.ip())));
                }
                running.session = Some(up);
                vec![Event::PeerUp(peer)]
            }
            PeerEvent::Down { reason, was_established } => {
                // An earlier telling failure is better than a guess at this one.
                let earlier = status.telling.as_ref().filter(|(telling, _)| *telling != reason);
                let hint = if earlier.is_none() { running.hint(&reason, &status) } else { None };
                if was_established {
                    running.session = None;
                    out.tell(session(OfSession::Down { reason, hint }));
                    return vec![Event::PeerDown(peer)];
                }
                let earlier = earlier.map(|(telling, _)| telling.clone());
                out.tell(session(OfSession::Failed { reason, earlier, hint }));
                Vec::new()
            }
            // Not requested.
            PeerEvent::Update(_) => Vec::new(),
            PeerEvent::Synced(version) => {
                out.tell(What::HandedOver { peer, version });
                Vec::new()
            }
            PeerEvent::Acknowledged(version) => {
                out.tell(What::Acknowledged { peer: peer.clone(), version });
                let mut events = Vec::new();
                if running.withheld != status.withheld {
                    running.withheld = status.withheld.clone();
                    events.push(Event::PeerWithholds(peer.clone(), status.withheld));
                }
                events.push(Event::PeerSynced(peer, version));
                events
            }
            PeerEvent::Stalled(stall) => {
                out.tell(session(OfSession::Stalled(stall)));
                Vec::new()
            }
        }
    }
}

/// The reduced offer to a peer, in words; `None`: everything is offered.
pub fn reduced_offer(offer: Offer) -> Option<&'static str> {
    match offer {
        Offer::Full => None,
        Offer::Required => Some(
            "the router refused our capabilities: only address families and four-octet AS numbers are offered",
        ),
        Offer::Nothing => {
            Some("the router refused capabilities: none is offered, so the session is IPv4 only")
        }
    }
}
