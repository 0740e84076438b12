//! Freeze and thaw of a session.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Agreed, End, Heard, Pace, Session};
use crate::bfd::poll::Poll;
use crate::bfd::{BfdEvent, Cause, Counters, Diagnostic, Interval, Remote, SessionConfig, State, Transition};
use crate::frozen::bfd::{self as frozen, LONGEST};
use crate::frozen::{Error, agree, ahead, count, nanos, past};
use crate::jitter::Jitter;
use crate::time::Instant;

impl Session {
    /// The frozen form of the session.
    pub fn freeze(&self) -> frozen::Session {
        let SessionConfig { desired_min_tx, required_min_rx, multiplier, admin_down } = self.config;
        let Counters { received, transmitted, ups, downs, late_wakeups } = self.counters;
        frozen::Session::V1(frozen::V1 {
            config: frozen::Config {
                desired_min_tx: desired_min_tx.into(),
                required_min_rx: required_min_rx.into(),
                multiplier,
                admin_down,
            },
            discriminator: self.discriminator,
            jitter: self.jitter.state(),
            state: self.state.into(),
            since: self.since,
            last_transition: self.last_transition.map(freeze_transition),
            remote: self.remote.map(freeze_heard),
            agreed_tx: self.agreed.tx.into(),
            agreed_rx: self.agreed.rx.into(),
            poll: match self.poll {
                Poll::Idle => frozen::Poll::Idle,
                Poll::Active { sent, again } => frozen::Poll::Active { sent, again },
                Poll::Resting { until, again } => frozen::Poll::Resting { until, again },
            },
            sent: self.pace.last,
            next: self.pace.next,
            interval: nanos(self.pace.interval),
            end: match self.end {
                End::No => frozen::End::No,
                End::At(at) => frozen::End::At(at),
                End::Over => frozen::End::Over,
            },
            counters: frozen::Counters { received, transmitted, ups, downs, late_wakeups },
        })
    }

    /// The session that was frozen, at `now` of the same boot. Its next packet is due when it was due before.
    ///
    /// # Errors
    /// The frozen form cannot be that of a session.
    pub fn thaw(frozen: &frozen::Session, now: Instant) -> Result<Self, Error> {
        let frozen::Session::V1(frozen) = frozen;
        let session = Self {
            config: SessionConfig {
                desired_min_tx: frozen.config.desired_min_tx.into(),
                required_min_rx: frozen.config.required_min_rx.into(),
                multiplier: frozen.config.multiplier,
                admin_down: frozen.config.admin_down,
            },
            discriminator: frozen.discriminator,
            jitter: Jitter::new(frozen.jitter),
            state: frozen.state.into(),
            since: past(frozen.since, now, "since")?,
            last_transition: frozen.last_transition.map(|last| thaw_transition(last, now)).transpose()?,
            remote: frozen.remote.map(|remote| thaw_heard(remote, now)).transpose()?,
            agreed: Agreed { tx: frozen.agreed_tx.into(), rx: frozen.agreed_rx.into() },
            poll: thaw_poll(frozen.poll, now)?,
            pace: Pace {
                last: frozen.sent.map(|at| past(at, now, "sent")).transpose()?,
                next: frozen.next.map(|at| ahead(at, now, LONGEST, "next")).transpose()?,
                interval: Duration::from_nanos(frozen.interval),
            },
            end: match frozen.end {
                frozen::End::No => End::No,
                frozen::End::At(at) => End::At(ahead(at, now, LONGEST, "end")?),
                frozen::End::Over => End::Over,
            },
            counters: Counters {
                received: count(frozen.counters.received, "received")?,
                transmitted: count(frozen.counters.transmitted, "transmitted")?,
                ups: count(frozen.counters.ups, "ups")?,
                downs: count(frozen.counters.downs, "downs")?,
                late_wakeups: count(frozen.counters.late_wakeups, "late_wakeups")?,
            },
        };
        session.check(now)?;
        Ok(session)
    }

