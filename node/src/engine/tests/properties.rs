//! Random lives of a node in a model of the world. The world checks I1 to I4 and I7 after every event; what must be true in
//! the end is checked here.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::world::{Change, World};
use super::*;

const CHECKS: [&str; 5] = ["alive", "left", "right", "spare", "listening"];
const SERVICES: [&str; 3] = ["web", "dns", "api"];
const TORS: [&str; 2] = ["tor-a", "tor-b"];
const CHANGES: [Change; 5] = [Change::Gone, Change::Renamed, Change::Down, Change::Whole, Change::Whole];

/// A configuration, as far as it varies.
#[derive(Debug, Clone)]
struct Shape {
    /// Which services there are.
    services: [bool; 3],
    /// Whether web and dns have each other's VIP.
    swapped: bool,
    interfaces: [bool; 3],
    binds: [BindPolicy; 3],
    demotes: bool,
    /// Whether web warms up, and does not preempt: never, or for a second.
    warms_up: bool,
    preempt: Preempt,
    /// Whether dns is a standby.
    standby: bool,
    med: bool,
    /// Whether the check of web is another one.
    other_check: bool,
    second_tor: bool,
    /// Whether there is no peer at all.
    no_peers: bool,
    slow: [bool; 2],
    keep_addresses: bool,
    /// Whether tor-a keeps routes over a restart.
    graceful: bool,
}

