//! Reads the `systemd` kind: a unit, and the socket of systemd.

use super::KEYS;
use crate::check::kinds::systemd::SystemdCheck;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Table, expected, short, value};

/// What units are, by their suffixes (systemd.unit(5)).
pub(crate) const SUFFIXES: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];
/// UNIT_NAME_MAX of systemd, less its NUL.
const LONGEST: usize = 255;

/// `systemd: nginx.service`, or `systemd: {unit: …, bus: …}`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<SystemdCheck> {
    let (unit, bus) = match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, &KEYS, "`systemd`", key, report)?;
            let unit = table.required("unit", "which unit: `unit: nginx.service`", report, unit);
            let bus = table.field("bus", report, value::absolute_path).optional();
            table.finish(report);
            (unit?.value, bus?)
        }
        Value::Scalar(_) | Value::Null | Value::List(_) => (unit(node, key, report)?, None),
    };
    Some(SystemdCheck { unit, bus })
}

/// The name of a unit, with its suffix.
fn unit(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "the name of a unit";
    let name = value::text(node, key, WHAT, report)?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    if name.is_empty() || name.len() > LONGEST || !name.chars().all(is_allowed) {
        expected(node, key, WHAT, report).hint("`systemctl list-units` shows the names: `nginx.service`");
        return None;
    }
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    if stem.is_empty() || !SUFFIXES.contains(&suffix) {
        expected(node, key, WHAT, report).hint(format!("add what it is: `{}.service`", short(name)));
        return None;
    }
    if stem.ends_with('@') {
        report
            .error(node.span, format!("`{}` is a template, not a unit", short(name)))
            .hint(format!("name an instance of it: `{stem}NAME.{suffix}`"));
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let nginx = SystemdCheck { unit: "nginx.service".into(), bus: None };
        assert_eq!(asked::<SystemdCheck>("systemd: nginx.service"), nginx);
        let socket = SystemdCheck { unit: "a@b.socket".into(), bus: Some("/run/bus".into()) };
        assert_eq!(asked::<SystemdCheck>("systemd: {unit: a@b.socket, bus: /run/bus}"), socket);
    }
}
