//! Stories of demoted services: degraded, standby, warming up, held back.

use super::super::decide::decide;
use super::*;

fn web(service: Service) -> Config {
    config([("web", service)])
}

fn plain() -> Service {
    service(["192.0.2.1"], ["alive"])
}

fn active(preempt: Preempt) -> Service {
    Service { role: Role::Active(preempt), ..plain() }
}

fn held(vips: &[&str]) -> BTreeSet<Vip> {
    vips.iter().map(|vip| net(vip)).collect()
}

#[test]
fn a_degraded_check_does_what_the_service_says() {
    let table = [
        (OnDegraded::Ignore, vec!["# alive degraded: slow"]),
        (
            OnDegraded::Demote,
            vec![
                "advertise 2: 192.0.2.1++",
                "# alive degraded: slow",
                "# 192.0.2.1: announced -> demoted (check_degraded): slow",
            ],
        ),
        (
            OnDegraded::Withdraw,
            vec![
                "advertise 2: nothing",
                "# alive degraded: slow",
                "# 192.0.2.1: announced -> withheld (check_degraded): slow",
            ],
        ),
    ];
    for (on_degraded, expected) in table {
        let mut story = Story::announced(web(Service { on_degraded, ..plain() }));
        let config = Arc::clone(story.engine.config());
        let now = story.now;
        assert_eq!(story.tell(degraded(&config, "alive", Some("slow"), now)), expected, "{on_degraded:?}");
        assert_eq!(story.tell(degraded(&config, "alive", Some("slower"), now)), [""; 0], "nothing new");
        let after = story.tell(degraded(&config, "alive", None, now));
        assert!(after.contains(&"# alive no longer degraded".to_owned()), "{after:?}");
        assert_eq!(story.engine.standing()[&net("192.0.2.1")].decision.verdict.word(), "announced");
    }
}

#[test]
fn degraded_checks_count_only_where_no_better_ones_are_enough() {
    use Condition::{All, Any, AtLeast};
    let now = Instant::BOOT;
    let mut facts = Facts {
        links: links(),
        bindings: [(on("lo", "192.0.2.1"), Owner::Us.into())].into(),
        is_listed: true,
        ..Facts::default()
    };
    for (check, state, limit) in [
        ("up", UP, None),
        ("slow", UP, Some("slow")),
        ("down", DOWN, None),
        ("quiet", HealthState::Unknown, None),
    ] {
        let degraded = limit.map(str::to_owned);
        let fact =
            CheckFact { state, since: now, degraded, held_until: None, outcome: outcome(state), at: now };
        facts.checks.insert(check.into(), fact);
    }
    let of = |names: &[&str]| names.iter().map(|name| one(name)).collect::<Vec<_>>();
    let table = [
        (one("slow"), "check_degraded"),
        (All(of(&["up", "slow"])), "check_degraded"),
        (All(of(&["slow", "down"])), "check_down"),
        (All(of(&["slow", "quiet"])), "check_unknown"),
        (Any(of(&["up", "slow"])), "announced"),
        (Any(of(&["down", "slow"])), "check_degraded"),
        (Any(of(&["quiet", "slow"])), "check_degraded"),
        (AtLeast(2, of(&["up", "slow", "down"])), "check_degraded"),
        (AtLeast(1, of(&["up", "slow", "down"])), "announced"),
        (AtLeast(2, of(&["slow", "down", "quiet"])), "check_unknown"),
    ];
    for (checks, expected) in table {
        let service = Service { checks: checks.clone(), ..plain() };
        let decisions = decide(&"web".into(), &service, service.vips.iter(), &facts, now);
        let verdict = &decisions[0].1.verdict;
        assert_eq!(verdict.reason().map_or(verdict.word(), Reason::name), expected, "{checks:?}");
    }
}

#[test]
fn a_standby_is_announced_demoted_and_better_than_what_is_degraded_or_down() {
    let standby = Service { role: Role::Standby, on_down: OnDown::Demote, ..plain() };
    let mut story = Story::announced(web(standby));
    let config = Arc::clone(story.engine.config());
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1+");
    let now = story.now;
    assert_eq!(
        story.tell(degraded(&config, "alive", Some("slow"), now)),
        [
            "advertise 2: 192.0.2.1++",
            "# alive degraded: slow",
            "# 192.0.2.1: demoted (standby) -> demoted (check_degraded): slow"
        ]
    );
    assert_eq!(
        story.check("alive", DOWN)[..1],
        ["advertise 3: 192.0.2.1+++"],
        "what is down is the worst there is"
    );
}

#[test]
fn a_service_that_was_down_warms_up_before_it_is_announced_plainly() {
    let mut story = Story::announced(web(Service { warm_up: Some(30 * SECOND), ..plain() }));
    story.check("alive", DOWN);
    assert_eq!(
        story.check("alive", UP),
        [
            "advertise 3: 192.0.2.1++",
            "# check alive Up",
            "# 192.0.2.1: withheld (check_down) -> demoted (warming_up): for 30 s more"
        ]
    );
    assert_eq!(story.wait(30 * SECOND - ms(1)), [""; 0]);
    assert_eq!(
        story.wait(ms(1)),
        ["30000 advertise 4: 192.0.2.1", "30000 # 192.0.2.1: demoted (warming_up) -> announced"]
    );
    assert_eq!(story.engine.deadline(), None);
}