impl Shape {
    fn config(&self) -> Config {
        let at = |swapped: bool| if swapped { "192.0.2.2" } else { "192.0.2.1" };
        let mut web = service([at(self.swapped), "2001:db8::1"], ["alive"]);
        web.announce.med = self.med.then_some(7);
        let mut dns = service([at(!self.swapped)], []);
        dns.checks = Condition::Any(vec![one("left"), one("right")]);
        web.warm_up = self.warms_up.then_some(SECOND);
        web.role = Role::Active(self.preempt);
        if self.standby {
            dns.role = Role::Standby;
        }
        if self.demotes {
            dns.on_down = OnDown::Demote;
        }
        // A wider prefix, and a host address beside it that is its network address.
        let mut api = service(["192.0.2.3", "203.0.113.0/24", "203.0.113.0"], []);
        let all = Condition::All(vec![one("left"), one("alive")]);
        api.checks = Condition::AtLeast(2, vec![one("listening"), one("spare"), all]);
        let mut config = config([("web", web), ("dns", dns), ("api", api)]);
        for (i, service) in SERVICES.into_iter().enumerate() {
            let service = config.services.get_mut(service).unwrap();
            service.interface = if self.interfaces[i] { "eth0" } else { "lo" }.into();
            service.bind = self.binds[i];
        }
        config
            .services
            .retain(|name, _| self.services[SERVICES.iter().position(|s| *s == name.as_str()).unwrap()]);
        let used = users(&config);
        config.checks.retain(|check, _| used.contains_key(check));
        if let (true, Some(check)) = (self.other_check, config.checks.get_mut("alive")) {
            *check = definition(443);
        }
        if !self.second_tor {
            config.peers.remove("tor-b");
        }
        if self.no_peers {
            config.peers.clear();
        }
        config.shutdown.drain_time = if self.slow[0] { 3 * SECOND } else { Duration::ZERO };
        config.shutdown.unbind_delay = if self.slow[1] { SECOND } else { Duration::ZERO };
        config.shutdown.keep_addresses = self.keep_addresses;
        if let Some(tor) = config.peers.get_mut("tor-a").filter(|_| self.graceful) {
            tor.graceful_restart = Some(GracefulRestart {
                restart_time: RestartTime::from_secs(10).unwrap(),
                notification: true,
            });
        }
        config
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    fn mostly() -> prop::bool::Weighted {
        prop::bool::weighted(0.8)
    }
    fn seldom() -> prop::bool::Weighted {
        prop::bool::weighted(0.2)
    }
    let bind = prop_oneof![
        3 => Just(BindPolicy::Always),
        1 => Just(BindPolicy::Announced),
        2 => Just(BindPolicy::Route),
    ];
    let per_service =
        (prop::array::uniform3(mostly()), prop::array::uniform3(seldom()), prop::array::uniform3(bind));
    let rest = (
        seldom(),
        any::<bool>(),
        seldom(),
        seldom(),
        mostly(),
        prop::array::uniform2(mostly()),
        seldom(),
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    let preempt = prop_oneof![
        3 => Just(Preempt::AtOnce),
        1 => Just(Preempt::Never),
        1 => Just(Preempt::After(SECOND)),
    ];
    (per_service, (seldom(), preempt, seldom()), rest).prop_map(
        |(
            (services, interfaces, binds),
            (warms_up, preempt, standby),
            (swapped, demotes, med, other_check, second_tor, slow, keep_addresses, graceful, no_peers),
        )| Shape {
            warms_up,
            preempt,
            standby,
            services,
            swapped,
            interfaces,
            binds,
            demotes,
            med,
            other_check,
            second_tor,
            no_peers,
            slow,
            keep_addresses,
            graceful,
        },
    )
}

/// What may be on the host: VIPs, what an earlier configuration had, and what is no business of ours.
fn bindings() -> impl Strategy<Value = Binding> {
    const IPS: [&str; 7] =
        ["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "203.0.113.0", "192.0.2.99", "10.0.0.1"];
    const PREFIXES: [&str; 5] =
        ["192.0.2.1", "2001:db8::1", "203.0.113.0", "203.0.113.0/24", "198.51.100.0/24"];
    let at = || prop::sample::select(&["lo", "eth0"][..]);
    let address = (prop::sample::select(&IPS[..]), at()).prop_map(|(ip, at)| on(at, ip));
    // As we make it, or as others do.
    let route = (prop::sample::select(&PREFIXES[..]), at(), any::<bool>()).prop_map(|(vip, at, alike)| {
        let route = Binding::route(net(vip), index(at));
        let Kind::Route { length, metric } = route.kind else { unreachable!("it is a route") };
        Binding { kind: Kind::Route { length, metric: if alike { metric } else { 0 } }, ..route }
    });
    prop_oneof![2 => address, 1 => route]
}

fn hosts() -> impl Strategy<Value = BTreeMap<Binding, Owner>> {
    let owner = prop_oneof![Just(Owner::Us), Just(Owner::Other)];
    prop::collection::btree_map(bindings(), owner, 0..4)
}

/// One thing that happens.
#[derive(Debug, Clone)]
enum Op {
    Check(&'static str, HealthState),
    KernelWorks,
    KernelLists,
    HearKernel { all: bool },
    HearAnswer,
    KernelRefuses(bool),
    KernelMumbles(bool),
    Interface(Change),
    SomeoneAdds(Binding),
    SomeoneRemoves(Binding),
    SessionUp(&'static str),
    SessionDown(&'static str),
    SessionCloses,
    RouterReads(&'static str),
    RouterSticks(&'static str),
    HearPeers,
    Drain(&'static str, Option<u64>),
    Undrain(&'static str),
    Force(&'static str, bool, Option<u64>),
    Clear(&'static str),
    Promote(&'static str),
    Reload(Box<Shape>),
    Wait(u64),
    Late(u64),
    Live(u64),
    HandOver,
}

impl Op {
    fn happen(self, world: &mut World) {
        match self {
            Self::Check(check, state) => world.check(check, state),
            Self::KernelWorks => world.kernel_works(),
            Self::KernelLists => world.kernel_lists(),
            Self::HearKernel { all } => world.hear_kernel(all),
            Self::HearAnswer => world.hear_answer(),
            Self::KernelRefuses(refuses) => world.refuses = refuses,
            Self::KernelMumbles(mumbles) => world.mumbles = mumbles,
            Self::Interface(change) => world.interface(change),
            Self::SomeoneAdds(address) => world.someone_adds(address),
            Self::SomeoneRemoves(address) => world.someone_removes(address),
            Self::SessionUp(tor) => world.session_up(tor),
            Self::SessionDown(tor) => world.session_down(tor),
            Self::SessionCloses => world.session_closes(),
            Self::RouterReads(tor) => world.router_reads(tor),
            Self::RouterSticks(tor) => world.router_sticks(tor),
            Self::HearPeers => world.hear_peers(),
            Self::Drain(service, lasts) => world.drain(service, lasts.map(ms)),
            Self::Undrain(service) => world.undrain(service),
            Self::Force(service, up, lasts) => {
                world.force(service, if up { Force::Up } else { Force::Down }, lasts.map(ms));
            }
            Self::Clear(service) => world.clear(service),
            Self::Promote(service) => world.promote(service),
            Self::Reload(shape) => world.reload(shape.config()),
            Self::Wait(time) => world.wait(ms(time)),
            Self::Late(time) => world.late(ms(time)),
            Self::Live(time) => world.live(ms(time)),
            Self::HandOver => world.hand_over(),
        }
    }
}

fn ops() -> impl Strategy<Value = Op> {
    let states = [HealthState::Unknown, HealthState::Rising, UP, UP, UP, HealthState::Falling, DOWN];
    let check = || prop::sample::select(&CHECKS[..]);
    let tor = || prop::sample::select(&TORS[..]);
    let service = || prop::sample::select(&SERVICES[..]);
    // Much of what matters happens at the very end of a second, or of three.
    let time = || prop_oneof![1..400_u64, Just(999), Just(1000), Just(1001), Just(2999), Just(3000)];
    prop_oneof![
        8 => (check(), prop::sample::select(states.to_vec())).prop_map(|(check, state)| Op::Check(check, state)),
        5 => Just(Op::KernelWorks),
        1 => Just(Op::KernelLists),
        5 => any::<bool>().prop_map(|all| Op::HearKernel { all }),
        3 => Just(Op::HearAnswer),
        1 => any::<bool>().prop_map(Op::KernelRefuses),
        1 => any::<bool>().prop_map(Op::KernelMumbles),
        2 => prop::sample::select(&CHANGES[..]).prop_map(Op::Interface),
        2 => bindings().prop_map(Op::SomeoneAdds),
        2 => bindings().prop_map(Op::SomeoneRemoves),
        3 => tor().prop_map(Op::SessionUp),
        1 => tor().prop_map(Op::SessionDown),
        1 => Just(Op::SessionCloses),
        3 => tor().prop_map(Op::RouterReads),
        1 => tor().prop_map(Op::RouterSticks),
        4 => Just(Op::HearPeers),
        2 => (service(), prop::option::of(time())).prop_map(|(service, lasts)| Op::Drain(service, lasts)),
        1 => service().prop_map(Op::Undrain),
        2 => (service(), any::<bool>(), prop::option::of(time()))
            .prop_map(|(service, up, lasts)| Op::Force(service, up, lasts)),
        1 => service().prop_map(Op::Clear),
        1 => service().prop_map(Op::Promote),
        2 => shapes().prop_map(|shape| Op::Reload(Box::new(shape))),
        4 => time().prop_map(Op::Wait),
        2 => time().prop_map(Op::Late),
        4 => time().prop_map(Op::Live),
    ]
}

/// A node whose sessions are up and whose checks have mostly passed, and then some life.
fn lives(length: usize) -> impl Strategy<Value = (Shape, BTreeMap<Binding, Owner>, Vec<Op>)> {
    let beginning = prop::collection::vec(prop::bool::weighted(0.8), CHECKS.len() + TORS.len());
    (shapes(), hosts(), beginning, prop::collection::vec(ops(), 0..length)).prop_map(
        |(shape, host, begins, mut life)| {
            // What is early by one unbind delay is not by another, so it is the same all life long.
            for op in &mut life {
                if let Op::Reload(next) = op {
                    next.slow[1] = shape.slow[1];
                }
            }
            let checks = CHECKS.into_iter().map(|check| Op::Check(check, UP));
            let sessions = TORS.into_iter().map(Op::SessionUp);
            let beginning =
                checks.chain(sessions).zip(begins).filter_map(|(op, happens)| happens.then_some(op));
            (shape, host, beginning.chain([Op::Live(50)]).chain(life).collect())
        },
    )
}

/// A life with hand-overs: some, or one before each event.
fn handed_over(length: usize) -> impl Strategy<Value = (Shape, BTreeMap<Binding, Owner>, Vec<Op>)> {
    let when = prop_oneof![2 => Just(0.2), 1 => Just(1.0)];
    let handed_over = move |often| prop::collection::vec(prop::bool::weighted(often), length + 10);
    (lives(length), when.prop_flat_map(handed_over)).prop_map(|((shape, host, ops), handed_over)| {
        let each = ops.into_iter().zip(handed_over.into_iter().chain(std::iter::repeat(false)));
        let ops = each.flat_map(|(op, hands)| hands.then_some(Op::HandOver).into_iter().chain([op]));
        (shape, host, ops.collect())
    })
}

fn lived((shape, host, ops): (Shape, BTreeMap<Binding, Owner>, Vec<Op>)) -> World {
    let mut world = World::new(shape.config(), host);
    for op in ops {
        op.happen(&mut world);
    }
    world
}

/// How a world behaves during a shutdown.
#[derive(Debug, Clone)]
struct End {
    sticks: [bool; 2],
    kernel_refuses: bool,
    /// The sessions never report their end.
    never_closes: bool,
    /// When a second SIGTERM comes.
    hurry: Option<u64>,
    /// When each session goes down or comes up.
    flaps: [Option<u64>; 2],
}

fn ends() -> impl Strategy<Value = End> {
    let seldom = || prop::bool::weighted(0.2);
    let when = || prop::option::weighted(0.3, 0..8000_u64);
    (prop::array::uniform2(seldom()), seldom(), seldom(), when(), prop::array::uniform2(when())).prop_map(
        |(sticks, kernel_refuses, never_closes, hurry, flaps)| End {
            sticks,
            kernel_refuses,
            never_closes,
            hurry,
            flaps,
        },
    )
}

proptest! {
// Half of PROPTEST_CASES, of which 256 is the default: a few seconds in a debug build.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 2,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// I1, I2, I3, I4 and I7 on the way.
    #[test]
    fn whatever_happens_it_converges_and_rests(life in lives(60)) {
        let mut world = lived(life);
        world.refuses = false;
        world.mumbles = false;
        world.interface(Change::Whole);
        world.live(SECOND);
        for tor in TORS {
            world.session_down(tor);
            world.session_up(tor);
        }
        // Every drain that ends by itself has ended, every retry was made, every address has stayed for long enough.
        world.live(60 * SECOND);
        world.everything_is_as_decided();
        let quiet = world.engine.clone();
        world.live(100 * SECOND);
        prop_assert_eq!(quiet.version(), world.engine.version());
        prop_assert_eq!(world.engine.deadline(), None);
    }

    #[test]
    fn i9_whatever_has_happened_a_shutdown_ends_clean(life in lives(40), end in ends()) {
        let mut world = lived(life);
        world.refuses = end.kernel_refuses;
        for (tor, _) in TORS.into_iter().zip(end.sticks).filter(|(_, sticks)| *sticks) {
            world.router_sticks(tor);
        }
        i9_shutdown(&mut world, &end);
    }
}

proptest! {
    // Each event happens twice, and a hand-over writes and reads everything. The lives are the same in each run, because
    // a difference of two twins may be very rare; PROPTEST_CASES looks at others.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4,
        failure_persistence: None,
        rng_seed: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => ProptestConfig::default().rng_seed,
            None => RngSeed::Fixed(13),
        },
        ..ProptestConfig::default()
    })]

    /// The world compares every effect, record and deadline with those of a twin.
    #[test]
    fn i13_a_hand_over_sends_nothing_resets_nothing_and_forgets_nothing(life in handed_over(60)) {
        let mut world = lived(life);
        world.refuses = false;
        world.mumbles = false;
        world.interface(Change::Whole);
        world.live(5 * SECOND);
        world.hand_over();
        for tor in TORS {
            world.session_down(tor);
            world.session_up(tor);
        }
        world.live(60 * SECOND);
        world.everything_is_as_decided();
    }
}

fn i9_shutdown(world: &mut World, end: &End) {
    world.hear_peers();
    let begun = world.now;
    let config = Arc::clone(world.engine.config());
    // A router that keeps routes may have to be waited for, also by what a configuration before this one asked of it.
    let kept = world.engine.longest_kept();
    let facts = world.engine.facts();
    let alone = !facts.peers.values().any(|peer| peer.established);
    // What was due before it happens first, also where the timer is late; and that alone brings nothing back.
    let mut due = world.engine.clone();
    due.handle(Event::Tick, world.now, &mut Outbox::new(now(world.now), 1));
    let plain = |engine: &Engine, vip: &Vip| engine.standing()[vip].decision.verdict == Verdict::Announce;
    let standing = world.engine.standing().keys();
    let before: Vec<Vip> =
        standing.filter(|vip| plain(&world.engine, vip) && plain(&due, vip)).copied().collect();
    let host: BTreeSet<Vip> =
        world.bound().filter(|binding| world.kernel.contains_key(*binding)).map(Binding::vip).collect();
    world.mumbles = false;
    world.never_closes = end.never_closes;
    world.terminate();
    while world.exited.is_none() {
        let elapsed = u64::try_from((world.now - begun).as_millis()).unwrap();
        assert!(elapsed < 90_000, "I9: no end in sight: {:?}", world.engine.facts());
        for (tor, _) in
            TORS.into_iter().zip(end.flaps).filter(|(_, at)| at.is_some_and(|at| at / 100 == elapsed / 100))
        {
            world.session_down(tor);
            world.session_up(tor);
        }
        if end.hurry.is_some_and(|at| at / 100 == elapsed / 100) && !world.engine.facts().hurry {
            world.hurry();
        }
        world.live(ms(100));
    }
    assert!(world.stopped(), "I9: every session was ended");
    let bound =
        Duration::from_secs(5 + 5 + 5) + config.shutdown.drain_time + config.shutdown.unbind_delay + ms(100);
    let bound = bound + 2 * kept;
    assert!(world.now - begun <= bound, "I9: it took {:?}", world.now - begun);
    let left: Vec<_> = world.kernel.iter().filter(|(_, owner)| **owner == Owner::Us).collect();
    let may_stay = end.kernel_refuses || config.shutdown.keep_addresses;
    assert!(left.is_empty() || may_stay, "I9: left behind: {left:?}");
    if config.shutdown.keep_addresses {
        for service in config.services.values().filter(|service| service.bind.is_lasting()) {
            for vip in service.vips.iter().filter(|vip| service.carrier(vip).is_some()) {
                let is_there = world.kernel.keys().any(|binding| binding.vip() == *vip);
                assert!(is_there || !host.contains(vip), "I9: {vip} was not kept");
            }
        }
    }
    if alone {
        return;
    }
    let withdrawn = world.history.last().map(|(_, last)| last);
    assert!(before.is_empty() || withdrawn.is_some_and(|last| last.is_empty()), "I9: all is withdrawn");
    for vip in before {
        let gone = world.history.iter().position(|(_, routes)| !routes.contains_key(&vip.prefix())).unwrap();
        let graceful = world.history[..gone].iter().find(|(_, routes)| is_graceful(&routes[&vip.prefix()]));
        assert!(graceful.is_some(), "I9: {vip} was withdrawn without GRACEFUL_SHUTDOWN");
    }
}
