//! Everything around the engine, as a model: the kernel's addresses, the routers, a clock, and what each was last told.
//!
//! ```text
//!  engine ── Bind, Unbind ──► requests ─► kernel ─► kernel_says ──┐
//!  engine ── Advertise ─────► Router::wanted ─► holds ─► peers_say ├──► engine
//!  clock ─────────────────────────────────────────────────────────┘
//! ```
//!
//! Every arrow takes as long as whoever drives the world likes. After every event the invariants are checked against an
//! independent statement of the rules.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Instant,
    /// What is on the host.
    pub(super) kernel: BTreeMap<Address, Owner>,
    /// Whether the kernel refuses whatever it is asked for.
    pub(super) refuses: bool,
    requests: VecDeque<(Address, Asked)>,
    kernel_says: VecDeque<Event>,
    pub(super) routers: BTreeMap<PeerName, Router>,
    /// Sessions that were told to end and still stand.
    closing: Vec<(PeerName, Routes)>,
    peers_say: VecDeque<Event>,
    advertised: (Version, Arc<Routes>),
    stopping: bool,
    /// Nobody says when the last session is closed.
    pub(super) never_closes: bool,
    /// When the process ended.
    pub(super) exited: Option<Instant>,
    /// Every set since the last shutdown, and when it was given.
    pub(super) history: Vec<(Instant, Arc<Routes>)>,
    // What the rules rest on, told apart from what the engine makes of it.
    told: BTreeMap<Address, Owner>,
    leaving: BTreeSet<Address>,
    verdicts: BTreeMap<CheckName, bool>,
    drains: BTreeMap<ServiceName, (Instant, Option<Instant>)>,
    /// Since when no router and no advertised set has an address that was announced once.
    free_since: BTreeMap<IpAddr, Option<Instant>>,
}

/// A router and the session with it.
#[derive(Debug, Default)]
pub(super) struct Router {
    up: bool,
    /// Whether the engine knows that.
    heard_of: bool,
    /// Reads nothing.
    pub(super) stuck: bool,
    wanted: (Version, Arc<Routes>),
    /// What it forwards to us.
    pub(super) holds: Routes,
}

/// What an event may do to services other than its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Concerns<'a> {
    Everyone,
    Only(&'a str),
}

impl World {
    pub(super) fn new(config: Config, kernel: BTreeMap<Address, Owner>) -> Self {
        let now = Instant::now();
        let mut world = Self {
            engine: Engine::new(Arc::new(config), BTreeMap::new()),
            now,
            kernel_says: [Event::Addresses(kernel.clone())].into(),
            kernel,
            refuses: false,
            requests: VecDeque::new(),
            routers: BTreeMap::new(),
            closing: Vec::new(),
            peers_say: VecDeque::new(),
            advertised: (Version::default(), Arc::default()),
            stopping: false,
            never_closes: false,
            exited: None,
            history: Vec::new(),
            told: BTreeMap::new(),
            leaving: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            drains: BTreeMap::new(),
            free_since: BTreeMap::new(),
        };
        let effects = world.engine.start(now);
        world.perform(effects);
        world
    }

    // --- what happens around the engine

    /// The kernel looks at the oldest request.
    pub(super) fn kernel_works(&mut self) {
        let Some((address, asked)) = self.requests.pop_front() else { return };
        if self.refuses {
            self.kernel_says.push_back(Event::AddressFailed(address, "not permitted".into()));
            return;
        }
        self.kernel_says.push_back(match asked {
            Asked::Bind if self.kernel.contains_key(&address) => {
                Event::AddressFailed(address, "it exists".into())
            }
            Asked::Bind => {
                self.kernel.insert(address.clone(), Owner::Us);
                Event::AddressAdded(address, Owner::Us)
            }
            Asked::Unbind => {
                self.kernel.remove(&address);
                Event::AddressRemoved(address)
            }
        });
    }

    /// Someone else puts an address on the host, unless it is there already.
    pub(super) fn someone_adds(&mut self, address: Address) {
        if !self.kernel.contains_key(&address) {
            self.kernel.insert(address.clone(), Owner::Other);
            self.kernel_says.push_back(Event::AddressAdded(address, Owner::Other));
        }
    }

    /// Someone else takes an address off the host, whosever it is.
    pub(super) fn someone_removes(&mut self, address: Address) {
        if self.kernel.remove(&address).is_some() {
            self.kernel_says.push_back(Event::AddressRemoved(address));
        }
    }

