//! Stories of a restart that the routers wait for (RFC 4724).

use super::*;

const V4: Family = Family::IPV4_UNICAST;
const V6: Family = Family::IPV6_UNICAST;

/// Two services; tor-a keeps routes for 20 s, tor-b does not.
fn graceful() -> Config {
    let mut config =
        config([("dns", service(["192.0.2.2"], ["answers"])), ("web", service(["192.0.2.1"], ["alive"]))]);
    config.peers.get_mut("tor-a").unwrap().graceful_restart =
        Some(GracefulRestart { restart_time: RestartTime::DEFAULT, notification: true });
    config
}

fn ours(vips: &[&str]) -> Event {
    listed(vips.iter().map(|vip| (on("lo", vip), Owner::Us.into())).collect())
}

fn left(vips: &[&str]) -> Left {
    Left { announced: Some(vips.iter().map(|vip| net(vip)).collect()), ..Left::default() }
}

/// What the first listing and the start come to, without the verdicts.
fn begin(story: &mut Story, listed: Event) -> Vec<String> {
    let mut lines = story.tell(listed);
    lines.extend(start(&mut story.engine, story.now).iter().map(show));
    lines.retain(|line| !line.contains("->"));
    lines
}

#[test]
fn end_of_rib_waits_for_the_last_check_and_routes_do_not() {
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2"]));
    assert_eq!(
        begin(&mut story, ours(&["192.0.2.1", "192.0.2.2"])),
        [
            "# adopted 192.0.2.1 on lo",
            "# adopted 192.0.2.2 on lo",
            "# restarting with ipv4-unicast",
            "configure, restarted with ipv4-unicast"
        ]
    );
    assert!(story.engine.is_restarting());
    assert_eq!(story.check("alive", UP)[0], "advertise 1: 192.0.2.1 and more");
    story.now += SECOND;
    assert_eq!(
        story.check("answers", UP),
        [
            "advertise 2: 192.0.2.1, 192.0.2.2",
            "# check answers Up",
            "# 192.0.2.2: withheld (check_unknown) -> announced",
            "# restarted, 0 undecided"
        ]
    );
    for peer in ["tor-a", "tor-b"] {
        story.tell(Event::PeerUp(peer.into()));
    }
    story.synced(2);
    story.wait(SECOND);
    assert!(!story.engine.is_restarting());
    assert_eq!(story.reload(graceful()), ["configure"], "a peer that starts later finds nobody restarted");
}

#[test]
fn a_check_that_is_down_is_a_decision_too() {
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2"]));
    begin(&mut story, ours(&["192.0.2.1", "192.0.2.2"]));
    story.check("alive", UP);
    // The set of routes is the same as before: what is new is that it is all.
    assert_eq!(story.check("answers", DOWN)[0], "advertise 2: 192.0.2.1");
}

#[test]
fn what_is_not_decided_within_the_restart_time_is_no_longer_waited_for() {
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2"]));
    begin(&mut story, ours(&["192.0.2.1", "192.0.2.2"]));
    story.check("alive", UP);
    assert_eq!(story.wait(20 * SECOND), ["20000 advertise 2: 192.0.2.1", "20000 # restarted, 1 undecided"]);
    assert_eq!(story.check("answers", UP)[0], "advertise 3: 192.0.2.1, 192.0.2.2");
}

#[test]
fn a_binding_that_is_under_way_is_waited_for_and_one_that_failed_is_not() {
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2"]));
    let lines = begin(&mut story, ours(&["192.0.2.2"]));
    assert_eq!(
        lines[..3],
        ["bind 192.0.2.1 on lo", "# adopted 192.0.2.2 on lo", "# restarting with nothing"]
    );
    story.check("answers", UP);
    assert!(!story.check("alive", UP).iter().any(|line| line.contains("restarted")));
    let failed = story.tell(refused(on("lo", "192.0.2.1"), "not permitted"));
    assert_eq!(failed[0], "advertise 2: 192.0.2.2", "{failed:?}");
}

#[test]
fn i2_what_the_predecessor_announced_stays_bound_until_every_peer_was_told_everything() {
    // 192.0.2.9 is no longer configured, and was announced.
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2", "192.0.2.9"]));
    let lines = begin(&mut story, ours(&["192.0.2.1", "192.0.2.2", "192.0.2.9"]));
    assert!(!lines.iter().any(|line| line.contains("unbind")), "{lines:?}");
    story.check("alive", UP);
    story.check("answers", UP);
    assert_eq!(story.wait(5 * SECOND), [""; 0], "no router has heard of it");
    for peer in ["tor-a", "tor-b"] {
        story.tell(Event::PeerUp(peer.into()));
    }
    assert_eq!(story.tell(Event::PeerSynced("tor-a".into(), Version(2))), [""; 0]);
    assert_eq!(story.tell(Event::PeerSynced("tor-b".into(), Version(2))), [""; 0]);
    assert_eq!(story.wait(SECOND), ["6000 unbind 192.0.2.9 on lo"]);
}

