//! The machine against the rules of RFC 9568 §6.4, one input at a time.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::checksum::Coverage;
use crate::config::{Announcements, Link};
use crate::endpoints::Endpoints;
use crate::iana::GROUP_V4;
use crate::values::{AddressList, Addresses, Authentication, Interval, Seconds, Vrid};

const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const LOW: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const HIGH: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn priority(priority: u8) -> Priority {
    Priority::new(priority).unwrap()
}

fn vip() -> AddressList<Ipv4Addr> {
    AddressList::new(vec![Ipv4Addr::new(192, 0, 2, 10)]).unwrap()
}

/// Interval 1 s.
fn form() -> Form {
    Form::V3 { interval: Interval::from_centiseconds(100).unwrap(), addresses: Addresses::V4(vip()) }
}

/// Priority 128: Skew_Time is half an interval.
fn config() -> Config {
    let config = Config::new(Vrid::new(51).unwrap(), Link::new(form(), US.into()).unwrap());
    Config { priority: priority(128), ..config }
}

fn packet(source: Ipv4Addr, priority: u8) -> Packet {
    Packet {
        advertisement: Advertisement {
            vrid: Vrid::new(51).unwrap(),
            priority: Priority::new(priority),
            form: form(),
        },
        endpoints: Endpoints::V4 { source, destination: GROUP_V4 },
        coverage: Coverage::Message,
    }
}

/// An instance and its last outputs, as short words.
struct Bench {
    instance: Instance,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { instance: Instance::new(config, at(0)) }
    }

    /// In Backup since 0.
    fn backup(config: Config) -> Self {
        let mut bench = Self::new(config);
        assert_eq!(bench.on(Input::Start, 0), ["Initialize to Backup: started"]);
        bench
    }

    /// In Active since 3.5 s.
    fn active(config: Config) -> Self {
        let mut bench = Self::backup(config);
        let taken = ["transmit 128", "Backup to Active: no Active Router is heard", "announce Takeover"];
        assert_eq!(bench.on(Input::Tick, 3_500), taken);
        bench
    }

    fn on(&mut self, input: Input, millis: u64) -> Vec<String> {
        self.instance.handle(input, at(millis)).iter().map(words).collect()
    }

    fn hears(&mut self, source: Ipv4Addr, priority: u8, millis: u64) -> Vec<String> {
        self.on(Input::Received { packet: packet(source, priority), at: at(millis) }, millis)
    }

    fn deadline(&self) -> Option<u64> {
        self.instance.deadline().map(|at| at.as_nanos() / 1_000_000)
    }
}