    /// The whole list, as after an overrun: what was said before it is lost, but for the answers.
    pub(super) fn kernel_lists(&mut self) {
        self.kernel_says.push_back(Event::Addresses(self.kernel.clone()));
    }

    /// The engine hears the kernel: one event, or all there are at once.
    pub(super) fn hear_kernel(&mut self, all: bool) {
        let count = if all { self.kernel_says.len() } else { self.kernel_says.len().min(1) };
        let events: Vec<Event> = self.kernel_says.drain(..count).collect();
        for event in &events {
            self.note(event);
        }
        self.handle(events, Concerns::Everyone);
    }

    /// A session comes up, with the routes that were wanted last.
    pub(super) fn session_up(&mut self, name: &str) {
        let closing = self.closing.iter().any(|(closing, _)| closing.as_str() == name);
        let Some((name, router)) = self.routers.get_key_value(name).filter(|_| !self.stopping && !closing)
        else {
            return;
        };
        if !router.up {
            let (name, wanted) = (name.clone(), self.advertised.clone());
            let router = Router { up: true, wanted, ..Router::default() };
            self.routers.insert(name.clone(), router);
            self.peers_say.push_back(Event::PeerUp(name));
        }
    }

    pub(super) fn session_down(&mut self, name: &str) {
        let name = PeerName::from(name);
        if let Some(router) = self.routers.get_mut(&name).filter(|router| router.up) {
            *router = Router::default();
            self.peers_say.push_back(Event::PeerDown(name));
        }
    }

    /// A router reads everything it was sent.
    pub(super) fn router_reads(&mut self, name: &str) {
        let name = PeerName::from(name);
        if let Some(router) = self.routers.get_mut(&name).filter(|router| router.up && !router.stuck) {
            router.holds = (*router.wanted.1).clone();
            self.peers_say.push_back(Event::PeerSynced(name, router.wanted.0));
        }
    }

    /// A router reads no more, until its session ends.
    pub(super) fn router_sticks(&mut self, name: &str) {
        if let Some(router) = self.routers.get_mut(name).filter(|router| router.up) {
            router.stuck = true;
        }
    }

    /// A session that was told to end is closed.
    pub(super) fn session_closes(&mut self) {
        if self.closing.is_empty() || (self.stopping && self.never_closes) {
            return;
        }
        let (name, _) = self.closing.remove(0);
        let last = self.stopping && self.closing.is_empty();
        self.peers_say.push_back(if last { Event::PeersStopped } else { Event::PeerDown(name) });
    }

    /// The engine hears of the sessions.
    pub(super) fn hear_peers(&mut self) {
        while let Some(event) = self.peers_say.pop_front() {
            if let Event::PeerUp(peer) = &event
                && let Some(router) = self.routers.get_mut(peer)
            {
                router.heard_of = router.up;
            }
            self.handle(vec![event], Concerns::Everyone);
        }
    }

    /// A check reports.
    pub(super) fn check(&mut self, check: &str, state: HealthState) {
        let config = Arc::clone(self.engine.config());
        if !config.checks.contains_key(check) {
            return;
        }
        if let Some(verdict) = state.verdict() {
            self.verdicts.insert(check.into(), verdict);
        }
        let users = &users(&config)[check];
        let concerns = match users.first() {
            Some(only) if users.len() == 1 => Concerns::Only(only.as_str()),
            _ => Concerns::Everyone,
        };
        self.handle(vec![report(&config, check, state, self.now)], concerns);
    }

    pub(super) fn drain(&mut self, service: &str, lasts: Option<Duration>) {
        let Some((name, _)) = self.engine.config().services.get_key_value(service) else { return };
        let lift_at = lasts.map(|lasts| self.now + lasts);
        let withdraw_at = self.now + self.engine.config().shutdown.drain_time;
        self.drains.entry(name.clone()).or_insert((withdraw_at, None)).1 = lift_at;
        self.handle(vec![Event::Drain(name.clone(), drain(lift_at))], Concerns::Only(service));
    }

    pub(super) fn undrain(&mut self, service: &str) {
        self.drains.remove(service);
        self.handle(vec![Event::Undrain(service.into())], Concerns::Only(service));
    }

    pub(super) fn reload(&mut self, config: Config) {
        if self.engine.facts().shutdown.is_none() {
            self.drains.retain(|service, _| config.services.contains_key(service));
            self.verdicts.retain(|check, _| config.checks.contains_key(check));
        }
        self.handle(vec![Event::Reload(Arc::new(config))], Concerns::Everyone);
    }

