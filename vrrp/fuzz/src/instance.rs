//! The instance under packets, late Ticks, stamps from before, priorities, faults, configurations and stops.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use vipcast_vrrp::{
    Addresses, Advertisement, Authentication, Config, Coverage, Discard, Endpoints, Form, Input, Instance,
    Instant, Interval, Link, Output, Packet, Preempt, Priority, Seconds, State, Vrid, iana,
};

/// Settings, then operations.
pub fn instance(data: &[u8]) {
    let mut octets = Octets(data);
    let now = Instant::from_nanos(1_000_000_000_000);
    let config = config(&mut octets);
    let mut driver =
        Driver { instance: Instance::new(config, now), now, answered: None, noticed: BTreeMap::new() };
    while let Some(operation) = octets.next() {
        driver.operation(operation, &mut octets);
    }
    let status = serde_json::to_string(&driver.instance.status()).expect("plain data");
    assert!(status.len() < 4096, "{status}");
}

struct Driver {
    instance: Instance,
    now: Instant,
    answered: Option<Instant>,
    noticed: BTreeMap<String, Instant>,
}

impl Driver {
    fn operation(&mut self, operation: u8, octets: &mut Octets<'_>) {
        match operation % 8 {
            0 => self.handle(Input::Start),
            1 => {
                let before = Duration::from_millis(u64::from(octets.or_0()) * 10);
                let at = if operation & 8 == 0 { self.now - before } else { self.now + before };
                let packet = packet(self.instance.config(), octets);
                self.handle(Input::Received { packet, at });
            }
            // On time, or late by up to two minutes and a half.
            2 | 3 => {
                let late = Duration::from_millis(10) * (u32::from(octets.or_0()) << (operation >> 5));
                if let Some(deadline) = self.instance.deadline() {
                    self.now = self.now.max(deadline) + late;
                }
                self.handle(Input::Tick);
            }
            4 => {
                self.now += Duration::from_millis(u64::from(octets.or_0()) * 4);
                self.handle(Input::Tick);
            }
            5 => {
                let priority = Priority::new(octets.or_0().clamp(1, 254)).unwrap_or_default();
                self.handle(Input::Priority(priority));
            }
            6 => self.handle(Input::Fault(operation & 8 != 0)),
            _ if operation & 8 != 0 => self.handle(Input::Configure(config(octets))),
            _ => self.handle(Input::Stop),
        }
    }

    fn handle(&mut self, input: Input) {
        let (before, priority) = (self.instance.state(), self.instance.priority());
        let (counters, source) = (self.instance.status().counters, self.instance.config().link.source());
        let outputs = self.instance.handle(input.clone(), self.now);
        let after = self.instance.state();
        let reconfigured = matches!(input, Input::Configure(_));

        // The states in their order, and what may be sent in each.
        let mut state = before;
        let mut transitions = 0;
        for (place, output) in outputs.iter().enumerate() {
            match output {
                Output::Transition(transition) => {
                    assert_eq!((transition.from, transition.at), (state, self.now));
                    state = transition.to;
                    transitions += 1;
                }
                Output::Transmit(sent) => {
                    let taken_next = matches!(
                        outputs.get(place + 1),
                        Some(Output::Transition(transition)) if transition.to == State::Active
                    );
                    assert!(state == State::Active || taken_next, "{input:?}: {outputs:?}");
                    let packets: Vec<_> = sent.packets().collect();
                    assert!(!packets.is_empty());
                    for (endpoints, payload) in packets {
                        let decoded = Packet::decode(&payload, endpoints, iana::TTL, iana::TTL);
                        assert_eq!(
                            decoded.map(|packet| packet.advertisement),
                            Ok(sent.advertisement.clone())
                        );
                    }
                    if sent.advertisement.priority.is_none() {
                        let leaves = matches!(
                            outputs.get(place + 1),
                            Some(Output::Transition(transition)) if transition.from == State::Active
                        );
                        assert!(leaves, "{input:?}: {outputs:?}");
                    }
                }
                Output::Announce(_) => assert_eq!(state, State::Active),
                Output::Notice(notice) => {
                    let kind = format!("{notice:?}").split(' ').next().unwrap_or_default().to_owned();
                    let last = self.noticed.insert(kind, self.now);
                    assert!(last.is_none_or(|at| self.now - at >= Duration::from_secs(60)), "{notice}");
                }
                Output::Discarded(_) => assert_eq!(outputs.iter().filter(|o| sends(o)).count(), 0),
            }
        }
        assert_eq!(state, after);
        assert!(transitions <= if reconfigured { 2 } else { 1 });

        let sent = outputs.iter().filter(|output| matches!(output, Output::Transmit(_))).count() as u64;
        assert_eq!(self.instance.status().counters.transmitted, counters.transmitted + sent);
        let silent = matches!(after, State::Initialize | State::Fault);
        assert_eq!(self.instance.deadline().is_none(), silent);
        match input {
            Input::Tick => {
                let next = self.instance.deadline();
                assert!(next.is_none_or(|next| next > self.now), "a Tick left something due");
                assert!(sent <= 1);
            }
            Input::Received { packet, .. } => self.received(before, priority, source, &packet, &outputs),
            Input::Fault(true) => assert!(silent),
            Input::Stop => assert_eq!(after, State::Initialize),
            Input::Start => assert_ne!(after, State::Initialize),
            Input::Fault(false) | Input::Priority(_) => (),
            Input::Configure(_) => self.answered = None,
        }
        if transitions > 0 {
            self.answered = None;
        }
    }

