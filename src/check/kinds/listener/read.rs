//! Reads the `listener` kind: a port of this host, and optionally the address.

use std::net::IpAddr;

use super::KEYS;
use crate::check::kinds::listener::ListenerCheck;
use crate::check::target::Transport;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, short, value};

/// `listener: {tcp: 8080}` or `listener: {udp: 53}`, and an optional `address`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<ListenerCheck> {
    if let Value::Scalar(port) = &node.value {
        expected(node, key, "`listener` as a map of keys and values", report)
            .hint(format!("write `listener: {{tcp: {}}}` or `listener: {{udp: …}}`", short(port)));
        return None;
    }
    let mut table = Table::open(node, &KEYS, "`listener`", key, report)?;
    let tcp = table.number("tcp", value::PORT, report);
    let udp = table.number("udp", value::PORT, report);
    let address = table.field("address", report, address).optional();
    let misspelt = table.has_unknown();
    table.finish(report);
    let (transport, port) = match (tcp, udp) {
        // Then it is probably one of those.
        (Field::Absent, Field::Absent) if misspelt => return None,
        (Field::Absent, Field::Absent) => {
            report.error(key, "`listener` does not say which port").hint("write `tcp: 8080` or `udp: 53`");
            return None;
        }
        (Field::Set(tcp), Field::Set(udp)) => {
            report
                .error(udp.span, "`tcp` and `udp` cannot be given together")
                .also(tcp.span, "the other port")
                .hint("make one check of each and list them all in the `checks` of the service");
            return None;
        }
        (Field::Broken, _) | (_, Field::Broken) => return None,
        (Field::Set(port), Field::Absent) => (Transport::Tcp, port.value),
        (Field::Absent, Field::Set(port)) => (Transport::Udp, port.value),
    };
    Some(ListenerCheck { transport, port, address: address? })
}

/// An address that a program can listen on.
fn address(node: &Node, key: Span, report: &mut Report) -> Option<IpAddr> {
    let address = value::address(node, key, report)?;
    let canonical = address.to_canonical();
    if address.is_unspecified() {
        report
            .error(node.span, format!("`{address}` stands for any address"))
            .hint("remove `address`: then a socket on any address will do");
        return None;
    }
    if canonical != address {
        report
            .error(node.span, format!("`{address}` is IPv4 in IPv6 notation"))
            .hint(format!("write `{canonical}`"));
        return None;
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let listener = |transport, port, address: Option<&str>| ListenerCheck {
            transport,
            port,
            address: address.map(|address| address.parse().unwrap()),
        };
        let any = listener(Transport::Tcp, 8080, None);
        assert_eq!(asked::<ListenerCheck>("listener: {tcp: 8080}"), any);
        let one = listener(Transport::Udp, 53, Some("2001:db8::1"));
        assert_eq!(asked::<ListenerCheck>("listener: {udp: 53, address: \"2001:db8::1\"}"), one);
    }
}
