//! A model of everything around the engine: the kernel's addresses, the routers, a clock, and the last message to each.
//!
//! ```text
//!  engine ── Bind, Unbind ──► requests ─► kernel ─► kernel_says ──┐
//!                                               └─► answers ──────┤
//!  engine ── Advertise ─────► Router::wanted ─► holds ─► peers_say ├──► engine
//!  clock ─────────────────────────────────────────────────────────┘
//! ```
//!
//! The driver of the world chooses the delay of every arrow. Notifications and listings are in the kernel's order; an
//! answer comes at any time after its notification, also when the change is undone again; a lost answer is reported as
//! an error.
//!  After every event the invariants are checked
//! ([`rules`]).

mod effects;
mod handover;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

pub(super) struct World {
    pub(super) engine: Engine,
    /// Since a hand-over: the engine without it.
    twin: Option<Engine>,
    pub(super) now: Instant,
    /// What is on the host.
    pub(super) kernel: BTreeMap<Binding, Owner>,
    links: Links,
    /// Interfaces that there were.
    made: u32,
    /// Whether the kernel refuses whatever it is asked for.
    pub(super) refuses: bool,
    /// Whether it does as it was asked, and the answer is lost.
    pub(super) mumbles: bool,
    requests: VecDeque<(Binding, Asked)>,
    kernel_says: VecDeque<Event>,
    /// Answers, each with how much was said before it.
    answers: VecDeque<(usize, Event)>,
    said: usize,
    heard: usize,
    pub(super) routers: BTreeMap<PeerName, Router>,
    /// Sessions that were told to end and still stand.
    closing: Vec<(PeerName, Routes)>,
    peers_say: VecDeque<Event>,
    advertised: Advertised,
    stopping: bool,
    /// Nobody says when the last session is closed.
    pub(super) never_closes: bool,
    /// When the process ended.
    pub(super) exited: Option<Instant>,
    /// Every set since the last shutdown, and when it was given.
    pub(super) history: Vec<(Instant, Routes)>,
    /// What routers keep of the predecessor's, until they were told everything or it is too late.
    stale: BTreeMap<PeerName, BTreeSet<Vip>>,
    stale_until: Instant,
    /// What routers keep of a session that has ended, and until when.
    kept: BTreeMap<PeerName, (Instant, Routes)>,
    // What the rules rest on, told apart from what the engine makes of it.
    told: BTreeMap<Binding, Owner>,
    told_links: Links,
    leaving: BTreeSet<Binding>,
    verdicts: BTreeMap<CheckName, bool>,
    /// VIPs that keep what they had until these checks have settled, and when those have at the latest.
    keeps: BTreeMap<Vip, (bool, BTreeSet<CheckName>)>,
    pending: BTreeMap<CheckName, Instant>,
    drains: BTreeMap<ServiceName, (Instant, Option<Instant>)>,
    /// Forced services: the direction and the end.
    forces: BTreeMap<ServiceName, (Force, Option<Instant>)>,
    /// VIPs that a drain or the shutdown found announced: until when, and the last route; `None`: withheld meanwhile.
    graceful: BTreeMap<Vip, (Instant, Option<Arc<RouteAttributes>>)>,
    /// Since when no router and no advertised set has a VIP that was announced once.
    free_since: BTreeMap<Vip, Option<Instant>>,
}

/// A router and the session with it.
#[derive(Debug, Default)]
pub(super) struct Router {
    up: bool,
    /// Whether the engine knows that.
    heard_of: bool,
    /// Reads nothing.
    pub(super) stuck: bool,
    wanted: Advertised,
    /// What it forwards to us.
    pub(super) holds: Routes,
}

impl Router {
    /// What it forwards to us, if the engine knows that the session is up.
    fn known_to_hold(self) -> Routes {
        if self.heard_of { self.holds } else { Routes::new() }
    }
}

/// What may happen to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is deleted, with all that is on it.
    Gone,
    Renamed,
    Down,
    /// It is there, up, and has its name.
    Whole,
}

/// What an event may do to services other than its own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Concerns<'a> {
    Everyone,
    Only(&'a str),
}