    fn received(
        &mut self,
        before: State,
        priority: Priority,
        source: IpAddr,
        packet: &Packet,
        outputs: &[Output],
    ) {
        let dropped = outputs.iter().any(|output| matches!(output, Output::Discarded(_)));
        let after = self.instance.state();
        // Nothing that is received takes the addresses, or makes us silent.
        assert!(after == before || (before, after) == (State::Active, State::Backup));
        if before != State::Active || dropped {
            assert_eq!(after, before);
            assert!(!outputs.iter().any(sends));
            return;
        }
        let theirs = packet.advertisement.priority;
        let higher =
            theirs > Some(priority) || theirs == Some(priority) && packet.endpoints.source() > source;
        let yields = higher && theirs.is_some() && !priority.is_owner();
        assert_eq!(after == State::Backup, yields);
        if outputs.iter().any(sends) {
            let interval = self.instance.config().link.form().interval();
            assert!(self.answered.is_none_or(|at| self.now - at >= interval / 2));
            self.answered = Some(self.now);
        }
    }
}

fn sends(output: &Output) -> bool {
    matches!(output, Output::Transmit(_))
}

fn config(octets: &mut Octets<'_>) -> Config {
    let [kind, priority, interval, preempt] = [(); 4].map(|()| octets.or_0());
    let v6 = kind & 1 == 1;
    let form = form(kind, interval, octets);
    let link = Link::new(form, address(v6, 5)).expect("of one family");
    let peers = (1..4).filter(|_| kind & 8 != 0).map(|host| address(v6, host));
    Config {
        priority: Priority::new(priority).unwrap_or_default(),
        preempt: match preempt {
            0 => Preempt::Never,
            tenths => Preempt::After(Duration::from_millis(u64::from(tenths - 1) * 100)),
        },
        checksum: if kind & 16 == 0 { Coverage::Message } else { Coverage::PseudoHeader },
        ..Config::new(
            Vrid::new(kind >> 6 | 1).expect("not 0"),
            link.with_peers(peers).expect("of one family"),
        )
    }
}

/// The lowest bit of `kind` is the family; the next two are version and password.
fn form(kind: u8, interval: u8, octets: &mut Octets<'_>) -> Form {
    let v6 = kind & 1 == 1;
    let hosts = 1 + octets.or_0() % 3;
    let list: Vec<_> = (0..hosts).map(|host| address(v6, 100 + host)).collect();
    match (kind & 2 != 0, Addresses::new(&list).expect("of one family")) {
        (true, Addresses::V4(addresses)) => Form::V2 {
            interval: Seconds::new(interval).unwrap_or(Seconds::MIN),
            authentication: if kind & 4 == 0 {
                Authentication::None
            } else {
                Authentication::password("fuzz")
            },
            addresses,
        },
        (_, addresses) => {
            let centiseconds = u16::from(interval) << (kind >> 4 & 3);
            let interval = Interval::from_centiseconds(centiseconds.max(1)).expect("in its range");
            Form::V3 { interval, addresses }
        }
    }
}

/// Mostly one that the instance will look at.
fn packet(config: &Config, octets: &mut Octets<'_>) -> Packet {
    let [how, priority, host] = [(); 3].map(|()| octets.or_0());
    let ours = config.link.form();
    let form = match how & 3 {
        0 | 1 => ours.clone(),
        _ => form(how >> 2, octets.or_0(), octets),
    };
    let source = address(form.is_v6(), 1 + host % 8);
    let group: IpAddr = if form.is_v6() { iana::GROUP_V6.into() } else { iana::GROUP_V4.into() };
    Packet {
        advertisement: Advertisement {
            vrid: if how == 0xFF { Vrid::MAX } else { config.vrid },
            priority: Priority::new(priority),
            form,
        },
        endpoints: Endpoints::new(source, group).expect("of one family"),
        coverage: if how & 0x80 == 0 { Coverage::Message } else { Coverage::PseudoHeader },
    }
}

fn address(v6: bool, host: u8) -> IpAddr {
    if v6 { [0xFE80, 0, 0, 0, 0, 0, 0, u16::from(host)].into() } else { [10, 0, 0, host].into() }
}

struct Octets<'a>(&'a [u8]);

impl Octets<'_> {
    fn next(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn or_0(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }
}

/// Every reason has a name of its own.
const _: () = assert!(Discard::ALL.len() == 20);
