//! Tables for the decision.

use super::super::decide::decide;
use super::*;

/// Checks by their first letters: `u…` is up, `d…` down, `q…` not settled; `f…` is falling, `r…` rising.
fn facts(now: Instant) -> Facts {
    let states = [
        ("up", UP),
        ("up2", UP),
        ("down", DOWN),
        ("down2", DOWN),
        ("falling", HealthState::Falling),
        ("rising", HealthState::Rising),
        ("quiet", HealthState::Unknown),
    ];
    let fact = |state| CheckFact {
        state,
        since: now,
        degraded: None,
        held_until: None,
        outcome: outcome(state),
        at: now,
    };
    Facts {
        checks: states.into_iter().map(|(name, state)| (name.into(), fact(state))).collect(),
        links: links(),
        bindings: [(on("lo", "192.0.2.1"), Owner::Us.into())].into(),
        is_listed: true,
        ..Facts::default()
    }
}

fn say(service: &Service, facts: &Facts, now: Instant) -> String {
    let decisions = decide(&"web".into(), service, service.vips.iter(), facts, now);
    let (vip, Decision { verdict, bind }) = &decisions[0];
    let route = ServiceRoutes::new(service).of(vip, verdict);
    let prepended = route.as_ref().map(|route| "+".repeat(route.as_path_prepend.into())).unwrap_or_default();
    let graceful = route.is_some_and(|route| is_graceful(&route) && route.local_pref == Some(0));
    let reason = verdict.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
    let unbound = if *bind { "" } else { " [unbound]" };
    format!("{}{prepended}{}{reason}{unbound}", verdict.word(), if graceful { " graceful" } else { "" })
}

#[test]
fn a_check_of_each_vip_decides_about_that_vip_alone() {
    let now = Instant::BOOT;
    let mut facts = facts(now);
    let [asked, other] = ["192.0.2.1", "192.0.2.2"].map(net);
    facts.bindings.insert(on("lo", "192.0.2.2"), Owner::Us.into());
    let of_each = Condition::EachVip([(asked, "down".into()), (other, "up".into())].into());
    let service = Service {
        vips: [asked, other].into(),
        checks: Condition::All(vec![one("up2"), of_each]),
        ..service(["192.0.2.1"], ["up"])
    };
    let decisions = decide(&"web".into(), &service, service.vips.iter(), &facts, now);
    let words = decisions.iter().map(|(_, decision)| decision.verdict.word()).collect::<Vec<_>>();
    assert_eq!(words, ["withheld", "announced"]);
}

#[test]
fn a_condition_is_decided_as_soon_as_no_open_check_can_change_it_and_names_the_check_to_blame() {
    use Condition::{All, Any, AtLeast};
    let now = Instant::BOOT;
    let of = |names: &[&str]| names.iter().map(|name| one(name)).collect::<Vec<_>>();
    let (open, down) = ("withheld: check quiet has not settled yet", "withheld: check down is down");
    let table = [
        (All(vec![]), "announced"),
        (one("up"), "announced"),
        (one("falling"), "announced"),
        (one("down"), down),
        (one("rising"), "withheld: check rising is down"),
        (one("quiet"), open),
        (one("unheard"), "withheld: check unheard has not settled yet"),
        (All(of(&["up", "up2"])), "announced"),
        (All(of(&["up", "quiet"])), open),
        (All(of(&["quiet", "down"])), down),
        (All(of(&["up", "down", "down2"])), down),
        (Any(of(&["down", "up"])), "announced"),
        (Any(of(&["quiet", "up"])), "announced"),
        (Any(of(&["down", "quiet"])), open),
        (Any(of(&["down", "down2"])), down),
        (AtLeast(2, of(&["up", "down", "up2"])), "announced"),
        (AtLeast(2, of(&["up", "quiet", "down"])), open),
        (AtLeast(2, of(&["up", "down", "down2"])), down),
        (AtLeast(2, of(&["quiet", "down", "down2"])), down),
        (AtLeast(1, of(&["quiet", "up", "down2"])), "announced"),
        (All(vec![Any(of(&["down", "up"])), AtLeast(1, of(&["quiet", "up2"]))]), "announced"),
        (Any(vec![All(of(&["up", "quiet"])), All(of(&["up", "down"]))]), open),
        (Any(vec![All(of(&["quiet", "down"])), AtLeast(2, of(&["up", "down2"]))]), down),
        (AtLeast(2, vec![Any(of(&["up", "down"])), All(of(&["up", "up2"])), one("down")]), "announced"),
    ];
    for (condition, expected) in table {
        let service = Service { checks: condition.clone(), ..service(["192.0.2.1"], []) };
        assert_eq!(say(&service, &facts(now), now), expected, "{condition:?}");
    }
}

