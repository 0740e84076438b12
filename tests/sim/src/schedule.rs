//! The schedule of a world, from its seed: a list of times and actions, made before the run, so that a part of it can
//! also be run.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::Force;

use crate::action::{Action, Behaviour, Node, Silent, Timed, Tor};
use crate::rng::Rng;
use crate::shape::{PROBED, SERVICES, Shape, Word, vip_of};
use crate::world::Setup;

/// Faults begin then: sessions stand and checks are settled.
const BEGIN: Duration = Duration::from_secs(5);
/// The numbers that stand for actions.
const KINDS: u64 = 118;
/// Addresses that are flushed and added.
const ADDRESSES: [&str; 6] =
    ["192.0.2.10", "2001:db8::10", "192.0.2.53", "192.0.2.80", "192.0.2.99", "198.51.100.7"];

impl Setup {
    /// The world of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut rng = Rng::of(seed, 1);
        let number = |n: u64| usize::try_from(n).unwrap_or(1);
        Self {
            seed,
            nodes: 1 + number(rng.below(3)),
            routers: 1 + number(rng.below(2)),
            graceful: rng.chance(30),
            passive: rng.chance(30),
            bug: None,
        }
    }
}

/// What happens to the world of a seed within `lasts`.
pub fn schedule(setup: Setup, lasts: Duration) -> Vec<Timed> {
    let mut rng = Rng::of(setup.seed, 2);
    let count = 5 + rng.below(25);
    // Some worlds see few kinds of things, each of them often.
    let focus = rng.chance(40).then(|| [rng.below(KINDS), rng.below(KINDS), rng.below(KINDS)]);
    let mut actions: Vec<Timed> = Vec::new();
    for _ in 0..count {
        let at = rng.between(BEGIN, lasts);
        let at = Instant::BOOT + Duration::from_millis(u64::try_from(at.as_millis()).unwrap_or_default());
        let kind = match &focus {
            Some(kinds) => rng.pick(kinds).copied().unwrap_or_default(),
            None => rng.below(KINDS),
        };
        let action = action(kind, setup, &mut rng);
        // What begins often ends soon.
        if let Some(end) = end_of(&action).filter(|_| rng.chance(70)) {
            let after = rng.between(Duration::from_millis(1), Duration::from_secs(12));
            let after = Duration::from_millis(u64::try_from(after.as_millis()).unwrap_or_default());
            actions.push(Timed { at: at + after, action: end });
        }
        // A hand-over is tried out for some time, and comes in the middle of something.
        if rng.chance(15) {
            let before = Duration::from_millis(rng.below(400));
            let node = Node(index(&mut rng, setup.nodes));
            actions.push(Timed { at: at - before, action: Action::Upgrade(node) });
        }
        actions.push(Timed { at, action });
    }
    actions.sort_by_key(|timed| timed.at);
    actions
}

fn index(rng: &mut Rng, of: usize) -> usize {
    usize::try_from(rng.below(u64::try_from(of).unwrap_or(1))).unwrap_or_default()
}