fn words(output: &Output) -> String {
    match output {
        Output::Transmit(sent) => {
            format!("transmit {}", sent.advertisement.priority.map_or(0, Priority::get))
        }
        Output::Transition(transition) => transition.to_string(),
        Output::Announce(occasion) => format!("announce {occasion:?}"),
        Output::Notice(notice) => format!("notice {notice}"),
        Output::Discarded(reason) => format!("discarded {}", reason.name()),
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_backup_takes_over_after_three_intervals_and_the_skew() {
    let mut bench = Bench::backup(config());
    assert_eq!(bench.deadline(), Some(3_500));
    assert_eq!(bench.on(Input::Tick, 3_499), NOTHING);
    let taken = ["transmit 128", "Backup to Active: no Active Router is heard", "announce Takeover"];
    assert_eq!(bench.on(Input::Tick, 3_500), taken);
    assert_eq!(bench.deadline(), Some(4_500));
    assert_eq!(bench.on(Input::Tick, 4_500), ["transmit 128"]);
    // A late Tick does not bring a burst.
    assert_eq!(bench.on(Input::Tick, 7_700), ["transmit 128"]);
    assert_eq!(bench.deadline(), Some(8_500));
}

#[test]
fn an_owner_is_active_at_once() {
    let mut bench = Bench::new(Config { priority: Priority::OWNER, ..config() });
    let taken = ["transmit 255", "Initialize to Active: started", "announce Takeover"];
    assert_eq!(bench.on(Input::Start, 0), taken);
}

#[test]
fn a_backup_follows_a_higher_router_and_learns_its_interval() {
    let mut bench = Bench::backup(config());
    let mut slow = packet(HIGH, 200);
    let interval = Interval::from_centiseconds(200).unwrap();
    slow.advertisement.form = Form::V3 { interval, addresses: Addresses::V4(vip()) };
    assert_eq!(bench.on(Input::Received { packet: slow, at: at(1_000) }, 1_000), NOTHING);
    assert_eq!(bench.deadline(), Some(1_000 + 7_000));
    assert_eq!(bench.hears(HIGH, 200, 2_000), NOTHING);
    assert_eq!(bench.deadline(), Some(2_000 + 3_500));
    // An equal one as well, whatever its address.
    assert_eq!(bench.hears(LOW, 128, 3_000), NOTHING);
    assert_eq!(bench.deadline(), Some(3_000 + 3_500));
    assert_eq!(bench.instance.status().active, Some(LOW.into()));
}

#[test]
fn a_packet_counts_from_when_the_kernel_received_it() {
    let mut bench = Bench::backup(config());
    bench.on(Input::Received { packet: packet(HIGH, 200), at: at(1_000) }, 1_800);
    assert_eq!(bench.deadline(), Some(4_500));
    // Reordered: it does not shorten the time.
    bench.on(Input::Received { packet: packet(HIGH, 200), at: at(500) }, 1_900);
    assert_eq!(bench.deadline(), Some(4_500));
}

#[test]
fn a_lower_active_router_is_preempted() {
    let mut bench = Bench::backup(config());
    assert_eq!(bench.hears(LOW, 100, 1_000), NOTHING);
    assert_eq!(bench.deadline(), Some(3_500));
    let taken = ["transmit 128", "Backup to Active: 10.0.0.1 has a lower priority", "announce Takeover"];
    assert_eq!(bench.on(Input::Tick, 3_500), taken);
}

#[test]
fn without_preempt_a_lower_active_router_is_followed() {
    let mut bench = Bench::backup(Config { preempt: Preempt::Never, ..config() });
    assert_eq!(bench.hears(LOW, 100, 1_000), NOTHING);
    assert_eq!(bench.deadline(), Some(4_500));
}

#[test]
fn a_delayed_preempt_follows_a_lower_router_that_long() {
    let mut bench = Bench::backup(Config { preempt: Preempt::After(Duration::from_secs(10)), ..config() });
    for second in 1..=10 {
        assert_eq!(bench.hears(LOW, 100, second * 1_000), NOTHING);
        assert_eq!(bench.deadline(), Some(second * 1_000 + 3_500));
    }
    assert_eq!(bench.hears(LOW, 100, 11_000), NOTHING);
    assert_eq!(bench.deadline(), Some(13_500));
    // A higher one ends the delay, and the next lower one begins it anew.
    assert_eq!(bench.hears(HIGH, 200, 12_000), NOTHING);
    assert_eq!(bench.hears(LOW, 100, 13_000), NOTHING);
    assert_eq!(bench.deadline(), Some(16_500));
}

#[test]
fn a_delayed_preempt_does_not_delay_after_a_failure() {
    let mut bench = Bench::backup(Config { preempt: Preempt::After(Duration::from_secs(60)), ..config() });
    bench.hears(LOW, 100, 1_000);
    assert_eq!(bench.deadline(), Some(4_500));
    let taken = ["transmit 128", "Backup to Active: no Active Router is heard", "announce Takeover"];
    assert_eq!(bench.on(Input::Tick, 4_500), taken);
}

#[test]
fn priority_0_leaves_only_the_skew() {
    let mut bench = Bench::backup(config());
    bench.hears(HIGH, 200, 1_000);
    assert_eq!(bench.hears(HIGH, 0, 1_500), NOTHING);
    assert_eq!(bench.deadline(), Some(2_000));
    // A second one does not put it off.
    assert_eq!(bench.hears(HIGH, 0, 1_900), NOTHING);
    assert_eq!(bench.deadline(), Some(2_000));
    let taken = ["transmit 128", "Backup to Active: 10.0.0.9 has stopped", "announce Takeover"];
    assert_eq!(bench.on(Input::Tick, 2_000), taken);
}

#[test]
fn priority_0_of_a_router_that_is_not_followed_changes_nothing() {
    let mut bench = Bench::backup(config());
    bench.hears(HIGH, 200, 1_000);
    assert_eq!(bench.hears(LOW, 0, 1_100), NOTHING);
    assert_eq!(bench.deadline(), Some(4_500));
    // From a lower one that was Active it counts.
    let mut bench = Bench::backup(config());
    bench.hears(LOW, 100, 1_000);
    assert_eq!(bench.hears(LOW, 0, 1_100), NOTHING);
    assert_eq!(bench.deadline(), Some(1_600));
}

#[test]
fn an_active_router_yields_to_a_higher_one_and_to_a_higher_address() {
    let mut bench = Bench::active(config());
    let yields = ["Active to Backup: 10.0.0.1 is Active with priority 200"];
    assert_eq!(bench.hears(LOW, 200, 4_000), yields);
    assert_eq!(bench.deadline(), Some(7_500));
    let mut bench = Bench::active(config());
    let yields = ["Active to Backup: 10.0.0.9 is Active with priority 128"];
    assert_eq!(bench.hears(HIGH, 128, 4_000), yields);
}

#[test]
fn an_active_router_answers_a_lower_one_and_announces_until_it_has_ended() {
    let mut bench = Bench::active(config());
    let told =
        ["transmit 128", "announce LowerRouter", "notice 10.0.0.1 is Active with priority 128 beside us"];
    assert_eq!(bench.hears(LOW, 128, 4_000), told);
    assert_eq!(bench.deadline(), Some(5_000));
    // Not for each packet, or two routers that mistake each other would do nothing else.
    assert_eq!(bench.hears(LOW, 100, 4_100), NOTHING);
    assert_eq!(bench.hears(LOW, 100, 4_600), ["transmit 128", "announce LowerRouter"]);
    for second in [5_600, 6_600, 7_600] {
        assert_eq!(bench.on(Input::Tick, second), ["transmit 128"]);
    }
    let ended = ["transmit 128", "announce LowerRouterEnded", "announce Again"];
    assert_eq!(bench.on(Input::Tick, 8_600), ended);
}

#[test]
fn priority_0_is_answered_by_the_active_router() {
    let mut bench = Bench::active(config());
    assert_eq!(bench.hears(LOW, 0, 4_000), ["transmit 128"]);
    bench.hears(LOW, 100, 5_000);
    assert_eq!(bench.hears(LOW, 0, 5_600), ["announce LowerRouterEnded", "transmit 128"]);
}

#[test]
fn addresses_are_announced_again_and_refreshed() {
    let again_after = Some(Duration::from_millis(200));
    let refresh = Some(Duration::from_millis(300));
    let mut bench =
        Bench::active(Config { announcements: Announcements { again_after, refresh }, ..config() });
    assert_eq!(bench.deadline(), Some(3_700));
    assert_eq!(bench.on(Input::Tick, 3_700), ["announce Again"]);
    assert_eq!(bench.on(Input::Tick, 4_000), ["announce Refresh"]);
    assert_eq!(bench.deadline(), Some(4_300));

    let never = Announcements { again_after: None, refresh: None };
    assert_eq!(Bench::active(Config { announcements: never, ..config() }).deadline(), Some(4_500));
}

#[test]
fn a_clean_stop_tells_it_and_is_silent() {
    let mut bench = Bench::active(config());
    assert_eq!(bench.on(Input::Stop, 4_000), ["transmit 0", "Active to Initialize: stopped"]);
    assert_eq!(bench.deadline(), None);
    assert_eq!(bench.hears(LOW, 1, 4_100), NOTHING);
    assert_eq!(bench.on(Input::Stop, 4_200), NOTHING);
    // A Backup Router has nothing to tell.
    let mut bench = Bench::backup(config());
    assert_eq!(bench.on(Input::Stop, 1_000), ["Backup to Initialize: stopped"]);
}

#[test]
fn a_fault_releases_and_is_silent_until_it_ends() {
    let mut bench = Bench::active(config());
    let released = ["transmit 0", "Active to Fault: this node cannot serve the addresses"];
    assert_eq!(bench.on(Input::Fault(true), 4_000), released);
    assert_eq!(bench.on(Input::Fault(true), 4_100), NOTHING);
    assert_eq!(bench.hears(LOW, 1, 4_200), NOTHING);
    assert_eq!(bench.deadline(), None);
    let back = ["Fault to Backup: this node can serve the addresses again"];
    assert_eq!(bench.on(Input::Fault(false), 5_000), back);
    assert_eq!(bench.deadline(), Some(8_500));
    // Before its start as well.
    let mut bench = Bench::new(Config { priority: Priority::OWNER, ..config() });
    assert_eq!(bench.on(Input::Fault(true), 0), NOTHING);
    let faulty = ["Initialize to Fault: this node cannot serve the addresses"];
    assert_eq!(bench.on(Input::Start, 1), faulty);
}

#[test]
fn a_new_priority_is_told_at_once_and_changes_the_skew() {
    let mut bench = Bench::active(config());
    assert_eq!(bench.on(Input::Priority(priority(64)), 4_000), ["transmit 64"]);
    assert_eq!(bench.on(Input::Priority(priority(64)), 4_100), NOTHING);
    assert_eq!(bench.deadline(), Some(5_000));
    let mut bench = Bench::backup(config());
    assert_eq!(bench.on(Input::Priority(priority(64)), 1_000), NOTHING);
    assert_eq!(bench.deadline(), Some(3_750));
    // The one that was followed is now the lower one.
    bench.hears(HIGH, 100, 1_000);
    assert_eq!(bench.on(Input::Priority(priority(192)), 2_000), NOTHING);
    assert_eq!(bench.hears(HIGH, 100, 2_000), NOTHING);
    assert_eq!(bench.deadline(), Some(1_000 + 3_250));
}

#[test]
fn a_late_wake_up_waits_for_one_more_interval_once() {
    let mut bench = Bench::backup(config());
    bench.hears(HIGH, 200, 1_000);
    assert_eq!(bench.on(Input::Tick, 20_000), NOTHING);
    assert_eq!(bench.deadline(), Some(21_250));
    assert_eq!(bench.instance.status().counters.late_wakeups, 1);
    let taken = ["transmit 128", "Backup to Active: no Active Router is heard", "announce Takeover"];
    assert_eq!(bench.on(Input::Tick, 40_000), taken);
    // One that is heard meanwhile ends it.
    let mut bench = Bench::backup(config());
    assert_eq!(bench.on(Input::Tick, 20_000), NOTHING);
    assert_eq!(bench.hears(HIGH, 200, 20_500), NOTHING);
    assert_eq!(bench.deadline(), Some(24_000));
}

#[test]
fn what_does_not_belong_here_is_dropped_and_counted() {
    let mut bench = Bench::active(config());
    let mut drop = |change: &dyn Fn(&mut Packet)| {
        let mut packet = packet(HIGH, 200);
        change(&mut packet);
        bench.on(Input::Received { packet, at: at(4_000) }, 4_000)
    };
    let two =
        |authentication| Form::V2 { interval: Seconds::new(1).unwrap(), authentication, addresses: vip() };
    let v6 = Form::V3 {
        interval: Interval::from_centiseconds(100).unwrap(),
        addresses: Addresses::V6(AddressList::new(vec!["fe80::1".parse().unwrap()]).unwrap()),
    };
    assert_eq!(drop(&|p| p.advertisement.vrid = Vrid::MIN), ["discarded OtherVrid"]);
    assert_eq!(drop(&|p| p.advertisement.form = two(Authentication::None)), ["discarded OtherVersion"]);
    assert_eq!(drop(&|p| p.advertisement.form = v6.clone()), ["discarded OtherFamily"]);
    let own = Endpoints::V4 { source: US, destination: GROUP_V4 };
    assert_eq!(drop(&|p| p.endpoints = own), ["discarded OwnSource"]);
    assert_eq!(
        bench.instance.status().discards.to_string(),
        [Discard::OtherVrid, Discard::OtherVersion, Discard::OtherFamily, Discard::OwnSource,]
            .map(|reason| format!("{reason} (1)"))
            .join(", ")
    );

    // Version 2 compares the password and the interval.
    let here = Form::V2 {
        interval: Seconds::new(1).unwrap(),
        authentication: Authentication::password("secret"),
        addresses: vip(),
    };
    let mut bench = Bench::backup(Config::new(Vrid::new(51).unwrap(), Link::new(here, US.into()).unwrap()));
    let mut theirs = packet(HIGH, 200);
    theirs.advertisement.form = two(Authentication::None);
    let input = Input::Received { packet: theirs.clone(), at: at(1) };
    assert_eq!(bench.on(input, 1), ["discarded Authentication"]);
    theirs.advertisement.form = Form::V2 {
        interval: Seconds::new(2).unwrap(),
        authentication: Authentication::password("secret"),
        addresses: vip(),
    };
    assert_eq!(bench.on(Input::Received { packet: theirs, at: at(2) }, 2), ["discarded OtherInterval"]);
}

#[test]
fn with_unicast_peers_only_they_count_and_each_is_told() {
    let link = Link::new(form(), US.into()).unwrap().with_peers([LOW.into(), HIGH.into()]).unwrap();
    let config = Config { link, ..config() };
    let mut bench = Bench::backup(config);
    assert_eq!(bench.hears(Ipv4Addr::new(10, 0, 0, 7), 200, 1), ["discarded NotAPeer"]);
    assert_eq!(bench.hears(HIGH, 200, 2), NOTHING);
    let outputs = bench.instance.handle(Input::Tick, at(3_600));
    let Some(Output::Transmit(sent)) = outputs.first() else { panic!("{outputs:?}") };
    let packets: Vec<_> = sent.packets().map(|(to, _)| to.destination()).collect();
    assert_eq!(packets, [IpAddr::from(LOW), IpAddr::from(HIGH)]);
}

#[test]
fn a_second_owner_is_told_and_neither_yields() {
    let mut bench = Bench::new(Config { priority: Priority::OWNER, ..config() });
    bench.on(Input::Start, 0);
    let told = ["discarded SecondOwner", "notice 10.0.0.9 has priority 255, as we do"];
    assert_eq!(bench.hears(HIGH, 255, 100), told);
    assert_eq!(bench.hears(HIGH, 255, 200), ["discarded SecondOwner"]);
    assert_eq!(bench.instance.state(), State::Active);
}

#[test]
fn likely_mistakes_are_noticed_once_a_minute_and_count_all_the_same() {
    let mut bench = Bench::backup(config());
    let mut other = packet(HIGH, 200);
    let list = AddressList::new(vec![Ipv4Addr::new(192, 0, 2, 99)]).unwrap();
    let interval = Interval::from_centiseconds(100).unwrap();
    other.advertisement.form = Form::V3 { interval, addresses: Addresses::V4(list) };
    other.coverage = Coverage::PseudoHeader;
    let told = [
        "notice 10.0.0.9 names other addresses than we do",
        "notice the checksum of 10.0.0.9 covers a pseudo-header, and ours does not",
    ];
    let mut hears = |millis| bench.on(Input::Received { packet: other.clone(), at: at(millis) }, millis);
    assert_eq!(hears(1_000), told);
    assert_eq!(hears(60_999), NOTHING);
    assert_eq!(hears(61_000), told);
    assert_eq!(bench.deadline(), Some(64_500));
}

#[test]
fn new_addresses_are_told_at_once_and_another_router_starts_anew() {
    let mut bench = Bench::active(config());
    let list = AddressList::new(vec![Ipv4Addr::new(192, 0, 2, 99)]).unwrap();
    let interval = Interval::from_centiseconds(10).unwrap();
    let form = Form::V3 { interval, addresses: Addresses::V4(list) };
    let other = Config::new(Vrid::new(51).unwrap(), Link::new(form.clone(), US.into()).unwrap());
    let told = ["transmit 100", "announce Configured"];
    assert_eq!(bench.on(Input::Configure(other.clone()), 4_000), told);
    assert_eq!(bench.deadline(), Some(4_100));
    assert_eq!(bench.on(Input::Configure(other), 4_050), NOTHING);

    let other = Config::new(Vrid::new(52).unwrap(), Link::new(form, US.into()).unwrap());
    let outputs = bench.instance.handle(Input::Configure(other), at(4_060));
    let Some(Output::Transmit(sent)) = outputs.first() else { panic!("{outputs:?}") };
    assert_eq!((sent.advertisement.vrid.get(), sent.advertisement.priority), (51, None));
    let changes: Vec<_> = outputs.iter().skip(1).map(words).collect();
    assert_eq!(changes, ["Active to Initialize: stopped", "Initialize to Backup: started"]);
}

#[test]
fn a_configuration_of_two_families_does_not_exist() {
    use crate::config::ConfigError;
    let v6: IpAddr = "fe80::1".parse().unwrap();
    let link = Link::new(form(), US.into()).unwrap();
    assert_eq!(Link::new(form(), v6), Err(ConfigError::Source(v6)));
    assert_eq!(link.clone().with_peers([v6]), Err(ConfigError::Peer(v6)));
    assert_eq!(link.with_peers([US.into()]), Err(ConfigError::OwnAddress(US.into())));
}

#[test]
fn version_2_has_a_skew_in_seconds() {
    let form = Form::V2 {
        interval: Seconds::new(10).unwrap(),
        authentication: Authentication::None,
        addresses: vip(),
    };
    let config = Config::new(Vrid::new(51).unwrap(), Link::new(form, US.into()).unwrap());
    let bench = Bench::backup(Config { priority: priority(128), ..config });
    assert_eq!(bench.deadline(), Some(30_500));
}
