//! The effect of BFD on a peer (RFC 5882): Down ends the session at once, and Up starts a new attempt at once.

use std::time::Duration;

use super::connection::Connection;
use super::{DownReason, Output, Peer, PeerConfig, Session, State};
use crate::time::Instant;
use crate::wire::Notification;
use crate::wire::iana::notification::cease;

/// BFD's view of the path to a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// No effect: there is no BFD, it is not up yet, or an operator has taken it out of service.
    Unknown,
    /// Not up yet, and no session begins without it (`strict`). An Established session goes on if it has a hold time.
    Awaited,
    /// Packets go both ways.
    Up,
    /// BFD went down; the reason in words.
    Lost(String),
}

impl Peer {
    pub(super) fn liveness(&mut self, liveness: Liveness, now: Instant, out: &mut Vec<Output>) {
        match liveness {
            Liveness::Unknown => self.release(now, out),
            Liveness::Up => {
                let idle = self.connections.is_empty() && self.config.mode.dials();
                if self.running && idle && self.refuse_until.is_none_or(|until| until <= now) {
                    self.retry_at = Some(now);
                }
                self.release(now, out);
            }
            Liveness::Awaited => {
                self.held_back = true;
                self.retry_at = None;
                let watched_by_nobody = |session: &Session| session.hold().is_none();
                if self.established().and_then(Connection::session).is_some_and(watched_by_nobody) {
                    return self.unreachable("out of service, and there is no hold time", now, out);
                }
                let begun: Vec<_> = self
                    .connections
                    .iter()
                    .filter(|c| c.state() < State::Established)
                    .map(|c| c.id)
                    .collect();
                for conn in begun {
                    self.collide(conn, now, out);
                }
            }
            Liveness::Lost(why) => self.unreachable(&why, now, out),
        }
    }

    fn release(&mut self, now: Instant, out: &mut Vec<Output>) {
        if std::mem::take(&mut self.held_back) && self.running && self.config.mode.dials() {
            self.retry_at = self.retry_at.or(Some(now));
        }
        self.tick(now, out);
    }

    /// Ends every connection. The next attempt begins when BFD is up, or after a pause, because BGP may work without
    /// BFD.
    fn unreachable(&mut self, why: &str, now: Instant, out: &mut Vec<Output>) {
        let conns: Vec<_> = self.connections.iter().map(|connection| connection.id).collect();
        for conn in conns {
            if let Some(connection) = self.connection(conn) {
                let bfd_down = connection.last_word(&Notification::cease(cease::BFD_DOWN, ""));
                connection.notify(bfd_down, now, out);
                out.push(Output::Close(conn));
                self.lost(conn, DownReason::BfdDown(why.to_owned()), now, out);
            }
        }
        if self.running && self.config.mode.dials() && !self.held_back {
            self.retry_at = Some(now + self.jitter.percent(AFTER_LOSS, 75, 125));
        }
    }
}

/// The pause between the loss of BFD and an attempt without it.
const AFTER_LOSS: Duration = PeerConfig::MAX_RETRY;
