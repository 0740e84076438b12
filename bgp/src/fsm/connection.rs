//! One TCP connection of a peer: its phase, its timers, its bytes.
//!
//! ```text
//!  Dialling ──► OpenSent ──► OpenConfirm ──► Established
//!  (ours only)     ▲
//!  accepted ───────┘
//! ```
//!
//! A connection does not know its sibling; collisions and retries, which need both, are in the parent module.

mod frozen;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

pub(super) use self::frozen::{Around, freeze_families, thaw_families};
use super::delivery::Delivery;
use super::jitter::Jitter;
use super::negotiation::{Offer, Session, negotiate};
use super::{ConnId, Endpoints, Extent, Output, PeerConfig, SendQueue, Stall, State};
use crate::adj_rib_in::{AdjRibIn, Watched};
use crate::adj_rib_out::AdjRibOut;
use crate::next_hop::SessionNextHops;
use crate::route::{NextHops, Routes};
use crate::time::Instant;
use crate::wire::iana::message_type;
use crate::wire::iana::notification::{CEASE, cease};
use crate::wire::{
    AsWidth, DecodeError, EncodeError, Family, HEADER_LEN, Message, Notification, Open, Peering, RefreshKind,
    RouteRefresh, SessionContext, next_frame,
};

/// The time-out of a TCP connect: three SYNs.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The time-out for the OPEN, and for the KEEPALIVE that confirms it (RFC 4271 §8.2.2 suggests 4 minutes).
const OPEN_HOLD: Duration = Duration::from_secs(240);
/// The Send Hold Timer of a session without a hold time (RFC 9687 §4).
const SEND_HOLD: Duration = Duration::from_secs(480);
/// UPDATEs are made only while fewer bytes than this wait for the kernel. One socket buffer's worth keeps the kernel
/// busy; more would only take memory when the peer does not read.
const SEND_WINDOW: usize = 64 * 1024;

/// All ones, at the front of every message.
const MARKER_LEN: usize = 16;

/// The side that opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// We dialled.
    Ours,
    /// We accepted.
    Theirs,
}

#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) side: Side,
    pub(super) phase: Phase,
    pub(super) endpoints: Option<Endpoints>,
    peering: Peering,
    received: BytesMut,
    /// Families that the peer has asked for again (RFC 2918). They are resent after the whole input was read: a peer
    /// that asks a thousand times in one segment causes one walk through our routes.
    refresh: BTreeSet<Family>,
    /// Families being sent again; an EoRR ends each (RFC 7313 §4.1).
    refreshing: BTreeSet<Family>,
    /// Families to ask the peer for again, because more of their prefixes are watched.
    ask: BTreeSet<Family>,
    /// The offer in our OPEN.
    pub(super) offered: Offer,
    /// Bytes given to the driver that the kernel has not taken yet.
    unsent: usize,
    /// The delivery of the bytes given to the driver to the peer's TCP.
    pub(super) delivery: Delivery,
    /// The lateness of the latest KEEPALIVE that the peer may have noticed, and when it was sent.
    late: Option<(Duration, Instant)>,
    /// When the Send Hold Timer expires (RFC 9687).
    send_hold_until: Option<Instant>,
}

#[derive(Debug, Clone)]
pub(super) enum Phase {
    Dialling {
        until: Instant,
    },
    OpenSent {
        until: Instant,
    },
    OpenConfirm {
        session: Session,
        hold_until: Instant,
        keepalive_at: Option<Instant>,
    },
    Established {
        session: Session,
        rib: Box<AdjRibOut>,
        heard: Box<AdjRibIn>,
        since: Instant,
        /// `None`, like the next field: a hold time of zero. Only BFD detects a dead peer.
        hold_until: Option<Instant>,
        keepalive_at: Option<Instant>,
    },
}

impl Phase {
    pub(super) fn dialling(now: Instant) -> Self {
        Self::Dialling { until: now + DIAL_TIMEOUT }
    }

    pub(super) fn open_sent(now: Instant) -> Self {
        Self::OpenSent { until: now + OPEN_HOLD }
    }
}

/// A timer of a connection that ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expired {
    Dial,
    Hold,
    SendHold,
    Keepalive,
    /// Time to look at the peer's TCP acknowledgements.
    Look,
}