impl World {
    pub(super) fn new(config: Config, kernel: BTreeMap<Binding, Owner>) -> Self {
        let now = Instant::BOOT;
        let left: BTreeSet<Vip> = kernel
            .iter()
            .filter(|(_, owner)| **owner == Owner::Us)
            .map(|(binding, _)| binding.vip())
            .collect();
        let keeps = config.peers.iter().filter(|(_, peer)| peer.graceful_restart.is_some());
        let first = super::super::restart::restart_time(&config).map_or(Extent::Whole, |_| Extent::Partial);
        let mut world = Self {
            stale: keeps.map(|(name, _)| (name.clone(), left.clone())).collect(),
            stale_until: now + config.peers.values().filter_map(Peer::keeps_routes).max().unwrap_or_default(),
            engine: Engine::new(Arc::new(config), Left::default()),
            twin: None,
            kept: BTreeMap::new(),
            keeps: BTreeMap::new(),
            pending: BTreeMap::new(),
            now,
            kernel_says: VecDeque::new(),
            kernel,
            links: links(),
            made: u32::try_from(INTERFACES.len()).unwrap(),
            refuses: false,
            mumbles: false,
            requests: VecDeque::new(),
            answers: VecDeque::new(),
            said: 0,
            heard: 0,
            routers: BTreeMap::new(),
            closing: Vec::new(),
            peers_say: VecDeque::new(),
            advertised: Advertised { extent: first, ..Advertised::default() },
            stopping: false,
            never_closes: false,
            exited: None,
            history: Vec::new(),
            told: BTreeMap::new(),
            told_links: Links::default(),
            leaving: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            drains: BTreeMap::new(),
            forces: BTreeMap::new(),
            graceful: BTreeMap::new(),
            free_since: BTreeMap::new(),
        };
        world.kernel_lists();
        let mut out = Outbox::new(super::now(now), 1);
        world.engine.start(now, &mut out);
        world.perform(out.effects);
        world
    }

    // --- what happens around the engine

    /// The kernel looks at the oldest request.
    pub(super) fn kernel_works(&mut self) {
        let Some((address, asked)) = self.requests.pop_front() else { return };
        let is_there = self.kernel.contains_key(&address);
        let result = match asked {
            _ if self.refuses => Err("not permitted"),
            Asked::Bind if self.links.get(address.index).is_none() => Err("no such device"),
            Asked::Bind if is_there => Err("it exists"),
            Asked::Bind => {
                self.kernel.insert(address, Owner::Us);
                self.says(added(address, Owner::Us));
                Ok(())
            }
            // It is all right, too, when it is gone already.
            Asked::Unbind => {
                if self.kernel.remove(&address).is_some() {
                    self.says(Event::Removed(address));
                }
                Ok(())
            }
        };
        let result = if self.mumbles { Err("no answer") } else { result };
        self.answers.push_back((self.said, Event::Answered(address, result.map_err(str::to_owned))));
        if self.mumbles {
            self.kernel_lists();
        }
    }

    /// Someone else puts an address on the host, unless it is there already.
    pub(super) fn someone_adds(&mut self, address: Binding) {
        let Some(address) = self.on_this_host(address).filter(|at| !self.kernel.contains_key(at)) else {
            return;
        };
        self.kernel.insert(address, Owner::Other);
        self.says(added(address, Owner::Other));
    }

    /// Someone else takes an address off the host, whosever it is.
    pub(super) fn someone_removes(&mut self, address: Binding) {
        if let Some(address) = self.on_this_host(address)
            && self.kernel.remove(&address).is_some()
        {
            self.says(Event::Removed(address));
        }
    }

    /// Something happens to eth0.
    pub(super) fn interface(&mut self, change: Change) {
        let index = self.eth0();
        match (change, index) {
            (Change::Gone, Some(index)) => {
                let gone = self.kernel.extract_if(.., |address, _| address.index == index);
                for (address, _) in gone.collect::<Vec<_>>() {
                    self.says(Event::Removed(address));
                }
                self.links.remove(index);
                self.says(Event::Link(index, None));
            }
            (Change::Whole, None) => {
                self.made += 1;
                self.link(self.made, link("eth0"));
            }
            (Change::Whole, Some(index)) => self.link(index, link("eth0")),
            (Change::Renamed, Some(index)) => self.link(index, link("x")),
            (Change::Down, Some(index)) => {
                let now = self.links.get(index).cloned();
                self.link(index, Link { up: false, ..now.unwrap() });
            }
            (Change::Gone | Change::Renamed | Change::Down, None) => {}
        }
    }

    fn link(&mut self, index: u32, link: Link) {
        self.links.insert(index, link.clone());
        self.says(Event::Link(index, Some(link)));
    }

    /// The index of what is, or once was, eth0.
    fn eth0(&self) -> Option<u32> {
        self.links.index_of("eth0").or(self.links.index_of("x"))
    }

    /// What was meant to be on eth0 is on what that is now.
    fn on_this_host(&self, address: Binding) -> Option<Binding> {
        let index = if address.index == index("eth0") { self.eth0()? } else { address.index };
        Some(Binding { index, ..address })
    }