fn action(kind: u64, setup: Setup, rng: &mut Rng) -> Action {
    let node = Node(index(rng, setup.nodes));
    let tor = Tor(index(rng, setup.routers));
    let probed = PROBED[index(rng, PROBED.len())].to_owned();
    let service = Some(SERVICES[index(rng, SERVICES.len())].to_owned());
    let ip = ADDRESSES[index(rng, ADDRESSES.len())];
    let ip: IpAddr = vip_of(ip).map_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), |vip| vip.addr());
    let millis = |rng: &mut Rng, most: u64| Duration::from_millis(1 + rng.below(most));
    match kind {
        0..12 => Action::Behave(node, probed, Behaviour::Dead),
        12..20 => Action::Behave(node, probed, Behaviour::Alive),
        20..23 => Action::Behave(node, probed, Behaviour::Hangs),
        23..27 => Action::Behave(node, probed, Behaviour::Flaps(millis(rng, 2000))),
        27..34 => Action::Flush(node, ip),
        34..37 => Action::Adopt(node, ip),
        37..39 => Action::Link(node, false),
        39..41 => Action::KernelRefuses(node, true),
        41..43 => Action::KernelMumbles(node, true),
        43..45 => Action::Cut(node, tor, true),
        45..46 => Action::Silence(node, tor, Silent::Node),
        46..47 => Action::Silence(node, tor, Silent::Router),
        47..50 => Action::Reset(node, tor),
        50..52 => Action::HalfOpen(node, tor),
        52..54 => Action::Refuse(tor, true),
        54..56 => Action::RestartRouter(tor),
        56..60 => Action::Crash(node, millis(rng, 5000)),
        60..62 => Action::PowerLoss(node, millis(rng, 15_000)),
        62..66 => Action::Terminate(node),
        66..68 => Action::Hurry(node),
        68..71 => Action::Restart(node),
        71..80 => Action::Reload(node, shape(rng)),
        80..82 => Action::ReloadBroken(node),
        82..86 => Action::Drain(node, service, None),
        86..90 => Action::Drain(node, service, Some(millis(rng, 20_000))),
        90..91 => Action::Drain(node, None, None),
        91..92 => Action::Drain(node, None, Some(millis(rng, 20_000))),
        92..94 => Action::Undrain(node, service),
        94..96 => Action::Undrain(node, None),
        96..97 => Action::Wall(node, i64::try_from(rng.below(7200)).unwrap_or_default() - 3600),
        97..98 => Action::DiskFull(node, true),
        98..100 => Action::DiskHangs(node, true),
        100..103 => Action::Force(node, service, Force::Up, None),
        103..105 => Action::Force(node, service, Force::Up, Some(millis(rng, 20_000))),
        105..107 => Action::Force(node, service, Force::Down, None),
        107..109 => Action::Force(node, service, Force::Down, Some(millis(rng, 20_000))),
        109..110 => Action::Force(node, None, Force::Up, None),
        110..111 => Action::Force(node, None, Force::Down, Some(millis(rng, 20_000))),
        111..117 => Action::Upgrade(node),
        _ => Action::Clear(node, if rng.chance(50) { service } else { None }),
    }
}

/// What ends it, if it does not end by itself.
fn end_of(action: &Action) -> Option<Action> {
    match action {
        Action::Behave(node, service, Behaviour::Dead | Behaviour::Hangs | Behaviour::Flaps(_)) => {
            Some(Action::Behave(*node, service.clone(), Behaviour::Alive))
        }
        Action::Link(node, false) => Some(Action::Link(*node, true)),
        Action::KernelRefuses(node, true) => Some(Action::KernelRefuses(*node, false)),
        Action::KernelMumbles(node, true) => Some(Action::KernelMumbles(*node, false)),
        Action::Cut(node, tor, true) | Action::Silence(node, tor, _) => Some(Action::Cut(*node, *tor, false)),
        Action::Refuse(tor, true) => Some(Action::Refuse(*tor, false)),
        Action::ReloadBroken(node) => Some(Action::Reload(*node, Shape::default())),
        Action::Drain(node, service, None) => Some(Action::Undrain(*node, service.clone())),
        Action::Force(node, service, _, None) => Some(Action::Clear(*node, service.clone())),
        Action::DiskFull(node, true) => Some(Action::DiskFull(*node, false)),
        Action::DiskHangs(node, true) => Some(Action::DiskHangs(*node, false)),
        Action::Behave(_, _, Behaviour::Alive)
        | Action::Flush(..)
        | Action::Adopt(..)
        | Action::Link(_, true)
        | Action::KernelRefuses(_, false)
        | Action::KernelMumbles(_, false)
        | Action::Cut(_, _, false)
        | Action::Reset(..)
        | Action::HalfOpen(..)
        | Action::Refuse(_, false)
        | Action::RestartRouter(_)
        | Action::Crash(..)
        | Action::PowerLoss(..)
        | Action::Terminate(_)
        | Action::Hurry(_)
        | Action::Restart(_)
        | Action::Upgrade(_)
        | Action::Reload(..)
        | Action::Drain(_, _, Some(_))
        | Action::Undrain(..)
        | Action::Force(_, _, _, Some(_))
        | Action::Clear(..)
        | Action::Wall(..)
        | Action::DiskFull(_, false)
        | Action::DiskHangs(_, false) => None,
    }
}

fn shape(rng: &mut Rng) -> Shape {
    let words: BTreeSet<Word> = Word::ALL.into_iter().filter(|_| rng.chance(15)).collect();
    Shape(words)
}
