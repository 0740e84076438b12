//! Reads the `interface` kind: a network interface whose link must be up.

use super::KEYS;
use crate::check::kinds::interface::InterfaceCheck;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Table, value};

/// `interface: eth0`, or `interface: {name: eth0}`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<InterfaceCheck> {
    let name = match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, &KEYS, "`interface`", key, report)?;
            let name =
                table.required("name", "which interface: `name: eth0`", report, value::interface_or_altname);
            table.finish(report);
            name?.value
        }
        Value::Scalar(_) | Value::Null | Value::List(_) => value::interface_or_altname(node, key, report)?,
    };
    Some(InterfaceCheck { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        for written in ["interface: eth0", "interface: {name: eth0}"] {
            assert_eq!(asked::<InterfaceCheck>(written), InterfaceCheck { name: "eth0".into() });
        }
    }
}
