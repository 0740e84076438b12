//! From a connection to a session: dialling and accepting, OPEN, collisions, KEEPALIVE (RFC 4271 §6.8, §8.2.2).

use std::sync::Arc;

use super::connection::{Connection, Phase, Side, confirm_until, next_keepalive};
use super::negotiation::{Offer, negotiate, our_open};
use super::status::{HeardOpen, State};
use super::{ConnId, Output, Peer, PeerConfig, PeerEvent, Session, collision};
use crate::adj_rib_in::{AdjRibIn, Ingress};
use crate::adj_rib_out::{AdjRibOut, Egress};
use crate::endpoints::Endpoints;
use crate::next_hop::SessionNextHops;
use crate::time::Instant;
use crate::wire::iana::notification::cease;
use crate::wire::{Capability, Message, Notification, Open};

impl Peer {
    /// Dials, unless our connection is under way or the peer's is close to Established.
    pub(super) fn retry(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.connections.iter().any(|c| c.side == Side::Ours || c.state() >= State::OpenConfirm) {
            self.retry_at = Some(now + self.jitter.percent(self.config.connect_retry, 75, 125));
            return;
        }
        self.retry_at = None;
        let conn = self.allocate();
        let phase = Phase::dialling(now);
        self.connections.push(Connection::new(conn, Side::Ours, phase, None, self.config.peering()));
        out.push(Output::Dial(conn));
    }

    pub(super) fn dialled(
        &mut self,
        conn: ConnId,
        endpoints: Endpoints,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let offer = self.offer_at(now);
        let open = Message::Open(our_open(&self.config, offer, self.restarted.as_ref()));
        let Some(connection) = self.connection(conn) else {
            out.push(Output::Close(conn));
            return;
        };
        if connection.state() != State::Connect {
            return;
        }
        connection.endpoints = Some(endpoints);
        connection.phase = Phase::open_sent(now);
        connection.offered = offer;
        let _fits = connection.send(&open, now, out);
    }

    pub(super) fn accepted(
        &mut self,
        conn: ConnId,
        endpoints: Endpoints,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        let mut connection = Connection::new(
            conn,
            Side::Theirs,
            Phase::open_sent(now),
            Some(endpoints),
            self.config.peering(),
        );
        let refused = self.refuse_until.is_some_and(|until| now < until);
        let earlier = self.connections.iter().find(|c| c.side == Side::Theirs).map(|c| (c.id, c.state()));
        let subcode = if !self.running || !self.config.mode.accepts() || refused || self.held_back {
            Some(cease::CONNECTION_REJECTED)
        } else if self.established().is_some() || earlier.is_some_and(|(_, state)| state > State::OpenSent) {
            // RFC 4271 §6.8: an established session, or one close to it, wins over a new connection.
            Some(cease::CONNECTION_COLLISION)
        } else {
            None
        };
        if let Some(subcode) = subcode {
            connection.notify(Notification::cease(subcode, ""), now, out);
            out.push(Output::Close(conn));
            return;
        }
        if let Some((silent, _)) = earlier {
            // The peer has started again; its earlier connection never delivered an OPEN.
            self.collide(silent, now, out);
        }
        connection.offered = self.offer_at(now);
        let open = our_open(&self.config, connection.offered, self.restarted.as_ref());
        let _fits = connection.send(&Message::Open(open), now, out);
        self.connections.push(connection);
    }