#[test]
fn drain_shutdown_health_and_the_address_are_weighed_in_this_order() {
    let now = Instant::BOOT;
    let later = now + SECOND;
    let draining = Shutdown::Draining { until: later };
    let withdrawing = Shutdown::Withdrawing { until: later };
    let unbinding = Shutdown::Unbinding { until: later };
    let (begun, over) = (Some(Some(later)), Some(Some(now)));
    let (d, w) = (OnDown::Withdraw, OnDown::Demote);
    let g = "GRACEFUL_SHUTDOWN is set";
    let drained = "withheld: drained";
    let stopping = "withheld: vipcast is stopping";
    let unbound = "withheld: it is not bound on this host";
    let down = "withheld: check down is down";
    let by_operator = format!("demoted graceful: being drained, {g}");
    let by_us = format!("demoted graceful: vipcast is about to stop, {g}");
    // check, on_down, drain until it is withdrawn, shutdown, bound → verdict
    let table = [
        ("up", &d, None, None, true, "announced"),
        ("up", &d, None, None, false, unbound),
        ("down", &d, None, None, true, down),
        ("down", &d, None, None, false, down),
        ("down", &w, None, None, true, "demoted+++: check down is down"),
        ("down", &w, None, None, false, unbound),
        ("quiet", &w, None, None, true, "withheld: check quiet has not settled yet"),
        ("up", &d, begun, None, true, &by_operator),
        ("up", &d, begun, None, false, drained),
        ("down", &d, begun, None, true, down),
        ("down", &w, begun, None, true, &by_operator.replace("demoted", "demoted+++")),
        ("up", &d, over, None, true, drained),
        ("down", &w, over, None, true, drained),
        ("up", &d, Some(None), None, true, drained),
        ("up", &d, None, Some(draining), true, &by_us),
        ("down", &d, None, Some(draining), true, down),
        ("down", &w, None, Some(draining), true, &by_us.replace("demoted", "demoted+++")),
        ("up", &d, begun, Some(draining), true, &by_operator),
        ("up", &d, Some(None), Some(draining), true, drained),
        ("up", &d, None, Some(withdrawing), true, stopping),
        ("up", &d, begun, Some(withdrawing), true, stopping),
        ("down", &w, None, Some(withdrawing), true, stopping),
        ("up", &d, None, Some(unbinding), true, "withheld: vipcast is stopping [unbound]"),
    ];
    for (check, on_down, drained, shutdown, bound, expected) in table {
        let service = Service { on_down: *on_down, ..service(["192.0.2.1"], [check]) };
        let mut facts = Facts { shutdown, ..facts(now) };
        let until = drained.unwrap_or(shutdown.map(|_| later));
        if drained.is_some() {
            facts.overrides = Arc::new(left_drained("web").overrides);
        }
        if let Some(until) = until {
            facts.leaving.insert(net("192.0.2.1"), Leaving { until, rank: None, out: false });
        }
        if !bound {
            facts.bindings = Bindings::default();
        }
        let case = (check, on_down, drained.is_some(), shutdown, bound);
        assert_eq!(say(&service, &facts, now), expected, "{case:?}");
    }
}

