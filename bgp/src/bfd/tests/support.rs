//! One session, the packets of the other end, and a clock.

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use crate::bfd::{Diagnostic, Input, Interval, Output, Packet, Session, SessionConfig, State};
use crate::time::Instant;

pub(super) const OURS: NonZeroU32 = NonZeroU32::new(0x0A0A_0A0A).unwrap();
pub(super) const THEIRS: NonZeroU32 = NonZeroU32::new(0x0B0B_0B0B).unwrap();

pub(super) fn epoch() -> Instant {
    Instant::BOOT
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn interval(millis: u32) -> Interval {
    Interval::from_millis(millis).unwrap()
}

pub(super) fn config(tx: u32, rx: u32, multiplier: u8) -> SessionConfig {
    SessionConfig {
        desired_min_tx: interval(tx),
        required_min_rx: interval(rx),
        multiplier: NonZeroU8::new(multiplier).unwrap(),
        admin_down: false,
    }
}

/// A packet of an ordinary neighbour: 100 ms both ways, multiplier 3.
pub(super) fn theirs(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        final_: false,
        control_plane_independent: false,
        demand: false,
        multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: THEIRS,
        your_discriminator: Some(OURS),
        desired_min_tx: Some(interval(100)),
        required_min_rx: Some(interval(100)),
        required_min_echo_rx: None,
    }
}

pub(super) struct Bench {
    pub(super) now: Instant,
    pub(super) session: Session,
}

impl Bench {
    pub(super) fn new(config: SessionConfig) -> Self {
        let now = epoch();
        Self { now, session: Session::new(config, OURS, 1, now) }
    }

    /// A session that came Up with [`theirs`] as the neighbour; its poll was answered, long enough ago for another.
    pub(super) fn up(config: SessionConfig) -> Self {
        let mut bench = Self::new(config);
        bench.tick();
        bench.receive(theirs(State::Down));
        let poll = bench.receive(theirs(State::Init)).transmit.unwrap();
        assert!(poll.poll && poll.state == State::Up, "{poll:?}");
        bench.receive(Packet { final_: true, ..theirs(State::Up) });
        assert!(!bench.session.status().polling);
        for _ in 0..100 {
            bench.advance(ms(20));
            bench.receive(theirs(State::Up));
        }
        bench
    }

    /// Takes the session into this state.
    pub(super) fn in_state(state: State) -> Self {
        let config = config(100, 100, 3);
        match state {
            State::AdminDown => Self::new(SessionConfig { admin_down: true, ..config }),
            State::Down => Self::new(config),
            State::Init => {
                let mut bench = Self::new(config);
                bench.receive(theirs(State::Down));
                bench
            }
            State::Up => Self::up(config),
        }
    }

    pub(super) fn input(&mut self, input: Input) -> Output {
        self.session.handle(input, self.now)
    }

    pub(super) fn receive(&mut self, packet: Packet) -> Output {
        self.input(Input::Received { packet, at: self.now })
    }

    pub(super) fn configure(&mut self, config: SessionConfig) -> Output {
        self.input(Input::Configure(config))
    }

    /// To the deadline, and a Tick there.
    pub(super) fn tick(&mut self) -> Output {
        self.now = self.now.max(self.session.deadline().unwrap());
        self.input(Input::Tick)
    }

    /// Ticks until a packet is sent.
    pub(super) fn next_packet(&mut self) -> Packet {
        (0..10).find_map(|_| self.tick().transmit).expect("a packet")
    }

    /// `after` later, all ticks on the way performed.
    pub(super) fn advance(&mut self, after: Duration) -> Vec<(Instant, Output)> {
        let end = self.now + after;
        let mut outputs = Vec::new();
        while let Some(at) = self.session.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            outputs.push((self.now, self.input(Input::Tick)));
        }
        self.now = end;
        outputs
    }

    pub(super) fn state(&self) -> State {
        self.session.state()
    }
}