    pub(super) fn opened(&mut self, conn: ConnId, open: &Open, now: Instant, out: &mut Vec<Output>) {
        let role = open.capabilities.iter().find_map(|capability| match capability {
            Capability::Role(role) => Some(*role),
            Capability::Multiprotocol(_)
            | Capability::RouteRefresh
            | Capability::EnhancedRouteRefresh
            | Capability::ExtendedNextHop(_)
            | Capability::GracefulRestart { .. }
            | Capability::FourOctetAs(_)
            | Capability::Unknown { .. } => None,
        });
        let Open { asn, router_id, hold_time, .. } = *open;
        self.seen.open = Some(HeardOpen { asn, router_id, hold_time, role });
        let Some(offered) = self.connection(conn).map(|connection| connection.offered) else { return };
        let session = match negotiate(&self.config, offered, open) {
            Ok(session) => session,
            Err(notification) => return self.refuse(conn, notification, now, out),
        };
        let sibling = self.connections.iter().find(|c| c.id != conn && c.state() >= State::OpenConfirm);
        if let Some(sibling) = sibling {
            let ours = (self.config.router_id, self.config.local_as);
            let winner = collision::survivor(ours, (session.peer_router_id, session.peer_as));
            let sibling_wins = sibling.state() == State::Established || sibling.side == winner;
            let loser = if sibling_wins { conn } else { sibling.id };
            self.collide(loser, now, out);
            if sibling_wins {
                return;
            }
        }
        let hold_until = confirm_until(&session, now);
        let mut jitter = self.jitter.clone();
        let keepalive_at = next_keepalive(&session, now, &mut jitter);
        if let Some(connection) = self.connection(conn) {
            connection.phase = Phase::OpenConfirm { session, hold_until, keepalive_at };
            connection.keepalive(now, &mut jitter, out);
        }
        self.jitter = jitter;
    }

    pub(super) fn establish(&mut self, conn: ConnId, now: Instant, out: &mut Vec<Output>) {
        let (config, wanted, extent) = (self.config.clone(), self.wanted.clone(), self.extent);
        let watched = Arc::clone(&self.watched);
        let Some(connection) = self.connection(conn) else { return };
        let Phase::OpenConfirm { session, keepalive_at, .. } = &connection.phase else { return };
        let endpoints = connection.endpoints.as_ref();
        let rib = Box::new(AdjRibOut::new(egress(session, &config, endpoints)));
        let ingress = ingress(session, &config, endpoints);
        let heard = Box::new(AdjRibIn::new(ingress, watched));
        let (session, keepalive_at) = (session.clone(), *keepalive_at);
        out.push(Output::Event(PeerEvent::Established(session.clone())));
        connection.phase =
            Phase::Established { session, rib, heard, since: now, hold_until: None, keepalive_at };
        connection.want(&wanted, extent);
        connection.peer_is_alive(now);
        (self.reported, self.acknowledged) = (None, None);
        self.telling = None;
        self.seen.late = None;
        self.counters.established += 1;
        self.retry_at = None;
        self.refuse_until = None;
        // A remaining sibling has delivered no OPEN, or the collision would have been resolved. It loses to an
        // established session. If its host has died meanwhile it would stay for minutes.
        if let Some(sibling) = self.connections.iter().find(|c| c.id != conn).map(|c| c.id) {
            self.collide(sibling, now, out);
        }
    }

    /// The offer now: full again long after a refusal, because routers are changed and upgraded.
    fn offer_at(&mut self, now: Instant) -> Offer {
        if self.offer_again_at.take_if(|at| *at <= now).is_some() {
            self.offer = Offer::Full;
        }
        self.offer
    }
}

/// The parameters of a session for sent routes.
pub(super) fn egress(session: &Session, config: &PeerConfig, endpoints: Option<&Endpoints>) -> Egress {
    let resolve = |ends| SessionNextHops::resolve(ends, config.next_hops, session.extended_next_hop);
    Egress {
        families: session.families.clone(),
        context: session.context(config.peering()),
        local_as: config.local_as,
        next_hops: endpoints.map(resolve).unwrap_or_default(),
        role: config.role,
        med: config.med,
        export: config.export,
    }
}

/// The parameters of a session for received routes.
pub(super) fn ingress(session: &Session, config: &PeerConfig, endpoints: Option<&Endpoints>) -> Ingress {
    Ingress {
        families: session.families.clone(),
        context: session.context(config.peering()),
        local_as: config.local_as,
        peer_as: session.peer_as,
        router_id: config.router_id,
        extended_next_hop: session.extended_next_hop,
        role: config.role,
        addresses: endpoints.map(|ends| ends.ours(config.next_hops)).unwrap_or_default(),
    }
}
