//! VIPs and prefixes that are carried by local routes.

use super::*;

const WIDE: &str = "198.51.100.0/24";

fn route(vip: &str) -> Binding {
    Binding::route(net(vip), index("lo"))
}

fn routed() -> Config {
    let web = service(["192.0.2.1", WIDE], ["alive"]);
    config([("web", Service { bind: BindPolicy::Route, ..web })])
}

#[test]
fn i1_a_prefix_is_announced_only_while_its_route_is_there_and_unbound_after_its_withdrawal() {
    let mut story = Story::begin(routed());
    start(&mut story.engine, story.now);
    story.tell(Event::PeerUp("tor-a".into()));
    assert_eq!(story.tell(list([])), ["bind route 192.0.2.1 on lo", "bind route 198.51.100.0/24 on lo"]);
    let up = story.check("alive", UP);
    assert!(!up.iter().any(|line| line.starts_with("advertise")), "{up:?}");
    assert_eq!(story.bound(route("192.0.2.1"))[0], "advertise 1: 192.0.2.1");
    assert_eq!(story.bound(route(WIDE))[0], "advertise 2: 192.0.2.1, 198.51.100.0");
    story.tell(Event::PeerSynced("tor-a".into(), Version(2)));
    // It leaves the configuration.
    let rest = service(["192.0.2.1"], ["alive"]);
    let rest = config([("web", Service { bind: BindPolicy::Route, ..rest })]);
    let gone = story.reload(rest);
    assert!(gone.contains(&"advertise 3: 192.0.2.1".to_owned()), "{gone:?}");
    assert!(!gone.iter().any(|line| line.starts_with("unbind")), "{gone:?}");
    story.tell(Event::PeerSynced("tor-a".into(), Version(3)));
    let later = story.wait(3 * SECOND);
    assert!(later.iter().any(|line| line.ends_with("unbind route 198.51.100.0/24 on lo")), "{later:?}");
}

#[test]
fn i1_a_route_that_vanishes_is_withdrawn_and_put_back() {
    let mut story = Story::announced(routed());
    let lost = story.tell(Event::Removed(route(WIDE)));
    assert_eq!(lost[0], "advertise 2: 192.0.2.1");
    assert!(lost.contains(&"# lost route 198.51.100.0/24 on lo".to_owned()), "{lost:?}");
    assert_eq!(story.wait(ms(50)), ["50 bind route 198.51.100.0/24 on lo"]);
    assert_eq!(story.bound(route(WIDE))[0], "advertise 3: 192.0.2.1, 198.51.100.0");
}

#[test]
fn i3_a_route_of_a_predecessor_is_adopted_or_removed_and_one_of_someone_else_is_used_and_left() {
    let mut story = Story::begin(routed());
    start(&mut story.engine, story.now);
    let theirs = Binding { kind: Kind::Route { length: 32, metric: 0 }, ..route("192.0.2.1") };
    let left = route("203.0.113.0/24");
    let there = [(theirs, Owner::Other), (route(WIDE), Owner::Us), (left, Owner::Us)];
    let told = story.tell(list(there));
    assert_eq!(told[0], "unbind route 203.0.113.0/24 on lo");
    assert!(told.contains(&"# adopted route 198.51.100.0/24 on lo".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("bind")), "{told:?}");
    let up = story.check("alive", UP);
    assert_eq!(up[0], "advertise 1: 192.0.2.1, 198.51.100.0");
    // Its owner takes it away: ours takes its place.
    assert_eq!(
        story.tell(Event::Removed(theirs))[..2],
        ["bind route 192.0.2.1 on lo", "advertise 2: 198.51.100.0"]
    );
}

#[test]
fn i2_a_reload_from_address_to_route_and_back_never_leaves_the_vip_without_both() {
    let of = |bind| config([("web", Service { bind, ..service(["192.0.2.1"], ["alive"]) })]);
    let mut story = Story::announced(of(BindPolicy::Always));
    let lines = |told: Vec<String>| -> Vec<String> {
        told.into_iter().filter(|line| line != "configure" && !line.starts_with('#')).collect()
    };
    let address = on("lo", "192.0.2.1");
    assert_eq!(lines(story.reload(of(BindPolicy::Route))), ["bind route 192.0.2.1 on lo"]);
    assert_eq!(lines(story.bound(route("192.0.2.1"))), ["unbind 192.0.2.1 on lo"]);
    assert_eq!(lines(story.unbound(address)), [""; 0]);
    assert_eq!(lines(story.reload(of(BindPolicy::Always))), ["bind 192.0.2.1 on lo"]);
    assert_eq!(lines(story.bound(address)), ["unbind route 192.0.2.1 on lo"]);
    assert_eq!(lines(story.unbound(route("192.0.2.1"))), [""; 0]);
    assert!(story.engine.facts().asked.is_empty());
}

#[test]
fn a_prefix_that_need_not_be_bound_any_more_is_announced_without_its_route() {
    let mut story = Story::announced(routed());
    let always = config([("web", service(["192.0.2.1", WIDE], ["alive"]))]);
    let told = story.reload(always);
    assert!(told.contains(&"unbind route 198.51.100.0/24 on lo".to_owned()), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("advertise")), "{told:?}");
}
