//! Stories of operators who change the configuration.

use super::*;

#[test]
fn i7_a_reload_sends_nothing_for_what_it_does_not_touch() {
    let mut story = Story::announced(two());
    assert_eq!(story.reload(two()), ["configure"]);
    let mut med = two();
    med.services.get_mut("web").unwrap().announce.med = Some(7);
    let before = story.engine.standing()[&net("192.0.2.2")].clone();
    story.now += SECOND;
    assert_eq!(story.reload(med), ["configure", "advertise 2: 192.0.2.1 med 7, 192.0.2.2"]);
    assert_eq!(story.engine.standing()[&net("192.0.2.2")], before);
}

#[test]
fn i7_a_failed_check_stays_failed_over_a_reload() {
    let mut story = Story::announced(two());
    story.check("alive", DOWN);
    let mut other = two();
    other.checks.insert("alive".into(), definition(443));
    assert_eq!(story.reload(other), ["configure"]);
    assert_eq!(story.engine.facts().checks[&CheckName::from("alive")].state, DOWN);
}

#[test]
fn a_check_with_a_new_definition_keeps_the_old_answer_until_it_settles() {
    let mut story = Story::announced(two());
    let late = report(&two(), "alive", DOWN, story.now);
    let mut other = two();
    other.checks.insert("alive".into(), definition(443));
    assert_eq!(story.reload(other), ["configure"]);
    assert_eq!(story.tell(late), [""; 0], "of the definition before");
    assert_eq!(story.check("alive", HealthState::Unknown), [""; 0]);
    assert_eq!(story.check("alive", DOWN)[0], "advertise 2: 192.0.2.2");
}

/// `web` has these checks, of which all but `alive` are new, at ports of their own.
fn with_checks<const N: usize>(checks: [&str; N]) -> Config {
    let mut config =
        config([("dns", service(["192.0.2.2"], ["answers"])), ("web", service(["192.0.2.1"], checks))]);
    for (port, check) in (1000..).zip(checks).filter(|(_, check)| *check != "alive") {
        config.checks.insert(check.into(), definition(port));
    }
    config
}

#[test]
fn a_reload_that_adds_a_check_keeps_the_verdict_until_the_check_has_settled() {
    let mut story = Story::announced(two());
    assert_eq!(story.reload(with_checks(["alive", "new"])), ["configure"]);
    let keeps = story.engine.keeps();
    assert_eq!(keeps[&ServiceName::from("web")], BTreeSet::from(["new".into()]));
    assert_eq!(story.check("new", HealthState::Unknown), ["# check new Unknown"]);
    assert_eq!(story.check("new", UP), ["# check new Up"], "it goes on without an UPDATE");
    assert_eq!(story.engine.keeps(), BTreeMap::new());
    assert_eq!(story.check("new", DOWN)[0], "advertise 2: 192.0.2.2", "now it counts");
}

#[test]
fn a_new_check_that_is_down_withdraws_and_a_known_one_that_goes_down_is_not_covered_by_it() {
    let mut story = Story::announced(two());
    story.reload(with_checks(["alive", "new"]));
    assert_eq!(story.check("new", DOWN)[0], "advertise 2: 192.0.2.2");
    let mut story = Story::announced(two());
    let mut any = with_checks(["alive", "new"]);
    any.services.get_mut("web").unwrap().checks = Condition::Any(vec![one("alive"), one("new")]);
    story.reload(any);
    assert_eq!(story.check("alive", DOWN)[0], "advertise 2: 192.0.2.2");
}

#[test]
fn a_new_check_that_never_settles_is_down_after_its_time() {
    let mut story = Story::announced(two());
    story.reload(with_checks(["alive", "new"]));
    story.check("new", HealthState::Unknown);
    assert_eq!(story.wait(ms(6499)), [""; 0]);
    assert_eq!(story.wait(ms(1))[..2], ["6500 advertise 2: 192.0.2.2", "6500 # check new Down"]);
    assert_eq!(story.check("new", UP)[0], "advertise 3: 192.0.2.1, 192.0.2.2");
}

#[test]
fn a_new_check_whose_probe_waits_for_its_turn_has_its_time_when_it_comes() {
    let mut story = Story::announced(two());
    story.reload(with_checks(["alive", "new"]));
    let config = Arc::clone(story.engine.config());
    for _ in 0..20 {
        assert_eq!(story.wait(6 * SECOND), [""; 0]);
        let waits = Event::CheckWaits("new".into(), Arc::clone(&config.checks["new"]));
        assert_eq!(story.tell(waits), [""; 0]);
    }
    let of_another = Event::CheckWaits("new".into(), definition(443));
    assert_eq!(story.wait(6 * SECOND), [""; 0]);
    assert_eq!(story.tell(of_another), [""; 0]);
    assert_eq!(story.wait(SECOND)[0], "126500 advertise 2: 192.0.2.2");
}

#[test]
fn a_changed_definition_that_never_settles_is_down_after_its_time() {
    let mut story = Story::announced(two());
    let mut other = two();
    other.checks.insert("alive".into(), definition(443));
    story.reload(other);
    assert_eq!(story.wait(10 * SECOND)[0], "6500 advertise 2: 192.0.2.2");
}

