//! The server that a check asks: `host:port`, a host, or a socket of this host.

use crate::check::target::{ProxyProtocol, Target};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, short, value};

/// The hint for `port`.
pub(crate) const PORT: &str = "host and port go together: `address: \"127.0.0.1:8080\"`";

/// The parts of a check that the reader of its kind needs.
#[derive(Debug)]
pub(crate) struct Around {
    /// The host to ask, instead of that of the kind.
    pub(crate) host: Option<String>,
}

/// The server to connect to, and the host that the kind names. They differ if the check has a `host`.
#[derive(Debug, Clone)]
pub(crate) struct NamedTarget {
    pub(crate) target: Target,
    pub(crate) host: String,
}

/// `host:port`, `192.0.2.1:80` or `[2001:db8::1]:80`; with a `host` given to the check the port alone will do.
pub(crate) fn target(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<Target> {
    named(node, key, around, report).map(|named| named.target)
}

/// The same, with the host as written.
pub(crate) fn named(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<NamedTarget> {
    const WHAT: &str = "a host and port";
    let written = value::text(node, key, WHAT, report)?;
    let port = |port: &str| port.parse::<u16>().ok().filter(|port| *port != 0);
    if let Some(host) = &around.host
        && let Some(port) = port(written.strip_prefix(':').unwrap_or(written))
    {
        return Some(NamedTarget { target: Target { host: host.clone(), port }, host: host.clone() });
    }
    if let Some((host, number)) = written.rsplit_once(':')
        && let Some(port) = port(number)
    {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let literal = literal.filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        if let Some(host) = literal.or_else(|| is_host(host).then_some(host)) {
            let target = Target { host: around.host.clone().unwrap_or_else(|| host.to_owned()), port };
            return Some(NamedTarget { target, host: host.to_owned() });
        }
    }
    let hint = if let Some((host, number)) = unbracketed(written) {
        format!("an IPv6 address goes in brackets: `\"[{host}]:{number}\"`")
    } else if written.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("an IPv6 address goes in brackets: `\"[{written}]:8080\"`")
    } else if port(written).is_some() {
        format!("add the host: `\"127.0.0.1:{written}\"`, or give the check a `host`")
    } else if is_host(written) {
        format!("add the port: `\"{}:8080\"`", short(written))
    } else {
        String::from("write it like `127.0.0.1:8080`, `\"[::1]:8080\"` or `localhost:8080`")
    };
    expected(node, key, WHAT, report).hint(hint);
    None
}

/// Address and port of `::1:80`, which is an IPv6 address as a whole as well.
pub(crate) fn unbracketed(written: &str) -> Option<(&str, u16)> {
    let (host, port) = written.rsplit_once(':')?;
    // A group of an address has at most four digits, and is hexadecimal more often than not.
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    host.parse::<std::net::Ipv6Addr>().is_ok().then_some((host, port))
}

/// The same for kinds that connect, which may also go to a socket on this host: `unix:/run/web.sock` or `unix:@name`.
pub(crate) fn address(
    node: &Node,
    key: Span,
    around: &Around,
    report: &mut Report,
) -> Option<(NamedTarget, Option<String>)> {
    let Value::Scalar(written) = &node.value else {
        return named(node, key, around, report).map(|named| (named, None));
    };
    let Some(path) = written.strip_prefix("unix:") else {
        return named(node, key, around, report).map(|named| (named, None));
    };
    let path = socket_path(path, node.span, report)?;
    let host = String::from("localhost");
    Some((NamedTarget { target: Target { host: host.clone(), port: 0 }, host }, Some(path)))
}

/// `unix: /run/web.sock` or `unix: "@name"`.
pub(crate) fn unix(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    let written = value::text(node, key, "the path of a socket", report)?;
    socket_path(written.strip_prefix("unix:").unwrap_or(written), node.span, report)
}

/// An absolute path, or the name of an abstract socket behind `@`, unix(7).
fn socket_path(written: &str, span: Span, report: &mut Report) -> Option<String> {
    /// sun_path, its final NUL not counted.
    const LONGEST: usize = 107;
    let is_named = written.strip_prefix('@').is_some_and(|name| !name.is_empty());
    if !(written.starts_with('/') || is_named) || written.contains('\0') {
        report
            .error(span, format!("`{}` is not the absolute path of a socket", short(written)))
            .hint("write it like `/run/web.sock`, or `@name` for an abstract socket");
        return None;
    }
    if written.len() > LONGEST {
        report
            .error(span, "the path is too long for a unix socket")
            .hint(format!("the kernel allows {LONGEST} bytes"));
        return None;
    }
    Some(written.to_owned())
}

/// `proxy_protocol: 1` or `2`.
pub(crate) fn proxy_protocol(node: &Node, key: Span, report: &mut Report) -> Option<ProxyProtocol> {
    let versions = [
        ("1", ProxyProtocol::V1),
        ("2", ProxyProtocol::V2),
        ("v1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
    ];
    value::choice(node, key, &versions, report)
}

/// Like [`target`], where the port may be left out.
pub(crate) fn target_with_port(
    node: &Node,
    key: Span,
    around: &Around,
    port: u16,
    report: &mut Report,
) -> Option<Target> {
    let written = value::text(node, key, "a host and port", report)?;
    let literal = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    if let Some((host, number)) = unbracketed(written).filter(|(_, number)| *number == port) {
        report
            .warning(node.span, format!("`{written}` is one address, and the port is {port} in any case"))
            .hint(format!("if the address is {host}, write `\"[{host}]:{number}\"`"));
    }
    if is_host(written) || literal.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(Target { host: around.host.clone().unwrap_or_else(|| literal.to_owned()), port });
    }
    target(node, key, around, report)
}

/// `server` of a kind with a port of its own; it may be left out where the check has a `host`.
pub(crate) fn server_with_port(
    table: &mut Table<'_>,
    around: &Around,
    port: u16,
    report: &mut Report,
) -> Option<Target> {
    let read = |node: &Node, key, report: &mut Report| target_with_port(node, key, around, port, report);
    match (table.field("server", report, read), &around.host) {
        (Field::Absent, Some(host)) => Some(Target { host: host.clone(), port }),
        (Field::Absent, None) => {
            report
                .error(table.span, "`server` is missing")
                .hint("the server to ask: `server: 127.0.0.1`, or `host` of the check");
            None
        }
        (Field::Broken, _) => None,
        (Field::Set(server), _) => Some(server.value),
    }
}

/// A host name or an address, without a port and without brackets.
pub(crate) fn host(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "a host name or an address";
    let written = value::text(node, key, WHAT, report)?;
    let literal = written.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(written);
    if is_host(written) || literal.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(literal.to_owned());
    }
    let diagnostic = expected(node, key, WHAT, report);
    if let Some((host, _)) = written.rsplit_once(':')
        && is_host(host)
    {
        diagnostic.hint(format!("write it without a port: `{host}`"));
    }
    None
}

/// Whether a text can be an IPv4 address or a host name.
pub(crate) fn is_host(text: &str) -> bool {
    /// RFC 1035 §2.3.4.
    const LONGEST_NAME: usize = 253;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        return text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    name.len() <= LONGEST_NAME && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_brackets_is_told_from_its_port() {
        assert_eq!(unbracketed("::1:80"), Some(("::1", 80)));
        assert_eq!(unbracketed("2001:db8::1:8080"), Some(("2001:db8::1", 8080)));
        for none in ["::1", "::1:0", "127.0.0.1:80", "2001:db8::beef", "1:2:3:4:5:6:7:8"] {
            assert_eq!(unbracketed(none), None, "{none}");
        }
    }

    #[test]
    fn hosts_are_names_or_ipv4_addresses() {
        for good in ["localhost", "a.example.", "10.0.0.1", "my_host", "x1"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "10.0.0", "10.0.0.256", "a b", "a..b", "::1", "a/b", "é"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
