//! One session (RFC 5880 §6.8): states, timers and packets.

mod frozen;

use std::num::NonZeroU32;
use std::time::Duration;

use super::config::SessionConfig;
use super::iana::SLOW_INTERVAL;
use super::io::{Cause, Input, Output, Transition};
use super::packet::{Interval, Packet, State};
use super::poll::Poll;
use super::status::{Counters, Remote, Status};
use crate::jitter::Jitter;
use crate::time::Instant;

/// A session that is not Up sends no faster than this (RFC 5880 §6.8.3).
const SLOW: Interval = Interval::from_micros(SLOW_INTERVAL).unwrap();

/// One BFD session. See the [module](super).
#[derive(Debug, Clone)]
pub struct Session {
    config: SessionConfig,
    discriminator: NonZeroU32,
    jitter: Jitter,
    state: State,
    since: Instant,
    last_transition: Option<Transition>,
    remote: Option<Heard>,
    agreed: Agreed,
    poll: Poll,
    pace: Pace,
    end: End,
    counters: Counters,
}

/// The last packet of the other side, and its expiry.
#[derive(Debug, Clone, Copy)]
struct Heard {
    said: Remote,
    at: Instant,
    /// After a late wake-up: the session does not expire before this.
    grace: Option<Instant>,
}

/// Whether the session was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    No,
    /// Until then AdminDown is sent.
    At(Instant),
    Over,
}

/// Our own timers, as far as the other side is known to have them. An increased transmit and a reduced receive interval
/// apply only after F (RFC 5880 §6.8.3).
#[derive(Debug, Clone, Copy)]
struct Agreed {
    tx: Interval,
    rx: Interval,
}

/// The time of the next periodic packet. It depends only on the last one and on the interval: no received packet may
/// delay it.
#[derive(Debug, Clone, Copy)]
struct Pace {
    last: Option<Instant>,
    next: Option<Instant>,
    /// The interval that `next` was drawn for.
    interval: Duration,
}

impl Session {
    /// A session in Down or AdminDown. `discriminator` must be unique among the sessions; `seed` is that of the jitter.
    /// The first packet is due at once.
    pub fn new(config: SessionConfig, discriminator: NonZeroU32, seed: u64, now: Instant) -> Self {
        let state = if config.admin_down { State::AdminDown } else { State::Down };
        let mut session = Self {
            config,
            discriminator,
            jitter: Jitter::new(seed),
            state,
            since: now,
            last_transition: None,
            remote: None,
            agreed: Agreed { tx: config.desired_min_tx, rx: config.required_min_rx },
            poll: Poll::Idle,
            pace: Pace { last: None, next: None, interval: Duration::ZERO },
            end: End::No,
            counters: Counters::default(),
        };
        session.set_pace(now);
        session
    }

    /// Its configuration.
    pub fn config(&self) -> &SessionConfig {
        &self.config
    }

