//! Tables for the plan: exact steps in their order.

use super::super::plan::{Actual, Desired, Reroute, Retiring, Step, plan};
use super::super::restart::Handover;
use super::*;
use crate::table::Table;

/// A situation. Written in words: `lo` is ours on lo, `lo*` someone else's, `lo-` ours and about to be removed; `route lo` is
/// a local route.
#[derive(Debug, Default, Clone, Copy)]
struct Case<'a> {
    wanted: Option<&'a str>,
    held: &'a [&'a str],
    routes: bool,
    advertised: bool,
    /// When the withdrawal was settled: seconds ago; `Some(None)`: not yet.
    retiring: Option<Option<u64>>,
    /// Bind was asked for and not answered.
    binding: bool,
    /// Seconds until it is tried again.
    failed: Option<u64>,
    unknown: bool,
    /// A restart goes on, and routers keep what they have.
    partial: bool,
    /// It is over, and not every peer was told.
    handover: bool,
}

fn steps(case: Case<'_>) -> Vec<String> {
    let now = Instant::BOOT + 100 * SECOND;
    let vip = net("192.0.2.1");
    let route = |there: bool| there.then(|| Arc::new(RouteAttributes::default()));
    let routes = |there| route(there).map(|route| (vip.prefix(), route)).into_iter().collect::<Routes>();
    let reroute = Reroute { from: route(case.advertised), to: route(case.routes) };
    let differs = case.advertised != case.routes;
    let extent = if case.partial { Extent::Partial } else { Extent::Whole };
    let wanted = case.wanted.map(|wanted| match wanted.strip_prefix("route ") {
        Some(interface) => (Carrier::Route, interface.to_owned()),
        None => (Carrier::Address, wanted.to_owned()),
    });
    let desired = Desired {
        bindings: wanted.map(|wanted| (vip, wanted)).into_iter().collect(),
        routes: routes(case.routes),
        extent,
    };
    let retiring = case.retiring.map(|ago| Retiring {
        version: Version(4),
        settled_at: ago.map(|ago| now - u32::try_from(ago).unwrap() * SECOND),
    });
    let actual = Actual {
        advertised: Advertised { version: Version(4), routes: routes(case.advertised), extent },
        handover: case.handover.then_some(Handover { version: Version(5), patience: now, settled_at: None }),
        retiring: retiring.map(|retiring| (vip, retiring)).into_iter().collect(),
        open: [vip].into_iter().collect(),
        sent_in: Table::default(),
        whole_since: None,
        left: 0,
        changed: differs.then_some((vip, reroute)).into_iter().collect(),
        missing_links: BTreeSet::new(),
    };
    let mut facts = Facts { links: links(), is_listed: !case.unknown, ..Facts::default() };
    for held in case.held {
        let place = held.trim_end_matches(['*', '-']);
        let address = match place.strip_prefix("route ") {
            Some(interface) => Binding::route(vip, index(interface)),
            None => on(place, "192.0.2.1"),
        };
        let owner = if held.ends_with('*') { Owner::Other } else { Owner::Us };
        facts.bindings.insert(address, owner.into());
        if held.ends_with('-') {
            facts.asked.insert(address, Asked::Unbind);
        }
    }
    if case.binding {
        facts.asked.insert(on("lo", "192.0.2.1"), Asked::Bind);
    }
    if let Some(seconds) = case.failed {
        let retry_at = now + u32::try_from(seconds).unwrap() * SECOND;
        facts.binding_errors.insert(on("lo", "192.0.2.1"), ("refused".into(), retry_at));
    }
    let steps = plan(&desired, &actual, &facts, SECOND, now);
    let at = |binding: Binding| {
        let kind = if let Kind::Route { .. } = binding.kind { "route " } else { "" };
        format!("{kind}{}", facts.links.name_of(binding.index))
    };
    let show = |step: Step| match step {
        Step::Bind(binding) => format!("bind {}", at(binding)),
        Step::Unbind(binding) => format!("unbind {}", at(binding)),
        Step::Advertise(Advertised { version, routes, .. }) => {
            format!("advertise {}: {}", version.0, routes.len())
        }
    };
    steps.into_iter().map(show).collect()
}

