//! Nodes with a story behind them, and a host that does what they ask.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use vipcast_bgp::wire::{Asn, Family};
use vipcast_bgp::{Instant, PeerEvent, PeerStatus, Session, Version};
use vipcast_node::commands::{Command, Services};
use vipcast_node::effect::Effect;
use vipcast_node::engine::{Binding, BindingFact, Cordon, Event, Force, Left, Link, Listing, Order, Owner};
use vipcast_node::health::report::{CheckReport, HealthState, Outcome};
use vipcast_node::input::Input;
use vipcast_node::jobs::Ticket;
use vipcast_node::model::{
    Bfd, BindPolicy, Check, Condition, Config, GracefulRestart, HoldDown, KeyPlace, KeyPurpose, KeySource,
    OnDown, Peer, Preempt, Question, Role, RouterAddress, Service,
};
use vipcast_node::node::{Birth, Node};
use vipcast_node::now::Now;

const SECOND: Duration = Duration::from_secs(1);

/// A node, its clocks and its host.
pub(crate) struct Story {
    pub(crate) node: Node,
    pub(crate) now: Now,
    tickets: u64,
}

pub(crate) fn birth(config: Arc<Config>) -> Birth {
    Birth {
        config,
        warnings: Vec::new(),
        path: "vipcast.yaml".to_owned(),
        left: Left::default(),
        version: ("0.1.0".to_owned(), None),
        seed: 7,
    }
}

impl Story {
    /// On a host with two interfaces.
    fn begin(config: Config) -> Self {
        let mono = Instant::from_nanos(1_000_000_000_000);
        let now = Now { mono, wall: "2026-11-27T12:00:00Z".parse::<Timestamp>().unwrap_or(Timestamp::MIN) };
        let mut story = Self { node: Node::new(birth(Arc::new(config))), now, tickets: 0 };
        let link = |name: &str| Link { name: name.to_owned(), altnames: ["alt".to_owned()].into(), up: true };
        let links = [(1, link("lo")), (2, link("swp1"))].into_iter().collect();
        // One that another program has added, and one that is there already.
        let bindings = [
            (Binding::host(ip("192.0.2.9"), 2), BindingFact::from(Owner::Other)),
            (Binding::host(ip("192.0.2.1"), 1), BindingFact::from(Owner::Us)),
        ];
        let listed = Input::Fact(Event::Listed(Listing { links, bindings: bindings.into() }));
        let out = story.node.start([listed], now);
        story.obey(out.effects);
        story
    }

    fn tell(&mut self, input: Input) {
        let out = self.node.handle(input, self.now);
        self.obey(out.effects);
    }

