//! The `tcp` kind: a connection that is accepted, and what is said on it.

use vipcast_node::model::{CheckKind, Dial, TcpCheck};

use super::Around;
use super::pattern::{pattern, payload};
use super::target::{address, proxy_protocol};
use crate::config::diagnostic::{Report, Span};
use crate::config::keys;
use crate::config::read::Table;
use crate::config::tree::{Node, Value};

/// More than any protocol begins with.
const MOST: usize = 64 * 1024;

/// `tcp: "host:port"`, or `tcp: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<CheckKind> {
    let Value::Map(_) = &node.value else {
        let (named, unix) = address(node, key, around, report)?;
        let dial = Dial { unix, proxy: None };
        return Some(CheckKind::Tcp(TcpCheck { dial, ..TcpCheck::connecting(named.target) }));
    };
    let mut table = Table::open(node, &keys::TCP, "`tcp`", key, report)?;
    let place = table.required(
        "address",
        "whom to connect to: `address: \"127.0.0.1:8080\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let send = payload(&mut table, MOST, report).optional();
    let expect = table.field("expect", report, pattern).optional();
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let (named, unix) = place?.value;
    let dial = Dial { unix, proxy: proxy? };
    Some(CheckKind::Tcp(TcpCheck { target: named.target, dial, send: send?, expect: expect? }))
}
