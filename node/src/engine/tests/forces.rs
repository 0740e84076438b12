//! Stories of operators who force services up and down.

use super::*;

/// The checks of `web` are down.
fn down() -> Story {
    let mut story = Story::announced(two());
    story.check("alive", DOWN);
    story
}

fn forced(story: &Story) -> Vec<String> {
    let Forces { up, down } = &story.engine.facts().overrides.forces;
    let names = |to: Force, scoped: &Scoped| {
        let of_all = scoped.everything.iter().map(|all| {
            let except: String = all.except.iter().map(|service| format!(" -{service}")).collect();
            format!("everything{except} {}", to.word())
        });
        let services = scoped.services.keys().map(|service| format!("{service} {}", to.word()));
        of_all.chain(services).collect::<Vec<_>>()
    };
    [names(Force::Up, up), names(Force::Down, down)].concat()
}

fn clear(what: &str) -> Event {
    Event::Clear(scope(what), order())
}

#[test]
fn what_is_forced_up_is_announced_whatever_its_checks_say_and_says_so_until_it_is_cleared() {
    let mut story = down();
    assert_eq!(
        story.tell(force("web", Force::Up, None)),
        [
            "save up: web",
            "advertise 3: 192.0.2.1, 192.0.2.2",
            "# web forced up",
            "# 192.0.2.1: withheld (check_down) -> announced"
        ]
    );
    let (vip, web) = (net("192.0.2.1"), "web".into());
    let why = story.engine.why(&vip, story.now);
    assert_eq!(why.as_deref(), Some("forced up by alice since 1970-01-01T00:00:00Z"));
    let without = story.engine.unforced(&vip, &web, story.now).unwrap().verdict;
    let why_not = story.engine.why_not(&vip, &without, story.now);
    assert_eq!(why_not.as_deref(), Some("check alive is down: refused"));
    assert_eq!(story.check("alive", UP), ["# check alive Up"]);
    assert_eq!(story.engine.why(&vip, story.now), None, "its checks say the same now");
    story.check("alive", DOWN);
    assert_eq!(
        story.tell(clear("web")),
        [
            "save drains: nothing",
            "advertise 4: 192.0.2.2",
            "# web no longer forced",
            "# 192.0.2.1: announced -> withheld (check_down): refused"
        ]
    );
}

#[test]
fn what_is_forced_down_is_withdrawn_at_once_and_stays_bound() {
    let mut story = Story::announced(two());
    assert_eq!(
        story.tell(force("web", Force::Down, Some(story.now + 10 * SECOND))),
        [
            "save down: web",
            "advertise 2: 192.0.2.2",
            "# web forced down",
            "# 192.0.2.1: announced -> withheld (forced_down)"
        ]
    );
    let why = story.engine.why(&net("192.0.2.1"), story.now).unwrap();
    assert!(why.starts_with("forced down by an operator: by alice since"), "{why}");
    assert_eq!(
        story.wait(10 * SECOND),
        [
            "10000 save drains: nothing",
            "10000 advertise 3: 192.0.2.1, 192.0.2.2",
            "10000 # web no longer forced",
            "10000 # 192.0.2.1: withheld (forced_down) -> announced"
        ]
    );
}

#[test]
fn i2_a_force_binds_nothing_and_what_is_not_bound_is_not_announced() {
    let mut story = down();
    story.tell(Event::Removed(on("lo", "192.0.2.1")));
    let lines = story.tell(force("web", Force::Up, None));
    assert_eq!(lines[..2], ["save up: web", "# web forced up"]);
    assert_eq!(lines[2], "# 192.0.2.1: withheld (check_down) -> withheld (not_bound)");
}

#[test]
fn a_drain_and_a_shutdown_win_over_a_force_up_and_a_force_down_cuts_a_drain_short() {
    let mut story = Story::announced(two());
    story.tell(drain("web", None));
    assert_eq!(story.tell(force("web", Force::Up, None)), ["save drains: web; up: web", "# web forced up"]);
    assert_eq!(
        story.tell(force("web", Force::Down, None)),
        [
            "save drains: web; down: web",
            "advertise 3: 192.0.2.2",
            "# web forced down",
            "# 192.0.2.1: demoted (draining) -> withheld (forced_down)"
        ]
    );
    let cleared = story.tell(clear("web"));
    assert_eq!(
        cleared[2..],
        ["# 192.0.2.1: withheld (forced_down) -> withheld (drained)"],
        "it never comes back"
    );
    let mut story = down();
    story.tell(force("web", Force::Up, None));
    assert_eq!(
        story.tell(Event::Shutdown)[0],
        "advertise 4: 192.0.2.1 graceful, 192.0.2.2 graceful",
        "it drains like the others"
    );
}

