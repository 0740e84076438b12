//! Slower timers for a pause that is longer than a detection time, negotiated while the sessions stay Up.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Slot, Thread};
use crate::bfd::{Input, Interval, Session, SessionConfig, State};
use crate::time::Instant;

impl Thread {
    /// Negotiates detection times of at least `least`, in both directions.
    pub(super) fn slow(&mut self, least: Duration, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index).and_then(Option::as_ref) else { continue };
            let slower = slower(&slot.session, least).filter(|_| counts(slot));
            if let Some(config) = slower.filter(|config| config != slot.session.config()) {
                self.input(index, Input::Configure(config), now);
            }
        }
    }

    /// Whether every session has such detection times now.
    pub(super) fn is_slow(&self, least: Duration) -> bool {
        let sessions = self.slots.iter().flatten().filter(|slot| counts(slot));
        sessions.map(|slot| &slot.session).all(|session| is_slow(session, least))
    }
}

/// Whether a pause could bring the session down.
fn counts(slot: &Slot) -> bool {
    slot.session.state() == State::Up && !slot.leaving
}

/// The configuration with intervals long enough, or as they are. `None`: no packet has come.
fn slower(session: &Session, least: Duration) -> Option<SessionConfig> {
    let theirs = session.status().remote?.multiplier;
    let config = *session.config();
    let interval = |ours: Interval, multiplier: u8| {
        let micros = least.as_micros().div_ceil(u128::from(multiplier));
        let micros = u32::try_from(micros).ok().and_then(NonZeroU32::new).map(Interval::from);
        micros.map_or(ours, |long| ours.max(long))
    };
    Some(SessionConfig {
        desired_min_tx: interval(config.desired_min_tx, config.multiplier.get()),
        required_min_rx: interval(config.required_min_rx, theirs.get()),
        ..config
    })
}

/// The other side's detection time is our interval times our multiplier. New timers count when it has answered.
fn is_slow(session: &Session, least: Duration) -> bool {
    let status = session.status();
    let ours = status.transmit_interval.map(|interval| interval * u32::from(status.config.multiplier.get()));
    let long = |time: Option<Duration>| time.is_none_or(|time| time >= least);
    !status.polling && long(ours) && long(status.detection_time)
}
