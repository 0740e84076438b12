//! Stories of operators who drain.

use super::*;

#[test]
fn a_drain_is_graceful_for_drain_time_and_then_withdrawn_and_touches_no_other_service() {
    let mut story = Story::announced(two());
    assert_eq!(
        story.tell(drain("web", Some(story.now + 10 * SECOND))),
        [
            "save drains: web",
            "advertise 2: 192.0.2.1 graceful, 192.0.2.2",
            "# web drained",
            "# 192.0.2.1: announced -> demoted (draining)"
        ]
    );
    assert_eq!(story.wait(ms(2999)), [""; 0]);
    // Drained once more: that moves its end, not the withdrawal.
    let again = story.tell(drain("web", Some(story.now + 60 * SECOND)));
    assert_eq!(again, ["save drains: web", "# web drained"]);
    assert_eq!(
        story.wait(ms(1)),
        ["3000 advertise 3: 192.0.2.2", "3000 # 192.0.2.1: demoted (draining) -> withheld (drained)"]
    );
    assert_eq!(
        story.wait(60 * SECOND),
        [
            "62999 save drains: nothing",
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
    story.tell(drain("web", None));
    assert_eq!(
        story.tell(undrain("web")),
        [
            "save drains: nothing",
            "advertise 3: 192.0.2.1, 192.0.2.2",
            "# web undrained",
            "# 192.0.2.1: demoted (draining) -> announced"
        ]
    );
    story.tell(drain("web", None));
    assert_eq!(story.wait(3 * SECOND)[0], "3000 advertise 5: 192.0.2.2");
    assert_eq!(story.tell(undrain("web"))[1], "advertise 6: 192.0.2.1, 192.0.2.2");
    assert_eq!(story.tell(undrain("web")), [""; 0], "it is not drained");
    assert_eq!(story.tell(drain("mail", None)), [""; 0], "there is no such service");
}

#[test]
fn a_drained_service_may_go_down_and_come_back_unseen() {
    let mut story = Story::announced(two());
    story.tell(drain("web", None));
    assert_eq!(story.check("alive", DOWN)[0], "advertise 3: 192.0.2.2", "down wins over graceful");
    assert_eq!(
        story.check("alive", UP),
        ["# check alive Up", "# 192.0.2.1: withheld (check_down) -> withheld (drained)"]
    );
    story.wait(3 * SECOND);
    assert_eq!(story.check("alive", DOWN), ["# check alive Down"]);
    assert_eq!(
        story.tell(undrain("web")),
        [
            "save drains: nothing",
            "# web undrained",
            "# 192.0.2.1: withheld (drained) -> withheld (check_down): refused"
        ]
    );
}

#[test]
fn i12_a_drain_of_before_a_restart_is_in_force_from_the_first_moment() {
    let mut drains = drains_of("web");
    drains.services.extend(drains_of("gone").services);
    let mut story = Story::begin_with(two(), left_with(drains));
    start(&mut story.engine, story.now);
    story.tell(list(["192.0.2.1", "192.0.2.2"].map(|vip| (on("lo", vip), Owner::Us))));
    assert_eq!(story.check("alive", UP), ["# check alive Up"]);
    assert_eq!(story.check("answers", UP)[0], "advertise 1: 192.0.2.2");
    assert_eq!(
        story.engine.facts().overrides.drains.services.len(),
        2,
        "the other one waits for its service"
    );
}

#[test]
fn a_drain_never_adds_a_route_what_was_down_when_it_began_stays_withdrawn() {
    let mut story = Story::announced(two());
    story.check("alive", DOWN);
    assert_eq!(
        story.tell(drain("web", None)),
        ["save drains: web", "# web drained", "# 192.0.2.1: withheld (check_down) -> withheld (drained)"]
    );
    story.now += SECOND;
    assert_eq!(story.check("alive", UP), ["# check alive Up"], "within drain_time");
    assert_eq!(story.wait(10 * SECOND), [""; 0]);
    assert_eq!(story.tell(undrain("web"))[1], "advertise 3: 192.0.2.1, 192.0.2.2");
}

#[test]
fn a_drain_never_improves_a_route_what_was_degraded_stays_a_worse_path() {
    let mut story = Story::announced(two());
    let limit = degraded(&two(), "alive", Some("slow"), story.now);
    assert_eq!(story.tell(limit)[0], "advertise 2: 192.0.2.1++, 192.0.2.2");
    assert_eq!(story.tell(drain("web", None))[1], "advertise 3: 192.0.2.1++ graceful, 192.0.2.2");
    let well = degraded(&two(), "alive", None, story.now);
    assert_eq!(story.tell(well), ["# alive no longer degraded"]);
}

#[test]
fn sigterm_never_adds_a_route() {
    let mut story = Story::announced(two());
    story.check("alive", DOWN);
    story.tell(Event::Shutdown);
    assert_eq!(story.check("alive", UP), ["# check alive Up"]);
}

#[test]
fn i12_a_drained_service_that_comes_late_or_leaves_and_returns_is_still_drained() {
    let drains = drains_of("web");
    let less = || config([("dns", service(["192.0.2.2"], ["answers"]))]);
    let mut story = Story::begin_with(less(), left_with(drains));
    start(&mut story.engine, story.now);
    story.tell(listed(BTreeMap::new()));
    story.check("answers", UP);
    let web = |story: &mut Story| {
        story.tell(added(on("lo", "192.0.2.1"), Owner::Us));
        story.check("alive", UP);
        story.engine.standing()[&net("192.0.2.1")].decision.verdict.reason().cloned()
    };
    assert!(story.reload(two()).contains(&"# the drain of web holds again".to_owned()));
    assert_eq!(web(&mut story), Some(Reason::Drained), "the drop-in came late");
    assert!(story.reload(less()).contains(&"# the drain of web waits".to_owned()));
    story.tell(Event::Removed(on("lo", "192.0.2.1")));
    story.reload(two());
    assert_eq!(web(&mut story), Some(Reason::Drained), "it was gone for a while");
    assert_eq!(story.tell(undrain("web"))[0], "save drains: nothing");
    assert_eq!(web(&mut story), None);
}

#[test]
fn a_drain_of_everything_is_one_record_one_set_and_holds_for_services_that_come_later() {
    let less = || config([("dns", service(["192.0.2.2"], ["answers"]))]);
    let mut story = Story::announced(less());
    assert_eq!(
        story.tell(drain("everything", None)),
        [
            "save drains: everything",
            "advertise 2: 192.0.2.2 graceful",
            "# every service drained",
            "# 192.0.2.2: announced -> demoted (draining)"
        ]
    );
    story.reload(two());
    story.tell(added(on("lo", "192.0.2.1"), Owner::Us));
    assert_eq!(story.check("alive", UP), ["# check alive Up"]);
    assert_eq!(story.wait(3 * SECOND)[0], "3000 advertise 3: nothing");
    // One may be put back, and taken out again.
    assert_eq!(story.tell(undrain("web"))[1], "advertise 4: 192.0.2.1");
    assert_eq!(story.tell(drain("everything", None))[1], "advertise 5: 192.0.2.1 graceful");
    story.wait(3 * SECOND);
    assert_eq!(
        story.tell(undrain("everything"))[..2],
        ["save drains: nothing", "advertise 7: 192.0.2.1, 192.0.2.2"]
    );
}

#[test]
fn a_second_drain_never_shortens_a_colleagues_unless_it_is_to_replace_it() {
    let mut story = Story::announced(two());
    let in_an_hour = Some(story.now + 3600 * SECOND);
    let ends = |story: &Story| story.engine.facts().overrides.drains.services["web"].ends.map(|ends| ends.at);
    story.tell(drain("web", in_an_hour));
    assert_eq!(story.tell(drain("web", Some(story.now + SECOND))), [""; 0]);
    assert_eq!(ends(&story), in_an_hour);
    assert_eq!(story.tell(drain("web", None)), ["save drains: web", "# web drained"], "longer");
    assert_eq!(ends(&story), None);
    let replace = Event::Drain { scope: scope("web"), drain: a_drain(in_an_hour), replace: true };
    story.tell(replace);
    assert_eq!(ends(&story), in_an_hour);
    // Everything may be drained for less: the service stays drained for longer.
    story.tell(drain("everything", Some(story.now + 10 * SECOND)));
    story.wait(20 * SECOND);
    assert_eq!(story.engine.announced().map(|vip| vip.to_string()).collect::<Vec<_>>(), ["192.0.2.2/32"]);
}

#[test]
fn a_drain_of_before_a_reboot_ends_when_the_clock_is_set_and_one_of_this_boot_by_the_monotonic_clock() {
    let mut story = Story::announced(two());
    let wall: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let hour = 3600 * SECOND;
    let until = wall + hour;
    let of = |at, at_most| Override { ends: Some(Ends { wall: until, at, at_most }), ..a_drain(None) };
    let latest = story.now + hour;
    let services = [("web", of(latest, Some(latest))), ("dns", of(latest, None))];
    for (service, drain) in services {
        story.tell(Event::Drain { scope: scope(service), drain, replace: false });
    }
    story.wait(10 * SECOND);
    assert_eq!(story.tell(Event::WallClock(wall + 10 * SECOND)), [""; 0], "an hour is left of both");
    let back = story.tell(Event::WallClock(until + SECOND));
    assert!(back.contains(&"# web undrained".to_owned()) && !back.contains(&"# dns undrained".to_owned()));
    let dns = story.engine.facts().overrides.drains.services["dns"].ends.unwrap();
    assert_eq!(
        (dns.at, dns.wall),
        (latest, until + SECOND + hour - 10 * SECOND),
        "it is told by the new clock"
    );
    // Years behind: it ends all the same.
    story.tell(Event::WallClock("1986-01-01T00:00:00Z".parse().unwrap()));
    assert_eq!(story.wait(hour)[0], "3600000 save drains: nothing");
}

fn late(drains: Scoped) -> Event {
    Event::Late(Box::new(left_with(drains)))
}

/// Like [`Story::announced`], but the state directory was not read.
fn unread(config: Config) -> Story {
    let mut story = Story::begin_with(config, Left { unread: true, ..Left::default() });
    start(&mut story.engine, story.now);
    story.tell(list([]));
    story
}

fn drained(story: &Story) -> Vec<String> {
    let Scoped { everything, services } = &story.engine.facts().overrides.drains;
    let ends = |drain: &Override| {
        drain.ends.map_or("for good".to_owned(), |ends| format!("{:?}", ends.at - story.epoch))
    };
    let except = |except: &BTreeSet<ServiceName>| {
        except.iter().map(|service| format!(" -{service}")).collect::<String>()
    };
    let everything =
        everything.iter().map(|all| format!("everything{} {}", except(&all.except), ends(&all.common)));
    everything.chain(services.iter().map(|(service, drain)| format!("{service} {}", ends(drain)))).collect()
}

#[test]
fn drains_that_a_state_directory_tells_late_are_merged_and_withdraw_gracefully() {
    let mut story = Story::announced(two());
    story.tell(drain("dns", None));
    let late = story.tell(late(drains_of("web")));
    assert_eq!(late[..2], ["save drains: dns, web", "advertise 3: 192.0.2.1 graceful, 192.0.2.2 graceful"]);
}

#[test]
fn what_an_operator_lifts_before_a_late_state_directory_answers_stays_lifted() {
    let of_all = |except: &[&str]| Everything {
        common: Arc::new(a_drain(None)),
        except: except.iter().map(|service| ServiceName::from(*service)).collect(),
    };
    let web = || drains_of("web");
    let soon = Instant::BOOT + SECOND;
    let table = [
        (vec![undrain("web")], web(), vec![]),
        (vec![undrain("dns")], web(), vec!["web for good"]),
        (vec![undrain("everything")], web(), vec![]),
        (
            vec![undrain("web")],
            Scoped { everything: Some(of_all(&[])), ..web() },
            vec!["everything -web for good"],
        ),
        (vec![undrain("web"), drain("web", Some(soon))], web(), vec!["web 1s"]),
    ];
    for (meanwhile, inside, expected) in table {
        let mut story = unread(two());
        story.epoch = soon - SECOND;
        assert!(story.engine.is_unread());
        for event in meanwhile {
            story.tell(event);
        }
        story.tell(late(inside));
        assert_eq!(drained(&story), expected);
        assert!(!story.engine.is_unread());
    }
}

#[test]
fn of_a_drain_and_one_that_is_read_late_the_longer_holds_unless_it_was_to_be_replaced() {
    let forever = || Scoped {
        everything: Some(Everything { common: Arc::new(a_drain(None)), except: ["dns".into()].into() }),
        ..drains_of("web")
    };
    let mut story = unread(two());
    let minute = story.now + 60 * SECOND;
    story.tell(drain("everything", Some(minute)));
    story.tell(drain("web", Some(minute)));
    story.tell(late(forever()));
    assert_eq!(drained(&story), ["everything for good", "web for good"]);
    let mut story = unread(two());
    for what in ["everything", "web"] {
        let drain = a_drain(Some(story.now + 60 * SECOND));
        story.tell(Event::Drain { scope: scope(what), drain, replace: true });
    }
    story.tell(late(forever()));
    assert_eq!(drained(&story), ["everything 60s", "web 60s"]);
}

#[test]
fn a_drain_that_waits_for_its_service_can_be_made_longer_and_shorter() {
    let mut story = Story::announced(two());
    let minute = story.now + 60 * SECOND;
    story.tell(drain("web", Some(minute)));
    story.reload(config([("dns", service(["192.0.2.2"], ["alive"]))]));
    let saved = story.tell(drain("web", None));
    assert_eq!(saved[0], "save drains: web");
    assert_eq!(drained(&story), ["web for good"]);
    story.tell(Event::Drain { scope: scope("web"), drain: a_drain(Some(minute)), replace: true });
    assert_eq!(drained(&story), ["web 60s"]);
    assert_eq!(story.tell(drain("nobody", None)), [""; 0], "a name that nobody knows");
}

#[test]
fn thousands_of_drains_that_wait_for_services_are_bounded_and_the_newest_stay() {
    let mut drains = Scoped::default();
    for n in 0..1200 {
        let since = jiff::Timestamp::from_second(n).unwrap();
        let drain = Override { since, ..a_drain(None) };
        drains.services.insert(format!("gone-{n:04}").as_str().into(), Arc::new(drain));
    }
    let mut story = Story::begin_with(two(), left_with(drains));
    start(&mut story.engine, story.now);
    story.reload(two());
    let drains = &story.engine.facts().overrides.drains.services;
    assert_eq!((drains.len(), drains.first_key_value().unwrap().0.as_str()), (1000, "gone-0200"));
}