    /// The host and the disk do what the node wants.
    fn obey(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is for other ports")]
            let inputs = match effect {
                Effect::Bind(binding) => {
                    let there = Event::Added(binding, Owner::Us.into());
                    vec![Event::Answered(binding, Ok(())), there].into_iter().map(Input::Fact).collect()
                }
                Effect::Unbind(binding) => {
                    let gone = [Event::Answered(binding, Ok(())), Event::Removed(binding)];
                    gone.into_iter().map(Input::Fact).collect()
                }
                Effect::TellWhenSaved(ticket, _) => vec![Input::Saved(ticket, Ok(()))],
                Effect::StopPeer(id, _) => vec![Input::PeerEnded(id)],
                _ => Vec::new(),
            };
            inputs.into_iter().for_each(|input| self.tell(input));
        }
    }

    fn wait(&mut self, time: Duration) {
        let to = self.now.mono + time;
        while let Some(deadline) = self.node.deadline().filter(|deadline| *deadline <= to) {
            self.go_to(deadline);
            self.tell(Input::Tick);
        }
        self.go_to(to);
    }

    fn go_to(&mut self, mono: Instant) {
        let time = mono.saturating_duration_since(self.now.mono);
        self.now.mono += time;
        self.now.wall = self.now.wall.checked_add(time).unwrap_or(Timestamp::MAX);
    }

    fn ask(&mut self, command: Command) {
        self.tickets += 1;
        self.tell(Input::Command { ticket: Ticket(self.tickets), by: "alice".to_owned(), command });
    }

    fn peer(&mut self, peer: &str, event: PeerEvent) {
        let Some(id) = self.node.peers().running().get(peer).map(|running| running.id) else { return };
        self.tell(Input::Peer { id, event, status: Box::new(PeerStatus::idle(self.now.mono)) });
    }

    fn up(&mut self, peer: &str) {
        let session = Session {
            peer_router_id: Ipv4Addr::new(10, 0, 0, 1),
            peer_as: Asn(65000),
            hold_time: 9,
            families: [Family::IPV4_UNICAST, Family::IPV6_UNICAST].into(),
            four_octet_as: true,
            route_refresh: true,
            enhanced_route_refresh: false,
            extended_next_hop: false,
            peer_role: None,
            graceful_restart: None,
        };
        self.peer(peer, PeerEvent::Established(session));
    }

    fn check(&mut self, name: &str, state: HealthState) {
        let Some(definition) = self.node.engine().config().checks.get(name).cloned() else { return };
        let passed = matches!(state, HealthState::Up | HealthState::Rising);
        let report = CheckReport {
            check: name.into(),
            definition,
            state,
            since: self.now.mono,
            degraded: (name == "slow").then(|| "latency 30 ms is over 20 ms".to_owned()),
            held_until: (name == "flaps" && !passed).then(|| self.now.mono + 4 * SECOND),
            outcome: Outcome { passed, detail: "200 OK".to_owned(), took: Duration::from_millis(3) },
            at: self.now.mono,
        };
        self.tell(Input::Fact(Event::Check(report)));
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn one(check: &str) -> Condition {
    Condition::Check(check.into())
}

fn service<const N: usize>(vips: [&str; N], checks: Condition) -> Service {
    Service::new(vips.map(|vip| vip.parse().unwrap_or_else(|_| ip(vip).into())), checks)
}

/// Checks in every state, services of every kind, routers of every kind.
fn config() -> Config {
    let check = |name: &str| {
        let hold_down = (name == "flaps").then_some(HoldDown { first: SECOND, most: 4 * SECOND });
        Arc::new(Check {
            rise: NonZeroU32::MIN,
            fall: NonZeroU32::MIN,
            hold_down,
            ..Check::new(Question::new(name.to_owned()))
        })
    };
    let peer = |last| Peer::new(Ipv4Addr::new(10, 0, 1, last).into(), Asn(65001), Asn(65000));
    let mut tor_a = peer(1);
    tor_a.bfd = Some(Bfd::default());
    tor_a.med = Some(7);
    let mut tor_b = peer(3);
    tor_b.graceful_restart = Some(GracefulRestart::default());
    let mut spine = peer(5);
    spine.address = RouterAddress::OnLink(None);
    spine.interface = Some("swp1".to_owned());
    let mut tor_c = peer(7);
    let place = KeyPlace::File("/etc/key".into());
    tor_c.key_source = Some(KeySource { place, purpose: KeyPurpose::Md5 });
    let peers = [("tor-a", tor_a), ("tor-b", tor_b), ("spine", spine), ("tor-c", tor_c)];
    let web = service(["192.0.2.1/32", "2001:db8::1/128"], one("alive"));
    let mut dns = service(["192.0.2.2/32"], Condition::Any(vec![one("alive"), one("down")]));
    dns.role = Role::Standby;
    let mut api =
        service(["192.0.2.3/32", "203.0.113.0/24"], Condition::AtLeast(1, vec![one("slow"), one("flaps")]));
    api.bind = BindPolicy::Route;
    let mut late = service(["192.0.2.4/32"], one("flaps"));
    (late.role, late.warm_up) = (Role::Active(Preempt::Never), Some(30 * SECOND));
    let mut worse = service(["192.0.2.5/32"], one("down"));
    worse.on_down = OnDown::Demote;
    let mut lost = service(["192.0.2.6/32"], Condition::All(Vec::new()));
    lost.interface = "swp9".to_owned();
    let services =
        [("web", web), ("dns", dns), ("api", api), ("late", late), ("worse", worse), ("lost", lost)];
    let mut config = Config::new(
        peers.map(|(name, peer)| (name.into(), peer)),
        services.map(|(name, service)| (name.into(), service)),
    );
    config.router_id = Some(Ipv4Addr::new(10, 0, 1, 2));
    config.checks =
        ["alive", "down", "slow", "flaps"].iter().map(|name| ((*name).into(), check(name))).collect();
    config
}

/// Everything is up.
pub(crate) fn quiet() -> Story {
    let mut story = Story::begin(config());
    for check in ["alive", "down", "slow", "flaps"] {
        story.check(check, HealthState::Up);
    }
    let router = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    story.tell(Input::Heard { interface: "swp1".to_owned(), router });
    ["tor-a", "tor-b", "spine"].into_iter().for_each(|peer| story.up(peer));
    let version = story.node.engine().version();
    ["tor-a", "tor-b"].into_iter().for_each(|peer| story.peer(peer, PeerEvent::Acknowledged(version)));
    story.wait(2 * SECOND);
    story
}

/// Every kind of override, and everything that can be amiss.
pub(crate) fn eventful() -> Story {
    let mut story = quiet();
    for (check, state) in
        [("down", HealthState::Down), ("flaps", HealthState::Down), ("alive", HealthState::Falling)]
    {
        story.check(check, state);
    }
    story.wait(SECOND);
    story.check("flaps", HealthState::Up);
    // Another program takes an address twice, and one interface away.
    let vip = Binding::host(ip("192.0.2.2"), 1);
    story.tell(Input::Fact(Event::Removed(vip)));
    story.wait(SECOND);
    story.tell(Input::Fact(Event::Removed(vip)));
    story.tell(Input::Fact(Event::Link(2, None)));
    let web = |name: &str| Services::Service(name.to_owned());
    let (reason, lasts) = (Some("upgrade".to_owned()), Some(600 * SECOND));
    story.ask(Command::Drain { services: web("web"), reason: reason.clone(), lasts, replace: false });
    story.ask(Command::Force { to: Force::Up, services: web("dns"), reason: reason.clone(), lasts });
    story.ask(Command::Force { to: Force::Down, services: web("api"), reason: None, lasts: None });
    story.ask(Command::DrainPeer { peer: "tor-b".to_owned(), reason: reason.clone(), lasts, replace: false });
    story.ask(Command::Promote { services: web("late"), reason });
    story.peer("tor-a", PeerEvent::Acknowledged(Version(1)));
    story.tell(Input::Cordon(Cordon::File, Some(Order { by: "drain file".to_owned(), reason: None })));
    story.wait(Duration::from_millis(500));
    story
}

/// Everything is withdrawn, by an operator.
pub(crate) fn drained() -> Story {
    let mut story = quiet();
    story.ask(Command::Drain { services: Services::All, reason: None, lasts: None, replace: false });
    story.wait(90 * SECOND);
    story.ask(Command::Undrain { services: Services::Service("api".to_owned()), reason: None });
    story
}

/// The names of the stories with their nodes.
pub(crate) fn stories() -> BTreeMap<&'static str, Story> {
    [("quiet", quiet()), ("eventful", eventful()), ("drained", drained())].into()
}
