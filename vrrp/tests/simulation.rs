//! Properties of a group of routers on a LAN that loses, delays and cuts off, and of routers that sleep, crash and restart:
//! once the LAN is whole, never more than one Active Router and never none for longer than one detection time.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_VRRP_STEPS` | inputs to handle, 30,000 by default |
//! | `VIPCAST_VRRP_SEED` | the first seed |

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, not to clippy")]

#[path = "support/lan.rs"]
mod lan;
#[path = "support/random.rs"]
mod random;

use std::env;
use std::net::IpAddr;
use std::time::Duration;

use lan::{Lan, Wire};
use random::Random;
use vipcast_vrrp::{
    Addresses, Announcements, Authentication, Config, Form, Input, Instance, Interval, Link, Preempt,
    Priority, Seconds, Vrid,
};

#[test]
fn a_whole_lan_has_one_active_router_and_never_none_or_two_for_longer_than_a_detection_time() {
    let steps = number("VIPCAST_VRRP_STEPS").unwrap_or(30_000);
    let first = number("VIPCAST_VRRP_SEED").unwrap_or(1);
    let (mut done, mut seed, mut longest) = (0, first, Longest::default());
    while done < steps {
        done += World::new(seed).play(&mut longest);
        seed += 1;
    }
    println!(
        "{done} inputs in {} worlds; none Active for at most {:.0} % of the bound, two for {:.0} %",
        seed - first,
        longest.none * 100.0,
        longest.two * 100.0
    );
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// As parts of the bound.
#[derive(Default)]
struct Longest {
    none: f64,
    two: f64,
}

struct World {
    seed: u64,
    lan: Lan,
    /// The longest interval of a router.
    interval: Duration,
    /// The longest time until a router takes over or yields.
    bound: Duration,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let (configs, interval, version_2) = configs(&mut random);
        // Active_Down_Interval with the longest Skew_Time, the wait after a late wake-up, the way of two packets.
        let skew = if version_2 { Duration::from_secs(1) } else { interval };
        let bound = interval * 3 + skew + interval * 5 / 4 + Duration::from_millis(4);
        Self { seed, lan: Lan::new(configs, random), interval, bound }
    }

    /// Some rounds of trouble, each with its calm; the number of inputs.
    fn play(mut self, longest: &mut Longest) -> u64 {
        for node in 0..self.lan.nodes.len() {
            let later = self.lan.random.up_to(self.interval * 4);
            self.run(later);
            self.lan.start(node);
        }
        for _ in 0..4 {
            self.trouble();
            self.calm(longest);
        }
        self.lan.steps
    }

    fn run(&mut self, time: Duration) {
        let end = self.lan.now + time;
        self.lan.run(end, |_| ());
    }

    fn trouble(&mut self) {
        for _ in 0..self.lan.random.below(30) {
            self.one_trouble();
            let time = self.lan.random.up_to(self.interval * 2);
            self.run(time);
        }
    }

    fn one_trouble(&mut self) {
        let (nodes, random) = (self.lan.nodes.len(), &mut self.lan.random);
        let (node, other) = (random.index(nodes), random.index(nodes));
        match random.below(10) {
            // One direction.
            0 => self.lan.links[node][other].loss_percent = random.one_of(&[0, 10, 50, 100]),
            1 => self.lan.links[node][other].delay = random.up_to(self.interval * 2),
            // Two parts.
            2 => {
                let cut = random.next();
                for from in 0..nodes {
                    for to in 0..nodes {
                        let apart = (cut >> from ^ cut >> to) & 1 == 1;
                        self.lan.links[from][to].loss_percent = if apart { 100 } else { 0 };
                    }
                }
            }
            3 => self.lan.sleep(node),
            4 => self.lan.wake_up(node),
            5 => self.lan.crash(node),
            6 => {
                if self.lan.nodes[node].instance.is_none() {
                    self.lan.start(node);
                }
            }
            7 => {
                let input = if random.below(2) == 0 { Input::Stop } else { Input::Start };
                self.lan.input(node, input);
            }
            8 => {
                let fault = random.below(2) == 0;
                self.lan.nodes[node].fault = fault;
                self.lan.input(node, Input::Fault(fault));
            }
            _ => {
                // An owner has no weights.
                if !self.lan.nodes[node].config.priority.is_owner() {
                    let priority = priority(random);
                    self.lan.input(node, Input::Priority(priority));
                }
            }
        }
    }

    fn calm(&mut self, longest: &mut Longest) {
        let wire = Wire { loss_percent: 0, delay: Duration::from_millis(1) };
        for links in &mut self.lan.links {
            links.fill(wire);
        }
        for node in 0..self.lan.nodes.len() {
            if self.lan.nodes[node].asleep {
                self.lan.wake_up(node);
            }
        }
        self.lan.lose_what_is_under_way();
        let sent: Vec<_> = self.lan.nodes.iter().map(|node| node.sent).collect();
        let eligible = self.lan.nodes.iter().any(lan::Node::is_eligible);
        let (seed, bound, begin) = (self.seed, self.bound, self.lan.now);
        // How many were Active, if not one, and since when.
        let before = self.lan.active().len();
        let mut bad = (before > 1 || before == 0 && eligible).then_some((begin, before));
        let length = bound * 3;
        self.lan.run(begin + length, |lan| {
            let active = lan.active().len();
            if let Some((since, number)) = bad {
                let time = lan.now - since;
                let part = time.as_secs_f64() / bound.as_secs_f64();
                let kind = if number == 0 { &mut longest.none } else { &mut longest.two };
                *kind = kind.max(part);
                assert!(time <= bound, "seed {seed}, {:?}: {number} Active for {time:?}", lan.now);
            }
            bad = match (active, bad) {
                (0, _) if !eligible => None,
                (1, _) => None,
                (_, Some((since, number))) if (number == 0) == (active == 0) => Some((since, number)),
                (_, _) => Some((lan.now, active)),
            };
        });
        let active = self.lan.active();
        assert_eq!(active.len(), usize::from(eligible), "seed {seed}: at the end {active:?} are Active");
        self.the_best_is_active(&active);
        for (node, sent) in self.lan.nodes.iter().zip(sent) {
            // The periodic ones, and at most two answers in an interval.
            let most = length.div_duration_f64(node.config.link.form().interval()) * 3.0 + 10.0;
            assert!(((node.sent - sent) as f64) < most, "seed {seed}: {} packets", node.sent - sent);
        }
    }

    /// Where every router preempts, and at once.
    fn the_best_is_active(&self, active: &[usize]) {
        let eligible = || self.lan.nodes.iter().filter(|node| node.is_eligible());
        if eligible().any(|node| node.config.preempt != Preempt::After(Duration::ZERO)) {
            return;
        }
        let best = eligible().filter_map(|node| node.instance.as_ref()).map(Instance::priority).max();
        for &node in active {
            let ours = self.lan.nodes[node].instance.as_ref().map(Instance::priority);
            assert_eq!(ours, best, "seed {}", self.seed);
        }
    }
}