    pub(super) fn terminate(&mut self) {
        self.history.clear();
        self.handle(vec![Event::Shutdown], Concerns::Everyone);
    }

    /// The second SIGTERM.
    pub(super) fn hurry(&mut self) {
        self.handle(vec![Event::Shutdown], Concerns::Everyone);
    }

    /// Whether the sessions were told to end.
    pub(super) fn stopped(&self) -> bool {
        self.stopping
    }

    /// Time passes, and nothing else.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.engine.deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tick();
        }
        self.now = end;
    }

    /// Everyone does what was asked of them, within milliseconds, for some time.
    pub(super) fn live(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end && self.exited.is_none() {
            for _ in 0..3 {
                self.kernel_works();
                self.session_closes();
            }
            for name in self.names() {
                self.router_reads(&name);
            }
            self.hear_kernel(true);
            self.hear_peers();
            let next = match self.engine.deadline() {
                _ if !self.requests.is_empty() || !self.peers_say.is_empty() => ms(10),
                Some(at) => at.saturating_duration_since(self.now),
                None => SECOND,
            };
            self.wait(next.clamp(ms(10), SECOND).min(end - self.now));
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.routers.keys().map(ToString::to_string).collect()
    }

    // --- the engine and its effects

    fn tick(&mut self) {
        self.drains.retain(|_, (_, lift_at)| lift_at.is_none_or(|at| at > self.now));
        self.handle(vec![Event::Tick], Concerns::Everyone);
        let next = self.engine.deadline();
        assert!(next.is_none_or(|at| at > self.now), "the deadline is in the past after a tick: a busy loop");
    }

    /// What the engine is told of addresses, by the letter.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Addresses(addresses) => self.told.clone_from(addresses),
            Event::AddressAdded(address, owner) => {
                self.told.insert(address.clone(), *owner);
            }
            Event::AddressRemoved(address) => {
                self.told.remove(address);
                self.leaving.remove(address);
            }
            Event::AddressFailed(address, _) => {
                self.leaving.remove(address);
            }
            Event::Reload(_)
            | Event::Check(_)
            | Event::PeerUp(_)
            | Event::PeerDown(_)
            | Event::PeerSynced(..)
            | Event::Drain(..)
            | Event::Undrain(_)
            | Event::Shutdown
            | Event::PeersStopped
            | Event::Tick => unreachable!("not of the kernel: {event:?}"),
        }
    }

    fn handle(&mut self, events: Vec<Event>, concerns: Concerns<'_>) {
        if self.exited.is_some() || events.is_empty() {
            return;
        }
        self.look_who_holds_what();
        let before = self.engine.clone();
        let effects = self.engine.handle_all(events.clone(), self.now);
        if let Concerns::Only(service) = concerns
            && before.facts.shutdown.is_none()
        {
            self.i4_others_are_untouched(&before, &effects, service);
        }
        self.perform(effects);
        self.i1_only_what_may_be_is_announced();
        self.i7_the_same_again_does_nothing(events);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Configure(config) => self.configure(&config),
                Effect::Bind(address) => self.requests.push_back((address, Asked::Bind)),
                Effect::Unbind(address) => {
                    self.i3_it_is_ours(&address);
                    self.leaving.insert(address.clone());
                    self.i2_nobody_needs_it(&address);
                    self.requests.push_back((address, Asked::Unbind));
                }
                Effect::Advertise(version, routes) => {
                    assert!(version > self.advertised.0, "versions go up");
                    assert_ne!(routes, self.advertised.1, "I7: the same set again");
                    self.i2_all_of_it_is_bound(&routes);
                    for router in self.routers.values_mut() {
                        router.wanted = (version, Arc::clone(&routes));
                    }
                    self.history.push((self.now, Arc::clone(&routes)));
                    self.advertised = (version, routes);
                }
                Effect::StopPeers => {
                    assert!(self.advertised.1.is_empty(), "I9: sessions end when all is withdrawn");
                    assert!(!self.stopping, "once");
                    self.stopping = true;
                    for (name, router) in std::mem::take(&mut self.routers) {
                        self.closing.push((name, router.holds));
                    }
                    if self.closing.is_empty() {
                        self.peers_say.push_back(Event::PeersStopped);
                    }
                }
                Effect::Exit => self.exited = Some(self.now),
                Effect::SaveDrains(_) | Effect::Record(_) => {}
            }
            self.look_who_holds_what();
        }
        self.look_who_holds_what();
    }

    fn configure(&mut self, config: &Config) {
        for (name, router) in self.routers.extract_if(.., |name, _| !config.peers.contains_key(name)) {
            self.closing.push((name, router.holds));
        }
        for name in config.peers.keys() {
            let wanted = self.advertised.clone();
            self.routers.entry(name.clone()).or_insert(Router { wanted, ..Router::default() });
        }
    }

    /// Whether a router that the engine knows to be up still sends us packets for it.
    fn is_held(&self, vip: IpNet) -> bool {
        let mut standing = self.routers.values().filter(|router| router.heard_of).map(|router| &router.holds);
        standing.any(|holds| holds.contains_key(&vip))
            || self.closing.iter().any(|(_, holds)| holds.contains_key(&vip))
    }

    fn look_who_holds_what(&mut self) {
        for vip in self.advertised.1.keys().filter(|vip| is_host_address(vip)) {
            self.free_since.insert(vip.addr(), None);
        }
        let vips: Vec<IpAddr> = self.free_since.keys().copied().collect();
        for ip in vips {
            let taken = self.advertised.1.contains_key(&ip.into()) || self.is_held(ip.into());
            let since = self.free_since.entry(ip).or_default();
            *since = if taken { None } else { since.or(Some(self.now)) };
        }
    }

    // --- the invariants

    /// Whether the engine may take it for bound.
    fn is_bound(&self, ip: IpAddr) -> bool {
        self.told.keys().any(|address| address.ip == ip && !self.leaving.contains(address))
    }

    fn i1_only_what_may_be_is_announced(&self) {
        let config = self.engine.config();
        let mut expected = Routes::new();
        let mut count = 0;
        for (name, service) in &config.services {
            for vip in &service.vips {
                count += 1;
                let verdict = &self.engine.standing()[vip].decision.verdict;
                let reason = verdict.reason().map(Reason::name);
                let rule = self.rule(name, service, vip);
                assert_eq!((verdict.word(), reason), rule, "I1: {vip} of {name}: {:?}", self.engine.facts());
                if let Some(attributes) = verdict.attributes() {
                    let graceful = matches!(reason, Some("draining" | "shutting_down"));
                    assert_eq!(is_graceful(attributes), graceful, "I9: GRACEFUL_SHUTDOWN on {vip}");
                    expected.insert(*vip, Arc::clone(attributes));
                }
            }
        }
        assert_eq!(self.engine.standing().len(), count, "no decision outlives its VIP");
        assert_eq!(*self.advertised.1, expected, "what is decided is what is advertised");
    }

    /// What is to be said of a VIP, by the rules.
    fn rule(
        &self,
        name: &ServiceName,
        service: &Service,
        vip: &IpNet,
    ) -> (&'static str, Option<&'static str>) {
        let stopping = match self.engine.facts().shutdown {
            None => false,
            Some(Shutdown::Draining { .. }) => true,
            Some(_) => return ("withheld", Some("shutdown")),
        };
        let drain = self.drains.get(name);
        if drain.is_some_and(|(withdraw_at, _)| *withdraw_at <= self.now) {
            return ("withheld", Some("drained"));
        }
        // A condition is settled when it does not matter how the unsettled checks turn out.
        let passing = self.holds(&service.checks, false);
        let failing = !self.holds(&service.checks, true);
        match (passing, failing, &service.on_down) {
            (false, false, _) => ("withheld", Some("check_unknown")),
            (_, true, OnDown::Withdraw) => ("withheld", Some("check_down")),
            _ if is_host_address(vip) && !self.is_bound(vip.addr()) => ("withheld", Some("not_bound")),
            _ if drain.is_some() => ("demoted", Some("draining")),
            _ if stopping => ("demoted", Some("shutting_down")),
            (_, true, OnDown::Demote(_)) => ("demoted", Some("check_down")),
            (true, _, _) => ("announced", None),
        }
    }

    fn holds(&self, condition: &Condition, unsettled: bool) -> bool {
        let count = |of: &[Condition]| of.iter().filter(|part| self.holds(part, unsettled)).count();
        match condition {
            Condition::Check(check) => self.verdicts.get(check).copied().unwrap_or(unsettled),
            Condition::All(of) => count(of) == of.len(),
            Condition::Any(of) => count(of) > 0,
            Condition::AtLeast(needed, of) => count(of) >= *needed,
        }
    }

    fn i2_all_of_it_is_bound(&self, routes: &Routes) {
        for vip in routes.keys().filter(|vip| is_host_address(vip)) {
            assert!(self.is_bound(vip.addr()), "I2: {vip} is announced and not bound");
        }
    }

    fn i2_nobody_needs_it(&self, address: &Address) {
        if self.is_bound(address.ip) {
            return; // Its other interface goes on.
        }
        let vip = address.ip.into();
        assert!(!self.advertised.1.contains_key(&vip), "I2: {vip} is unbound and announced");
        if self.engine.facts().hurry || self.engine.facts().sessions_closed {
            return;
        }
        let unbinding =
            matches!(self.engine.facts().shutdown, Some(Shutdown::Unbinding { .. } | Shutdown::Done));
        assert!(unbinding || !self.is_held(vip), "I2: {vip} is unbound and a router has the route");
        if let (Some(since), false) = (self.free_since.get(&address.ip), unbinding) {
            let earliest = since.map(|since| since + self.engine.config().shutdown.unbind_delay);
            assert!(earliest.is_some_and(|at| at <= self.now), "I2: {vip} is unbound too early");
        }
    }

    fn i3_it_is_ours(&self, address: &Address) {
        assert_eq!(self.told.get(address), Some(&Owner::Us), "I3: {address:?} is not ours to remove");
    }

    fn i4_others_are_untouched(&self, before: &Engine, effects: &[Effect], service: &str) {
        let others = |engine: &Engine| {
            let others = engine.standing.iter().filter(|(_, standing)| standing.service.as_str() != service);
            others.map(|(vip, standing)| (*vip, standing.clone())).collect::<BTreeMap<_, _>>()
        };
        let vips = others(before);
        assert_eq!(vips, others(&self.engine), "I4: an event of {service} alone");
        for effect in effects {
            match effect {
                Effect::Bind(address) | Effect::Unbind(address) => {
                    assert!(
                        !vips.contains_key(&address.ip.into()),
                        "I4: {effect:?} for an event of {service} alone"
                    );
                }
                Effect::Advertise(_, routes) => {
                    let of = |routes: &Routes| {
                        let of = routes.iter().filter(|(vip, _)| vips.contains_key(*vip));
                        of.map(|(vip, route)| (*vip, Arc::clone(route))).collect::<Routes>()
                    };
                    assert_eq!(
                        of(routes),
                        of(&self.advertised.1),
                        "I4: routes for an event of {service} alone"
                    );
                }
                Effect::Configure(_)
                | Effect::SaveDrains(_)
                | Effect::StopPeers
                | Effect::Record(_)
                | Effect::Exit => {}
            }
        }
    }

    /// What happens twice in a row happens once; and a tick that nothing waits for does nothing.
    fn i7_the_same_again_does_nothing(&self, events: Vec<Event>) {
        let does_something = |effect: &Effect| match effect {
            Effect::Configure(_) | Effect::SaveDrains(_) | Effect::Record(_) => false,
            Effect::Bind(_)
            | Effect::Unbind(_)
            | Effect::Advertise(..)
            | Effect::StopPeers
            | Effect::Exit => true,
        };
        let mut again = self.engine.clone();
        let effects = again.handle(Event::Tick, self.now);
        assert_eq!(effects, [], "I7: a tick after {events:?}");
        if let [event] = &events[..]
            && !matches!(event, Event::Shutdown)
        {
            let effects = again.handle(event.clone(), self.now);
            assert!(!effects.iter().any(does_something), "I7: {event:?} again: {effects:?}");
        }
    }

    /// Nothing is left to do, for anyone.
    pub(super) fn everything_is_as_decided(&self) {
        assert!(self.requests.is_empty() && self.kernel_says.is_empty() && self.closing.is_empty());
        for (name, router) in &self.routers {
            assert_eq!(router.holds, *self.advertised.1, "{name} has what is advertised");
        }
        let ours: BTreeSet<&Address> = self
            .kernel
            .iter()
            .filter(|(_, owner)| **owner == Owner::Us)
            .map(|(address, _)| address)
            .collect();
        for address in &ours {
            let wanted = self.engine.desired.addresses.get(&address.ip);
            assert_eq!(wanted, Some(&address.interface), "{address:?} was left behind");
        }
        for ip in self.engine.desired.addresses.keys() {
            assert!(self.kernel.keys().any(|address| address.ip == *ip), "{ip} is not bound");
        }
    }
}