#[test]
fn an_address_is_bound_once_and_where_it_belongs() {
    let lo = Case { wanted: Some("lo"), ..Case::default() };
    let table: &[(Case<'_>, &[&str])] = &[
        (lo, &["bind lo"]),
        (Case { unknown: true, ..lo }, &[]),
        (Case { binding: true, ..lo }, &[]),
        (Case { failed: Some(1), ..lo }, &[]),
        (Case { failed: Some(0), ..lo }, &["bind lo"]),
        (Case { held: &["lo"], ..lo }, &[]),
        (Case { held: &["lo*"], ..lo }, &[]),
        (Case { held: &["eth0*"], ..lo }, &[]),
        (Case { held: &["lo-"], ..lo }, &[]),
        // It moves: first there, then away from here.
        (Case { held: &["eth0"], ..lo }, &["bind lo"]),
        (Case { held: &["eth0"], binding: true, ..lo }, &[]),
        (Case { held: &["eth0", "lo"], ..lo }, &["unbind eth0"]),
        (Case { held: &["eth0", "lo*"], ..lo }, &["unbind eth0"]),
        (Case { held: &["eth0", "eth1*"], ..lo }, &["unbind eth0"]),
        (Case { held: &["eth0", "lo-"], ..lo }, &[]),
        (Case { held: &["eth0-", "lo"], ..lo }, &[]),
        (Case { held: &["eth0*", "lo"], ..lo }, &[]),
    ];
    for (case, expected) in table {
        assert_eq!(steps(*case), *expected, "{case:?}");
    }
}

#[test]
fn i3_a_route_and_an_address_do_for_each_other_but_an_address_that_is_wanted_is_made() {
    let route = Case { wanted: Some("route lo"), routes: true, advertised: true, ..Case::default() };
    let address = Case { wanted: Some("lo"), ..route };
    let table: &[(Case<'_>, &[&str])] = &[
        (Case { held: &[], ..route }, &["bind route lo"]),
        (Case { held: &["route lo"], ..route }, &[]),
        // Someone else's, whatever it is, is used and left.
        (Case { held: &["route lo*"], ..route }, &[]),
        (Case { held: &["lo*"], ..route }, &[]),
        (Case { held: &["eth0*", "route lo"], ..route }, &[]),
        // The program that asked for an address may need one.
        (Case { held: &["route lo*"], ..address }, &["bind lo"]),
        // It changes: first the one, then not the other any more.
        (Case { held: &["lo"], ..route }, &["bind route lo"]),
        (Case { held: &["lo", "route lo-"], ..route }, &[]),
        (Case { held: &["lo", "route lo"], ..route }, &["unbind lo"]),
        (Case { held: &["lo", "route lo*"], ..route }, &["unbind lo"]),
        (Case { held: &["route lo"], ..address }, &["bind lo"]),
        (Case { held: &["route lo", "lo"], ..address }, &["unbind route lo"]),
        (Case { held: &["route lo", "lo*"], ..address }, &["unbind route lo"]),
        // Before it goes, so does what is announced.
        (Case { held: &["route lo"], wanted: None, routes: false, ..route }, &["advertise 5: 0"]),
    ];
    for (case, expected) in table {
        assert_eq!(steps(*case), *expected, "{case:?}");
    }
}

#[test]
fn i2_an_address_goes_only_after_its_withdrawal_was_settled_and_the_delay_is_over() {
    let ours = Case { held: &["lo"], ..Case::default() };
    let table: &[(Case<'_>, &[&str])] = &[
        (ours, &["unbind lo"]),
        (Case { unknown: true, ..ours }, &[]),
        (Case { held: &["lo*"], ..ours }, &[]),
        (Case { held: &["lo-"], ..ours }, &[]),
        (Case { held: &["lo", "eth0"], ..ours }, &["unbind lo", "unbind eth0"]),
        (Case { failed: Some(1), ..ours }, &[]),
        (Case { failed: Some(0), ..ours }, &["unbind lo"]),
        (Case { advertised: true, ..ours }, &["advertise 5: 0"]),
        (Case { advertised: true, routes: true, ..ours }, &[]),
        (Case { routes: true, ..ours }, &["advertise 5: 1"]),
        (Case { retiring: Some(None), ..ours }, &[]),
        (Case { retiring: Some(Some(0)), ..ours }, &[]),
        (Case { retiring: Some(Some(1)), ..ours }, &["unbind lo"]),
        (Case { partial: true, ..ours }, &[]),
        (Case { handover: true, ..ours }, &[]),
        (Case { handover: true, retiring: Some(Some(1)), ..ours }, &[]),
    ];
    for (case, expected) in table {
        assert_eq!(steps(*case), *expected, "{case:?}");
    }
}

#[test]
fn i2_the_order_is_bind_advertise_unbind() {
    let now = Instant::BOOT;
    let route = Arc::new(RouteAttributes::default());
    let desired = Desired {
        bindings: ["192.0.2.1", "192.0.2.2"]
            .map(|vip| (net(vip), (Carrier::Address, "lo".into())))
            .into_iter()
            .collect(),
        routes: [(net("192.0.2.1").prefix(), Arc::clone(&route))].into(),
        extent: Extent::Whole,
    };
    let owner = Owner::Us.into();
    let bindings = [(on("lo", "192.0.2.1"), owner), (on("lo", "192.0.2.3"), owner)].into();
    let facts = Facts { links: links(), bindings, is_listed: true, ..Facts::default() };
    let open = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(net);
    let reroute = Reroute { from: None, to: Some(route) };
    let changed = [(net("192.0.2.1"), reroute)].into_iter().collect();
    let actual = Actual { open: open.into_iter().collect(), changed, ..Actual::default() };
    let steps = plan(&desired, &actual, &facts, SECOND, now);
    let expected = [
        Step::Bind(on("lo", "192.0.2.2")),
        Step::Advertise(Advertised {
            version: Version(1),
            routes: desired.routes.clone(),
            ..Advertised::default()
        }),
        Step::Unbind(on("lo", "192.0.2.3")),
    ];
    assert_eq!(steps, expected);
}