#[test]
fn neither_warm_up_nor_preempt_holds_back_what_is_forced_up_nor_afterwards() {
    let mut web = service(["192.0.2.1"], ["alive"]);
    (web.role, web.warm_up) = (Role::Active(Preempt::Never), Some(30 * SECOND));
    let mut story = Story::announced(config([("web", web)]));
    story.check("alive", DOWN);
    story.check("alive", UP);
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1++");
    story.tell(force("web", Force::Up, None));
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1");
    assert_eq!(
        story.tell(clear("web")),
        ["save drains: nothing", "# web no longer forced"],
        "it has the traffic"
    );
    story.check("alive", DOWN);
    story.tell(force("web", Force::Up, None));
    story.tell(clear("web"));
    story.check("alive", UP);
    assert_eq!(show_routes(&story.engine.desired.routes), "192.0.2.1++", "it was down since");
}

#[test]
fn a_later_force_replaces_an_earlier_one_of_the_same_service() {
    let [up, low] = [Force::Up, Force::Down];
    let table: [(Vec<Event>, Vec<&str>); 7] = [
        (vec![force("web", up, None), force("web", low, None)], vec!["web down"]),
        (vec![force("web", up, None), force("everything", low, None)], vec!["everything down"]),
        (
            vec![force("everything", low, None), force("web", up, None)],
            vec!["web up", "everything -web down"],
        ),
        (vec![force("everything", low, None), clear("web")], vec!["everything -web down"]),
        (
            vec![force("everything", low, None), clear("web"), force("everything", up, None)],
            vec!["everything up"],
        ),
        (vec![force("web", up, None), clear("everything")], vec![]),
        (vec![force("nobody", up, None)], vec![]),
    ];
    for (events, expected) in table {
        let mut story = Story::announced(two());
        for event in events {
            story.tell(event);
        }
        assert_eq!(forced(&story), expected);
    }
}

#[test]
fn i12_a_force_of_before_a_restart_is_in_force_from_the_first_moment_and_waits_for_its_service() {
    let mut overrides = Overrides::default();
    overrides.forces.set(&scope("web"), Force::Up, &a_drain(None));
    overrides.forces.set(&scope("gone"), Force::Down, &a_drain(None));
    let mut story = Story::begin_with(two(), Left { overrides, ..Left::default() });
    start(&mut story.engine, story.now);
    let lines = story.tell(list(["192.0.2.1", "192.0.2.2"].map(|vip| (on("lo", vip), Owner::Us))));
    assert_eq!(lines[0], "advertise 1: 192.0.2.1", "its check has not settled");
    let lines = story.reload(config([("gone", service(["192.0.2.3"], ["alive"]))]));
    assert!(lines.contains(&"# the force of gone holds again".to_owned()), "{lines:?}");
    assert!(lines.contains(&"# the force of web waits".to_owned()), "{lines:?}");
}

#[test]
fn what_an_operator_forces_or_clears_before_a_late_state_directory_answers_holds() {
    let late = |forces: &[(&str, Force)]| {
        let mut overrides = Overrides::default();
        for (what, to) in forces {
            overrides.forces.set(&scope(what), *to, &a_drain(None));
        }
        Event::Late(Box::new(Left { overrides, ..Left::default() }))
    };
    let [up, low] = [Force::Up, Force::Down];
    type Case = (Vec<Event>, Vec<(&'static str, Force)>, Vec<&'static str>);
    let table: [Case; 5] = [
        (vec![], vec![("web", up), ("dns", low)], vec!["web up", "dns down"]),
        (vec![clear("web")], vec![("web", up), ("dns", low)], vec!["dns down"]),
        (vec![force("web", low, None)], vec![("web", up)], vec!["web down"]),
        (vec![force("web", low, None)], vec![("everything", up)], vec!["everything -web up", "web down"]),
        (vec![clear("everything")], vec![("everything", up), ("web", low)], vec![]),
    ];
    for (meanwhile, inside, expected) in table {
        let mut story = Story::begin_with(two(), Left { unread: true, ..Left::default() });
        start(&mut story.engine, story.now);
        story.tell(list([]));
        for event in meanwhile {
            story.tell(event);
        }
        story.tell(late(&inside));
        assert_eq!(forced(&story), expected);
    }
}

#[test]
fn a_promotion_that_waits_survives_a_restart_and_ends_with_the_take_over() {
    let mut web = service(["192.0.2.1"], ["alive"]);
    web.role = Role::Active(Preempt::Never);
    let config = config([("web", web)]);
    let mut story = Story::announced(config.clone());
    story.check("alive", DOWN);
    story.tell(Event::Promote("web".into(), a_drain(None)));
    let overrides = (*story.engine.facts().overrides).clone();
    assert_eq!(show_overrides(&overrides), "promoted: web");
    let vips: BTreeSet<Vip> = [net("192.0.2.1")].into();
    let held = HeldBack { held: vips.clone(), watched: vips };
    let mut story = Story::begin_with(config, Left { overrides, held, ..Left::default() });
    start(&mut story.engine, story.now);
    story.tell(list([(on("lo", "192.0.2.1"), Owner::Us)]));
    assert_eq!(
        story.check("alive", UP),
        [
            "advertise 1: 192.0.2.1",
            "save held back: nothing",
            "save drains: nothing",
            "# check alive Up",
            "# 192.0.2.1: withheld (check_unknown) -> announced"
        ]
    );
}