    /// The whole list, as after an overrun: what was said before it is lost, but for the answers.
    pub(super) fn kernel_lists(&mut self) {
        self.kernel_says.clear();
        self.heard = self.said;
        let bindings = self.kernel.iter().map(|(address, owner)| (*address, (*owner).into())).collect();
        self.says(Event::Listed(Listing { links: self.links.clone(), bindings }));
    }

    fn says(&mut self, event: Event) {
        self.said += 1;
        self.kernel_says.push_back(event);
    }

    /// The engine hears the kernel: one notification, or all there are at once and then all answers.
    pub(super) fn hear_kernel(&mut self, all: bool) {
        let count = if all { self.kernel_says.len() } else { self.kernel_says.len().min(1) };
        let mut events: Vec<Event> = self.kernel_says.drain(..count).collect();
        self.heard += count;
        if all {
            events.extend(self.answers.drain(..).map(|(_, answer)| answer));
        }
        self.hear(events);
    }

    /// The engine hears an answer, and what was said before that.
    pub(super) fn hear_answer(&mut self) {
        let Some((said, answer)) = self.answers.pop_front() else { return };
        let count = said.saturating_sub(self.heard);
        let mut events: Vec<Event> = self.kernel_says.drain(..count).collect();
        self.heard += count;
        events.push(answer);
        self.hear(events);
    }

    fn hear(&mut self, events: Vec<Event>) {
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
        let keeps = self.engine.config().peers.get(&name).and_then(Peer::keeps_routes);
        if let Some(router) = self.routers.get_mut(&name).filter(|router| router.up) {
            let mut holds = std::mem::take(router).known_to_hold();
            if let Some(time) = keeps {
                let before = self.kept.remove(&name).map(|(_, holds)| holds).unwrap_or_default();
                holds.extend(before.iter().map(|(vip, route)| (*vip, Arc::clone(route))));
                self.kept.insert(name.clone(), (self.now + time, holds));
            }
            self.peers_say.push_back(Event::PeerDown(name));
        }
    }

    /// A router reads everything it was sent.
    pub(super) fn router_reads(&mut self, name: &str) {
        let name = PeerName::from(name);
        if let Some(router) = self.routers.get_mut(&name).filter(|router| router.up && !router.stuck) {
            router.holds = router.wanted.routes.clone();
            if router.wanted.extent == Extent::Whole {
                self.stale.remove(&name);
                self.kept.remove(&name);
            }
            self.peers_say.push_back(Event::PeerSynced(name, router.wanted.version));
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
            self.settles(&config, check, verdict);
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
        let name = name.clone();
        let earlier = self.drains.get(&name).copied();
        if earlier.is_none() {
            self.note_leaving(withdraw_at, |_, of| *of == name);
        }
        // The later end holds.
        let lift_at = earlier.map_or(lift_at, |(_, before)| before.zip(lift_at).map(|(a, b)| a.max(b)));
        self.drains.insert(name, (earlier.map_or(withdraw_at, |(at, _)| at), lift_at));
        self.handle(vec![drain(service, lasts.map(|lasts| self.now + lasts))], Concerns::Only(service));
    }

    pub(super) fn promote(&mut self, service: &str) {
        self.handle(vec![Event::Promote(service.into(), a_drain(None))], Concerns::Only(service));
    }

    pub(super) fn undrain(&mut self, service: &str) {
        self.drains.remove(service);
        self.handle(vec![undrain(service)], Concerns::Only(service));
    }

    pub(super) fn force(&mut self, service: &str, to: Force, lasts: Option<Duration>) {
        let Some((name, _)) = self.engine.config().services.get_key_value(service) else { return };
        let ends = lasts.map(|lasts| self.now + lasts);
        self.forces.insert(name.clone(), (to, ends));
        self.handle(vec![force(service, to, ends)], Concerns::Only(service));
    }

    pub(super) fn clear(&mut self, service: &str) {
        self.forces.remove(service);
        self.handle(vec![Event::Clear(scope(service), order())], Concerns::Only(service));
    }

    pub(super) fn reload(&mut self, config: Config) {
        if self.engine.facts().shutdown.is_none() {
            self.keep(&config);
            self.verdicts.retain(|check, _| config.checks.contains_key(check));
        }
        self.handle(vec![Event::Reload(Arc::new(config))], Concerns::Everyone);
    }

    pub(super) fn terminate(&mut self) {
        self.history.clear();
        self.note_leaving(self.now + self.engine.config().shutdown.drain_time, |_, _| true);
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
                _ if !self.answers.is_empty() || !self.kernel_says.is_empty() => ms(10),
                Some(at) => at.saturating_duration_since(self.now),
                None => SECOND,
            };
            self.wait(next.clamp(ms(10), SECOND).min(end - self.now));
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.routers.keys().map(ToString::to_string).collect()
    }
}
