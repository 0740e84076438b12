//! `services:`: VIPs, attributes, and the reaction to a service that is down.

mod announce;
mod condition;
mod each_vip;
mod elsewhere;
mod vip;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use vipcast_node::names::ServiceName;
use vipcast_node::vip::Vip;

pub(super) use self::condition::ReadChecks;
pub(super) use self::each_vip::expand;
pub(super) use self::elsewhere::look_at_targets;
use super::diagnostic::{Report, Span};
use super::model::{Announce, BindPolicy, OnDegraded, OnDown, Preempt, Rank, Role, Service};
use super::read::tree::{Entry, Node, Value};
use super::read::{Field, Placed, Table, expected, list_of, short, value};
use super::{defaults, keys};

/// The parts of the rest of the configuration that the reader of a service needs.
pub(super) struct ServiceContext<'a> {
    /// `interface` of the top level.
    pub(super) interface: Option<&'a str>,
    /// The addresses that sessions need, each with its use and the place of its key.
    pub(super) sessions: &'a BTreeMap<IpAddr, (Use, Span)>,
}

impl ServiceContext<'_> {
    /// The need of a session that the bound VIP would break; a wider prefix breaks one only as a local route.
    fn rests_on(&self, vip: &Vip, is_route: bool) -> Option<(Use, Span)> {
        let found = if vip.is_host() {
            self.sessions.get(&vip.ip())
        } else {
            let mut sessions = self.sessions.iter().filter(|_| is_route);
            sessions.find(|(ip, _)| vip.prefix().contains(*ip)).map(|(_, found)| found)
        };
        found.copied()
    }
}

/// The use of an address by a session; such an address cannot be a VIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// The router has it.
    Peer,
    /// Our end of the session.
    Source,
    /// Where routers send traffic for the VIPs.
    NextHop,
}

/// The VIPs so far, each with its service and its place.
type Seen<'a> = vipcast_node::table::Table<Vip, (&'a str, Span)>;

/// `on_down`.
pub(super) const ON_DOWN: [(&str, OnDown); 2] = [("withdraw", OnDown::Withdraw), ("demote", OnDown::Demote)];
/// `on_degraded`.
pub(super) const ON_DEGRADED: [(&str, OnDegraded); 3] =
    [("ignore", OnDegraded::Ignore), ("demote", OnDegraded::Demote), ("withdraw", OnDegraded::Withdraw)];
/// `bind`.
pub(super) const BIND: [(&str, BindPolicy); 3] =
    [("always", BindPolicy::Always), ("announced", BindPolicy::Announced), ("route", BindPolicy::Route)];
/// `role`; whether it is a standby.
pub(super) const ROLES: [(&str, bool); 2] = [("active", false), ("standby", true)];

/// Reads every service. `None` when one of them is wrong.
pub(super) fn read(
    entries: &[&Entry],
    around: &ServiceContext<'_>,
    checks: &mut ReadChecks<'_>,
    report: &mut Report,
) -> Option<BTreeMap<ServiceName, Service>> {
    let mut seen = Seen::default();
    let services: Vec<Option<(ServiceName, Service)>> = entries
        .iter()
        .map(|entry| {
            let named = value::name(entry, "service", report);
            let service = service(entry, around, checks, &mut seen, report)?;
            named.then(|| (ServiceName::from(entry.key.as_str()), service))
        })
        .collect();
    services.into_iter().collect()
}

fn service<'a>(
    entry: &'a Entry,
    around: &ServiceContext<'_>,
    checks: &mut ReadChecks<'_>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<Service> {
    let mut table = Table::open(&entry.value, &keys::SERVICE, "a service", entry.key_span, report)?;
    let vips = table.required(
        "vips",
        "the addresses to announce: `vips: [192.0.2.10, \"2001:db8::10\"]`",
        report,
        |node, key, report| list_of(node, key, "a list of addresses", report, vip::read),
    );
    let bind = table.field("bind", report, |node, key, report| value::choice(node, key, &BIND, report));
    let is_route = bind.set().is_some_and(|bind| bind.value == BindPolicy::Route);
    let vips = vips.and_then(|vips| own_vips(&entry.key, vips, is_route, around, seen, report));
    let condition = table.required(
        "checks",
        "name the checks that must pass, or write `checks: []` to announce it unconditionally",
        report,
        |node, key, report| condition::read(node, key, checks, report),
    );
    let announced = table.field("announce", report, announce::read);
    let healthy = announced.clone().or(Announce::default());
    let demoted = announce::demoted(&mut table, healthy.as_ref(), report);
    let on_down = table
        .field("on_down", report, |node, key, report| match &node.value {
            Value::Map(_) => {
                expected(node, key, "`withdraw` or `demote`", report)
                    .hint("the attributes of a demoted service go under `demoted: {…}`, beside `on_down`");
                None
            }
            Value::Scalar(_) | Value::Null | Value::List(_) => value::choice(node, key, &ON_DOWN, report),
        })
        .or(OnDown::Withdraw);
    let on_degraded = table
        .field("on_degraded", report, |node, key, report| value::choice(node, key, &ON_DEGRADED, report))
        .or(OnDegraded::Demote);
    let warm_up = table.field("warm_up", report, |node, key, report| {
        value::duration(node, key, Duration::from_millis(100), report)
    });
    let role = role(&mut table, report);
    if on_down == Some(OnDown::Demote) || warm_up.is_given() || role != Some(Role::Active(Preempt::AtOnce)) {
        announce::differs(healthy.as_ref(), demoted.as_ref(), table.span, report);
    }
    let interface = table.field("interface", report, value::interface_or_altname);
    let interface = interface_of(interface, &bind, around, report);
    table.finish(report);
    let service = Service {
        vips: vips?,
        checks: condition?.value,
        announce: healthy?,
        demoted: demoted?,
        on_down: on_down?,
        on_degraded: on_degraded?,
        warm_up: warm_up.optional()?,
        role: role?,
        bind: bind.or(BindPolicy::Always)?,
        interface: interface?,
    };
    look_at_ranks(&service, entry, report);
    Some(service)
}

