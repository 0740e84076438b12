//! The `tcp` kind: a connection that is accepted.

use super::Around;
use super::target::target;
use crate::config::diagnostic::{Report, Span};
use crate::config::model::{CheckKind, TcpCheck};
use crate::config::places::Place;
use crate::config::read::Table;
use crate::config::tree::{Node, Value};

/// `tcp: "host:port"`, or `tcp: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<CheckKind> {
    let target = match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, Place::Tcp, "`tcp`", key, report)?;
            let target = table.required(
                "address",
                "whom to connect to: `address: \"127.0.0.1:8080\"`",
                report,
                |node, key, report| target(node, key, around, report),
            );
            table.finish(report);
            target?.value
        }
        Value::Scalar(_) | Value::Null | Value::List(_) => target(node, key, around, report)?,
    };
    Some(CheckKind::Tcp(TcpCheck { target }))
}
