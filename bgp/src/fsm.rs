//! One peer as a pure state machine: inputs and a clock reading in, outputs and a deadline out.
//!
//! ```text
//!                      ┌──────────────── Peer ─────────────────┐
//!   Start, Stop ──────►│  ours:   Dialling → OpenSent → …      │──► Dial, Send, Close
//!   Advertise, Watch ─►│  theirs:            OpenSent → …      │──► Event (Established, Down, Synced)
//!   Dialled, Received ►│  retry + back-off,  desired routes    │
//!   Sent, Closed, Tick►└───────────────────────────────────────┘──► deadline()
//! ```
//!
//! A peer owns up to two connections, the one that we dialled and the one that we accepted. Every input names its
//! connection by [`ConnId`], never by role: a late event of a closed connection is ignored.
//! The machine has no clock, socket, task or random source; the same inputs at the same times give the same outputs.
//!
//! The driver performs the outputs in their order. When [`Peer::deadline`] passes, it first reads the sockets, then
//! hands in [`Input::Tick`].

mod bfd;
mod collision;
mod config;
mod connection;
mod delivery;
mod ending;
mod failure;
mod frozen;
mod hint;
mod io;
mod jitter;
mod negotiation;
mod opening;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use self::bfd::Liveness;
pub use self::config::{ConnectMode, GracefulRestart, HoldTime, PeerConfig, RestartTime, Tuning};
use self::connection::{Connection, Expired};
pub use self::failure::{CloseReason, DialError, Dropped};
pub use self::hint::Seen;
pub use self::io::{ConnId, Extent, Input, Output, PeerEvent, SendQueue, Version};
use self::jitter::{Backoff, Jitter};
pub use self::negotiation::{Keeping, Offer, Session};
pub use self::status::{Counters, DownReason, HeardOpen, PeerStatus, Stall, State};
use crate::adj_rib_in::{AdjRibIn, Watched};
use crate::adj_rib_out::AdjRibOut;
pub use crate::endpoints::Endpoints;
use crate::route::Routes;
use crate::time::Instant;
use crate::wire::iana::notification::{self as code, cease, fsm as fsm_error};
use crate::wire::{ErrorAction, Family, Message, Notification, RefreshKind, Update};

/// The time from a peer's refusal to the next full offer, if no session has ended before.
const OFFER_AGAIN: Duration = Duration::from_secs(600);

/// One BGP peer. See the [module](self).
#[derive(Debug, Clone)]
pub struct Peer {
    config: PeerConfig,
    running: bool,
    connections: Vec<Connection>,
    next_id: u64,
    /// Reduced after the peer has refused a capability, until a session ends or `offer_again_at`.
    offer: Offer,
    offer_again_at: Option<Instant>,
    retry_at: Option<Instant>,
    /// No session may begin before BFD is up.
    held_back: bool,
    /// After a refused OPEN the peer's own connections are also rejected until the back-off has passed.
    refuse_until: Option<Instant>,
    backoff: Backoff,
    jitter: Jitter,
    wanted: Routes,
    watched: Arc<Watched>,
    version: Version,
    extent: Extent,
    /// See [`GracefulRestart::restarted`]; `None` once the peer has the whole set.
    restarted: Option<BTreeSet<Family>>,
    reported: Option<Version>,
    /// The last version that the peer's TCP has acknowledged in full.
    acknowledged: Option<Version>,
    state: (State, Option<Instant>),
    last_down: Option<(DownReason, Instant)>,
    telling: Option<(DownReason, Instant)>,
    seen: Seen,
    counters: Counters,
}

impl Peer {
    /// A peer that is Idle until [`Input::Start`].
    pub fn new(mut config: PeerConfig) -> Self {
        config.connect_retry =
            config.connect_retry.clamp(PeerConfig::MIN_CONNECT_RETRY, PeerConfig::MAX_CONNECT_RETRY);
        let held_back = config.awaits_bfd;
        if config.hold_time == HoldTime::NONE && !config.awaits_bfd {
            config.hold_time = HoldTime::DEFAULT;
        }
        let restarted = config.graceful_restart.as_ref().and_then(|graceful| graceful.restarted.clone());
        Self {
            backoff: Backoff::new(config.connect_retry, PeerConfig::MAX_RETRY),
            jitter: Jitter::new(config.seed),
            config,
            running: false,
            held_back,
            connections: Vec::new(),
            next_id: 0,
            offer: Offer::default(),
            offer_again_at: None,
            retry_at: None,
            refuse_until: None,
            wanted: Routes::new(),
            watched: Arc::default(),
            version: Version::default(),
            extent: Extent::default(),
            restarted,
            reported: None,
            acknowledged: None,
            state: (State::Idle, None),
            last_down: None,
            telling: None,
            seen: Seen::default(),
            counters: Counters::default(),
        }
    }

