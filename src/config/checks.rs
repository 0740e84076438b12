//! `checks:`: what every check has beside its kind, which is read in its folder (`check::kinds`).

pub(super) mod judgement;
mod way;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use vipcast_node::names::{CheckName, ServiceName};

use self::way::Way;
use super::diagnostic::Report;
use super::model::{Check, Service};
use super::read::target::Around;
use super::read::tree::{Entry, Node};
use super::read::{Field, Placed, Table, value};
use super::{defaults, keys};
use crate::check::kind::{Definition, Kind, definition, question};
use crate::check::kinds::KINDS;

/// What `rise`, `fall` and `for` count.
const RESULTS: &str = "a number of results";
/// Faster than this, probing is a load test.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);

/// Checks as they were read.
#[derive(Debug, Default)]
pub(super) struct ReadChecks<'t> {
    /// Those that are run as they are.
    pub(super) plain: BTreeMap<CheckName, Check>,
    /// Those with `host: vip` or `source_address: vip`, of which one is made for each VIP.
    pub(super) of_each_vip: BTreeMap<CheckName, &'t Entry>,
}

/// Reads every check. `None` when one of them is wrong.
pub(super) fn read<'t>(entries: &[&'t Entry], report: &mut Report) -> Option<ReadChecks<'t>> {
    let mut checks = Some(ReadChecks::default());
    for entry in entries {
        let named = value::name(entry, "check", report);
        let name = CheckName::from(entry.key.as_str());
        match (check(entry, None, report), &mut checks) {
            (Some((_, true)), Some(checks)) if named => {
                checks.of_each_vip.insert(name, entry);
            }
            (Some((check, false)), Some(checks)) if named => {
                checks.plain.insert(name, check);
            }
            (_, checks) => *checks = None,
        }
    }
    checks
}

/// A check with `host: vip`, made for a VIP. `None`, which is reported, where it cannot be asked.
pub(super) fn for_vip(entry: &Entry, vip: IpAddr, report: &mut Report) -> Option<Check> {
    check(entry, Some(vip), report).map(|(check, _)| check)
}

/// Stands for the VIP while a check is read that will be made for each.
const ANY_VIP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A check for `vip`, or for any where there is none, and whether it is another one for another VIP.
fn check(entry: &Entry, vip: Option<IpAddr>, report: &mut Report) -> Option<(Check, bool)> {
    let mut table = Table::open(&entry.value, &keys::CHECK, "a check", entry.key_span, report)?;
    let table_span = table.span;
    let way = Way::read(&mut table, report);
    let asked = asked(&mut table, &Around { host: way.host(vip.unwrap_or(ANY_VIP)) }, report);
    let of_each_vip = way.is_of_each_vip();
    let via = way.via(asked.as_ref().map(|asked| asked.definition.reach()), vip, report);
    let pace = Pace::read(&mut table, report);
    let rise = table.number("rise", RESULTS, report);
    let fall = table.number("fall", RESULTS, report);
    let limits = judgement::limits(&mut table, pace.as_ref(), report);
    let hold_down = table.field("hold_down", report, judgement::hold_down).or(None);
    table.finish(report);
    let (pace, asked) = (pace?, asked?);
    asked.definition.look_at_timeout(pace.timeout, table_span, report);
    let check = Check {
        rise: rise.or(asked.in_a_row())?,
        fall: fall.or(asked.in_a_row())?,
        question: question(asked.definition),
        via: via?,
        interval: pace.interval,
        fast_interval: pace.fast_interval,
        timeout: pace.timeout,
        limits: limits?,
        hold_down: hold_down?,
    };
    Some((check, of_each_vip))
}

/// What a check of one kind asks.
struct Chosen {
    kind: &'static Kind,
    definition: Arc<dyn Definition>,
}

impl Chosen {
    /// How many results in a row are certain where the operator does not say.
    fn in_a_row(&self) -> NonZeroU32 {
        if self.kind.told_by.is_some() { NonZeroU32::MIN } else { defaults::RISE_FALL }
    }
}

/// Exactly one of the kinds.
fn asked(table: &mut Table<'_>, around: &Around, report: &mut Report) -> Option<Chosen> {
    let mut given = Vec::new();
    for kind in KINDS {
        let read = |node: &Node, key, report: &mut Report| (kind.read)(node, key, around, report);
        let field = table.field(kind.key.name, report, read);
        if field.is_given() {
            given.push((kind, field));
        }
    }
    match given.len() {
        // Then it is probably one of those.
        0 if table.has_unknown() => None,
        0 => {
            report
                .error(table.span, "the check has no kind")
                .hint("say what to ask: `http: {url: …}`, `tcp: \"host:port\"` or `exec: {command: […]}`");
            None
        }
        1 => {
            let (kind, field) = given.pop()?;
            Some(Chosen { kind, definition: field.optional()?? })
        }
        _ => {
            report
                .error(table.span, "the check has more than one kind")
                .hint("make one check of each and list them all in the `checks` of the service");
            None
        }
    }
}

/// How often, and how long.
struct Pace {
    interval: Duration,
    fast_interval: Duration,
    timeout: Duration,
}

impl Pace {
    /// `timeout` and `fast_interval` follow a short `interval` unless they are written.
    fn read(table: &mut Table<'_>, report: &mut Report) -> Option<Self> {
        let least =
            |node: &Node, key, report: &mut Report| value::duration(node, key, LEAST_INTERVAL, report);
        let interval = table.field("interval", report, least);
        let fast_interval = table.field("fast_interval", report, least);
        let timeout = table.field("timeout", report, least);
        let written = interval.set().copied();
        let interval = interval.or(defaults::INTERVAL)?;
        let mut bounded = |field: Field<Duration>, name: &str, default: Duration| match field {
            Field::Set(Placed { value, span }) if value > interval => {
                let shown = value::show_duration(interval);
                let diagnostic =
                    report.error(span, format!("`{name}` is longer than `interval`, which is {shown}"));
                match written {
                    Some(interval) => diagnostic.also(interval.span, "the interval"),
                    None => diagnostic.label("the default interval is shorter"),
                };
                diagnostic.hint(format!(
                    "lower it to {shown} or less, or raise `interval` to {} or more",
                    value::show_duration(value)
                ));
                None
            }
            field @ (Field::Set(_) | Field::Absent | Field::Broken) => field.or(default.min(interval)),
        };
        let fast_interval = bounded(fast_interval, "fast_interval", defaults::FAST_INTERVAL);
        let timeout = bounded(timeout, "timeout", defaults::TIMEOUT);
        Some(Self { interval, fast_interval: fast_interval?, timeout: timeout? })
    }
}

/// Tells the checks which services name them, and the VIPs of those, where that makes a difference.
pub(super) fn tell(checks: &mut BTreeMap<CheckName, Check>, services: &BTreeMap<ServiceName, Service>) {
    let mut users: BTreeMap<&CheckName, Vec<(&ServiceName, &Service)>> = BTreeMap::new();
    for (name, service) in services {
        for check in service.checks.checks(None) {
            users.entry(check).or_default().push((name, service));
        }
    }
    for (name, users) in users {
        let Some(check) = checks.get_mut(name) else { continue };
        if let Some(told) = definition(check).of_services(&users) {
            check.question = question(told);
        }
    }
}