    /// The rules that hold between the fields after every input.
    fn check(&self, now: Instant) -> Result<(), Error> {
        if self.end == End::Over {
            return Ok(());
        }
        let relies = match self.state {
            State::Init | State::Up => true,
            State::AdminDown | State::Down => false,
        };
        agree(!relies || self.remote.is_some(), "remote")?;
        let held_down = self.config.admin_down || self.end != End::No;
        agree((self.state == State::AdminDown) == held_down, "state")?;
        let interval = self.transmit_interval();
        agree(self.pace.next.is_some() == interval.is_some(), "next")?;
        if let Some(interval) = interval {
            agree(self.pace.interval == interval, "interval")?;
            if let Some(next) = self.pace.next {
                ahead(next, now, interval, "next")?;
            }
        }
        if let Some(heard @ Heard { grace: Some(grace), .. }) = &self.remote {
            ahead(*grace, now, self.grace(heard), "grace")?;
        }
        Ok(())
    }
}

impl BfdEvent {
    /// The frozen form of an event that nobody was told of.
    pub fn freeze(&self) -> frozen::Event {
        let Self { session, transition } = self;
        frozen::Event { session: session.to_string(), transition: freeze_transition(*transition) }
    }

    /// The event that was frozen.
    ///
    /// # Errors
    /// It is none.
    pub fn thaw(frozen: &frozen::Event, now: Instant) -> Result<Self, Error> {
        let frozen::Event { session, transition } = frozen;
        Ok(Self { session: session.as_str().into(), transition: thaw_transition(*transition, now)? })
    }
}

fn freeze_transition(Transition { from, to, cause, diagnostic, at }: Transition) -> frozen::Transition {
    frozen::Transition {
        from: from.into(),
        to: to.into(),
        cause: match cause {
            Cause::Received { state, diagnostic } => {
                frozen::Cause::Received { state: state.into(), diagnostic: diagnostic.code() }
            }
            Cause::DetectionTimeExpired => frozen::Cause::DetectionTimeExpired,
            Cause::Operator => frozen::Cause::Operator,
        },
        diagnostic: diagnostic.code(),
        at,
    }
}

fn thaw_transition(frozen: frozen::Transition, now: Instant) -> Result<Transition, Error> {
    Ok(Transition {
        from: frozen.from.into(),
        to: frozen.to.into(),
        cause: match frozen.cause {
            frozen::Cause::Received { state, diagnostic: code } => {
                Cause::Received { state: state.into(), diagnostic: diagnostic(code)? }
            }
            frozen::Cause::DetectionTimeExpired => Cause::DetectionTimeExpired,
            frozen::Cause::Operator => Cause::Operator,
        },
        diagnostic: diagnostic(frozen.diagnostic)?,
        at: past(frozen.at, now, "last_transition")?,
    })
}

fn freeze_heard(Heard { said, at, grace }: Heard) -> frozen::Remote {
    frozen::Remote {
        discriminator: said.discriminator,
        state: said.state.into(),
        diagnostic: said.diagnostic.code(),
        multiplier: said.multiplier,
        desired_min_tx: said.desired_min_tx.map(NonZeroU32::from),
        required_min_rx: said.required_min_rx.map(NonZeroU32::from),
        demand: said.demand,
        at,
        grace,
    }
}

fn thaw_heard(frozen: frozen::Remote, now: Instant) -> Result<Heard, Error> {
    let said = Remote {
        discriminator: frozen.discriminator,
        state: frozen.state.into(),
        diagnostic: diagnostic(frozen.diagnostic)?,
        multiplier: frozen.multiplier,
        desired_min_tx: frozen.desired_min_tx.map(Interval::from),
        required_min_rx: frozen.required_min_rx.map(Interval::from),
        demand: frozen.demand,
    };
    Ok(Heard { said, at: past(frozen.at, now, "remote.at")?, grace: frozen.grace })
}

fn thaw_poll(frozen: frozen::Poll, now: Instant) -> Result<Poll, Error> {
    Ok(match frozen {
        frozen::Poll::Idle => Poll::Idle,
        frozen::Poll::Active { sent, again } => {
            let sent = sent.map(|at| past(at, now, "poll.sent")).transpose()?;
            Poll::Active { sent, again }
        }
        frozen::Poll::Resting { until, again } => {
            // Twice the time of an answer, which has come since the boot.
            let longest = LONGEST.max((now - Instant::BOOT) * 2);
            Poll::Resting { until: ahead(until, now, longest, "poll.until")?, again }
        }
    })
}

fn diagnostic(code: u8) -> Result<Diagnostic, Error> {
    let diagnostic = Diagnostic::from_bits(code);
    if diagnostic.code() == code { Ok(diagnostic) } else { Err(Error::Range("diagnostic")) }
}
