//! The configurations that nodes may have: a plain one, and words that each change one thing about it.
//!
//! | service | VIPs | healthy when |
//! | --- | --- | --- |
//! | `web` | 192.0.2.10, 2001:db8::10 | `web` is up |
//! | `dns` | 192.0.2.53 | `dns-a` or `dns-b` is up |
//! | `api` | 192.0.2.80, 203.0.113.0/24 | `api` and `web` are up |
//! | `extra` (with the word) | 192.0.2.99 | `dns-b` is up |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::wire::Asn;
use vipcast_bgp::{HoldTime, RestartTime};
use vipcast_node::model::{
    Announce, BindPolicy, Check, Condition, Config, GracefulRestart, OnDown, Peer, Question, Role, Service,
    Shutdown,
};
use vipcast_node::vip::Vip;

use crate::probe::Asks;

/// The ASN of every node.
pub const NODE_AS: Asn = Asn(65001);
/// The ASN of every router.
pub const ROUTER_AS: Asn = Asn(65000);
/// What can be probed on a host: a check of the same name does.
pub const PROBED: [&str; 4] = ["api", "dns-a", "dns-b", "web"];
/// The services that every configuration but one without `api` has.
pub const SERVICES: [&str; 3] = ["api", "dns", "web"];
/// How long a drain announces with GRACEFUL_SHUTDOWN.
pub const DRAIN_TIME: Duration = Duration::from_secs(3);
/// How long an address stays after its withdrawal.
pub const UNBIND_DELAY: Duration = Duration::from_secs(1);
/// How long routers keep routes over a restart, where that is agreed on.
pub const RESTART_TIME: Duration = Duration::from_secs(20);
/// The longest hold time of any session.
pub const LONGEST_HOLD: Duration = Duration::from_secs(30);
/// How much longer the path of a service is that is down and demoted.
pub const DEMOTED: u8 = 3;
/// The MED of `web` with the word `med`.
pub const MED: u32 = 50;

/// A word that changes the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// `web` has a MED.
    Med,
    /// `dns` is announced as a worse path when it is down.
    Demote,
    /// The addresses of `dns` are bound only while it is announced.
    Announced,
    /// The addresses of `web` are on vip0.
    Vip0,
    /// The check of `web` is another one.
    OtherCheck,
    /// The session with the first router has a hold time of 30 s.
    Hold30,
    /// The first router is dialled less often.
    Retry,
    /// The first router has another name.
    Renamed,
    /// There is no service `api`.
    NoApi,
    /// There is a service `extra`.
    Extra,
    /// `api` is a standby.
    Standby,
    /// Addresses stay when the process ends.
    Keep,
    /// `api` is bound as local routes, its wider prefix too.
    Route,
}

/// A configuration, as the words that make it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape(pub BTreeSet<Word>);

/// Where a node is, and with whom it speaks.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    /// The number of the node.
    pub node: usize,
    /// How many routers there are.
    pub routers: usize,
    /// Whether routers are asked to keep routes over a restart.
    pub graceful: bool,
}

impl Word {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Med,
        Self::Demote,
        Self::Announced,
        Self::Vip0,
        Self::OtherCheck,
        Self::Hold30,
        Self::Retry,
        Self::Renamed,
        Self::NoApi,
        Self::Extra,
        Self::Standby,
        Self::Keep,
        Self::Route,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Med => "med",
            Self::Demote => "demote",
            Self::Announced => "announced",
            Self::Vip0 => "vip0",
            Self::OtherCheck => "other-check",
            Self::Hold30 => "hold-30",
            Self::Retry => "retry",
            Self::Renamed => "renamed",
            Self::NoApi => "no-api",
            Self::Extra => "extra",
            Self::Standby => "standby",
            Self::Keep => "keep",
            Self::Route => "route",
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("plain");
        }
        let words: Vec<&str> = self.0.iter().map(|word| word.as_str()).collect();
        f.write_str(&words.join(","))
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "plain" {
            return Ok(Self::default());
        }
        let word = |text: &str| {
            let found = Word::ALL.into_iter().find(|word| word.as_str() == text);
            found.ok_or_else(|| format!("no word of a configuration: {text:?}"))
        };
        text.split(',').map(word).collect::<Result<_, _>>().map(Self)
    }
}

/// The name of a router.
pub fn router_name(router: usize) -> String {
    let letter = u8::try_from(router).ok().and_then(|n| b'a'.checked_add(n)).unwrap_or(b'?');
    format!("tor-{}", char::from(letter))
}

/// A router's address on its link to a node, and the node's.
pub fn link_addresses(node: usize, router: usize) -> [Ipv4Addr; 2] {
    let [node, router] = [node, router].map(|n| u8::try_from(n).unwrap_or(u8::MAX));
    [1, 2].map(|end| Ipv4Addr::new(10, router, node, end))
}

/// The router that has an address.
pub fn router_at(address: Ipv4Addr) -> usize {
    usize::from(address.octets()[1])
}

