//! What a text means: defaults, and what is taken from where.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use vipcast_bgp::HoldTime;
use vipcast_bgp::wire::{Asn, Community, Family};
use vipcast_node::names::CheckName;
use vipcast_node::vip::Vip;

use super::model::*;
use super::{Config, parse};
use crate::check::kinds::tcp::TcpCheck;
use crate::check::probe::tests::{self, definition_of};
use crate::check::target::Target;

/// A configuration that is valid.
pub(crate) fn config(text: &str) -> Config {
    parse("test.yaml", text).unwrap_or_else(|found| panic!("{found}")).config
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("the test has an address")
}

const SMALLEST: &str = "\
peers: {tor: {address: 192.0.2.1, peer_as: 65000, local_as: 65001}}
checks: {up: {tcp: \"127.0.0.1:80\"}}
services: {web: {vips: [198.51.100.1], checks: [up]}}
";

#[test]
fn what_is_not_said_has_a_default() {
    let expected = Config {
        state_dir: "/var/lib/vipcast".into(),
        drain_file: None,
        control: Control { socket: "/run/vipcast/control.sock".into(), group: None },
        api: None,
        metrics: None,
        event_file: None,
        hooks: [].into(),
        log: Log { level: LogLevel::Info, format: LogFormat::Plain },
        shutdown: Shutdown {
            drain_time: Duration::from_secs(3),
            unbind_delay: Duration::from_secs(1),
            keep_addresses: false,
            inhibit: true,
        },
        router_id: None,
        listen: Listen { addresses: Vec::new(), port: 179 },
        interface: "lo".into(),
        peers: [(
            "tor".into(),
            Peer {
                address: RouterAddress::Known(address("192.0.2.1")),
                port: 179,
                local_as: Asn(65001),
                peer_as: Some(Asn(65000)),
                hold_time: HoldTime::DEFAULT,
                connect_retry: Duration::from_secs(1),
                mode: ConnectMode::Both,
                families: BTreeSet::from([Family::IPV4_UNICAST, Family::IPV6_UNICAST]),
                source_address: None,
                interface: None,
                reach: Reach::ByPeering,
                authentication: None,
                key_source: None,
                next_hop: NextHops::default(),
                med: None,
                tcp_mss: None,
                role: None,
                require_role: false,
                extended_next_hop: false,
                graceful_restart: None,
                bfd: None,
            },
        )]
        .into(),
        checks: [(
            "up".into(),
            std::sync::Arc::new(Check {
                interval: Duration::from_secs(1),
                fast_interval: Duration::from_millis(100),
                timeout: Duration::from_millis(500),
                rise: NonZeroU32::new(2).expect("not zero"),
                fall: NonZeroU32::new(2).expect("not zero"),
                ..Check::new(tests::asked(TcpCheck::connecting(Target {
                    host: "127.0.0.1".into(),
                    port: 80,
                })))
            }),
        )]
        .into_iter()
        .collect(),
        services: [(
            "web".into(),
            Service {
                vips: BTreeSet::from([address("198.51.100.1").into()]),
                checks: Condition::All(vec![Condition::Check("up".into())]),
                announce: Announce::default(),
                demoted: Announce { as_path_prepend: 3, ..Announce::default() },
                on_down: OnDown::Withdraw,
                on_degraded: OnDegraded::Demote,
                warm_up: None,
                role: Role::Active(Preempt::AtOnce),
                bind: BindPolicy::Always,
                interface: "lo".into(),
            },
        )]
        .into_iter()
        .collect(),
    };
    assert_eq!(config(SMALLEST), expected);
}

#[test]
fn a_file_of_events_is_written_when_it_is_turned_on_and_has_limits() {
    let file = |events: &str| config(&format!("{SMALLEST}events: {events}\n")).event_file;
    let sized = |max_size, keep| Some(EventFile { max_size, keep });
    assert_eq!(file("{}"), None);
    assert_eq!(file("{file: false, keep: 9}"), None);
    assert_eq!(file("{file: true}"), sized(16 << 20, 4));
    assert_eq!(file("{file: true, max_size: 64KiB, keep: 100}"), sized(64 << 10, 100));
    assert_eq!(file("{file: true, max_size: 16GiB}"), sized(16 << 30, 4));
}

#[test]
fn a_peer_says_more_than_the_defaults_and_they_more_than_the_top() {
    let config = config(
        "local_as: 1.10
peer_defaults: {remote_as: 65000, hold_time: 30s, active: true, next_hop: 192.0.2.9, med: 20}
neighbors:
  a: {address: 192.0.2.1}
  b: {address: 192.0.2.2, peer_as: 65009, local_as: 65002, hold_time: 3s, passive: true}
  c: {address: \"2001:db8::1\", active: false, next_hop: {ipv6: \"2001:db8::9\"}, port: 1179, med: 0}
services: {web: {vips: [198.51.100.1], checks: []}}
",
    );
    let peer = |name: &str| {
        let peer = &config.peers[name];
        (peer.local_as.0, peer.peer_as.unwrap().0, peer.hold_time.as_secs(), peer.mode, peer.port)
    };
    assert_eq!(peer("a"), (65546, 65000, 30, ConnectMode::Active, 179));
    assert_eq!(peer("b"), (65002, 65009, 3, ConnectMode::Passive, 179));
    assert_eq!(peer("c"), (65546, 65000, 30, ConnectMode::Both, 1179));
    assert_eq!(["a", "c"].map(|peer| config.peers[peer].med), [Some(20), Some(0)]);
    assert_eq!(config.peers["a"].next_hop.v4, Some("192.0.2.9".parse().expect("an address")));
    assert_eq!(
        config.peers["c"].next_hop,
        NextHops { v4: None, v6: Some("2001:db8::9".parse().expect("an address")) }
    );
}

#[test]
fn fast_interval_and_timeout_follow_a_short_interval() {
    let pace = |keys: &str| {
        let text = SMALLEST.replace("\"127.0.0.1:80\"", &format!("\"127.0.0.1:80\", {keys}"));
        let check = &config(&text).checks["up"];
        [check.interval, check.fast_interval, check.timeout].map(|duration| duration.as_millis())
    };
    assert_eq!(pace("interval: 10s"), [10_000, 100, 500]);
    assert_eq!(pace("interval: 200ms"), [200, 100, 200]);
    assert_eq!(pace("interval: 50ms"), [50, 50, 50]);
    assert_eq!(pace("interval: 3s, timeout: 3s, fast_interval: 3s"), [3000, 3000, 3000]);
}

/// The one service, with these keys besides.
fn service(keys: &str) -> Service {
    let text = SMALLEST.replace("checks: [up]", &format!("checks: [up], {keys}"));
    config(&text).services["web"].clone()
}

#[test]
fn a_demoted_service_starts_from_what_it_announces() {
    let demoted = |keys: &str| service(keys).demoted;
    let healthy = Announce {
        med: Some(100),
        as_path_prepend: 2,
        communities: BTreeSet::from([Community::new(65001, 1)]),
        ..Announce::default()
    };
    let announce = "announce: {med: 100, as_path_prepend: 2, communities: [65001:1]}";
    let longer = Announce { as_path_prepend: 5, ..healthy.clone() };
    assert_eq!(demoted(announce), longer);
    assert_eq!(demoted(&format!("{announce}, demoted: {{}}")), longer);
    assert_eq!(
        demoted(&format!("{announce}, demoted: {{med: 200, communities: [NO_EXPORT]}}")),
        Announce { med: Some(200), communities: BTreeSet::from([Community::NO_EXPORT]), ..longer }
    );
    assert_eq!(
        demoted(&format!("{announce}, demoted: {{as_path_prepend: 2, med: 200}}")),
        Announce { med: Some(200), ..healthy }
    );
    assert_eq!(demoted("announce: {as_path_prepend: 15}").as_path_prepend, 16);
}

#[test]
fn a_better_rank_has_a_shorter_path_where_there_is_room() {
    let prepends = |healthy: u8, demoted: u8| {
        let keys = format!(
            "announce: {{as_path_prepend: {healthy}}}, demoted: {{as_path_prepend: {demoted}, med: 9}}"
        );
        let service = service(&keys);
        [Rank::Standby, Rank::Degraded, Rank::Down].map(|rank| service.prepends(rank))
    };
    assert_eq!(prepends(0, 3), [1, 2, 3]);
    assert_eq!(prepends(2, 8), [6, 7, 8]);
    assert_eq!(prepends(0, 2), [1, 1, 2]);
    assert_eq!(prepends(0, 1), [1, 1, 1]);
    assert_eq!(prepends(4, 4), [4, 4, 4], "only the MED says that it is demoted");
}

#[test]
fn what_happens_to_a_service_that_is_not_well() {
    let plain = service("bind: always");
    assert_eq!((plain.on_down, plain.on_degraded), (OnDown::Withdraw, OnDegraded::Demote));
    assert_eq!((plain.warm_up, plain.role), (None, Role::Active(Preempt::AtOnce)));
    assert_eq!(service("on_down: demote").on_down, OnDown::Demote);
    assert_eq!(service("on_degraded: ignore").on_degraded, OnDegraded::Ignore);
    assert_eq!(service("on_degraded: withdraw").on_degraded, OnDegraded::Withdraw);
    assert_eq!(service("warm_up: 30s").warm_up, Some(Duration::from_secs(30)));
    assert_eq!(service("role: standby").role, Role::Standby);
    assert_eq!(service("preempt: false").role, Role::Active(Preempt::Never));
    assert_eq!(
        service("role: active, preempt: 10m").role,
        Role::Active(Preempt::After(Duration::from_secs(600)))
    );
}

#[test]
fn limits_and_damping_are_read() {
    let check = |keys: &str| {
        let text = SMALLEST.replace("tcp: \"127.0.0.1:80\"", &format!("tcp: \"127.0.0.1:80\", {keys}"));
        Check::clone(&config(&text).checks["up"])
    };
    let (ms, minute) = (Duration::from_millis, Duration::from_secs(60));
    let limit = |measure, results, then| Limit { measure, results: NonZeroU32::new(results).unwrap(), then };
    let over = ms(200);
    assert_eq!(
        check("latency: {over: 200ms}").limits,
        [limit(Measure::Latency { over }, 5, Consequence::Degraded)]
    );
    assert_eq!(
        check(
            "latency: [{over: 200ms, of: average, window: 15s, for: 3}, {over: 200ms, of: p95, then: down}]"
        )
        .limits,
        [
            limit(
                Measure::AverageLatency { over, window: Duration::from_secs(15) },
                3,
                Consequence::Degraded
            ),
            limit(Measure::LatencyPercentile { over, percentile: 95, window: minute }, 1, Consequence::Down),
        ]
    );
    assert_eq!(
        check("errors: [{over: 5%}, {over: 0.5%, window: 5m, then: down}]").limits,
        [
            limit(Measure::Errors { over: Share(50), window: minute }, 1, Consequence::Degraded),
            limit(Measure::Errors { over: Share(5), window: 5 * minute }, 1, Consequence::Down),
        ]
    );
    let hold =
        |first, most| Some(HoldDown { first: Duration::from_secs(first), most: Duration::from_secs(most) });
    assert_eq!(check("rise: 2").hold_down, None);
    assert_eq!(check("hold_down: false").hold_down, None);
    assert_eq!(check("hold_down: true").hold_down, hold(10, 300));
    assert_eq!(check("hold_down: 30s").hold_down, hold(30, 300));
    assert_eq!(check("hold_down: 10m").hold_down, hold(600, 600));
    assert_eq!(check("hold_down: {first: 1s, most: 1m}").hold_down, hold(1, 60));
}

#[test]
fn conditions_nest() {
    let condition = |written: &str| {
        let text = SMALLEST
            .replace("checks: [up]", &format!("checks: {written}"))
            .replace("checks: {up", "checks: {a: {tcp: \"a:1\"}, b: {tcp: \"b:1\"}, up");
        config(&text).services["web"].checks.clone()
    };
    let check = |name: &str| Condition::Check(name.into());
    assert_eq!(condition("[]"), Condition::All(vec![]));
    assert_eq!(condition("{all: [a, b]}"), Condition::All(vec![check("a"), check("b")]));
    assert_eq!(
        condition("[up, {any: [a, {all: [b, up]}]}]"),
        Condition::All(vec![
            check("up"),
            Condition::Any(vec![check("a"), Condition::All(vec![check("b"), check("up")])])
        ])
    );
    assert_eq!(
        condition("{at_least: 2, of: [a, b, up]}"),
        Condition::AtLeast(2, vec![check("a"), check("b"), check("up")])
    );
}

#[test]
fn a_check_of_each_vip_is_made_for_each() {
    let text = SMALLEST
        .replace("198.51.100.1", "198.51.100.1, \"2001:db8::10\"")
        .replace("tcp: \"127.0.0.1:80\"", "tcp: 80, host: vip, source_address: vip");
    let config = config(&text);
    let made = ["198.51.100.1", "2001:db8::10"].map(|vip| {
        let name = CheckName::from(&*format!("up@{vip}"));
        let check = &config.checks[&name];
        let target = Target { host: vip.into(), port: 80 };
        assert_eq!(definition_of::<TcpCheck>(&check.question), TcpCheck::connecting(target));
        assert_eq!(check.via, Via { source: Some(address(vip)), interface: None });
        (Vip::from(address(vip)), name)
    });
    assert_eq!(config.checks.len(), 2, "the check itself asks nobody");
    assert_eq!(config.services["web"].checks, Condition::All(vec![Condition::EachVip(made.into())]));
}

/// The check that is written so, in a configuration where it is that of a service with the VIP 198.51.100.1.
pub(crate) fn check(written: &str) -> Check {
    let text = SMALLEST.replace("tcp: \"127.0.0.1:80\"", written);
    Check::clone(&config(&text).checks["up"])
}

/// What it asks.
pub(crate) fn asked<T: Clone + 'static>(written: &str) -> T {
    definition_of(&check(written).question)
}

#[test]
fn a_mistake_in_peer_defaults_is_told_once_however_many_peers_there_are() {
    for wrong in [
        "passive: true, active: true",
        "multihop: 2, ttl_security: 1",
        "local_as: 65001, peer_as: 65000, remote_as: 65000",
        "hold_time: 1s",
        "hold_tme: 9s",
    ] {
        let text = format!(
            "local_as: 65001
peer_defaults: {{{wrong}}}
peers:
  a: {{address: 192.0.2.1, peer_as: 65000}}
  b: {{address: 192.0.2.2, peer_as: 65000}}
services: {{web: {{vips: [198.51.100.1], checks: []}}}}
"
        );
        let found = parse("test.yaml", &text).unwrap_err().to_string();
        assert!(found.contains("1 error in test.yaml"), "{wrong}: {found}");
    }
}

#[test]
fn kinds_that_are_told_are_certain_with_one_answer() {
    let told = ["listener: {tcp: 8080}", "process: {pid: 1234}", "systemd: nginx.service", "interface: eth0"];
    for written in told {
        let check = check(written);
        assert_eq!((check.rise.get(), check.fall.get()), (1, 1), "{written}");
    }
    let patient = check("listener: {tcp: 8080}, fall: 3");
    assert_eq!((patient.rise.get(), patient.fall.get()), (1, 3));
    let polled = check("tcp: \"127.0.0.1:80\"");
    assert_eq!((polled.rise.get(), polled.fall.get()), (2, 2));
}
