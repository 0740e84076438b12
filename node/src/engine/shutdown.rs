//! SIGTERM is a drain (I9), in phases that each wait for a fact:
//!
//! ```text
//!  Draining ───────► Withdrawing ───────► Settling ─────► Ceasing ──────► Unbinding ──────► Done
//!  GRACEFUL_SHUTDOWN  every peer was told   unbind_delay   Cease/2 is out   no address of ours
//!  for drain_time     (or its patience ends)               on every session
//! ```
//!
//! With `keep_addresses` there is no unbinding, so Ceasing is followed by Done. A second SIGTERM skips the waits, never
//! a step. No wait is endless: that for a router that does not read ends after seconds, that for the kernel when it has
//! removed no address for the same time, and that for a router that keeps our routes without a session (graceful
//! restart) when it has dropped them.

use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_bgp::Version;

use super::Engine;
use super::binding::Binding;
use super::facts::{Facts, PeerFact, Shutdown};
use super::plan::Advertised;
use crate::effect::{Effect, Ending};
use crate::model;
use crate::outbox::Outbox;
use crate::record::What;

/// The longest wait for a peer that reads nothing.
const WITHDRAW_PATIENCE: Duration = Duration::from_secs(5);
/// The same for a connection that does not close; the link itself gives up after two seconds.
const CEASE_PATIENCE: Duration = Duration::from_secs(5);
/// The same for the kernel, since its last removal: on a busy host thousands of addresses take a while.
const UNBIND_PATIENCE: Duration = Duration::from_secs(5);

/// The time of a stop besides the configured times: for routers that are slow to close, and thousands of addresses.
const MARGIN: Duration = Duration::from_secs(60);

/// The first phase.
pub(super) fn begin(config: &model::Shutdown, now: Instant) -> Shutdown {
    Shutdown::Draining { until: now + config.drain_time }
}

/// The next phase, if the present one is over. `advertised` is the last version and whether it is empty; `longest_kept`
/// is the time for which a router without a session may keep routes.
fn advance(
    phase: Shutdown,
    config: &model::Shutdown,
    facts: &Facts,
    (version, nothing_announced): (Version, bool),
    longest_kept: Duration,
    now: Instant,
) -> Option<Shutdown> {
    let over = |until: Instant| facts.hurry || until <= now;
    let alone = !facts.peers.values().any(|peer| peer.established) && !facts.any_keeps(now);
    match phase {
        Shutdown::Draining { until } if over(until) || alone || nothing_announced => {
            Some(Shutdown::Withdrawing { until: now + WITHDRAW_PATIENCE })
        }
        Shutdown::Withdrawing { until }
            if (nothing_announced && facts.all_told(version, now))
                || (until <= now && !facts.any_keeps(now))
                || until + longest_kept <= now =>
        {
            // A router that has just dropped its kept routes forwards for a moment longer, like one that was just told.
            let kept = facts.peers.values().any(|peer| peer.keeps_until.is_some());
            let delay = if alone && !kept { Duration::ZERO } else { config.unbind_delay };
            Some(Shutdown::Settling { until: now + delay })
        }
        Shutdown::Settling { until } if over(until) => {
            Some(Shutdown::Ceasing { until: now + CEASE_PATIENCE })
        }
        Shutdown::Ceasing { until } if facts.sessions_closed || until <= now => {
            Some(if config.keep_addresses {
                Shutdown::Done
            } else {
                Shutdown::Unbinding { until: now + UNBIND_PATIENCE }
            })
        }
        Shutdown::Unbinding { until } if facts.is_clean() || until <= now => Some(Shutdown::Done),
        Shutdown::Draining { .. }
        | Shutdown::Withdrawing { .. }
        | Shutdown::Settling { .. }
        | Shutdown::Ceasing { .. }
        | Shutdown::Unbinding { .. }
        | Shutdown::Done => None,
    }
}

impl Engine {
    /// The longest time of a stop from now on: the configured times, the wait for a router that keeps our routes
    /// without a session, and a minute.
    pub fn stop_takes(&self) -> Duration {
        let model::Shutdown { drain_time, unbind_delay, keep_addresses: _, inhibit: _ } =
            self.config.shutdown;
        [drain_time, unbind_delay, self.longest_kept()].into_iter().fold(MARGIN, Duration::saturating_add)
    }

    /// Enters the next phase of a shutdown, if the present one is over.
    pub(super) fn advance_shutdown(&mut self, now: Instant, out: &mut Outbox) -> bool {
        let Some(phase) = self.facts.shutdown else { return false };
        let Advertised { version, routes, .. } = &self.actual.advertised;
        let advertised = (*version, routes.is_empty());
        let phase = self.note_progress(phase, now);
        let kept = self.longest_kept();
        let advance = advance(phase, &self.config.shutdown, &self.facts, advertised, kept, now);
        let Some(next) = advance else {
            return false;
        };
        self.facts.shutdown = Some(next);
        out.tell(What::Shutdown(next));
        match next {
            Shutdown::Ceasing { .. } => out.push(Effect::StopPeers),
            // Including sessions without a reported end: they get no more updates.
            Shutdown::Unbinding { .. } => {
                self.facts.peers.values_mut().for_each(|fact| *fact = PeerFact::default())
            }
            Shutdown::Done => {
                let left: Vec<Binding> = self.facts.ours().cloned().collect();
                let ending = if left.is_empty() || self.config.shutdown.keep_addresses {
                    Ending::Stopped
                } else {
                    let count = left.len();
                    out.tell(What::AddressesLeft(left));
                    Ending::Left(count)
                };
                out.push(Effect::Exit(ending));
                return false;
            }
            Shutdown::Draining { .. } | Shutdown::Withdrawing { .. } | Shutdown::Settling { .. } => {}
        }
        true
    }

    /// Restarts the wait for the kernel after each removed address.
    fn note_progress(&mut self, phase: Shutdown, now: Instant) -> Shutdown {
        let Shutdown::Unbinding { until } = phase else { return phase };
        let left = self.facts.ours().count();
        let until = if left < self.actual.left { now + UNBIND_PATIENCE } else { until };
        self.actual.left = left;
        self.facts.shutdown = Some(Shutdown::Unbinding { until });
        Shutdown::Unbinding { until }
    }

    /// Zero in a hurry, and after every session is closed: then no router has a route to us any more.
    pub(super) fn unbind_delay(&self) -> Duration {
        let closed = matches!(self.facts.shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done));
        if self.facts.hurry || closed { Duration::ZERO } else { self.config.shutdown.unbind_delay }
    }
}

/// When the phase ends by time, after `acted_at`.
pub(super) fn deadline(
    phase: Shutdown,
    longest_kept: Duration,
    acted_at: Option<Instant>,
) -> Option<Instant> {
    let (until, at_last) = match phase {
        Shutdown::Withdrawing { until } => (until, Some(until + longest_kept)),
        Shutdown::Draining { until }
        | Shutdown::Settling { until }
        | Shutdown::Ceasing { until }
        | Shutdown::Unbinding { until } => (until, None),
        Shutdown::Done => return None,
    };
    let later = |at: &Instant| acted_at.is_none_or(|acted_at| *at > acted_at);
    [Some(until), at_last].into_iter().flatten().find(later)
}
