//! Stories of addresses and checks, from the start to the announcement.

use super::*;

fn web() -> Config {
    config([("web", service(["192.0.2.1", "2001:db8::1"], ["alive"]))])
}

fn two() -> Config {
    config([("dns", service(["192.0.2.2"], ["answers"])), ("web", service(["192.0.2.1"], ["alive"]))])
}

#[test]
fn i2_it_starts_binds_and_announces_in_this_order() {
    let mut story = Story::begin(web());
    let effects: Vec<_> = start(&mut story.engine, story.now).iter().map(show).collect();
    let unknown = "withheld (check_unknown)";
    assert_eq!(
        effects,
        ["configure", &format!("# 192.0.2.1: - -> {unknown}"), &format!("# 2001:db8::1: - -> {unknown}")]
    );
    let bound = story.tell(list([(on("lo", "127.0.0.1"), Owner::Other)]));
    assert_eq!(bound, ["bind 192.0.2.1 on lo", "bind 2001:db8::1 on lo"]);
    assert_eq!(
        story.check("alive", UP),
        [
            "# check alive Up",
            "# 192.0.2.1: withheld (check_unknown) -> withheld (not_bound)",
            "# 2001:db8::1: withheld (check_unknown) -> withheld (not_bound)"
        ]
    );
    assert_eq!(
        story.bound(on("lo", "192.0.2.1")),
        ["advertise 1: 192.0.2.1", "# 192.0.2.1: withheld (not_bound) -> announced"]
    );
    assert_eq!(story.bound(on("lo", "192.0.2.1")), [""; 0], "the notification");
    assert_eq!(
        story.bound(on("lo", "2001:db8::1")),
        ["advertise 2: 192.0.2.1, 2001:db8::1", "# 2001:db8::1: withheld (not_bound) -> announced"]
    );
    assert_eq!(
        story.engine.deadline(),
        Some(story.now + 5 * SECOND),
        "then it is said that no router has it"
    );
}

#[test]
fn what_happens_at_once_is_advertised_once() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    story.tell(list([]));
    let check = report(&web(), "alive", UP, story.now);
    let added = |address| added(on("lo", address), Owner::Us);
    let effects = handle_all(&mut story.engine, [check, added("192.0.2.1"), added("2001:db8::1")], story.now);
    assert_eq!(show(&effects[0]), "advertise 1: 192.0.2.1, 2001:db8::1");
    assert_eq!(
        effects.iter().filter(|effect| matches!(effect, Told::Effect(Effect::Advertise(..)))).count(),
        1
    );
    let blink = [Event::Removed(on("lo", "192.0.2.1")), added("192.0.2.1")];
    let effects = handle_all(&mut story.engine, blink, story.now);
    assert_eq!(effects.iter().map(show).collect::<Vec<_>>(), ["# lost 192.0.2.1 on lo"]);
}

#[test]
fn a_failing_check_withdraws_first_and_keeps_the_address_and_recovery_announces() {
    let mut story = Story::announced(two());
    assert_eq!(story.check("alive", HealthState::Falling), ["# check alive Falling"]);
    assert_eq!(
        story.check("alive", DOWN),
        [
            "advertise 2: 192.0.2.2",
            "# check alive Down",
            "# 192.0.2.1: announced -> withheld (check_down): refused"
        ]
    );
    assert_eq!(story.check("alive", DOWN), [""; 0], "I7: the same again");
    assert_eq!(story.synced(2), [""; 0]);
    assert_eq!(story.wait(60 * SECOND), [""; 0], "the address stays");
    assert_eq!(story.check("alive", HealthState::Rising), ["# check alive Rising"]);
    assert_eq!(
        story.check("alive", UP),
        [
            "advertise 3: 192.0.2.1, 192.0.2.2",
            "# check alive Up",
            "# 192.0.2.1: withheld (check_down) -> announced"
        ]
    );
}

#[test]
fn a_service_that_demotes_stays_announced_as_a_worse_path() {
    let web = Service { on_down: OnDown::Demote, ..service(["192.0.2.1"], ["alive"]) };
    let mut story = Story::announced(config([("web", web)]));
    assert_eq!(
        story.check("alive", DOWN),
        [
            "advertise 2: 192.0.2.1+++",
            "# check alive Down",
            "# 192.0.2.1: announced -> demoted (check_down): refused"
        ]
    );
}