#[test]
fn a_renamed_check_keeps_its_state_and_a_service_that_is_down_stays_down_until_its_new_checks_have_settled() {
    let mut story = Story::announced(two());
    let mut renamed = with_checks(["living"]);
    renamed.checks.insert("living".into(), definition(80));
    assert_eq!(story.reload(renamed), ["configure"]);
    assert_eq!(story.engine.facts().checks[&CheckName::from("living")].state, UP);
    let mut story = Story::announced(two());
    story.check("alive", DOWN);
    assert_eq!(
        story.reload(with_checks(["new"])),
        ["configure", "# 192.0.2.1: withheld (check_down) -> withheld (check_down)"]
    );
    assert_eq!(story.check("new", UP)[0], "advertise 3: 192.0.2.1, 192.0.2.2");
}

#[test]
fn a_new_service_is_withheld_until_its_checks_are_known_and_a_vip_that_moves_to_other_checks_is_not() {
    let mut story = Story::announced(config([("dns", service(["192.0.2.2"], ["answers"]))]));
    story.reload(two());
    story.tell(added(on("lo", "192.0.2.1"), Owner::Us));
    let of = |story: &Story, vip| story.engine.standing()[&net(vip)].decision.verdict.word();
    assert_eq!(of(&story, "192.0.2.1"), "withheld");
    let mut moved = config([("name", service(["192.0.2.2"], ["resolves"]))]);
    moved.checks.insert("resolves".into(), definition(53));
    story.reload(moved);
    assert_eq!(of(&story, "192.0.2.2"), "announced");
}

#[test]
fn i2_a_vip_moves_to_another_interface_without_a_gap_and_without_an_update() {
    let mut story = Story::announced(two());
    let mut moved = two();
    moved.services.get_mut("web").unwrap().interface = "eth0".into();
    assert_eq!(story.reload(moved), ["configure", "bind 192.0.2.1 on eth0"]);
    assert_eq!(story.bound(on("eth0", "192.0.2.1")), ["unbind 192.0.2.1 on lo"]);
    // And back, before the kernel has answered: the new place is not given up for one that is about to go.
    assert_eq!(story.reload(two()), ["configure"]);
    assert_eq!(story.unbound(on("lo", "192.0.2.1")), ["bind 192.0.2.1 on lo"]);
    assert_eq!(story.bound(on("lo", "192.0.2.1")), ["unbind 192.0.2.1 on eth0"]);
    assert_eq!(story.unbound(on("eth0", "192.0.2.1")), [""; 0]);
}

#[test]
fn a_vip_moves_to_another_service_and_follows_its_checks() {
    let mut story = Story::announced(two());
    let swapped =
        config([("dns", service(["192.0.2.1"], ["answers"])), ("web", service(["192.0.2.2"], ["alive"]))]);
    assert_eq!(story.reload(swapped), ["configure"], "nothing changes for anyone outside");
    assert_eq!(story.check("alive", DOWN)[0], "advertise 2: 192.0.2.1");
}

#[test]
fn a_removed_vip_comes_back_before_it_was_unbound_and_stays() {
    let mut story = Story::announced(two());
    let less = || config([("dns", service(["192.0.2.2"], ["answers"]))]);
    assert_eq!(story.reload(less())[..2], ["configure", "advertise 2: 192.0.2.2"]);
    story.synced(2);
    story.wait(ms(900));
    story.reload(two());
    assert_eq!(story.check("alive", UP)[0], "advertise 3: 192.0.2.1, 192.0.2.2");
    assert_eq!(story.wait(60 * SECOND), [""; 0]);
}

#[test]
fn i2_a_router_that_is_removed_is_waited_for_until_its_session_is_closed() {
    let mut story = Story::announced(two());
    let mut less = config([("dns", service(["192.0.2.2"], ["answers"]))]);
    less.peers.remove("tor-b");
    story.reload(less);
    story.tell(Event::PeerSynced("tor-a".into(), Version(2)));
    assert_eq!(story.wait(10 * SECOND), [""; 0]);
    story.tell(Event::PeerDown("tor-b".into()));
    assert_eq!(story.wait(10 * SECOND), ["11000 unbind 192.0.2.1 on lo"]);
    assert_eq!(story.engine.facts().peers.len(), 1);
}

#[test]
fn i2_an_address_that_comes_late_waits_like_one_that_stayed() {
    let mut story = Story::announced(two());
    story.tell(Event::PeerDown("tor-a".into()));
    story.tell(Event::PeerDown("tor-b".into()));
    story.tell(Event::Removed(on("lo", "192.0.2.1")));
    assert_eq!(story.wait(ms(50)), ["50 bind 192.0.2.1 on lo"]);
    story.reload(config([("dns", service(["192.0.2.2"], ["answers"]))]));
    story.wait(2 * SECOND);
    // It came up just before the withdrawal and reads slowly; only then the kernel has bound the address.
    story.tell(Event::PeerUp("tor-a".into()));
    assert_eq!(story.bound(on("lo", "192.0.2.1")), [""; 0]);
    let version = story.engine.version();
    story.tell(Event::PeerSynced("tor-a".into(), version));
    assert_eq!(story.wait(2 * SECOND), ["3050 unbind 192.0.2.1 on lo"]);
}
