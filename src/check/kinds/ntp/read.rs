//! The `ntp` kind: the server, and how good its time must be.

use std::time::Duration;

use super::{KEYS, MOST_STRATUM, NtpCheck};
use crate::check::target::Target;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::{Around, server_with_port, target_with_port};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Table, value};

/// The port of `server`.
const PORT: u16 = 123;
/// No network measures a clock better than this.
const LEAST: Duration = Duration::from_millis(1);

/// `ntp: host`, or `ntp: {server: host}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<NtpCheck> {
    let check =
        |server: Target| NtpCheck { server, stratum: MOST_STRATUM, offset: None, root_distance: None };
    let Value::Map(_) = &node.value else {
        return target_with_port(node, key, around, PORT, report).map(check);
    };
    let limit = |node: &Node, key, report: &mut Report| value::duration(node, key, LEAST, report);
    let mut table = Table::open(node, &KEYS, "`ntp`", key, report)?;
    let server = server_with_port(&mut table, around, PORT, report);
    let stratum = table.number("stratum", "a stratum", report).or(MOST_STRATUM);
    let offset = table.field("offset", report, limit).optional();
    let root_distance = table.field("root_distance", report, limit).optional();
    table.finish(report);
    Some(NtpCheck { stratum: stratum?, offset: offset?, root_distance: root_distance?, ..check(server?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let ntp = |host: &str, port| NtpCheck {
            server: Target { host: host.into(), port },
            stratum: 15,
            offset: None,
            root_distance: None,
        };
        assert_eq!(asked::<NtpCheck>("ntp: time.example"), ntp("time.example", 123));
        assert_eq!(asked::<NtpCheck>("ntp: \"::1\""), ntp("::1", 123));
        assert_eq!(asked::<NtpCheck>("ntp: \"[::1]:1123\""), ntp("::1", 1123));
        assert_eq!(asked::<NtpCheck>("ntp: {}, host: 192.0.2.1"), ntp("192.0.2.1", 123));
        assert_eq!(
            asked::<NtpCheck>("ntp: {server: time.example, stratum: 3, offset: 100ms, root_distance: 1s}"),
            NtpCheck {
                stratum: 3,
                offset: Some(Duration::from_millis(100)),
                root_distance: Some(Duration::from_secs(1)),
                ..ntp("time.example", 123)
            }
        );
    }

    #[test]
    fn each_mistake_is_answered_with_what_to_write() {
        let table = [
            (
                "ntp: {}",
                "`server` is missing",
                "the server to ask: `server: 127.0.0.1`, or `host` of the check",
            ),
            ("ntp: [a, b]", "expected a host and port, found a list", ""),
            (
                "ntp: \"a b\"",
                "expected a host and port, found `a b`",
                "write it like `127.0.0.1:8080`, `\"[::1]:8080\"` or `localhost:8080`",
            ),
            ("ntp: {server: a.example, stratum: 16}", "expected a stratum, 1 to 15, found `16`", ""),
            ("ntp: {server: a.example, stratum: 0}", "expected a stratum, 1 to 15, found `0`", ""),
            (
                "ntp: {server: a.example, offset: 100}",
                "`100` has no unit",
                "write `100ms` or `100s` (the units are ms, s, m, h and d)",
            ),
            ("ntp: {server: a.example, offset: 0s}", "it must be greater than zero", "the least is 1ms"),
            (
                "ntp: {server: a.example, max_offset: 1s}",
                "unknown key `max_offset`",
                "it is called `offset` here",
            ),
            (
                "ntp: {server: a.example, dispersion: 1s}",
                "unknown key `dispersion`",
                "it is called `root_distance` here",
            ),
        ];
        for (written, message, hint) in table {
            let text = format!(
                "local_as: 65001\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nchecks: {{up: {{{written}}}}}\n\
                 services: {{web: {{vips: [198.51.100.1], checks: [up]}}}}\n"
            );
            let found = parse("test.yaml", &text).expect_err("it is a mistake");
            let first = found.iter().next().expect("it says which");
            assert_eq!(
                (&*first.message, first.hint.as_deref().unwrap_or_default()),
                (message, hint),
                "{written}"
            );
        }
    }
}