impl Shape {
    /// Whether a word is among them.
    pub fn has(&self, word: Word) -> bool {
        self.0.contains(&word)
    }

    /// Whether the session with a router cannot be the same in another configuration.
    pub fn resets(&self, other: &Self, router: usize) -> bool {
        router == 0 && self.has(Word::Hold30) != other.has(Word::Hold30)
    }

    /// The configuration for a node.
    pub fn config(&self, site: Site) -> Config {
        let mut services = BTreeMap::from([
            ("web".into(), self.web()),
            ("dns".into(), self.dns()),
            ("api".into(), self.api()),
        ]);
        if self.has(Word::NoApi) {
            services.remove("api");
        }
        if self.has(Word::Extra) {
            services.insert("extra".into(), service(&["192.0.2.99"], one("dns-b")));
        }
        let used: BTreeSet<_> =
            services.values().flat_map(|service| service.checks.checks(None)).cloned().collect();
        let checks = used.into_iter().map(|name| {
            let check = self.check(name.as_str());
            (name, check)
        });
        let peers = (0..site.routers).map(|router| self.peer(site, router));
        Config {
            shutdown: Shutdown {
                drain_time: DRAIN_TIME,
                unbind_delay: UNBIND_DELAY,
                keep_addresses: self.has(Word::Keep),
                inhibit: true,
            },
            router_id: Some(Ipv4Addr::new(10, 255, 0, u8::try_from(site.node + 1).unwrap_or(u8::MAX))),
            checks: checks.collect(),
            ..Config::new(peers, services)
        }
    }

    fn web(&self) -> Service {
        let mut web = service(&["192.0.2.10", "2001:db8::10"], one("web"));
        web.announce.med = self.has(Word::Med).then_some(MED);
        web.demoted.med = web.announce.med;
        if self.has(Word::Vip0) {
            web.interface = "vip0".into();
        }
        web
    }

    fn dns(&self) -> Service {
        let mut dns = service(&["192.0.2.53"], Condition::Any(vec![one("dns-a"), one("dns-b")]));
        if self.has(Word::Demote) {
            dns.on_down = OnDown::Demote;
        }
        if self.has(Word::Announced) {
            dns.bind = BindPolicy::Announced;
        }
        dns
    }

    fn api(&self) -> Service {
        let both = Condition::All(vec![one("api"), one("web")]);
        let mut api = service(&["192.0.2.80", "203.0.113.0/24"], both);
        if self.has(Word::Standby) {
            api.role = Role::Standby;
        }
        if self.has(Word::Route) {
            api.bind = BindPolicy::Route;
        }
        api
    }

    fn check(&self, name: &str) -> Arc<Check> {
        let place = PROBED.iter().position(|probed| *probed == name).unwrap_or_default();
        let port = 8000 + u16::try_from(place).unwrap_or_default();
        let other = u16::from(name == "web" && self.has(Word::OtherCheck)) * 100;
        let answered = Asks::Service(port + other);
        Arc::new(match name {
            "api" => Check {
                rise: NonZeroU32::MIN,
                fall: NonZeroU32::MIN,
                ..Check::new(Question::new(Asks::Kernel(port)))
            },
            "web" => Check {
                rise: NonZeroU32::MIN,
                fall: NonZeroU32::MIN.saturating_add(1),
                ..Check::new(Question::new(answered))
            },
            _ => Check::new(Question::new(answered)),
        })
    }

    fn peer(&self, site: Site, router: usize) -> (vipcast_node::names::PeerName, Peer) {
        let first = |word| router == 0 && self.has(word);
        let name = if first(Word::Renamed) { "renamed".to_owned() } else { router_name(router) };
        let [address, _] = link_addresses(site.node, router);
        let seconds = |seconds| HoldTime::from_secs(seconds).unwrap_or(HoldTime::DEFAULT);
        let graceful = GracefulRestart {
            restart_time: RestartTime::from_secs(20).unwrap_or(RestartTime::DEFAULT),
            notification: true,
        };
        let peer = Peer {
            hold_time: seconds(if first(Word::Hold30) { 30 } else { 9 }),
            connect_retry: Duration::from_secs(if first(Word::Retry) { 2 } else { 1 }),
            graceful_restart: site.graceful.then_some(graceful),
            ..Peer::new(address.into(), NODE_AS, ROUTER_AS)
        };
        (name.as_str().into(), peer)
    }
}

fn one(check: &str) -> Condition {
    Condition::Check(check.into())
}

fn service(vips: &[&str], checks: Condition) -> Service {
    let demoted = Announce { as_path_prepend: DEMOTED, ..Announce::default() };
    Service { demoted, ..Service::new(vips.iter().filter_map(|vip| vip.parse().ok()), checks) }
}

/// A VIP as it is written: an address or a prefix.
pub fn vip_of(text: &str) -> Option<IpNet> {
    text.parse::<Vip>().ok().map(|vip| vip.prefix())
}
