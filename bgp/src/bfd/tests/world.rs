//! Two sessions, clocks that drift apart, and a network that loses, delays and reorders. Rules that always hold are
//! checked at every input.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::support::epoch;
use crate::bfd::{Cause, Input, Packet, Session, SessionConfig, State, Status, Transition};
use crate::jitter::Jitter;
use crate::time::Instant;

/// The network's effect on packets, in both directions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Network {
    /// Of a thousand packets.
    pub(super) loss: u64,
    pub(super) delay: Duration,
    /// On top, drawn for each packet: one may overtake another.
    pub(super) spread: Duration,
    /// From side 0, from side 1: nothing passes.
    pub(super) cut: [bool; 2],
}

impl Network {
    pub(super) const CLEAN: Self =
        Self { loss: 0, delay: Duration::from_millis(1), spread: Duration::ZERO, cut: [false; 2] };
}

/// One end, its clock and its socket.
struct Side {
    session: Session,
    /// Parts in a million that its clock runs at, of the world's.
    rate: u64,
    /// It does nothing until then; the kernel queues for it.
    stalled: Option<Duration>,
    /// The kernel is also frozen.
    frozen: bool,
    queue: VecDeque<(Packet, Instant)>,
    heard: Option<Instant>,
    sent: Option<Instant>,
    /// The longest interval in force since then; `None`: there was a time without any.
    longest: Option<Duration>,
    /// It may have been late since it last heard something, and since it last sent something.
    late: bool,
    slow: bool,
}

pub(super) struct World {
    begin: Instant,
    /// Since the beginning, by the world's clock.
    pub(super) now: Duration,
    sides: [Side; 2],
    agenda: BTreeMap<(Duration, u64), (usize, Packet)>,
    sequence: u64,
    rng: Jitter,
    pub(super) network: Network,
    pub(super) log: Vec<(Duration, usize, Transition)>,
}

impl World {
    pub(super) fn new(configs: [SessionConfig; 2], drift: [u64; 2], seed: u64) -> Self {
        let begin = epoch();
        let mut rng = Jitter::new(seed);
        let sides = [0, 1].map(|side| Side {
            session: session(configs[side], &mut rng, begin),
            rate: drift[side],
            stalled: None,
            frozen: false,
            queue: VecDeque::new(),
            heard: None,
            sent: None,
            longest: Some(Duration::ZERO),
            late: false,
            slow: false,
        });
        let agenda = BTreeMap::new();
        Self {
            begin,
            now: Duration::ZERO,
            sides,
            agenda,
            sequence: 0,
            rng,
            network: Network::CLEAN,
            log: Vec::new(),
        }
    }

    pub(super) fn status(&self, side: usize) -> Status {
        self.sides[side].session.status()
    }

    pub(super) fn states(&self) -> [State; 2] {
        [0, 1].map(|side| self.sides[side].session.state())
    }

    pub(super) fn both_up(&self) -> bool {
        self.states() == [State::Up; 2]
    }

    pub(super) fn configure(&mut self, side: usize, config: SessionConfig) {
        self.input(side, Input::Configure(config));
    }

    /// Everything about one end is forgotten, as after a crash.
    pub(super) fn restart(&mut self, side: usize) {
        let (now, config) = (self.local(side), self.status(side).config);
        let end = &mut self.sides[side];
        end.session = session(config, &mut self.rng, now);
        (end.heard, end.sent, end.longest) = (None, None, Some(Duration::ZERO));
        end.queue.clear();
    }

    /// One end sleeps; with `frozen` its kernel also sleeps.
    pub(super) fn stall(&mut self, side: usize, time: Duration, frozen: bool) {
        let end = &mut self.sides[side];
        end.stalled = Some(self.now + time);
        end.frozen = frozen;
        end.late = true;
        end.slow = true;
    }

    /// Runs until both ends are awake and have read what waited for them.
    pub(super) fn await_stalls(&mut self) {
        let awake = self.sides.iter().filter_map(|side| side.stalled).max();
        self.advance(awake.unwrap_or(self.now).saturating_sub(self.now));
    }

    pub(super) fn advance(&mut self, by: Duration) {
        let end = self.now + by;
        while self.step(end) {}
        self.now = end;
        self.check_silence();
    }

