//! `checks:`: one file for each kind, and here what all of them have: the pace, and the way to whom is asked.

mod dns;
pub(super) mod exec;
mod file;
mod grpc;
mod http;
mod http_request;
mod icmp;
mod interface;
mod judgement;
mod listener;
mod pattern;
mod process;
mod systemd;
mod target;
mod tcp;
mod tls;
mod udp;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::time::Duration;

use vipcast_node::names::CheckName;

pub(super) use self::systemd::SUFFIXES as UNIT_SUFFIXES;
use self::target::Way;
use super::diagnostic::{Report, Span};
use super::keys::{self, Section};
use super::model::{Check, CheckKind};
use super::read::{Field, Placed, Table};
use super::tree::{Entry, Node};
use super::{defaults, value};

/// Faster than this, probing is a load test.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// More results in a row than this are a mistake.
const MOST_IN_A_ROW: u32 = 1000;

/// What the reader of a kind is told of the rest of the check.
#[derive(Debug)]
struct Around {
    /// Whom to ask instead of the host that the kind names.
    host: Option<String>,
}

/// Reads one kind.
type Reader = fn(&Node, Span, &Around, &mut Report) -> Option<CheckKind>;

/// Every kind of check: its key, the keys under it, and who reads them.
static KINDS: [(&str, &Section, Reader); 13] = [
    ("http", &keys::HTTP, http::read),
    ("tcp", &keys::TCP, tcp::read),
    ("tls", &keys::TLS_KIND, tls::read),
    ("grpc", &keys::GRPC, grpc::read),
    ("udp", &keys::UDP, udp::read),
    ("dns", &keys::DNS, dns::read),
    ("icmp", &keys::ICMP, icmp::read),
    ("file", &keys::FILE, file::read),
    ("exec", &keys::EXEC, exec::read),
    ("listener", &keys::LISTENER, listener::read),
    ("process", &keys::PROCESS, process::read),
    ("interface", &keys::INTERFACE_KIND, interface::read),
    ("systemd", &keys::SYSTEMD, systemd::read),
];

/// Checks as they were read.
#[derive(Debug, Default)]
pub(super) struct Checks<'t> {
    /// Those that are run as they are.
    pub(super) plain: BTreeMap<CheckName, Check>,
    /// Those with `host: vip` or `source_address: vip`, of which one is made for each VIP.
    pub(super) of_each_vip: BTreeMap<CheckName, &'t Entry>,
}

/// Reads every check. `None` when one of them is wrong.
pub(super) fn read<'t>(entries: &[&'t Entry], report: &mut Report) -> Option<Checks<'t>> {
    let mut checks = Some(Checks::default());
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
    let kind = kind(&mut table, &Around { host: way.host(vip.unwrap_or(ANY_VIP)) }, report);
    let of_each_vip = way.is_of_each_vip();
    let via = way.via(kind.as_ref(), vip, report);
    let pace = Pace::read(&mut table, report);
    let rise = in_a_row(&mut table, "rise", report);
    let fall = in_a_row(&mut table, "fall", report);
    let limits = judgement::limits(&mut table, pace.as_ref(), report);
    let hold_down = table.field("hold_down", report, judgement::hold_down).or(None);
    table.finish(report);
    let (pace, kind) = (pace?, kind?);
    icmp::look_at_time(&kind, pace.timeout, table_span, report);
    let check = Check {
        rise: rise.or(kind.in_a_row())?,
        fall: fall.or(kind.in_a_row())?,
        kind,
        via: via?,
        interval: pace.interval,
        fast_interval: pace.fast_interval,
        timeout: pace.timeout,
        limits: limits?,
        hold_down: hold_down?,
    };
    Some((check, of_each_vip))
}

/// Exactly one of the kinds.
fn kind(table: &mut Table<'_>, around: &Around, report: &mut Report) -> Option<CheckKind> {
    let fields: Vec<Field<CheckKind>> = KINDS
        .iter()
        .map(|(key, _, read)| table.field(key, report, |node, key, report| read(node, key, around, report)))
        .collect();
    match fields.iter().filter(|field| field.is_given()).count() {
        // Then it is probably one of those.
        0 if table.has_unknown() => None,
        0 => {
            report
                .error(table.span, "the check has no kind")
                .hint("say what to ask: `http: {url: …}`, `tcp: \"host:port\"` or `exec: {command: […]}`");
            None
        }
        1 => fields.into_iter().find_map(|field| field.optional().flatten()),
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

/// `rise` or `fall`.
fn in_a_row(table: &mut Table<'_>, key: &'static str, report: &mut Report) -> Field<NonZeroU32> {
    let what = format!("a number of results, 1 to {MOST_IN_A_ROW}");
    table.field(key, report, |node, key, report| {
        NonZeroU32::new(value::integer(node, key, 1..=MOST_IN_A_ROW, &what, report)?)
    })
}

/// An I/O error in words, without the number that Rust adds.
pub(super) fn io_cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((cause, _)) => cause.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_has_a_section_for_every_kind_with_an_example() {
        let page = include_str!("../../docs/checks.md");
        for (kind, ..) in KINDS {
            let (_, rest) = page
                .split_once(&format!("\n## `{kind}`\n"))
                .unwrap_or_else(|| panic!("no section of {kind}"));
            let section = rest.split_once("\n## ").map_or(rest, |(section, _)| section);
            let example = section.split("```yaml\n").nth(1).and_then(|rest| rest.split_once("```"));
            let (example, _) = example.unwrap_or_else(|| panic!("no example of {kind}"));
            assert!(example.contains(&format!("{kind}: ")), "the example of {kind} has another kind");
            assert!(
                page.contains(&format!("\n| [`{kind}`](#{kind}) |")),
                "{kind} is not in the list of kinds"
            );
        }
    }
}
