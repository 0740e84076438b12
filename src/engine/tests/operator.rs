//! Stories of operators: drains and reloads.

use super::*;

fn two() -> Config {
    config([("dns", service(["192.0.2.2"], ["answers"])), ("web", service(["192.0.2.1"], ["alive"]))])
}

#[test]
fn a_drain_is_graceful_for_drain_time_and_then_withdrawn_and_touches_no_other_service() {
    let mut story = Story::announced(two());
    assert_eq!(
        story.tell(Event::Drain("web".into(), drain(None))),
        [
            "save drains: [\"web\"]",
            "advertise 2: 192.0.2.1 graceful, 192.0.2.2",
            "# web drained",
            "# 192.0.2.1: announced -> demoted (draining)"
        ]
    );
    assert_eq!(story.wait(ms(2999)), [""; 0]);
    // Drained once more: that moves its end, not the withdrawal.
    let again = story.tell(Event::Drain("web".into(), drain(Some(story.now + 60 * SECOND))));
    assert_eq!(again, ["save drains: [\"web\"]", "# web drained"]);
    assert_eq!(
        story.wait(ms(1)),
        ["3000 advertise 3: 192.0.2.2", "3000 # 192.0.2.1: demoted (draining) -> withheld (drained)"]
    );
    assert_eq!(
        story.wait(60 * SECOND),
        [
            "62999 save drains: []",
            "62999 advertise 4: 192.0.2.1, 192.0.2.2",
            "62999 # web undrained",
            "62999 # 192.0.2.1: withheld (drained) -> announced"
        ]
    );
    story.synced(4);
    assert_eq!(story.engine.deadline(), None);
}

#[test]
fn a_drain_can_be_lifted_in_either_phase() {
    let mut story = Story::announced(two());
    story.tell(Event::Drain("web".into(), drain(None)));
    assert_eq!(
        story.tell(Event::Undrain("web".into())),
        [
            "save drains: []",
            "advertise 3: 192.0.2.1, 192.0.2.2",
            "# web undrained",
            "# 192.0.2.1: demoted (draining) -> announced"
        ]
    );
    story.tell(Event::Drain("web".into(), drain(None)));
    assert_eq!(story.wait(3 * SECOND)[0], "3000 advertise 5: 192.0.2.2");
    assert_eq!(story.tell(Event::Undrain("web".into()))[1], "advertise 6: 192.0.2.1, 192.0.2.2");
    assert_eq!(story.tell(Event::Undrain("web".into())), [""; 0], "it is not drained");
    assert_eq!(story.tell(Event::Drain("mail".into(), drain(None))), [""; 0], "there is no such service");
}

#[test]
fn a_drained_service_may_go_down_and_come_back_unseen() {
    let mut story = Story::announced(two());
    story.tell(Event::Drain("web".into(), drain(None)));
    assert_eq!(story.check("alive", DOWN)[0], "advertise 3: 192.0.2.2", "down wins over graceful");
    assert_eq!(story.check("alive", UP)[0], "advertise 4: 192.0.2.1 graceful, 192.0.2.2");
    story.wait(3 * SECOND);
    assert_eq!(story.check("alive", DOWN), ["# check alive Down"]);
    assert_eq!(
        story.tell(Event::Undrain("web".into())),
        [
            "save drains: []",
            "# web undrained",
            "# 192.0.2.1: withheld (drained) -> withheld (check_down): refused"
        ]
    );
}

#[test]
fn i12_a_drain_of_before_a_restart_is_in_force_from_the_first_moment() {
    let drains = || [("web".into(), drain(None)), ("gone".into(), drain(None))].into();
    let mut story = Story::begin_with(two(), Left { drains: drains(), ..Left::default() });
    story.engine.start(story.now);
    story.tell(list(["192.0.2.1", "192.0.2.2"].map(|vip| (on("lo", vip), Owner::Us))));
    assert_eq!(story.check("alive", UP), ["# check alive Up"]);
    assert_eq!(story.check("answers", UP)[0], "advertise 1: 192.0.2.2");
    assert_eq!(story.engine.facts().drains.len(), 1);
}

#[test]
fn i7_a_reload_sends_nothing_for_what_it_does_not_touch() {
    let mut story = Story::announced(two());
    assert_eq!(story.reload(two()), ["configure"]);
    let mut med = two();
    med.services.get_mut("web").unwrap().announce.med = Some(7);
    let before = story.engine.standing()[&net("192.0.2.2")].clone();
    story.now += SECOND;
    assert_eq!(story.reload(med)[..2], ["configure", "advertise 2: 192.0.2.1 med 7, 192.0.2.2"]);
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

#[test]
fn a_check_that_is_gone_and_back_begins_anew() {
    let mut story = Story::announced(two());
    let mut without = two();
    without.checks.remove("alive");
    without.services.get_mut("web").unwrap().checks = Condition::All(vec![]);
    assert_eq!(story.reload(without), ["configure"]);
    assert_eq!(
        story.reload(two()),
        ["configure", "advertise 2: 192.0.2.2", "# 192.0.2.1: announced -> withheld (check_unknown)"]
    );
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
fn a_service_that_is_removed_takes_its_drain_with_it() {
    let mut story = Story::announced(two());
    story.tell(Event::Drain("web".into(), drain(None)));
    assert_eq!(
        story.reload(config([("dns", service(["192.0.2.2"], ["answers"]))])),
        [
            "save drains: []",
            "configure",
            "advertise 3: 192.0.2.2",
            "# web undrained",
            "# 192.0.2.1: demoted (draining) -> -"
        ]
    );
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
    assert_eq!(story.tell(Event::AddressRemoved(on("lo", "192.0.2.1")))[0], "bind 192.0.2.1 on lo");
    story.reload(config([("dns", service(["192.0.2.2"], ["answers"]))]));
    story.wait(2 * SECOND);
    // It came up just before the withdrawal and reads slowly; only then the kernel has bound the address.
    story.tell(Event::PeerUp("tor-a".into()));
    assert_eq!(story.bound(on("lo", "192.0.2.1")), [""; 0]);
    let version = story.engine.version();
    story.tell(Event::PeerSynced("tor-a".into(), version));
    assert_eq!(story.wait(2 * SECOND), ["3000 unbind 192.0.2.1 on lo"]);
}