    /// Runs until `done`, at most for `limit`. Whether it came to that.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                self.now = end;
                return done(self);
            }
        }
        true
    }

    /// The next thing that is due before `end`; false when there is none.
    fn step(&mut self, end: Duration) -> bool {
        let arrival = self.agenda.keys().next().map(|(at, _)| *at);
        let wakes = [0, 1].map(|side| self.wakes_at(side));
        let Some(next) =
            arrival.into_iter().chain(wakes.into_iter().flatten()).min().filter(|next| *next <= end)
        else {
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, (to, packet)) = self.agenda.pop_first().unwrap();
            let at = self.local(to);
            let end = &mut self.sides[to];
            match (end.stalled, end.frozen) {
                (None, _) => self.receive(to, packet, at),
                (Some(_), false) => end.queue.push_back((packet, at)),
                (Some(_), true) => {}
            }
        } else {
            self.wake(usize::from(wakes[0] != Some(next)));
        }
        true
    }

    fn wakes_at(&self, side: usize) -> Option<Duration> {
        let end = &self.sides[side];
        let due = || {
            let after = end.session.deadline()?.saturating_duration_since(self.begin);
            let nanos = u64::try_from(after.as_nanos()).unwrap();
            Some(Duration::from_nanos(
                (u128::from(nanos) * 1_000_000).div_ceil(u128::from(end.rate)).try_into().unwrap(),
            ))
        };
        end.stalled.or_else(due)
    }

    /// The driver's turn: read all packets, then tick.
    fn wake(&mut self, side: usize) {
        let slept = self.sides[side].stalled.take().is_some();
        while let Some((packet, at)) = self.sides[side].queue.pop_front() {
            self.receive(side, packet, at);
        }
        // The waiting packets may have been old.
        self.sides[side].late |= slept;
        if self.sides[side].session.deadline().is_some_and(|due| due <= self.local(side)) {
            self.input(side, Input::Tick);
        }
    }

    fn receive(&mut self, side: usize, packet: Packet, at: Instant) {
        self.sides[side].heard = self.sides[side].heard.max(Some(at));
        self.sides[side].late = self.sides[side].stalled.is_some();
        self.input(side, Input::Received { packet, at });
    }

    fn local(&self, side: usize) -> Instant {
        let nanos = self.now.as_nanos() * u128::from(self.sides[side].rate) / 1_000_000;
        self.begin + Duration::from_nanos(nanos.try_into().unwrap())
    }

    fn input(&mut self, side: usize, input: Input) {
        let now = self.local(side);
        let before = self.status(side);
        let output = self.sides[side].session.handle(input, now);
        let after = self.status(side);
        if let Some(event) = output.event {
            self.check_cause(side, &input, &event, &before, now);
            self.log.push((self.now, side, event));
        }
        assert_eq!(before.state != after.state, output.event.is_some());
        if let Some(packet) = output.transmit {
            assert_eq!(Packet::decode(&packet.encode()), Ok(packet), "the other would drop it");
            assert!(!(packet.poll && packet.final_));
            let interval = before.transmit_interval.into_iter().chain(after.transmit_interval).min();
            self.check_pace(side, &input, &packet, interval, output.event.is_some(), now);
            self.send(1 - side, packet);
        }
        let end = &mut self.sides[side];
        end.longest = end.longest.zip(after.transmit_interval).map(|(longest, now)| longest.max(now));
        if let Input::Tick = input {
            assert!(end.session.deadline().is_none_or(|at| at > now), "a Tick leaves nothing that is due");
        }
    }

    /// A session leaves Up only for a reason that its end of the world can see.
    fn check_cause(&self, side: usize, input: &Input, event: &Transition, before: &Status, now: Instant) {
        match (event.cause, input) {
            (Cause::Received { state, .. }, Input::Received { packet, .. }) => {
                assert_eq!(state, packet.state);
                assert!(!event.is_loss() || matches!(state, State::Down | State::AdminDown));
            }
            (Cause::DetectionTimeExpired, Input::Tick) => {
                let silence = now - self.sides[side].heard.unwrap();
                assert!(silence >= before.detection_time.unwrap(), "{silence:?} {before:?}");
            }
            (Cause::Operator, Input::Configure(_) | Input::Stop) => {}
            (cause, input) => panic!("{cause:?} by {input:?}"),
        }
    }

    /// Never more often than negotiated, jitter included, but for news and answers; and never more rarely.
    fn check_pace(
        &mut self,
        side: usize,
        input: &Input,
        packet: &Packet,
        interval: Option<Duration>,
        news: bool,
        now: Instant,
    ) {
        let end = &mut self.sides[side];
        match input {
            Input::Received { packet: received, .. } => {
                assert!(received.poll || news, "a packet without news was answered");
                assert_eq!(packet.final_, received.poll);
            }
            Input::Tick if !news => {
                let interval = interval.expect("nothing was to be sent");
                if let Some(sent) = end.sent {
                    let gap = now - sent;
                    assert!(gap >= interval * 3 / 4, "{gap:?} of {interval:?}");
                    let late = end.slow || end.stalled.is_some();
                    let drift = Duration::from_micros(1);
                    assert!(
                        late || end.longest.is_none_or(|longest| gap <= longest.max(interval) + drift),
                        "{gap:?} of {interval:?}"
                    );
                }
            }
            Input::Tick | Input::Configure(_) | Input::Stop => {}
        }
        if !packet.final_ {
            end.sent = Some(now);
            end.longest = Some(Duration::ZERO);
            end.slow = end.stalled.is_some();
        }
    }

    /// A session that is Up has heard something within the detection time, unless its end was late itself.
    fn check_silence(&self) {
        for (side, end) in self.sides.iter().enumerate() {
            let status = end.session.status();
            if status.state == State::Up && !end.late && end.stalled.is_none() {
                let silence = self.local(side).saturating_duration_since(end.heard.unwrap());
                assert!(silence <= status.detection_time.unwrap(), "{silence:?} {status:?}");
            }
        }
    }

    fn send(&mut self, to: usize, packet: Packet) {
        let lost = self.rng.next() % 1000 < self.network.loss;
        if lost || self.network.cut[1 - to] {
            return;
        }
        let late = self.rng.percent(self.network.spread, 0, 100);
        self.sequence += 1;
        self.agenda.insert((self.now + self.network.delay + late, self.sequence), (to, packet));
    }
}

fn session(config: SessionConfig, rng: &mut Jitter, now: Instant) -> Session {
    let discriminator = u32::try_from(rng.next() >> 33).unwrap().max(1).try_into().unwrap();
    Session::new(config, discriminator, rng.next(), now)
}
