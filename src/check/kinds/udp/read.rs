//! Reads the `udp` kind: a datagram, and the expected answer.

use super::KEYS;
use crate::check::kinds::udp::UdpCheck;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::pattern::{pattern, payload};
use crate::config::read::target::Around;
use crate::config::read::target::target;
use crate::config::read::tree::Node;
use crate::config::read::{Field, Table};

/// The most that fits into a datagram over IPv4.
const MOST: usize = 65_507;

/// `udp: {address: "host:port", send: "…"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<UdpCheck> {
    let mut table = Table::open(node, &KEYS, "`udp`", key, report)?;
    let hint = "the server to ask: `address: \"127.0.0.1:5353\"`";
    let target =
        table.required("address", hint, report, |node, key, report| target(node, key, around, report));
    let send = payload(&mut table, MOST, report);
    let expect = table.field("expect", report, pattern).optional();
    table.finish(report);
    if send == Field::Absent {
        report
            .error(key, "`udp` does not say what to send")
            .hint("add `send: \"…\"`, or `send_hex` for bytes: nothing answers to nothing");
    }
    Some(UdpCheck { target: target?.value, send: send.optional()??, expect: expect? })
}