#[test]
fn i2_a_router_that_does_not_come_back_is_not_waited_for_longer_than_it_keeps_routes() {
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.9"]));
    begin(&mut story, ours(&["192.0.2.1", "192.0.2.2", "192.0.2.9"]));
    story.check("alive", UP);
    story.check("answers", UP);
    assert_eq!(
        story.wait(30 * SECOND),
        ["30000 unbind 192.0.2.9 on lo"],
        "hold time, restart time, unbind delay"
    );
}

#[test]
fn i9_a_shutdown_ends_a_restart_and_leaves_no_address() {
    let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2"]));
    begin(&mut story, ours(&["192.0.2.1", "192.0.2.2"]));
    story.check("alive", UP);
    story.tell(Event::PeerUp("tor-a".into()));
    story.tell(Event::PeerSynced("tor-a".into(), Version(1)));
    let mut lines = story.tell(Event::Shutdown);
    assert!(lines.contains(&"# restarted, 0 undecided".to_owned()), "{lines:?}");
    for version in 2..5 {
        lines.extend(story.tell(Event::PeerSynced("tor-a".into(), Version(version))));
        lines.extend(story.wait(4 * SECOND));
    }
    lines.extend(story.tell(Event::PeersStopped));
    for address in ["192.0.2.1", "192.0.2.2"] {
        assert!(lines.iter().any(|line| line.ends_with(&format!("unbind {address} on lo"))), "{lines:?}");
        lines.extend(story.unbound(on("lo", address)));
    }
    assert!(
        lines.contains(&"exit".to_owned()) && lines.last().is_some_and(|line| line == "# done"),
        "{lines:?}"
    );
}

#[test]
fn without_graceful_restart_nothing_waits() {
    let mut config = graceful();
    config.peers.get_mut("tor-a").unwrap().graceful_restart = None;
    let mut story = Story::begin_with(config, left(&["192.0.2.1", "192.0.2.9"]));
    let lines = begin(&mut story, ours(&["192.0.2.1", "192.0.2.2", "192.0.2.9"]));
    assert!(lines.contains(&"unbind 192.0.2.9 on lo".to_owned()), "{lines:?}");
    assert_eq!(lines.last().unwrap(), "configure");
    assert_eq!(story.check("alive", UP)[0], "advertise 1: 192.0.2.1");
}

#[test]
fn a_family_is_preserved_when_all_that_was_announced_of_it_is_still_bound() {
    const US: Owner = Owner::Us;
    const OTHER: Owner = Owner::Other;
    type Case = (Option<&'static [&'static str]>, &'static [(&'static str, Owner)], &'static [Family]);
    const TABLE: &[Case] = &[
        // A planned restart says what was announced.
        (Some(&["192.0.2.1", "2001:db8::1"]), &[("192.0.2.1", US), ("2001:db8::1", US)], &[V4, V6]),
        (Some(&["192.0.2.1", "2001:db8::1"]), &[("192.0.2.1", US)], &[V4]),
        (Some(&["192.0.2.1", "192.0.2.2"]), &[("192.0.2.1", US)], &[]),
        (Some(&["192.0.2.1"]), &[("192.0.2.1", OTHER)], &[V4]),
        // What is new in the configuration was not announced.
        (Some(&["192.0.2.1"]), &[("192.0.2.1", US), ("192.0.2.2", US)], &[V4]),
        (Some(&["203.0.113.0/24"]), &[], &[V4]),
        (Some(&[]), &[("192.0.2.1", US)], &[]),
        // A crash says nothing.
        (None, &[("192.0.2.1", US), ("192.0.2.2", US)], &[V4]),
        (None, &[("192.0.2.1", US), ("192.0.2.2", OTHER)], &[V4]),
        (None, &[("192.0.2.1", US)], &[]),
        (None, &[("192.0.2.1", OTHER), ("192.0.2.2", OTHER)], &[]),
        (None, &[("192.0.2.1", US), ("192.0.2.2", US), ("2001:db8::1", US)], &[V4, V6]),
        (None, &[], &[]),
    ];
    let mut config = graceful();
    config.services.insert("v6".into(), service(["2001:db8::1"], ["alive"]));
    for (announced, addresses, expected) in TABLE {
        let bindings = addresses.iter().map(|(vip, owner)| (on("lo", vip), (*owner).into())).collect();
        let facts = Facts { links: links(), bindings, is_listed: true, ..Facts::default() };
        let announced = announced.map(|vips| vips.iter().map(|vip| net(vip)).collect());
        let preserved = super::super::restart::preserved(&config, &facts, announced.as_ref());
        assert_eq!(preserved, expected.iter().copied().collect(), "{announced:?} {facts:?}");
    }
}