/// `interface` of a service; local routes are on the loopback interface.
fn interface_of(
    given: Field<String>,
    bind: &Field<BindPolicy>,
    around: &ServiceContext<'_>,
    report: &mut Report,
) -> Option<String> {
    let Some(bind) = bind.set().filter(|bind| bind.value == BindPolicy::Route) else {
        return given.optional()?.or_else(|| around.interface.map(String::from));
    };
    if let Some(given) = given.set() {
        report
            .error(given.span, "a local route has no `interface` to choose: it is on `lo`")
            .also(bind.span, "binds as a route")
            .hint("remove it, or bind addresses: `bind: always`");
        return None;
    }
    Some(defaults::LOOPBACK.to_owned())
}

/// Warns if a standby would share the traffic with a service that is held back for it.
fn look_at_ranks(service: &Service, entry: &Entry, report: &mut Report) {
    let takes_turns = service.role != Role::Active(Preempt::AtOnce);
    if takes_turns && service.prepends(Rank::Standby) == service.prepends(Rank::Degraded) {
        let least = service.announce.as_path_prepend.saturating_add(defaults::DEMOTE_PREPEND);
        report
            .warning(
                entry.key_span,
                format!(
                    "`{}`: a standby has the same path as a degraded or held-back node",
                    short(&entry.key)
                ),
            )
            .hint(format!(
                "routers spread the traffic over both; give `demoted` an `as_path_prepend` of {least} or more"
            ));
    }
}

/// `role` and `preempt`.
fn role(table: &mut Table<'_>, report: &mut Report) -> Option<Role> {
    let standby = table.field("role", report, |node, key, report| value::choice(node, key, &ROLES, report));
    let preempt = table.field("preempt", report, preempt);
    if let (Field::Set(preempt), Some(standby)) = (&preempt, standby.set().filter(|standby| standby.value)) {
        report
            .error(preempt.span, "a standby takes nothing over, so there is nothing to `preempt`")
            .also(standby.span, "the role")
            .hint("`preempt` belongs to the nodes whose role is `active`: remove it here");
        return None;
    }
    match standby.or(false)? {
        true => Some(Role::Standby),
        false => Some(Role::Active(preempt.or(Preempt::AtOnce)?)),
    }
}

/// `true`, `false`, or a delay.
fn preempt(node: &Node, key: Span, report: &mut Report) -> Option<Preempt> {
    match &node.value {
        Value::Scalar(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            value::duration(node, key, Duration::from_millis(100), report).map(Preempt::After)
        }
        Value::Scalar(_) | Value::Null | Value::List(_) | Value::Map(_) => {
            Some(if value::boolean(node, key, report)? { Preempt::AtOnce } else { Preempt::Never })
        }
    }
}

/// The VIPs of one service; no other service has them, and no session needs them.
fn own_vips<'a>(
    service: &'a str,
    vips: Placed<Vec<Placed<Vip>>>,
    is_route: bool,
    around: &ServiceContext<'_>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<BTreeSet<Vip>> {
    if vips.value.is_empty() {
        report
            .error(vips.span, "a service without VIPs announces nothing")
            .hint("list its addresses, or remove the service");
        return None;
    }
    // Built at once from a list: there may be very many of them.
    let mut own = Some(Vec::with_capacity(vips.value.len()));
    for vip in vips.value {
        let shown = || vip.value.short();
        if let Some((what, at)) = around.rests_on(&vip.value, is_route) {
            let (what, label, hint) = match what {
                Use::Peer => (
                    "the address of a peer",
                    "the peer",
                    "once it is bound here, the peer could not be reached any more",
                ),
                Use::Source => (
                    "our end of a session",
                    "the session",
                    "the session would end whenever the VIP leaves this host; use an address that stays",
                ),
                Use::NextHop => (
                    "a next hop",
                    "the next hop",
                    "routers would send traffic for the VIPs to the node that has this one; use an address that stays",
                ),
            };
            let verb = if vip.value.is_host() { "is" } else { "covers" };
            report.error(vip.span, format!("{} {verb} {what}", shown())).also(at, label).hint(hint);
            own = None;
        } else if let Some((first, span)) = seen.insert(vip.value, (service, vip.span)) {
            let diagnostic = if first == service {
                report.error(vip.span, format!("{} is given twice", shown())).hint("keep one of them")
            } else {
                report
                    .error(vip.span, format!("{} is a VIP of `{}` already", shown(), short(first)))
                    .hint("a VIP belongs to one service; give that service all the checks")
            };
            diagnostic.also(span, "first given here");
            own = None;
        } else if let Some(own) = &mut own {
            own.push(vip.value);
        }
    }
    own.map(BTreeSet::from_iter)
}