/// Two to five routers of one group, the longest interval, and whether they speak version 2.
fn configs(random: &mut Random) -> (Vec<Config>, Duration, bool) {
    let nodes = 2 + random.below(4);
    let version_2 = random.below(5) == 0;
    let v6 = !version_2 && random.below(2) == 0;
    let unicast = random.below(3) == 0;
    let centiseconds = random.one_of(&[1, 10, 30, 100]);
    let mixed = random.below(4) == 0;
    let owner = (random.below(6) == 0).then(|| random.below(nodes));
    let all_preempt = random.below(2) == 0;
    let address = |node: u64| -> IpAddr {
        let host = u8::try_from(node + 1).unwrap();
        if v6 { [0xFE80, 0, 0, 0, 0, 0, 0, u16::from(host)].into() } else { [10, 0, 0, host].into() }
    };
    let vip: IpAddr = if v6 { [0xFE80, 0, 0, 0, 0, 0, 0, 0x100].into() } else { [192, 0, 2, 1].into() };
    let configs: Vec<_> = (0..nodes)
        .map(|node| {
            let factor = if mixed { random.one_of(&[1, 2, 3]) } else { 1 };
            let form = match (version_2, Addresses::new(&[vip]).unwrap()) {
                (true, Addresses::V4(addresses)) => Form::V2 {
                    interval: Seconds::new(1).unwrap(),
                    authentication: Authentication::password("simulated"),
                    addresses,
                },
                (_, addresses) => {
                    let interval = Interval::from_centiseconds(centiseconds * factor).unwrap();
                    Form::V3 { interval, addresses }
                }
            };
            let peers = (0..nodes).filter(|&peer| unicast && peer != node).map(address);
            let link = Link::new(form, address(node)).unwrap().with_peers(peers).unwrap();
            let preempt = match random.below(3) {
                0 if !all_preempt => Preempt::Never,
                1 if !all_preempt => Preempt::After(Duration::from_millis(random.below(3_000))),
                _ => Preempt::After(Duration::ZERO),
            };
            Config {
                priority: if owner == Some(node) { Priority::OWNER } else { priority(random) },
                preempt,
                announcements: Announcements { again_after: None, refresh: Some(Duration::from_secs(60)) },
                ..Config::new(Vrid::new(51).unwrap(), link)
            }
        })
        .collect();
    let longest = configs.iter().map(|config| config.link.form().interval()).max().unwrap();
    (configs, longest, version_2)
}

/// Few different ones, so that many are equal.
fn priority(random: &mut Random) -> Priority {
    Priority::new(random.one_of(&[1, 50, 100, 100, 100, 101, 200, 254])).unwrap()
}
