//! A BFD session, driven with packets, time, configurations and a stop.
//!
//! ```text
//!   input ─► settings, then one Op after another ─► Input ─► Session ─► Output ─► Bench: the invariants
//!                                                                                   causes, pace, deadlines
//! ```

use std::num::{NonZeroU8, NonZeroU32};
use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use vipcast_bgp::bfd::{
    Cause, Diagnostic, Input, Interval, Output, Packet, Session, SessionConfig, State, Status, iana,
};

use vipcast_bgp::time::Instant;

/// More than that teaches nothing and costs speed.
const MAX_OPS: usize = 200;

/// A clock that was not read for a day is late enough.
const MAX_TICKS: usize = 50;

const OURS: NonZeroU32 = NonZeroU32::new(0x0A0A_0A0A).unwrap();

/// Settings and operations, in the order of the octets.
pub fn bfd_session(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let Ok(config) = config(&mut input) else { return };
    let mut bench = Bench::new(config);
    for _ in 0..MAX_OPS {
        if input.is_empty() {
            break;
        }
        let Ok(op) = Op::arbitrary(&mut input) else { break };
        bench.perform(op);
    }
}

pub(crate) fn from_message(_message: &[u8]) -> Vec<Vec<u8>> {
    Vec::new()
}

/// An event of the world.
#[derive(Debug)]
enum Op {
    Advance(Duration),
    /// To the deadline, so much later, and a Tick.
    Deadline(Duration),
    Tick,
    /// A packet that the kernel received some time ago.
    Received(Packet, Duration),
    Configure(SessionConfig),
    Stop,
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.arbitrary::<u8>()? % 10 {
            0 => Self::Advance(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            1 | 2 => Self::Deadline(Duration::ZERO),
            3 => Self::Deadline(Duration::from_millis(input.arbitrary::<u16>()?.into())),
            4 => Self::Tick,
            5 | 6 => Self::Received(packet(input)?, Duration::ZERO),
            7 => Self::Received(packet(input)?, Duration::from_millis(input.arbitrary::<u8>()?.into())),
            8 => Self::Configure(config(input)?),
            _ if input.arbitrary::<u8>()? == 0 => Self::Stop,
            _ => Self::Advance(Duration::from_millis(50)),
        })
    }
}

fn micros(input: &mut Unstructured<'_>) -> Result<u32> {
    const TELLING: [u32; 8] = [0, 1, 50_000, 100_000, 300_000, 1_000_000, 1_000_001, u32::MAX];
    let choice: u8 = input.arbitrary()?;
    match TELLING.get(usize::from(choice)) {
        Some(micros) => Ok(*micros),
        None => input.arbitrary(),
    }
}

fn multiplier(input: &mut Unstructured<'_>) -> Result<NonZeroU8> {
    Ok(NonZeroU8::new(input.arbitrary()?).unwrap_or(NonZeroU8::MIN))
}

fn config(input: &mut Unstructured<'_>) -> Result<SessionConfig> {
    let interval = |micros: u32| Interval::from_micros(micros.max(1)).expect("it is not zero");
    Ok(SessionConfig {
        desired_min_tx: interval(micros(input)?),
        required_min_rx: interval(micros(input)?),
        multiplier: multiplier(input)?,
        admin_down: input.arbitrary::<u8>()? & 7 == 1,
    })
}

fn packet(input: &mut Unstructured<'_>) -> Result<Packet> {
    let [state, flags, discriminator]: [u8; 3] = input.arbitrary()?;
    let flag = |bit: u8| flags & bit != 0;
    let state = State::ALL[usize::from(state & 3)];
    let knows_us = matches!(state, State::Init | State::Up) || discriminator & 0x80 == 0;
    Ok(Packet {
        diagnostic: Diagnostic::from_bits(flags),
        state,
        poll: flag(iana::flag::POLL),
        final_: flag(iana::flag::FINAL),
        control_plane_independent: flag(iana::flag::CONTROL_PLANE_INDEPENDENT),
        demand: flag(iana::flag::DEMAND),
        multiplier: multiplier(input)?,
        my_discriminator: NonZeroU32::from(NonZeroU8::new(discriminator & 0x7F).unwrap_or(NonZeroU8::MIN)),
        your_discriminator: knows_us.then_some(OURS),
        desired_min_tx: Interval::from_micros(micros(input)?),
        required_min_rx: Interval::from_micros(micros(input)?),
        required_min_echo_rx: None,
    })
}

/// The session, and the state that its invariants are checked against.
struct Bench {
    session: Session,
    now: Instant,
    heard: Option<Instant>,
    sent: Option<Instant>,
    stopped: bool,
    over: bool,
}

impl Bench {
    fn new(config: SessionConfig) -> Self {
        let now = Instant::BOOT;
        let session = Session::new(config, OURS, 1, now);
        Self { session, now, heard: None, sent: None, stopped: false, over: false }
    }