    /// Our discriminator of the session.
    pub fn discriminator(&self) -> NonZeroU32 {
        self.discriminator
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// When [`Input::Tick`] is due; `None` if there is no packet to send and none was heard, or the session has ended.
    pub fn deadline(&self) -> Option<Instant> {
        let end = match self.end {
            End::No => None,
            End::At(end) => Some(end),
            End::Over => return None,
        };
        [self.pace.next, self.expires_at(), self.poll.deadline(), end].into_iter().flatten().min()
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input, now: Instant) -> Output {
        let mut out = Output::default();
        if self.end == End::Over {
            return out;
        }
        match input {
            Input::Received { packet, at } => self.received(&packet, at.min(now), now, &mut out),
            Input::Tick => self.tick(now, &mut out),
            Input::Configure(config) => self.configure(config, now, &mut out),
            Input::Stop => self.stop(now, &mut out),
        }
        self.set_pace(now);
        self.counters.transmitted += u64::from(out.transmit.is_some());
        out
    }

    /// A snapshot of the session.
    pub fn status(&self) -> Status {
        Status {
            state: self.state,
            since: self.since,
            diagnostic: self.last_transition.map(|last| last.diagnostic).unwrap_or_default(),
            discriminator: self.discriminator,
            config: self.config,
            remote: self.remote.map(|heard| heard.said),
            transmit_interval: self.transmit_interval(),
            receive_interval: self.remote.map(|heard| self.receive_interval(&heard)),
            detection_time: self.remote.map(|heard| self.detection_time(&heard)),
            polling: self.poll.is_pending(),
            last_transition: self.last_transition,
            counters: self.counters,
        }
    }

    /// The rules of RFC 5880 §6.8.6 after the session is found.
    fn received(&mut self, packet: &Packet, at: Instant, now: Instant, out: &mut Output) {
        self.counters.received += 1;
        // A reordered packet counts, but does not shorten the detection time.
        let at = self.remote.map_or(at, |heard| heard.at.max(at));
        let heard = Heard { said: Remote::from(packet), at, grace: None };
        self.remote = Some(heard);
        if packet.final_ && self.poll.finish(now, self.detection_time(&heard)) {
            self.agree();
        }
        let next = match (self.state, packet.state) {
            // The RFC discards the packet here; a P gets no answer.
            (State::AdminDown, _) => return,
            (State::Down, State::Down) => Some(State::Init),
            (State::Down, State::Init) => Some(State::Up),
            (State::Down, State::AdminDown | State::Up) => None,
            (State::Init, State::Init | State::Up) => Some(State::Up),
            (State::Init, State::Down) => None,
            (State::Up, State::Init | State::Up) => None,
            (State::Up, State::Down) | (State::Init | State::Up, State::AdminDown) => Some(State::Down),
        };
        if let Some(next) = next {
            let cause = Cause::Received { state: packet.state, diagnostic: packet.diagnostic };
            self.enter(next, cause, now, out);
        }
        if packet.poll {
            // The answer has no P and does not move the next periodic packet: answers to a fast poller must not starve
            // our own poll.
            out.transmit = Some(self.packet(false, true));
        } else if next.is_some() {
            self.transmit(now, out);
        }
    }

    fn tick(&mut self, now: Instant, out: &mut Output) {
        if let End::At(end) = self.end
            && end <= now
        {
            self.end = End::Over;
            out.finished = true;
            return;
        }
        self.poll.tick(now);
        if self.expires_at().is_some_and(|at| at <= now) {
            self.expire(now, out);
        }
        // Both may have changed our transmit interval.
        self.set_pace(now);
        if out.transmit.is_none() && self.pace.next.is_some_and(|at| at <= now) {
            self.transmit(now, out);
        }
    }

    /// The detection time has expired.
    fn expire(&mut self, now: Instant, out: &mut Output) {
        let (Some(heard), Some(due)) = (self.remote, self.expires_at()) else { return };
        let relied_upon = match self.state {
            State::Init | State::Up => true,
            State::AdminDown | State::Down => false,
        };
        let interval = self.receive_interval(&heard);
        if relied_upon && heard.grace.is_none() && now - due > interval / 4 {
            self.counters.late_wakeups += 1;
            self.remote = Some(Heard { grace: Some(now + self.grace(&heard)), ..heard });
            return;
        }
        // RFC 5880 §6.8.1: bfd.RemoteDiscr becomes zero. The rest of its last packet is also dropped, so that a peer
        // that wanted no packets gets some again when it comes back.
        self.remote = None;
        if relied_upon {
            self.enter(State::Down, Cause::DetectionTimeExpired, now, out);
            self.transmit(now, out);
        }
    }

    fn configure(&mut self, config: SessionConfig, now: Instant, out: &mut Output) {
        if self.end != End::No {
            return;
        }
        let before = std::mem::replace(&mut self.config, config);
        if before.admin_down != config.admin_down {
            let next = if config.admin_down { State::AdminDown } else { State::Down };
            self.enter(next, Cause::Operator, now, out);
            self.transmit(now, out);
        } else if !config.same_timers(&before) {
            if self.state == State::Up {
                self.agreed.tx = self.agreed.tx.min(config.desired_min_tx);
                self.agreed.rx = self.agreed.rx.max(config.required_min_rx);
                self.poll.start();
            } else {
                self.agree();
            }
            if self.transmit_interval().is_some() {
                self.transmit(now, out);
            }
        }
    }

    /// RFC 5880 §6.8.16: AdminDown for at least the detection time of the other side.
    fn stop(&mut self, now: Instant, out: &mut Output) {
        if self.end != End::No {
            return;
        }
        let notice = self.remote.map_or(Duration::ZERO, |heard| self.detection_time_of_the_other(&heard));
        if self.state == State::AdminDown {
            self.end = End::At((self.since + notice).max(now));
            return;
        }
        self.end = End::At(now + notice);
        self.enter(State::AdminDown, Cause::Operator, now, out);
        self.transmit(now, out);
    }

    fn enter(&mut self, to: State, cause: Cause, now: Instant, out: &mut Output) {
        let from = std::mem::replace(&mut self.state, to);
        let transition = Transition { from, to, cause, diagnostic: cause.diagnostic(to), at: now };
        self.since = now;
        self.last_transition = Some(transition);
        self.agree();
        self.poll = Poll::Idle;
        if to == State::Up {
            self.counters.ups += 1;
            // Our transmit interval is no longer the slow one.
            self.poll.start();
        }
        self.counters.downs += u64::from(from == State::Up);
        out.event = Some(transition);
    }

    /// Applies the configured timers.
    fn agree(&mut self) {
        self.agreed = Agreed { tx: self.config.desired_min_tx, rx: self.config.required_min_rx };
        if let Some(heard) = &mut self.remote {
            heard.grace = None;
        }
    }

    /// Sends a packet between or instead of the periodic ones; the next periodic packet follows an interval later.
    fn transmit(&mut self, now: Instant, out: &mut Output) {
        let poll = self.poll.mark(now);
        out.transmit = Some(self.packet(poll, false));
        self.pace = Pace { last: Some(now), next: None, ..self.pace };
    }

    fn packet(&self, poll: bool, final_: bool) -> Packet {
        Packet {
            diagnostic: self.last_transition.map(|last| last.diagnostic).unwrap_or_default(),
            state: self.state,
            poll,
            final_,
            // Our control plane dies with the forwarding plane: it is one host.
            control_plane_independent: false,
            demand: false,
            multiplier: self.config.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.map(|heard| heard.said.discriminator),
            desired_min_tx: Some(self.no_faster_than_slow(self.config.desired_min_tx)),
            required_min_rx: Some(self.config.required_min_rx),
            required_min_echo_rx: None,
        }
    }

    /// Draws the time of the next periodic packet if there is none, or if the interval has changed.
    fn set_pace(&mut self, now: Instant) {
        let Some(interval) = self.transmit_interval() else {
            self.pace.next = None;
            return;
        };
        if self.pace.next.is_some() && self.pace.interval == interval {
            return;
        }
        // RFC 5880 §6.8.7: with a multiplier of 1, the longest interval must leave a margin.
        let longest = if self.config.multiplier.get() == 1 { 90 } else { 100 };
        let after = self.jitter.percent(interval, 75, longest);
        self.pace =
            Pace { next: Some(self.pace.last.map_or(now, |last| last + after)), interval, ..self.pace };
    }

    /// The interval of our periodic packets; `None`: we send none (RFC 5880 §6.8.7).
    fn transmit_interval(&self) -> Option<Duration> {
        let ours = self.no_faster_than_slow(self.agreed.tx);
        let Some(heard) = &self.remote else { return Some(ours.duration()) };
        let both_up = self.state == State::Up && heard.said.state == State::Up;
        if heard.said.demand && both_up && !self.poll.is_active() {
            return None;
        }
        heard.said.required_min_rx.map(|theirs| ours.max(theirs).duration())
    }

    /// The transmit interval of the other side, before its jitter.
    fn receive_interval(&self, heard: &Heard) -> Duration {
        heard.said.desired_min_tx.map_or(self.agreed.rx, |theirs| theirs.max(self.agreed.rx)).duration()
    }

    /// How long a session waits after a late wake-up. The next packet was perhaps lost a moment ago; then one comes
    /// within an interval of the *other* clock, and needs its way: an interval of ours would be over just before that.
    fn grace(&self, heard: &Heard) -> Duration {
        self.receive_interval(heard) * 5 / 4
    }

    /// RFC 5880 §6.8.4: the multiplier is that of the *other* side.
    fn detection_time(&self, heard: &Heard) -> Duration {
        self.receive_interval(heard) * u32::from(heard.said.multiplier.get())
    }

    /// The detection time of the other side.
    fn detection_time_of_the_other(&self, heard: &Heard) -> Duration {
        let ours = self.no_faster_than_slow(self.agreed.tx);
        heard.said.required_min_rx.map_or(ours, |theirs| ours.max(theirs)).duration()
            * u32::from(self.config.multiplier.get())
    }

    /// The end of the detection time. A session in Down also drops its remote state then.
    fn expires_at(&self) -> Option<Instant> {
        let heard = self.remote?;
        Some(heard.grace.unwrap_or(heard.at).max(heard.at + self.detection_time(&heard)))
    }

    fn no_faster_than_slow(&self, interval: Interval) -> Interval {
        match self.state {
            State::Up => interval,
            State::AdminDown | State::Down | State::Init => interval.max(SLOW),
        }
    }
}
