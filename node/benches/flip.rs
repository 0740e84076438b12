//! The cost of one check that flips, among few and among many services: everything from the report to the routes for
//! every peer, and the records. And the cost of a hand-over of 5,000 VIPs: freeze and write, read and thaw.
//!
//! ```text
//! cargo bench -p vipcast-node --bench flip
//! ```
//!
//! In instructions, for one number of services (once with 0 flips and once with 1000; the difference is theirs):
//!
//! ```text
//! valgrind --tool=callgrind target/release/deps/flip-… 10000 1000
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and says what it found"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use vipcast_bgp::Instant;
use vipcast_bgp::wire::Asn;
use vipcast_node::engine::{Binding, BindingFact, Event, Left, Link, Listing, Owner};
use vipcast_node::frozen;
use vipcast_node::health::report::{CheckReport, HealthState, Outcome};
use vipcast_node::input::Input;
use vipcast_node::model::{Check, Condition, Config, Peer, Question, Service};
use vipcast_node::node::{Birth, Node};
use vipcast_node::now::Now;

const ROUNDS: u32 = 5;

fn main() {
    let asked: Vec<u32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    if let [services, flips] = asked[..] {
        let mut bench = Bench::new(services);
        (0..flips).for_each(|n| bench.flip(n));
        return;
    }
    for services in [10, 100, 1_000, 10_000] {
        let mut bench = Bench::new(services);
        let round = |bench: &mut Bench| {
            let begin = std::time::Instant::now();
            (0..1_000).for_each(|n| bench.flip(n));
            begin.elapsed() / 1_000
        };
        let best = (0..ROUNDS).map(|_| round(&mut bench)).min().unwrap();
        println!("{services:6} services: {best:?} for a check that flips");
    }
    Bench::new(5_000).hand_over();
}

struct Bench {
    node: Node,
    now: Now,
    checks: Vec<Arc<Check>>,
}

impl Bench {
    fn new(services: u32) -> Self {
        let config = config(services);
        let checks: Vec<_> = config.checks.values().cloned().collect();
        let now = Now { mono: Instant::from_nanos(1_000_000_000), wall: Timestamp::UNIX_EPOCH };
        let mut node = Node::new(birth(Arc::new(config)));
        let bindings = (0..services)
            .map(|n| (Binding::host(vip(n), 1), BindingFact::from(Owner::Us)))
            .collect::<BTreeMap<_, _>>();
        let lo = Link { name: "lo".to_owned(), altnames: Default::default(), up: true };
        let listing = Listing { links: [(1, lo)].into_iter().collect(), bindings };
        black_box(node.start([Input::Fact(Event::Listed(listing))], now));
        let mut bench = Self { node, now, checks };
        for n in 0..services {
            bench.report(n, HealthState::Up);
        }
        bench
    }

    /// Says the time of the two halves of a hand-over, each at its best.
    fn hand_over(&self) {
        let freeze = || serde_json::to_vec(&self.node.freeze()).unwrap();
        let written = freeze();
        let thaw = || {
            let birth = birth(Arc::clone(self.node.engine().config()));
            let frozen: frozen::Node = serde_json::from_slice(&written).unwrap();
            Node::thaw(birth, &frozen, &|_| true, self.now).unwrap()
        };
        let (freezes, thaws) = (best(freeze), best(thaw));
        let size = written.len() >> 10;
        println!(
            "  5000 services: {freezes:?} to freeze and write {size} KiB, {thaws:?} to read and thaw them"
        );
    }

    /// A check in the middle goes down, or comes up again.
    fn flip(&mut self, n: u32) {
        let services = u32::try_from(self.checks.len()).unwrap();
        let which = (n / 2).wrapping_mul(7_919) % services;
        self.report(which, if n.is_multiple_of(2) { HealthState::Down } else { HealthState::Up });
    }

    fn report(&mut self, n: u32, state: HealthState) {
        self.now.mono += Duration::from_micros(1);
        let passed = state == HealthState::Up;
        let report = CheckReport {
            check: name(n).as_str().into(),
            definition: Arc::clone(&self.checks[usize::try_from(n).unwrap()]),
            state,
            since: self.now.mono,
            degraded: None,
            held_until: None,
            outcome: Outcome { passed, detail: "connection refused".to_owned(), took: Duration::ZERO },
            at: self.now.mono,
        };
        black_box(self.node.handle(Input::Fact(Event::Check(report)), self.now));
    }
}

fn best<T>(run: impl Fn() -> T) -> Duration {
    let time = || {
        let begin = std::time::Instant::now();
        black_box(run());
        begin.elapsed()
    };
    (0..ROUNDS).map(|_| time()).min().unwrap()
}

fn birth(config: Arc<Config>) -> Birth {
    Birth {
        config,
        warnings: Vec::new(),
        path: "vipcast.yaml".to_owned(),
        left: Left::default(),
        version: ("bench".to_owned(), None),
        seed: 1,
    }
}

/// Names in the order of their numbers.
fn name(n: u32) -> String {
    format!("service-{n:06}")
}

fn vip(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n).into()
}

fn config(count: u32) -> Config {
    let check = |n: u32| {
        Arc::new(Check { rise: NonZeroU32::MIN, fall: NonZeroU32::MIN, ..Check::new(Question::new(n)) })
    };
    let service = |n: u32| Service::new([vip(n).into()], Condition::Check(name(n).as_str().into()));
    let peer = |last| Peer::new(Ipv4Addr::new(192, 0, 2, last).into(), Asn(65001), Asn(65000));
    let services = (0..count).map(|n| (name(n).as_str().into(), service(n)));
    let mut config = Config::new([("tor-a".into(), peer(1)), ("tor-b".into(), peer(3))], services);
    config.router_id = Some(Ipv4Addr::new(192, 0, 2, 2));
    config.checks = (0..count).map(|n| (name(n).as_str().into(), check(n))).collect();
    config
}