#[test]
fn one_that_goes_down_while_it_warms_up_begins_again() {
    let mut story = Story::announced(web(Service { warm_up: Some(30 * SECOND), ..plain() }));
    story.check("alive", DOWN);
    story.check("alive", UP);
    story.wait(20 * SECOND);
    story.check("alive", DOWN);
    story.check("alive", UP);
    assert_eq!(story.wait(29 * SECOND), [""; 0]);
    assert_eq!(story.wait(SECOND).len(), 2);
}

#[test]
fn a_start_is_no_recovery() {
    let story = Story::announced(web(Service { warm_up: Some(SECOND), ..active(Preempt::Never) }));
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1");
}

#[test]
fn one_that_does_not_preempt_stays_demoted_until_it_is_promoted() {
    let mut story = Story::announced(web(active(Preempt::Never)));
    assert_eq!(
        story.check("alive", DOWN),
        [
            "advertise 2: nothing",
            "save held back: 192.0.2.1",
            "# check alive Down",
            "# 192.0.2.1: announced -> withheld (check_down): refused"
        ]
    );
    assert_eq!(
        story.check("alive", UP),
        [
            "advertise 3: 192.0.2.1++",
            "# check alive Up",
            "# 192.0.2.1: withheld (check_down) -> demoted (held_back): until `vipcast promote`"
        ]
    );
    assert_eq!(story.wait(1000 * 3600 * SECOND), [""; 0]);
    assert_eq!(
        story.tell(Event::Promote("web".into(), a_drain(None))),
        [
            "advertise 4: 192.0.2.1",
            "save held back: nothing",
            "# web promoted",
            "# 192.0.2.1: demoted (held_back) -> announced"
        ]
    );
    assert_eq!(story.tell(Event::Promote("mail".into(), a_drain(None))), [""; 0], "there is no such service");
}

#[test]
fn a_delay_ends_by_itself() {
    let mut story = Story::announced(web(active(Preempt::After(600 * SECOND))));
    story.check("alive", DOWN);
    story.check("alive", UP);
    assert_eq!(
        story.wait(600 * SECOND),
        [
            "600000 advertise 4: 192.0.2.1",
            "600000 save held back: nothing",
            "600000 # 192.0.2.1: demoted (held_back) -> announced"
        ]
    );
}

#[test]
fn one_that_is_promoted_while_it_is_down_takes_over_when_it_is_healthy() {
    let mut story = Story::announced(web(Service { warm_up: Some(SECOND), ..active(Preempt::Never) }));
    story.check("alive", DOWN);
    assert_eq!(
        story.tell(Event::Promote("web".into(), a_drain(None))),
        ["save promoted: web", "# web promoted"]
    );
    assert_eq!(
        story.check("alive", UP),
        [
            "advertise 3: 192.0.2.1",
            "save held back: nothing",
            "save drains: nothing",
            "# check alive Up",
            "# 192.0.2.1: withheld (check_down) -> announced"
        ]
    );
    // That was for this time.
    story.check("alive", DOWN);
    story.check("alive", UP);
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1++");
}

#[test]
fn one_that_was_degraded_does_not_preempt_either() {
    let mut story = Story::announced(web(active(Preempt::Never)));
    let config = Arc::clone(story.engine.config());
    let now = story.now;
    story.tell(degraded(&config, "alive", Some("slow"), now));
    assert_eq!(
        story.tell(degraded(&config, "alive", None, now)),
        [
            "# alive no longer degraded",
            "# 192.0.2.1: demoted (check_degraded) -> demoted (held_back): until `vipcast promote`"
        ]
    );
    story.tell(Event::Promote("web".into(), a_drain(None)));
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1");

    let ignoring = Service { on_degraded: OnDegraded::Ignore, ..active(Preempt::Never) };
    let mut story = Story::announced(web(ignoring));
    story.tell(degraded(&config, "alive", Some("slow"), now));
    story.tell(degraded(&config, "alive", None, now));
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1", "it never lost its traffic");
}

#[test]
fn a_start_holds_back_what_had_traffic_and_a_graceful_restart_what_was_held_back() {
    let held =
        HeldBack { held: held(&["192.0.2.1"]), watched: held(&["192.0.2.1", "192.0.2.2", "192.0.2.99"]) };
    let both =
        Service { role: Role::Active(Preempt::Never), ..service(["192.0.2.1", "192.0.2.2"], ["alive"]) };
    for (announced, routes) in
        [(None, "192.0.2.1++, 192.0.2.2++"), (Some(BTreeSet::new()), "192.0.2.1++, 192.0.2.2")]
    {
        let left = Left { held: held.clone(), announced, ..Left::default() };
        let mut story = Story::begin_with(web(both.clone()), left);
        start(&mut story.engine, story.now);
        let addresses = ["192.0.2.1", "192.0.2.2"].map(|ip| (on("lo", ip), Owner::Us));
        story.tell(list(addresses));
        story.check("alive", UP);
        assert_eq!(show_routes(&story.engine.desired.routes), routes);
    }
}

