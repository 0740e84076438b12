//! Reads the `tcp` kind: a server, a text to send and the expected answer.

use super::KEYS;
use crate::check::kinds::tcp::TcpCheck;
use crate::check::target::Dial;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::Table;
use crate::config::read::pattern::{pattern, payload};
use crate::config::read::target::Around;
use crate::config::read::target::{address, proxy_protocol};
use crate::config::read::tree::{Node, Value};

/// More than any protocol begins with.
const MOST: usize = 64 * 1024;

/// `tcp: "host:port"`, or `tcp: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<TcpCheck> {
    let Value::Map(_) = &node.value else {
        let (named, unix) = address(node, key, around, report)?;
        let dial = Dial { unix, proxy: None };
        return Some(TcpCheck { dial, ..TcpCheck::connecting(named.target) });
    };
    let mut table = Table::open(node, &KEYS, "`tcp`", key, report)?;
    let place = table.required(
        "address",
        "the server to connect to: `address: \"127.0.0.1:8080\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let send = payload(&mut table, MOST, report).optional();
    let expect = table.field("expect", report, pattern).optional();
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let (named, unix) = place?.value;
    let dial = Dial { unix, proxy: proxy? };
    Some(TcpCheck { target: named.target, dial, send: send?, expect: expect? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::pattern::{Pattern, Regex};
    use crate::check::target::{ProxyProtocol, Target};
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let tcp = TcpCheck::connecting(Target { host: "::1".into(), port: 53 });
        assert_eq!(asked::<TcpCheck>("tcp: {address: \"[::1]:53\"}"), tcp);
        assert_eq!(
            asked::<TcpCheck>(
                r#"tcp: {address: "[::1]:53", send: "PING\r\n", expect: {regex: '^\+PONG\b'}}"#
            ),
            TcpCheck {
                send: Some(b"PING\r\n".to_vec()),
                expect: Some(Pattern::Regex(Regex::new(r"^\+PONG\b").expect("an expression"))),
                ..tcp
            }
        );
        let dial = |written| asked::<TcpCheck>(written).dial;
        assert_eq!(dial("tcp: \"unix:/run/x.sock\"").unix.as_deref(), Some("/run/x.sock"));
        let named = Dial { unix: Some("@name".into()), proxy: Some(ProxyProtocol::V2) };
        assert_eq!(dial("tcp: {address: \"unix:@name\", proxy_protocol: v2}"), named);
    }
}
