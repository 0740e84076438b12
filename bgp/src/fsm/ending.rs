//! The end of a connection: the NOTIFICATION to the peer, the report, and the time of the next attempt.

use super::connection::{Phase, Side};
use super::{ConnId, DownReason, HoldTime, OFFER_AGAIN, Offer, Output, Peer, PeerEvent, State};
use crate::time::Instant;
use crate::wire::Notification;
use crate::wire::iana::notification::{self as code, cease};

impl Peer {
    pub(super) fn stop(&mut self, notification: Notification, now: Instant, out: &mut Vec<Output>) {
        self.running = false;
        self.retry_at = None;
        self.refuse_until = None;
        for mut connection in std::mem::take(&mut self.connections) {
            connection.notify(connection.last_word(&notification), now, out);
            out.push(Output::Close(connection.id));
            let reason = DownReason::Stopped(notification.clone());
            let was_established = connection.state() == State::Established;
            self.last_down = Some((reason.clone(), now));
            out.push(Output::Event(PeerEvent::Down { reason, was_established }));
        }
    }

    /// Ends a connection with a NOTIFICATION, because the peer sent something wrong or nothing.
    pub(super) fn refuse(
        &mut self,
        conn: ConnId,
        notification: Notification,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        if let Some(connection) = self.connection(conn) {
            connection.notify(notification.clone(), now, out);
            out.push(Output::Close(conn));
        }
        self.lost(conn, DownReason::Sent(notification), now, out);
    }

    /// Ends the losing connection of a collision. That is no failure: no report, no back-off.
    pub(super) fn collide(&mut self, loser: ConnId, now: Instant, out: &mut Vec<Output>) {
        if let Some(mut connection) = self.take(loser) {
            let notification = Notification::cease(cease::CONNECTION_COLLISION, "");
            connection.notify(notification, now, out);
            out.push(Output::Close(loser));
        }
    }

    /// Reports a lost connection and schedules the next.
    pub(super) fn lost(&mut self, conn: ConnId, reason: DownReason, now: Instant, out: &mut Vec<Output>) {
        let Some(connection) = self.take(conn) else { return };
        let was_established = connection.state() == State::Established;
        if let DownReason::Received(_) | DownReason::Closed(_) = reason {
            out.push(Output::Close(conn));
        }
        if let Phase::Established { session, since, .. } = &connection.phase
            && now - *since >= session.hold().unwrap_or(HoldTime::DEFAULT.duration())
        {
            self.backoff.reset();
        }
        if was_established {
            self.seen.late = connection.lateness(now);
            // The router may have been upgraded or changed meanwhile.
            (self.offer, self.offer_again_at) = (Offer::Full, None);
        }
        if let DownReason::Received(notification @ Notification { code: code::OPEN_MESSAGE, .. }) = &reason
            && let Some(less) = connection.offered.less(notification, &self.config)
        {
            self.offer = less;
            self.offer_again_at = (less != Offer::Full).then_some(now + OFFER_AGAIN);
        }
        if self.running {
            self.back_off(&reason, was_established, now);
        }
        // While its sibling goes on, the loss of a connection is a collision that the peer has resolved.
        if !was_established && self.connections.iter().any(|c| c.state() >= State::OpenSent) {
            return;
        }
        if reason.is_telling() {
            self.telling = Some((reason.clone(), now));
        }
        self.last_down = Some((reason.clone(), now));
        out.push(Output::Event(PeerEvent::Down { reason, was_established }));
    }

    /// Schedules the next attempt after a loss. A scheduled dial stays due in any state of the sibling: a connection
    /// that the peer opened and abandoned must not stop us.
    fn back_off(&mut self, reason: &DownReason, was_established: bool, now: Instant) {
        if let DownReason::Received(Notification {
            code: code::CEASE,
            subcode: cease::MAXIMUM_PREFIXES,
            ..
        }) = reason
        {
            // Only an operator can mend this.
            self.backoff.skip_to_longest();
        }
        let refused = match reason {
            DownReason::Received(n) | DownReason::Sent(n) => n.code != code::CEASE && !was_established,
            DownReason::Closed(_)
            | DownReason::DialFailed(_)
            | DownReason::SendHoldTimerExpired
            | DownReason::LocalAddressGone
            | DownReason::BfdDown(_)
            | DownReason::Stopped(_) => false,
        };
        // Both connections of one attempt are often refused for the same cause, which counts once.
        if refused && self.refuse_until.is_none_or(|until| until <= now) {
            self.refuse_until = Some(now + self.backoff.next(&mut self.jitter));
        }
        if self.held_back {
            return;
        }
        let dialling =
            self.connections.iter().any(|c| c.side == Side::Ours || c.state() >= State::OpenConfirm);
        if !self.config.mode.dials() || dialling {
            return;
        }
        if refused {
            self.retry_at = self.retry_at.max(self.refuse_until);
        } else if self.retry_at.is_none() {
            self.retry_at = Some(now + self.backoff.next(&mut self.jitter));
        }
    }
}
