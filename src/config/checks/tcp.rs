//! The `tcp` kind: a connection that is accepted, and what is said on it.

use super::Around;
use super::pattern::pattern;
use super::target::target;
use crate::config::diagnostic::{Report, Span};
use crate::config::model::{CheckKind, TcpCheck};
use crate::config::places::Place;
use crate::config::read::{Table, expected};
use crate::config::tree::{Node, Value};
use crate::config::value;

/// `tcp: "host:port"`, or `tcp: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<CheckKind> {
    let Value::Map(_) = &node.value else {
        let target = target(node, key, around, report)?;
        return Some(CheckKind::Tcp(TcpCheck::connecting(target)));
    };
    let mut table = Table::open(node, Place::Tcp, "`tcp`", key, report)?;
    let target = table.required(
        "address",
        "whom to connect to: `address: \"127.0.0.1:8080\"`",
        report,
        |node, key, report| target(node, key, around, report),
    );
    let send = table.field("send", report, send).optional();
    let expect = table.field("expect", report, pattern).optional();
    table.finish(report);
    Some(CheckKind::Tcp(TcpCheck { target: target?.value, send: send?, expect: expect? }))
}

/// What is sent. YAML says how to write what cannot be typed: `"PING\r\n"`.
fn send(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "a text to send";
    let text = value::text(node, key, WHAT, report)?;
    if text.is_empty() {
        expected(node, key, WHAT, report).hint("leave `send` out where the server speaks first");
        return None;
    }
    // Plain and single-quoted scalars take a backslash for what it is.
    if text.ends_with("\\n") || text.ends_with("\\r") {
        report
            .warning(node.span, "this ends in a backslash and a letter, not in the end of a line")
            .hint("YAML knows `\\r\\n` in double quotes only");
    }
    Some(text.to_owned())
}
