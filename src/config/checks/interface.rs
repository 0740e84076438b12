//! The `interface` kind: a network interface whose link has to be up.

use vipcast_node::model::{CheckKind, InterfaceCheck};

use super::Around;
use crate::config::diagnostic::{Report, Span};
use crate::config::keys;
use crate::config::read::Table;
use crate::config::tree::{Node, Value};
use crate::config::value;

/// `interface: eth0`, or `interface: {name: eth0}`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<CheckKind> {
    let name = match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, &keys::INTERFACE_KIND, "`interface`", key, report)?;
            let name =
                table.required("name", "which interface: `name: eth0`", report, value::interface_or_altname);
            table.finish(report);
            name?.value
        }
        Value::Scalar(_) | Value::Null | Value::List(_) => value::interface_or_altname(node, key, report)?,
    };
    Some(CheckKind::Interface(InterfaceCheck { name }))
}
