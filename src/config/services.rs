//! `services:`: VIPs, attributes, what happens when a service is down.

mod announce;
mod condition;
mod each_vip;
mod vip;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

pub(super) use self::condition::Checks;
pub(super) use self::each_vip::expand;
use super::diagnostic::{Report, Span};
use super::model::{Announce, BindPolicy, Service};
use super::places::Place;
use super::read::{Placed, Table, list_of, short};
use super::tree::Entry;
use super::value;
use crate::names::ServiceName;

/// What reading a service needs to know of the rest.
pub(super) struct Around<'a> {
    /// `interface` of the top level.
    pub(super) interface: Option<&'a str>,
    /// The addresses of the peers and where they were written.
    pub(super) peers: &'a BTreeMap<IpAddr, Span>,
}

/// The VIPs so far, each with its service and where it was written.
type Seen<'a> = BTreeMap<IpNet, (&'a str, Span)>;

/// Reads every service. `None` when one of them is wrong.
pub(super) fn read(
    entries: &[&Entry],
    around: &Around<'_>,
    checks: &mut Checks<'_>,
    report: &mut Report,
) -> Option<BTreeMap<ServiceName, Service>> {
    let mut seen = Seen::new();
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
    around: &Around<'_>,
    checks: &mut Checks<'_>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<Service> {
    const BIND: [(&str, BindPolicy); 2] =
        [("always", BindPolicy::Always), ("announced", BindPolicy::Announced)];
    let mut table = Table::open(&entry.value, Place::Service, "a service", entry.key_span, report)?;
    let vips = table.required(
        "vips",
        "the addresses to announce: `vips: [192.0.2.10, \"2001:db8::10\"]`",
        report,
        |node, key, report| list_of(node, key, "a list of addresses", report, vip::read),
    );
    let vips = vips.and_then(|vips| own_vips(&entry.key, vips, around, seen, report));
    let condition = table.required(
        "checks",
        "name the checks that must pass, or write `checks: []` to announce it unconditionally",
        report,
        |node, key, report| condition::read(node, key, checks, report),
    );
    let announced = table.field("announce", report, announce::read);
    let healthy = announced.clone().or(Announce::default());
    let on_down = announce::on_down(&mut table, healthy.as_ref(), report);
    let bind = table
        .field("bind", report, |node, key, report| value::choice(node, key, &BIND, report))
        .or(BindPolicy::Always);
    let interface = table.field("interface", report, value::interface).optional();
    table.finish(report);
    Some(Service {
        vips: vips?,
        checks: condition?.value,
        announce: healthy?,
        on_down: on_down?,
        bind: bind?,
        interface: interface?.or_else(|| around.interface.map(String::from))?,
    })
}

/// The VIPs of one service, which no other has and no peer is reached at.
fn own_vips<'a>(
    service: &'a str,
    vips: Placed<Vec<Placed<IpNet>>>,
    around: &Around<'_>,
    seen: &mut Seen<'a>,
    report: &mut Report,
) -> Option<BTreeSet<IpNet>> {
    if vips.value.is_empty() {
        report
            .error(vips.span, "a service without VIPs announces nothing")
            .hint("list its addresses, or remove the service");
        return None;
    }
    let mut own = Some(BTreeSet::new());
    for vip in vips.value {
        let shown = vip::show(vip.value);
        if let Some(peer) = around.peers.get(&vip.value.addr()).filter(|_| vip::is_host(vip.value)) {
            report
                .error(vip.span, format!("{shown} is the address of a peer"))
                .also(*peer, "the peer")
                .hint("once it is bound here, the peer could not be reached any more");
            own = None;
        } else if let Some((first, span)) = seen.insert(vip.value, (service, vip.span)) {
            let diagnostic = if first == service {
                report.error(vip.span, format!("{shown} is given twice")).hint("keep one of them")
            } else {
                report
                    .error(vip.span, format!("{shown} is a VIP of `{}` already", short(first)))
                    .hint("a VIP belongs to one service; give that service all the checks")
            };
            diagnostic.also(span, "first given here");
            own = None;
        } else if let Some(own) = &mut own {
            own.insert(vip.value);
        }
    }
    own
}