#[test]
fn i2_a_sigterm_before_the_session_is_back_waits_for_the_router_that_keeps_our_routes() {
    let stopped = || {
        let mut story = Story::begin_with(graceful(), left(&["192.0.2.1", "192.0.2.2"]));
        begin(&mut story, ours(&["192.0.2.1", "192.0.2.2"]));
        story.wait(ms(100));
        let lines = story.tell(Event::Shutdown);
        assert!(!lines.iter().any(|line| line.contains("unbind") || line.contains("settling")), "{lines:?}");
        story
    };
    // It comes back, is told that there is nothing, and the rest is as always.
    let mut story = stopped();
    assert_eq!(story.wait(8 * SECOND), [""; 0]);
    story.tell(Event::PeerUp("tor-a".into()));
    let version = story.engine.version();
    assert_eq!(story.tell(Event::PeerSynced("tor-a".into(), version)), ["# settling"]);
    assert_eq!(story.wait(SECOND), ["9100 stop peers", "9100 # ceasing"]);
    // It never comes back: it has dropped the routes when its restart time is over, which may have begun a hold time after
    // ours, and its traffic ends a moment later.
    let mut story = stopped();
    let lines = story.wait(40 * SECOND);
    assert_eq!(lines[..3], ["29000 # settling", "30000 stop peers", "30000 # ceasing"], "{lines:?}");
    // In a hurry nobody waits.
    let mut story = stopped();
    assert!(story.tell(Event::Shutdown).contains(&"# ceasing".to_owned()));
}

#[test]
fn i2_a_vip_that_a_reload_removes_while_the_session_is_down_stays_until_the_router_was_told() {
    let reloaded = || {
        let mut story = Story::announced(graceful());
        story.wait(SECOND);
        // The set of the beginning was partial, and this one is whole.
        let version = story.engine.version();
        story.synced(version.0);
        story.tell(Event::PeerDown("tor-a".into()));
        let mut less = graceful();
        less.services.swap_remove("web");
        less.checks.swap_remove("alive");
        story.reload(less);
        let version = story.engine.version();
        story.tell(Event::PeerSynced("tor-b".into(), version));
        assert_eq!(story.wait(10 * SECOND), [""; 0], "tor-a keeps the route");
        story
    };
    let mut story = reloaded();
    assert_eq!(
        story.wait(25 * SECOND),
        ["31000 unbind 192.0.2.1 on lo"],
        "9 s and 20 s of tor-a, and the unbind delay"
    );
    let mut story = reloaded();
    story.tell(Event::PeerUp("tor-a".into()));
    let version = story.engine.version();
    story.tell(Event::PeerSynced("tor-a".into(), version));
    assert_eq!(story.wait(SECOND), ["12000 unbind 192.0.2.1 on lo"]);
}

#[test]
fn i2_a_router_that_a_reload_removes_may_keep_what_it_has_and_is_waited_for() {
    let plain = || config([("web", service(["192.0.2.1"], ["alive"]))]);
    let mut keeping = plain();
    keeping.peers.get_mut("tor-a").unwrap().graceful_restart = Some(GracefulRestart::default());
    let mut story = Story::announced(plain());
    story.reload(keeping.clone());
    let mut after = keeping;
    after.peers.remove("tor-a");
    after.services.clear();
    assert_eq!(story.reload(after)[..2], ["configure", "advertise 2: nothing"]);
    story.tell(Event::PeerSynced("tor-b".into(), Version(2)));
    // Our goodbye may be lost, and then it keeps its routes for hold and restart time.
    story.tell(Event::PeerDown("tor-a".into()));
    assert_eq!(story.wait(28 * SECOND), [""; 0]);
    assert_eq!(story.wait(3 * SECOND), ["30000 unbind 192.0.2.1 on lo"]);
    assert!(!story.engine.facts().peers.contains_key("tor-a"), "and forgotten then");
}

#[test]
fn i2_after_a_power_loss_a_silent_router_is_waited_for_though_nothing_tells_of_a_run_before() {
    let mut story = Story::begin(graceful());
    begin(&mut story, ours(&[]));
    for address in ["192.0.2.1", "192.0.2.2"] {
        story.bound(on("lo", address));
    }
    for check in ["alive", "answers"] {
        story.check(check, UP);
    }
    let mut after = graceful();
    after.services.clear();
    story.reload(after);
    // It keeps what it had from us for its hold time, which may have begun as we did, and then for the restart time.
    assert!(!story.wait(29 * SECOND).iter().any(|line| line.contains("unbind")));
    let lines = story.wait(2 * SECOND);
    assert_eq!(lines, ["30000 unbind 192.0.2.1 on lo", "30000 unbind 192.0.2.2 on lo"]);
}