#[test]
fn what_a_late_state_directory_holds_back_is_held_back_from_then_on_and_saved_unless_it_was_promoted() {
    let both = HeldBack { held: held(&["192.0.2.1"]), watched: held(&["192.0.2.1", "192.0.2.2"]) };
    let service =
        Service { role: Role::Active(Preempt::Never), ..service(["192.0.2.1", "192.0.2.2"], ["alive"]) };
    let none = BTreeSet::new;
    for (announced, promoted, routes, saved) in [
        (None, false, "192.0.2.1++, 192.0.2.2++", held(&["192.0.2.1", "192.0.2.2"])),
        (Some(none()), false, "192.0.2.1++, 192.0.2.2", held(&["192.0.2.1"])),
        (None, true, "192.0.2.1, 192.0.2.2", none()),
    ] {
        let mut story = Story::begin_with(web(service.clone()), Left { unread: true, ..Left::default() });
        start(&mut story.engine, story.now);
        story.tell(list(["192.0.2.1", "192.0.2.2"].map(|ip| (on("lo", ip), Owner::Us))));
        story.check("alive", UP);
        if promoted {
            story.tell(Event::Promote("web".into(), a_drain(None)));
        }
        story.tell(Event::Late(Box::new(Left { held: both.clone(), announced, ..Left::default() })));
        assert_eq!(show_routes(&story.engine.desired.routes), routes);
        assert_eq!(story.engine.saved, HeldBack { held: saved, watched: both.watched.clone() });
    }
}

#[test]
fn a_reload_brings_what_is_held_back_in_line_with_its_rules() {
    let warm = |preempt| web(Service { warm_up: Some(3600 * SECOND), ..active(preempt) });
    let held_back = |from: Preempt| {
        let mut story = Story::announced(warm(from));
        story.check("alive", DOWN);
        story.check("alive", UP);
        story
    };
    let after = |from, to: Config, seconds: u64| {
        let mut story = held_back(from);
        story.tell(Event::Reload(Arc::new(to)));
        story.wait(Duration::from_secs(seconds));
        let verdict = &story.engine.standing()[&net("192.0.2.1")].decision.verdict;
        verdict.reason().map_or(verdict.word(), Reason::name)
    };
    let delay = Preempt::After(7200 * SECOND);
    assert_eq!(after(Preempt::Never, warm(Preempt::AtOnce), 0), "warming_up");
    assert_eq!(after(Preempt::Never, warm(Preempt::AtOnce), 3600), "announced");
    assert_eq!(after(Preempt::Never, warm(delay), 7199), "held_back");
    assert_eq!(after(Preempt::Never, warm(delay), 7200), "announced");
    assert_eq!(after(delay, warm(Preempt::Never), 100_000), "held_back");
    assert_eq!(after(Preempt::AtOnce, web(active(Preempt::Never)), 0), "announced");
}

#[test]
fn inside_our_as_the_preference_falls_with_the_rank() {
    let preferences = |local_pref, demoted| {
        let service = Service {
            announce: Announce { local_pref, ..Announce::default() },
            demoted: Announce { local_pref: demoted, ..Announce::default() },
            ..plain()
        };
        [Rank::Standby, Rank::Degraded, Rank::Down].map(|rank| service.preference(rank))
    };
    assert_eq!(preferences(None, None), [90, 80, 70]);
    assert_eq!(preferences(Some(200), Some(200)), [190, 180, 170], "what was not written is as when healthy");
    assert_eq!(preferences(Some(200), Some(150)), [170, 160, 150]);
    assert_eq!(preferences(Some(200), Some(195)), [199, 199, 195]);
    assert_eq!(preferences(Some(5), None), [4, 4, 0]);
}

#[test]
fn a_reload_that_lifts_the_rule_lifts_what_follows_from_it() {
    let mut story = Story::announced(web(active(Preempt::Never)));
    story.check("alive", DOWN);
    story.check("alive", UP);
    let effects = story.tell(Event::Reload(Arc::new(web(plain()))));
    assert!(effects.contains(&"# 192.0.2.1: demoted (held_back) -> announced".to_owned()), "{effects:?}");
    assert!(effects.contains(&"save held back: nothing".to_owned()), "{effects:?}");
}

#[test]
fn each_vip_recovers_by_itself_where_each_is_asked() {
    let vips = ["192.0.2.1", "192.0.2.2"];
    let of_each = vips.map(|vip| (net(vip), CheckName::from(vip)));
    let both =
        Service { checks: Condition::EachVip(of_each.into()), warm_up: Some(SECOND), ..service(vips, []) };
    let mut story = Story::announced(web(both));
    assert_eq!(story.check("192.0.2.1", DOWN)[0], "advertise 2: 192.0.2.2");
    assert_eq!(story.check("192.0.2.1", UP)[0], "advertise 3: 192.0.2.1++, 192.0.2.2");
    assert_eq!(story.wait(SECOND)[0], "1000 advertise 4: 192.0.2.1, 192.0.2.2");
}