    /// The settings of the peer.
    pub fn config(&self) -> &PeerConfig {
        &self.config
    }

    /// A fresh id for a connection that was accepted.
    pub fn allocate(&mut self) -> ConnId {
        self.next_id += 1;
        ConnId(self.next_id)
    }

    /// When [`Input::Tick`] is due; `None` if only the peer or the operator can cause the next input.
    pub fn deadline(&self) -> Option<Instant> {
        let connections = self.connections.iter().filter_map(Connection::deadline);
        connections.chain(self.retry_at).min()
    }

    /// Handles one input; returns the outputs in their order.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        self.handle_together([input], now)
    }

    /// Handles inputs that came at once: a route that several of them change is sent once.
    pub fn handle_together(&mut self, inputs: impl IntoIterator<Item = Input>, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        for input in inputs {
            self.apply(input, now, &mut out);
        }
        self.send_updates(now, &mut out);
        self.note_state(now);
        out
    }

    fn apply(&mut self, input: Input, now: Instant, out: &mut Vec<Output>) {
        match input {
            // RFC 4271 §8.2.2: a start is ignored in any state but Idle, or it would cut the back-off short.
            Input::Start if self.running => {}
            Input::Start => {
                self.running = true;
                self.retry_at = (self.config.mode.dials() && !self.held_back).then_some(now);
                self.tick(now, out);
            }
            Input::Stop(notification) => self.stop(notification, now, out),
            Input::Advertise(version, routes, extent) => {
                (self.version, self.extent) = (version, extent);
                if let Some(connection) = self.established_mut() {
                    connection.want(&routes, extent);
                }
                self.wanted = routes;
            }
            Input::Watch(watched) => {
                if let Some(connection) = self.established_mut() {
                    connection.watch(&watched);
                }
                self.watched = watched;
            }
            Input::Dialled(conn, endpoints) => self.dialled(conn, endpoints, now, out),
            Input::DialFailed(conn, error) => {
                if self.connection(conn).is_some_and(|c| c.state() == State::Connect) {
                    self.lost(conn, DownReason::DialFailed(error), now, out);
                }
            }
            Input::Accepted(conn, endpoints) => self.accepted(conn, endpoints, now, out),
            Input::Received(conn, data) => self.received(conn, &data, now, out),
            Input::Sent(conn, bytes) => {
                if let Some(connection) = self.connection(conn) {
                    connection.sent(bytes, now);
                }
            }
            Input::Queue(conn, queue) => self.queue(conn, queue, now, out),
            Input::Closed(conn, reason) => self.lost(conn, DownReason::Closed(reason), now, out),
            Input::Liveness(liveness) => self.liveness(liveness, now, out),
            Input::AddressesChanged(conn, endpoints) => self.relocate(conn, endpoints, now, out),
            Input::Tune(tuning) => self.tune(tuning, now, out),
            Input::HostChanged => {
                let lacked =
                    matches!(&self.last_down, Some((DownReason::DialFailed(error), _)) if error.is_ours());
                if lacked && self.retry_at.is_some() && self.refuse_until.is_none_or(|until| until <= now) {
                    self.retry_at = Some(now);
                    self.tick(now, out);
                }
            }
            Input::Tick => self.tick(now, out),
        }
    }

    /// The connected connections and their endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = (ConnId, &Endpoints)> {
        self.connections.iter().filter_map(|connection| Some((connection.id, connection.endpoints.as_ref()?)))
    }

    /// A snapshot of the peer's state.
    pub fn status(&self, now: Instant) -> PeerStatus {
        let leading = self.connections.iter().max_by_key(|c| c.state());
        let rib = leading.and_then(Connection::rib);
        PeerStatus {
            state: self.state.0,
            since: self.state.1.unwrap_or(now),
            session: leading.and_then(Connection::session).cloned(),
            endpoints: leading.and_then(|c| c.endpoints.clone()),
            last_down: self.last_down.clone(),
            telling: self.telling.clone(),
            seen: self.seen.clone(),
            offer: leading.map_or(self.offer, |connection| connection.offered),
            acknowledged: leading.map_or(0, Connection::acknowledged),
            held_back: self.held_back,
            advertised: rib.map_or(0, AdjRibOut::sent_count),
            withheld: rib.map(|rib| rib.withheld().clone()).unwrap_or_default(),
            paths: leading.and_then(Connection::heard).map(AdjRibIn::paths).cloned().unwrap_or_default(),
            counters: self.counters,
        }
    }

    fn received(&mut self, conn: ConnId, data: &[u8], now: Instant, out: &mut Vec<Output>) {
        match self.connection(conn) {
            // A connection that is not connected yet has no data.
            Some(connection) if connection.state() > State::Connect => connection.push(data),
            Some(_) | None => return,
        }
        // Each message may end the connection; then the rest of the bytes is dropped.
        while let Some(connection) = self.connection(conn) {
            match connection.next_message() {
                Ok(None) => break,
                Ok(Some(message)) => self.message(conn, message, now, out),
                // RFC 4271 §6.4: an error in a NOTIFICATION is not answered with another one.
                Err(error) if connection.reads_notification() => {
                    let reason = DownReason::Closed(CloseReason::BadNotification(error));
                    self.lost(conn, reason, now, out);
                }
                Err(error) => self.refuse(conn, error.notification(), now, out),
            }
        }
    }

    fn message(&mut self, conn: ConnId, message: Message, now: Instant, out: &mut Vec<Output>) {
        let config = &self.config;
        let Some(connection) = self.connections.iter_mut().find(|connection| connection.id == conn) else {
            return;
        };
        match (connection.state(), message) {
            (_, Message::Notification(notification)) => {
                self.lost(conn, DownReason::Received(notification), now, out);
            }
            (State::OpenSent, Message::Open(open)) => self.opened(conn, &open, now, out),
            // Only a different OPEN is an error (RFC 4271 §8.2.2, event 19). OpenBGPD 7.7 may send its OPEN twice, when
            // it has just begun to connect itself.
            (State::OpenConfirm, Message::Open(open)) if connection.is_repeated(config, &open) => {}
            (State::OpenConfirm, Message::Keepalive) => self.establish(conn, now, out),
            (State::Established, Message::Keepalive) => connection.peer_is_alive(now),
            (State::Established, Message::Update(update)) => {
                connection.peer_is_alive(now);
                if let Some(heard) = connection.heard_mut() {
                    heard.learn(&update);
                }
                self.count(&update);
                if self.config.deliver_updates {
                    out.push(Output::Event(PeerEvent::Update(Box::new(update))));
                }
            }
            (State::Established, Message::RouteRefresh(refresh)) => {
                connection.peer_is_alive(now);
                if refresh.subtype == RefreshKind::Normal {
                    connection.note_refresh(refresh.family);
                } else if let Some(heard) = connection.heard_mut() {
                    heard.refreshed(refresh.family, refresh.subtype);
                }
            }
            (state, _unexpected) => {
                let subcode = match state {
                    State::OpenSent => fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_SENT,
                    State::OpenConfirm => fsm_error::UNEXPECTED_MESSAGE_IN_OPEN_CONFIRM,
                    State::Established => fsm_error::UNEXPECTED_MESSAGE_IN_ESTABLISHED,
                    State::Idle | State::Active | State::Connect => code::UNSPECIFIC,
                };
                self.refuse(conn, Notification::unexpected_message(subcode), now, out);
            }
        }
    }

    /// Next hops follow the addresses of the interface. A connection whose local address is gone is dead; the next one
    /// uses another.
    fn relocate(&mut self, conn: ConnId, endpoints: Option<Endpoints>, now: Instant, out: &mut Vec<Output>) {
        let (configured, wanted) = (self.config.next_hops, self.wanted.clone());
        let Some(connection) = self.connection(conn).filter(|connection| connection.endpoints.is_some())
        else {
            return;
        };
        if let Some(endpoints) = endpoints {
            connection.relocate(endpoints, configured, &wanted);
            return;
        }
        // The NOTIFICATION may still leave by another interface.
        connection.notify(Notification::cease(cease::OTHER_CONFIGURATION_CHANGE, ""), now, out);
        out.push(Output::Close(conn));
        self.lost(conn, DownReason::LocalAddressGone, now, out);
    }

    /// Applies other settings to the running peer. Routes with a changed next hop, MED or export are sent; a peer that now dials
    /// begins at once.
    fn tune(&mut self, tuning: Tuning, now: Instant, out: &mut Vec<Output>) {
        let connect_retry =
            tuning.connect_retry.clamp(PeerConfig::MIN_CONNECT_RETRY, PeerConfig::MAX_CONNECT_RETRY);
        if connect_retry != self.config.connect_retry {
            self.backoff = Backoff::new(connect_retry, PeerConfig::MAX_RETRY);
        }
        let dialled = self.config.mode.dials();
        self.config.connect_retry = connect_retry;
        self.config.mode = tuning.mode;
        if !tuning.mode.dials() {
            self.retry_at = None;
        } else if !dialled && self.running && !self.held_back && self.established().is_none() {
            self.retry_at = Some(self.refuse_until.map_or(now, |until| until.max(now)));
        }
        if tuning.next_hops != self.config.next_hops {
            self.config.next_hops = tuning.next_hops;
            let wanted = self.wanted.clone();
            for connection in &mut self.connections {
                if let Some(endpoints) = connection.endpoints.clone() {
                    connection.relocate(endpoints, tuning.next_hops, &wanted);
                }
            }
        }
        if tuning.med != self.config.med {
            self.config.med = tuning.med;
            let wanted = self.wanted.clone();
            if let Some(rib) = self.established_mut().and_then(Connection::rib_mut) {
                rib.set_med(tuning.med, &wanted);
            }
        }
        if tuning.export != self.config.export {
            self.config.export = tuning.export;
            let wanted = self.wanted.clone();
            if let Some(rib) = self.established_mut().and_then(Connection::rib_mut) {
                rib.set_export(tuning.export, &wanted);
            }
            // Reported again with the status also if no UPDATE is due.
            self.acknowledged = None;
        }
        self.tick(now, out);
    }

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        while let Some((conn, expired)) =
            self.connections.iter().find_map(|c| c.expired(now).map(|expired| (c.id, expired)))
        {
            match expired {
                Expired::Dial => {
                    out.push(Output::Close(conn));
                    let reason = DownReason::DialFailed(DialError::NoAnswer { dropped: None });
                    self.lost(conn, reason, now, out);
                }
                Expired::Hold => self.refuse(conn, Notification::hold_timer_expired(), now, out),
                Expired::SendHold => {
                    out.push(Output::Close(conn));
                    self.lost(conn, DownReason::SendHoldTimerExpired, now, out);
                }
                Expired::Keepalive => {
                    let mut jitter = self.jitter.clone();
                    if let Some(connection) = self.connection(conn) {
                        connection.note_lateness(now);
                        connection.keepalive(now, &mut jitter, out);
                    }
                    self.jitter = jitter;
                }
                Expired::Look => {
                    if let Some(connection) = self.connection(conn) {
                        connection.delivery.looking();
                        out.push(Output::Look(conn));
                    }
                }
            }
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry(now, out);
        }
    }

    /// Sends the UPDATEs that are due, and reports when the kernel has all of them.
    fn send_updates(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut jitter = self.jitter.clone();
        let wanted = self.wanted.clone();
        let Some(connection) = self.established_mut() else { return };
        connection.ask(now, out);
        connection.refresh(&wanted, now, out);
        let updates = connection.send_updates(now, &mut jitter, out);
        let synced = connection.is_synced();
        self.jitter = jitter;
        self.counters.updates_sent += updates;
        if updates > 0 {
            // Also if the set is the same: a next hop may have come or gone, and with it the routes of the peer.
            self.acknowledged = None;
        }
        if synced && self.reported != Some(self.version) {
            self.reported = Some(self.version);
            if self.extent == Extent::Whole {
                // RFC 4724 §4.1: the restart is over for this peer.
                self.restarted = None;
            }
            out.push(Output::Event(PeerEvent::Synced(self.version)));
        }
        let arrived =
            synced && self.established().is_some_and(|connection| connection.delivery.is_complete());
        if arrived && self.acknowledged != Some(self.version) {
            self.acknowledged = Some(self.version);
            out.push(Output::Event(PeerEvent::Acknowledged(self.version)));
        }
    }

    fn queue(&mut self, conn: ConnId, queue: SendQueue, now: Instant, out: &mut Vec<Output>) {
        let Some(connection) = self.connection(conn) else { return };
        if let Some((stall, begins)) = connection.queue(queue, now) {
            self.seen.stall = Some(stall);
            if begins {
                out.push(Output::Event(PeerEvent::Stalled(stall)));
            }
        } else if connection.delivery.is_complete() {
            self.seen.stall = None;
        }
    }

    /// Counts and drops the routes that are not watched (invariant: no peer makes our memory grow).
    fn count(&mut self, update: &Update) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.counters.updates_received += 1;
        self.counters.updates_malformed += u64::from(update.action().is_some());
        let (announced, withdrawn) =
            (count(update.announced().count()), count(update.withdrawn_prefixes().count()));
        if update.action() == Some(ErrorAction::TreatAsWithdraw) {
            self.counters.prefixes_withdrawn += announced + withdrawn;
        } else {
            self.counters.prefixes_received += announced;
            self.counters.prefixes_withdrawn += withdrawn;
        }
    }

    fn note_state(&mut self, now: Instant) {
        let idle = if self.running && !self.config.mode.dials() { State::Active } else { State::Idle };
        let state = self.connections.iter().map(Connection::state).max().unwrap_or(idle);
        if self.state.0 != state || self.state.1.is_none() {
            self.state = (state, Some(now));
        }
    }

    fn connection(&mut self, conn: ConnId) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.id == conn)
    }

    fn take(&mut self, conn: ConnId) -> Option<Connection> {
        let index = self.connections.iter().position(|c| c.id == conn)?;
        Some(self.connections.remove(index))
    }

    fn established(&self) -> Option<&Connection> {
        self.connections.iter().find(|c| c.state() == State::Established)
    }

    fn established_mut(&mut self) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|c| c.state() == State::Established)
    }
}

#[cfg(test)]
mod tests;