impl Connection {
    pub(super) fn new(
        id: ConnId,
        side: Side,
        phase: Phase,
        endpoints: Option<Endpoints>,
        peering: Peering,
    ) -> Self {
        Self {
            id,
            side,
            phase,
            endpoints,
            peering,
            received: BytesMut::new(),
            refresh: BTreeSet::new(),
            refreshing: BTreeSet::new(),
            ask: BTreeSet::new(),
            offered: Offer::default(),
            unsent: 0,
            delivery: Delivery::default(),
            late: None,
            send_hold_until: None,
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Dialling { .. } => State::Connect,
            Phase::OpenSent { .. } => State::OpenSent,
            Phase::OpenConfirm { .. } => State::OpenConfirm,
            Phase::Established { .. } => State::Established,
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } => None,
            Phase::OpenConfirm { session, .. } | Phase::Established { session, .. } => Some(session),
        }
    }

    /// Whether an OPEN repeats the one before it, in OpenConfirm.
    pub(super) fn is_repeated(&self, config: &PeerConfig, open: &Open) -> bool {
        let agreed = negotiate(config, self.offered, open).ok();
        agreed.is_some() && agreed.as_ref() == self.session()
    }

    pub(super) fn rib(&self) -> Option<&AdjRibOut> {
        match &self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } | Phase::OpenConfirm { .. } => None,
            Phase::Established { rib, .. } => Some(rib),
        }
    }

    pub(super) fn rib_mut(&mut self) -> Option<&mut AdjRibOut> {
        match &mut self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } | Phase::OpenConfirm { .. } => None,
            Phase::Established { rib, .. } => Some(rib),
        }
    }

    /// Replaces the desired set, once Established.
    pub(super) fn want(&mut self, routes: &Routes, extent: Extent) {
        let keeps = self.session().is_some_and(|session| session.graceful_restart.is_some());
        if let Some(rib) = self.rib_mut() {
            rib.hold_end_of_rib(keeps && extent == Extent::Partial);
            rib.set(routes);
        }
    }

    /// Replaces the endpoints: routes with a changed next hop are sent again.
    pub(super) fn relocate(&mut self, endpoints: Endpoints, configured: NextHops, wanted: &Routes) {
        if let Phase::Established { session, rib, heard, .. } = &mut self.phase {
            heard.set_addresses(endpoints.ours(configured));
            let next_hops = SessionNextHops::resolve(&endpoints, configured, session.extended_next_hop);
            rib.set_next_hops(next_hops, wanted);
        }
        self.endpoints = Some(endpoints);
    }

    /// The NOTIFICATION that ends this session for good: a Hard Reset if the peer would keep our routes (RFC 8538
    /// §3.1). After a change of our configuration the session comes back, so the routes may stay.
    pub(super) fn last_word(&self, notification: &Notification) -> Notification {
        let keeps = self
            .session()
            .and_then(|session| session.graceful_restart)
            .is_some_and(|keeping| keeping.notification);
        let is_brief =
            (notification.code, notification.subcode) == (CEASE, cease::OTHER_CONFIGURATION_CHANGE);
        let notification = notification.clone();
        if keeps && !is_brief { notification.into_hard_reset() } else { notification }
    }

    pub(super) fn heard(&self) -> Option<&AdjRibIn> {
        match &self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } | Phase::OpenConfirm { .. } => None,
            Phase::Established { heard, .. } => Some(heard),
        }
    }

    pub(super) fn heard_mut(&mut self) -> Option<&mut AdjRibIn> {
        match &mut self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } | Phase::OpenConfirm { .. } => None,
            Phase::Established { heard, .. } => Some(heard),
        }
    }

    fn context(&self) -> SessionContext {
        // Before the OPENs are exchanged no message depends on the width.
        self.session().map_or(SessionContext { as_width: AsWidth::Four, peering: self.peering }, |session| {
            session.context(self.peering)
        })
    }

    pub(super) fn push(&mut self, data: &[u8]) {
        self.received.extend_from_slice(data);
    }

    /// The next whole message of the input.
    pub(super) fn next_message(&mut self) -> Result<Option<Message>, DecodeError> {
        match next_frame(&mut self.received)? {
            Some(frame) => Message::decode(&frame, &self.context()).map(Some),
            None => Ok(None),
        }
    }

    /// The capacity of the input buffer, in octets.
    #[cfg(test)]
    pub(super) fn input_capacity(&self) -> usize {
        self.received.capacity()
    }

    /// Whether the unreadable message at the front of the input is a NOTIFICATION.
    pub(super) fn reads_notification(&self) -> bool {
        self.received.get(HEADER_LEN - 1) == Some(&message_type::NOTIFICATION)
            && self.received.iter().take(MARKER_LEN).all(|octet| *octet == u8::MAX)
    }

    /// Notes that the peer asks for `family` again; ignored for a family that was not negotiated (RFC 2918 §4).
    pub(super) fn note_refresh(&mut self, family: Family) {
        if self.session().is_some_and(|session| session.families.contains(&family)) {
            self.refresh.insert(family);
        }
    }

    /// Watches these prefixes. Earlier paths to new ones were dropped, so the peer is asked to send them again (RFC
    /// 2918 §4). From a peer without route refresh, or without an answer, such a path comes with its next change.
    pub(super) fn watch(&mut self, watched: &Arc<Watched>) {
        let can_be_asked = self.session().is_some_and(|session| session.route_refresh);
        let Some(heard) = self.heard_mut() else { return };
        let new = heard.watch(Arc::clone(watched));
        if can_be_asked {
            self.ask.extend(new);
        }
    }

    /// Sends the route refreshes that are due. They wait while the window is full.
    pub(super) fn ask(&mut self, now: Instant, out: &mut Vec<Output>) {
        while self.unsent < SEND_WINDOW {
            let Some(family) = self.ask.pop_first() else { break };
            let _fits = self.send(&refresh_message(family, RefreshKind::Normal), now, out);
        }
    }

    /// Makes the refreshed families due. This waits while the window is full: a peer that asks and does not read must
    /// not make our memory grow.
    pub(super) fn refresh(&mut self, wanted: &Routes, now: Instant, out: &mut Vec<Output>) {
        let framed = self.session().is_some_and(|session| session.enhanced_route_refresh);
        while self.unsent < SEND_WINDOW {
            let Some(family) = self.refresh.pop_first() else { break };
            if framed && self.refreshing.insert(family) {
                let _fits = self.send(&refresh_message(family, RefreshKind::Begin), now, out);
            }
            if let Some(rib) = self.rib_mut() {
                rib.refresh(family, wanted);
            }
        }
    }

    /// Restarts the hold timer: any valid message proves that the peer lives.
    pub(super) fn peer_is_alive(&mut self, now: Instant) {
        self.delivery.heard(now);
        match &mut self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } => {}
            Phase::OpenConfirm { session, hold_until, .. } => *hold_until = confirm_until(session, now),
            Phase::Established { session, hold_until, .. } => {
                *hold_until = session.hold().map(|hold| now + hold);
            }
        }
    }

    /// # Errors
    /// The message does not fit into 4,096 bytes; nothing was sent.
    pub(super) fn send(
        &mut self,
        message: &Message,
        now: Instant,
        out: &mut Vec<Output>,
    ) -> Result<(), EncodeError> {
        let bytes: Bytes = message.encode(&self.context())?;
        self.unsent += bytes.len();
        self.delivery.gave(bytes.len());
        if self.send_hold_until.is_none() {
            self.send_hold_until = self.send_hold().map(|hold| now + hold);
        }
        out.push(Output::Send { conn: self.id, bytes });
        Ok(())
    }

    pub(super) fn notify(&mut self, notification: Notification, now: Instant, out: &mut Vec<Output>) {
        if matches!(self.phase, Phase::Dialling { .. }) {
            return;
        }
        // Every NOTIFICATION that we make fits; one that did not would leave a plain close, which also ends the session.
        let _fits = self.send(&Message::Notification(notification), now, out);
    }

    /// The lateness of our last KEEPALIVEs, if it may have expired the peer's hold timer: that allows a silence of one
    /// hold time, and we send after a third of it.
    pub(super) fn lateness(&self, now: Instant) -> Option<Duration> {
        let hold = self.session()?.hold()?;
        let overdue = self.keepalive_at().map(|at| now.saturating_duration_since(at));
        let recent = self.late.filter(|(_, at)| now.saturating_duration_since(*at) <= hold);
        let late = overdue.into_iter().chain(recent.map(|(late, _)| late)).max()?;
        (late >= hold / 2).then_some(late)
    }

    fn keepalive_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } => None,
            Phase::OpenConfirm { keepalive_at, .. } | Phase::Established { keepalive_at, .. } => keepalive_at,
        }
    }

    /// Notes that the KEEPALIVE timer has expired, maybe long ago.
    pub(super) fn note_lateness(&mut self, now: Instant) {
        let Some(late) = self.keepalive_at().map(|at| now.saturating_duration_since(at)) else { return };
        let hold = self.session().and_then(Session::hold).unwrap_or_default();
        let recent = self.late.filter(|(_, at)| now.saturating_duration_since(*at) <= hold);
        if recent.is_none_or(|(before, _)| before < late) {
            self.late = Some((late, now));
        }
    }

    /// Sends a KEEPALIVE and sets the time of the next. None is queued behind a full window, where it would prove
    /// nothing.
    pub(super) fn keepalive(&mut self, now: Instant, jitter: &mut Jitter, out: &mut Vec<Output>) {
        if self.unsent < SEND_WINDOW {
            let _fits = self.send(&Message::Keepalive, now, out);
        }
        self.rearm_keepalive(now, jitter);
    }

    fn rearm_keepalive(&mut self, now: Instant, jitter: &mut Jitter) {
        match &mut self.phase {
            Phase::Dialling { .. } | Phase::OpenSent { .. } => {}
            Phase::OpenConfirm { session, keepalive_at, .. }
            | Phase::Established { session, keepalive_at, .. } => {
                *keepalive_at = next_keepalive(session, now, jitter);
            }
        }
    }

    /// Makes UPDATEs until the desired set was sent or the window is full. Returns their number.
    pub(super) fn send_updates(&mut self, now: Instant, jitter: &mut Jitter, out: &mut Vec<Output>) -> u64 {
        let mut count = 0;
        while self.unsent < SEND_WINDOW {
            let Some(update) = self.rib_mut().and_then(AdjRibOut::next_update) else { break };
            // The rib packs to the size that fits.
            if self.send(&Message::Update(update), now, out).is_ok() {
                count += 1;
                let prefixes = self.rib().map_or(0, AdjRibOut::sent_count);
                self.delivery.gave_update(prefixes);
            }
        }
        while self.unsent < SEND_WINDOW && self.rib().is_some_and(AdjRibOut::is_synced) {
            let Some(family) = self.refreshing.pop_first() else { break };
            let _fits = self.send(&refresh_message(family, RefreshKind::End), now, out);
        }
        if count > 0 {
            self.rearm_keepalive(now, jitter);
        }
        count
    }

    /// The kernel took `bytes` of the bytes given to the driver.
    pub(super) fn sent(&mut self, bytes: usize, now: Instant) {
        self.unsent = self.unsent.saturating_sub(bytes);
        self.delivery.taken(now);
        self.send_hold_until = if self.unsent == 0 { None } else { self.send_hold().map(|hold| now + hold) };
    }

    /// The state of the kernel's send queue.
    pub(super) fn queue(&mut self, queue: SendQueue, now: Instant) -> Option<(Stall, bool)> {
        self.delivery.queue(queue, self.unsent, now)
    }

    /// The number of prefixes that the peer's TCP has acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.delivery.acknowledged().unwrap_or_else(|| self.rib().map_or(0, AdjRibOut::sent_count))
    }

    /// Whether the kernel has the whole desired set.
    pub(super) fn is_synced(&self) -> bool {
        self.unsent == 0 && self.rib().is_some_and(AdjRibOut::is_synced)
    }

    /// Twice the hold time, or eight minutes without one: a peer with a running hold timer has closed long before (RFC
    /// 9687 §4).
    fn send_hold(&self) -> Option<Duration> {
        self.session().map(|session| session.hold().map_or(SEND_HOLD, |hold| 2 * hold))
    }

    /// `None` only for a session without a hold time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (hold, keepalive) = match self.phase {
            Phase::Dialling { until } | Phase::OpenSent { until } => (Some(until), None),
            Phase::OpenConfirm { hold_until, keepalive_at, .. } => (Some(hold_until), keepalive_at),
            Phase::Established { hold_until, keepalive_at, .. } => (hold_until, keepalive_at),
        };
        [hold, keepalive, self.send_hold_until, self.delivery.look_at()].into_iter().flatten().min()
    }

    /// The timer that is due, the most severe first.
    pub(super) fn expired(&self, now: Instant) -> Option<Expired> {
        if self.send_hold_until.is_some_and(|until| until <= now) {
            return Some(Expired::SendHold);
        }
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let (hold, keepalive) = match self.phase {
            Phase::Dialling { until } => return (until <= now).then_some(Expired::Dial),
            Phase::OpenSent { until } => (Some(until), None),
            Phase::OpenConfirm { hold_until, keepalive_at, .. } => (Some(hold_until), keepalive_at),
            Phase::Established { hold_until, keepalive_at, .. } => (hold_until, keepalive_at),
        };
        if due(hold) {
            Some(Expired::Hold)
        } else if due(keepalive) {
            Some(Expired::Keepalive)
        } else {
            due(self.delivery.look_at()).then_some(Expired::Look)
        }
    }
}

fn refresh_message(family: Family, kind: RefreshKind) -> Message {
    Message::RouteRefresh(RouteRefresh::new(family, kind))
}

/// A third of the hold time, 75–100 % of it (RFC 4271 §10).
pub(super) fn next_keepalive(session: &Session, now: Instant, jitter: &mut Jitter) -> Option<Instant> {
    session.hold().map(|hold| now + jitter.percent(hold / 3, 75, 100))
}

/// The deadline of the KEEPALIVE that confirms an OPEN.
pub(super) fn confirm_until(session: &Session, now: Instant) -> Instant {
    now + session.hold().unwrap_or(OPEN_HOLD)
}