    fn perform(&mut self, op: Op) {
        match op {
            Op::Advance(by) => self.now += by,
            Op::Deadline(late) => {
                if let Some(deadline) = self.session.deadline() {
                    self.now = self.now.max(deadline) + late;
                    self.input(Input::Tick);
                }
            }
            Op::Tick => self.input(Input::Tick),
            Op::Received(packet, ago) => {
                // No packet can be older than the time that is known to have passed.
                let at = self.now.checked_sub(ago).unwrap_or(self.now);
                // After a reset the packet counts as the first, with any stamp.
                self.heard = self.session.status().remote.and(self.heard).max(Some(at));
                self.input(Input::Received { packet, at });
            }
            Op::Configure(config) => self.input(Input::Configure(config)),
            Op::Stop => {
                self.input(Input::Stop);
                self.stopped = true;
            }
        }
        self.check_deadline();
    }

    fn input(&mut self, input: Input) {
        let before = self.session.status();
        let output = self.session.handle(input, self.now);
        let after = self.session.status();
        if self.over {
            assert_eq!((output, self.session.deadline()), (Output::default(), None));
            return;
        }
        assert!(!output.finished || self.stopped);
        self.over = output.finished;
        self.check_event(&input, &output, &before, &after);
        if let Some(packet) = output.transmit {
            self.check_packet(&packet, &input, &output, &before, &after);
        }
        if let Input::Received { packet, .. } = input {
            let answer = output.transmit.is_some_and(|packet| packet.final_);
            assert_eq!(answer, packet.poll && before.state != State::AdminDown, "P has one answer, F");
        }
    }

    /// The state changes for a reason that is there.
    fn check_event(&self, input: &Input, output: &Output, before: &Status, after: &Status) {
        let Some(event) = output.event else {
            assert_eq!(before.state, after.state);
            return;
        };
        assert_eq!((event.from, event.to), (before.state, after.state));
        assert_ne!(event.from, event.to);
        match (event.cause, input) {
            (Cause::Received { state, .. }, Input::Received { packet, .. }) => {
                assert_eq!(state, packet.state);
                let good = matches!(state, State::Init | State::Up);
                assert!(event.to != State::Up || good);
                assert!(event.from != State::Up || !good);
            }
            (Cause::DetectionTimeExpired, Input::Tick) => {
                let silence = self.now - self.heard.expect("somebody was heard");
                assert!(silence >= before.detection_time.expect("there is somebody"));
                assert_eq!((event.to, after.remote), (State::Down, None));
            }
            (Cause::Operator, Input::Configure(_) | Input::Stop) => {}
            (cause, input) => panic!("{cause:?} by {input:?}"),
        }
    }

    fn check_packet(
        &mut self,
        packet: &Packet,
        input: &Input,
        output: &Output,
        before: &Status,
        after: &Status,
    ) {
        assert_eq!(Packet::decode(&packet.encode()), Ok(*packet), "whoever gets it would drop it");
        assert!(!(packet.poll && packet.final_));
        assert_eq!((packet.state, packet.my_discriminator), (after.state, OURS));
        let slow = packet.desired_min_tx.is_some_and(|interval| interval.as_micros() >= iana::SLOW_INTERVAL);
        assert!(slow || packet.state == State::Up, "a session that is not Up is slow");
        let news = output.event.is_some();
        match input {
            Input::Received { packet: received, .. } => {
                assert!(received.poll || news, "an answer without need")
            }
            Input::Tick if !news => {
                let interval = before.transmit_interval.into_iter().chain(after.transmit_interval).min();
                let interval = interval.expect("nothing is to be sent");
                assert!(
                    self.sent.is_none_or(|sent| self.now - sent >= interval * 3 / 4),
                    "faster than agreed"
                );
            }
            Input::Tick | Input::Configure(_) | Input::Stop => {}
        }
        if !packet.final_ {
            self.sent = Some(self.now);
        }
    }

    /// Nothing stays due after Ticks, and no due packet is delayed for ever.
    fn check_deadline(&mut self) {
        if self.over {
            assert_eq!(self.session.deadline(), None);
            return;
        }
        let status = self.session.status();
        let deadline = self.session.deadline();
        if let (Some(interval), Some(sent)) = (status.transmit_interval, self.sent) {
            assert!(deadline.is_some_and(|at| at <= sent + interval), "it stops sending");
        }
        if let (Some(detection), Some(heard)) = (status.detection_time, self.heard) {
            // After a late wake-up it waits for an interval and a quarter, whatever the multiplier.
            let grace = status.receive_interval.unwrap_or_default() * 5 / 4;
            let latest = (heard + detection).max(self.now + detection.max(grace));
            assert!(deadline.is_some_and(|at| at <= latest), "it stops listening");
        }
        for _ in 0..MAX_TICKS {
            if self.over || self.session.deadline().is_none_or(|at| at > self.now) {
                return;
            }
            self.input(Input::Tick);
        }
        panic!("a Tick does nothing about what is due");
    }
}