#[test]
fn i1_an_address_that_vanishes_is_withdrawn_put_back_and_announced_again() {
    let mut story = Story::announced(two());
    assert_eq!(
        story.tell(Event::Removed(on("lo", "192.0.2.1"))),
        [
            "advertise 2: 192.0.2.2",
            "# lost 192.0.2.1 on lo",
            "# 192.0.2.1: announced -> withheld (not_bound)"
        ]
    );
    assert_eq!(story.wait(ms(50)), ["50 bind 192.0.2.1 on lo"]);
    assert_eq!(
        story.bound(on("lo", "192.0.2.1")),
        ["advertise 3: 192.0.2.1, 192.0.2.2", "# 192.0.2.1: withheld (not_bound) -> announced"]
    );
    // The same, seen only in a later list.
    assert_eq!(story.wait(60 * SECOND), [""; 0], "one loss is an accident");
    let rest = [(on("lo", "192.0.2.2"), Owner::Us)];
    assert_eq!(story.tell(list(rest))[..2], ["advertise 4: 192.0.2.2", "# lost 192.0.2.1 on lo"]);
    assert_eq!(story.wait(ms(50)).len(), 1);
}

#[test]
fn an_address_that_cannot_be_bound_is_tried_every_second_and_complained_of_once() {
    let mut story = Story::begin(two());
    start(&mut story.engine, story.now);
    story.tell(list([(on("lo", "192.0.2.2"), Owner::Us)]));
    let failed = |why: &str| refused(on("lo", "192.0.2.1"), why);
    assert_eq!(story.tell(failed("not permitted")), ["# failed 192.0.2.1 on lo: not permitted"]);
    assert_eq!(story.wait(ms(999)), [""; 0]);
    assert_eq!(story.wait(ms(1)), ["1000 bind 192.0.2.1 on lo"]);
    assert_eq!(story.wait(10 * SECOND), [""; 0], "not again before there is an answer");
    assert_eq!(story.tell(failed("not permitted")), [""; 0]);
    assert_eq!(story.wait(SECOND), ["12000 bind 192.0.2.1 on lo"]);
    assert_eq!(story.tell(failed("no such device")), ["# failed 192.0.2.1 on lo: no such device"]);
    assert_eq!(story.reload(two()), ["configure", "bind 192.0.2.1 on lo"], "a reload tries at once");
    story.bound(on("lo", "192.0.2.1"));
    assert_eq!(story.engine.deadline(), None);
}

#[test]
fn i3_what_a_crashed_predecessor_left_is_adopted_or_removed_and_what_others_have_stays() {
    let mut story = Story::begin(web());
    start(&mut story.engine, story.now);
    let left = [
        (on("lo", "192.0.2.1"), Owner::Us),
        (on("eth0", "2001:db8::1"), Owner::Other),
        (on("lo", "192.0.2.99"), Owner::Us),
        (on("lo", "192.0.2.98"), Owner::Other),
    ];
    assert_eq!(
        story.tell(list(left)),
        ["unbind 192.0.2.99 on lo", "# adopted 192.0.2.1 on lo", "# adopted 192.0.2.99 on lo"]
    );
    assert_eq!(story.check("alive", UP)[0], "advertise 1: 192.0.2.1, 2001:db8::1");
    assert_eq!(story.unbound(on("lo", "192.0.2.99")), [""; 0]);
}

#[test]
fn i3_a_foreign_address_is_used_left_and_replaced_when_it_goes() {
    let mut story = Story::begin(config([("web", service(["192.0.2.1"], ["alive"]))]));
    start(&mut story.engine, story.now);
    assert_eq!(story.tell(list([(on("eth0", "192.0.2.1"), Owner::Other)])), [""; 0]);
    assert_eq!(story.check("alive", UP)[0], "advertise 1: 192.0.2.1");
    assert_eq!(
        story.tell(Event::Removed(on("eth0", "192.0.2.1"))),
        ["bind 192.0.2.1 on lo", "advertise 2: nothing", "# 192.0.2.1: announced -> withheld (not_bound)"]
    );
    // Someone was faster.
    let foreign = added(on("lo", "192.0.2.1"), Owner::Other);
    assert_eq!(story.tell(foreign)[0], "advertise 3: 192.0.2.1");
    let gone = story.reload(config([]));
    assert_eq!(gone[..2], ["configure", "advertise 4: nothing"]);
    assert_eq!(story.wait(60 * SECOND), [""; 0], "it is not ours to remove");
}