#[test]
fn i1_bound_means_on_any_interface_by_anyone_and_not_about_to_go() {
    let now = Instant::BOOT;
    let vip = || on("lo", "192.0.2.1");
    let table = [
        (vec![(vip(), Owner::Us)], vec![], "announced"),
        (vec![(vip(), Owner::Other)], vec![], "announced"),
        (vec![(on("eth0", "192.0.2.1"), Owner::Other)], vec![], "announced"),
        (vec![(on("lo", "192.0.2.2"), Owner::Us)], vec![], "withheld: it is not bound on this host"),
        (vec![], vec![(vip(), Asked::Bind)], "withheld: it is not bound on this host"),
        (vec![(vip(), Owner::Us)], vec![(vip(), Asked::Unbind)], "withheld: it is not bound on this host"),
        (
            vec![(vip(), Owner::Us), (on("eth0", "192.0.2.1"), Owner::Us)],
            vec![(vip(), Asked::Unbind)],
            "announced",
        ),
    ];
    for (addresses, asked, expected) in table {
        let facts = Facts {
            bindings: addresses.into_iter().map(|(address, owner)| (address, owner.into())).collect(),
            asked: asked.into_iter().collect(),
            ..facts(now)
        };
        assert_eq!(say(&service(["192.0.2.1"], ["up"]), &facts, now), expected, "{:?}", facts.bindings);
    }
}

#[test]
fn an_address_is_bound_from_the_start_or_only_while_it_could_be_announced() {
    let now = Instant::BOOT;
    for (check, always, announced) in [("up", true, true), ("down", true, false), ("quiet", true, false)] {
        for (policy, expected) in [(BindPolicy::Always, always), (BindPolicy::Announced, announced)] {
            let service = Service { bind: policy, ..service(["192.0.2.1"], [check]) };
            let facts = Facts { bindings: Bindings::default(), ..facts(now) };
            let decision = decide(&"web".into(), &service, service.vips.iter(), &facts, now).remove(0).1;
            assert_eq!(decision.bind, expected, "{check} {policy:?}");
        }
    }
    let wide = service(["192.0.2.0/24"], ["up"]);
    let wide = decide(&"web".into(), &wide, wide.vips.iter(), &facts(now), now).remove(0).1;
    assert_eq!((wide.verdict.word(), wide.bind), ("announced", false), "a wider prefix is never bound");
}

#[test]
fn a_route_carries_what_is_configured_and_prefixes_of_a_family_share_it() {
    let now = Instant::BOOT;
    let mut service = service(["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/64"], ["up"]);
    service.announce = Announce {
        med: Some(100),
        local_pref: Some(200),
        as_path_prepend: 1,
        communities: [Community(0xFDE9_0064)].into(),
        extended_communities: BTreeSet::from(["rt:65001:7".parse().unwrap()]),
        link_bandwidth: Some(125_000_000),
        large_communities: [].into(),
        next_hop: NextHops { v4: Some(Ipv4Addr::new(10, 0, 1, 9)), v6: None },
    };
    let decisions = decide(&"web".into(), &service, service.vips.iter(), &facts(now), now);
    let mut of = ServiceRoutes::new(&service);
    let routes: Vec<_> =
        decisions.iter().filter_map(|(vip, decision)| of.of(vip, &decision.verdict)).collect();
    let expected = RouteAttributes {
        as_path_prepend: 1,
        med: Some(100),
        local_pref: Some(200),
        communities: [Community(0xFDE9_0064)].into(),
        extended_communities: BTreeSet::from(["rt:65001:7".parse().unwrap()]),
        link_bandwidth: Some(125_000_000),
        large_communities: [].into(),
        next_hop: Some(ip("10.0.1.9")),
    };
    assert_eq!((routes.len(), &*routes[0]), (3, &expected));
    assert!(Arc::ptr_eq(&routes[0], &routes[1]), "one allocation for all of a family");
    assert_eq!(*routes[2], RouteAttributes { next_hop: None, ..expected });
}