#[test]
fn i1_nothing_is_announced_on_an_address_that_was_asked_to_go() {
    let web = Service { bind: BindPolicy::Announced, ..service(["192.0.2.1"], ["alive"]) };
    let mut story = Story::announced(config([("web", web)]));
    assert_eq!(story.check("alive", DOWN)[0], "advertise 2: nothing");
    story.synced(2);
    assert_eq!(story.wait(SECOND), ["1000 unbind 192.0.2.1 on lo"]);
    // It recovers in the very moment in which the kernel removes the address.
    assert_eq!(
        story.check("alive", UP),
        ["# check alive Up", "# 192.0.2.1: withheld (check_down) -> withheld (not_bound)"]
    );
    assert_eq!(story.tell(Event::Removed(on("lo", "192.0.2.1"))), [""; 0], "the question is open");
    assert_eq!(story.tell(done(on("lo", "192.0.2.1"))), ["bind 192.0.2.1 on lo"]);
    let added = story.bound(on("lo", "192.0.2.1"));
    assert_eq!(added[0], "advertise 3: 192.0.2.1");
    // Or the kernel refuses to remove it: then it is there, and that is what counts.
    story.check("alive", DOWN);
    story.synced(4);
    assert_eq!(story.wait(SECOND), ["2000 unbind 192.0.2.1 on lo"]);
    story.check("alive", UP);
    assert_eq!(
        story.tell(refused(on("lo", "192.0.2.1"), "busy")),
        [
            "advertise 5: 192.0.2.1",
            "# failed 192.0.2.1 on lo: busy",
            "# 192.0.2.1: withheld (not_bound) -> announced"
        ]
    );
}

#[test]
fn i2_an_address_stays_until_every_router_was_told_and_also_one_that_came_up_meanwhile() {
    let mut story = Story::announced(two());
    let gone = story.reload(config([("dns", service(["192.0.2.2"], ["answers"]))]));
    assert_eq!(gone[..2], ["configure", "advertise 2: 192.0.2.2"]);
    story.tell(Event::PeerSynced("tor-a".into(), Version(2)));
    assert_eq!(story.wait(60 * SECOND), [""; 0], "tor-b reads nothing");
    story.tell(Event::PeerDown("tor-b".into()));
    assert_eq!(story.wait(ms(500)), [""; 0]);
    story.tell(Event::PeerUp("tor-b".into()));
    assert_eq!(story.wait(60 * SECOND), [""; 0]);
    story.tell(Event::PeerSynced("tor-b".into(), Version(2)));
    assert_eq!(story.wait(60 * SECOND), ["121500 unbind 192.0.2.1 on lo"]);
}

#[test]
fn an_address_goes_in_time_though_no_router_is_up_and_nothing_happens() {
    let mut story = Story::announced(two());
    story.tell(Event::PeerDown("tor-a".into()));
    story.tell(Event::PeerDown("tor-b".into()));
    story.reload(config([("dns", service(["192.0.2.2"], ["answers"]))]));
    assert_eq!(story.wait(60 * SECOND), ["1000 unbind 192.0.2.1 on lo"]);
}

#[test]
fn a_deadline_that_passes_before_anyone_looks_is_still_due() {
    let mut story = Story::announced(two());
    story.reload(config([("dns", service(["192.0.2.2"], ["answers"]))]));
    story.synced(2);
    let due = story.engine.deadline().unwrap();
    assert_eq!(due, story.now + SECOND);
    story.now = due + ms(10);
    assert_eq!(story.engine.deadline(), Some(due));
    assert_eq!(story.tell(Event::Tick), ["unbind 192.0.2.1 on lo"]);
    assert_eq!(story.engine.deadline(), None);
}
