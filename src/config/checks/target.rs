//! Whom a check asks: `host:port`, and the `host`, `source_address` and `source_interface` of the check, which may be `vip`.

use std::net::IpAddr;

use vipcast_node::model::{CheckKind, ProxyProtocol, Target, Via};

use super::{ANY_VIP, Around};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::{Field, Table, expected, short};
use crate::config::tree::{Node, Value};
use crate::config::value;

/// Stands for each VIP of the service.
const VIP: &str = "vip";

/// `host`, `source_address` and `source_interface` of a check.
#[derive(Debug)]
pub(super) struct Way {
    host: Field<Which<String>>,
    source: Field<Which<IpAddr>>,
    interface: Field<String>,
}

/// A value, or the VIP that the check is made for.
#[derive(Debug, Clone)]
enum Which<T> {
    Given(T),
    Vip,
}

impl Way {
    pub(super) fn read(table: &mut Table<'_>, report: &mut Report) -> Self {
        Self {
            host: table.field("host", report, |node, key, report| which(node, key, report, host)),
            source: table.field("source_address", report, |node, key, report| {
                which(node, key, report, value::address)
            }),
            interface: table.field("source_interface", report, value::interface),
        }
    }

    /// Whether there has to be one check for each VIP.
    pub(super) fn is_of_each_vip(&self) -> bool {
        matches!(self.host.set().map(|host| &host.value), Some(Which::Vip))
            || matches!(self.source.set().map(|source| &source.value), Some(Which::Vip))
    }

    /// Whom to ask instead of what the kind says, when the check is made for `vip`.
    pub(super) fn host(&self, vip: IpAddr) -> Option<String> {
        self.host.set().map(|host| match &host.value {
            Which::Given(host) => host.clone(),
            Which::Vip => vip.to_string(),
        })
    }

    /// How the question leaves the host. An error where `kind` asks nobody, and where the families of both ends differ.
    pub(super) fn via(
        self,
        kind: Option<&CheckKind>,
        vip: Option<IpAddr>,
        report: &mut Report,
    ) -> Option<Via> {
        let useless = if kind.is_some_and(|kind| !kind.is_over_network()) {
            Some(("is for checks that ask over the network", ""))
        } else if kind.and_then(CheckKind::dial).is_some_and(|dial| dial.unix.is_some()) {
            Some(("is for checks over the network, and this asks a unix socket", ", or `unix`"))
        } else {
            None
        };
        if let Some((why, or)) = useless {
            let given = [
                ("host", self.host.set().map(|field| field.span)),
                ("source_address", self.source.set().map(|field| field.span)),
                ("source_interface", self.interface.set().map(|field| field.span)),
            ];
            for (key, span) in given {
                let Some(span) = span else { continue };
                report.error(span, format!("`{key}` {why}")).hint(format!("remove `{key}`{or}"));
            }
        }
        let are_known = vip.is_some() || !self.is_of_each_vip();
        let vip = vip.unwrap_or(ANY_VIP);
        let asked = self.host(vip).and_then(|host| host.parse::<IpAddr>().ok()).filter(|_| are_known);
        let place = self.source.set().map(|source| source.span);
        let source = self.source.map(|source| match source {
            Which::Given(address) => address,
            Which::Vip => vip,
        });
        let source = source.optional()?;
        if let (Some(source), Some(asked), Some(place)) = (source, asked, place)
            && asked.is_ipv4() != source.is_ipv4()
        {
            let word = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
            report
                .error(
                    place,
                    format!("{asked} is asked over {}, and this is for {}", word(asked), word(source)),
                )
                .hint("give each family a check, and VIPs a service, of its own");
            return None;
        }
        Some(Via { source, interface: self.interface.optional()? })
    }
}

/// The word `vip`, or what `read` makes of it.
fn which<T>(
    node: &Node,
    key: Span,
    report: &mut Report,
    read: fn(&Node, Span, &mut Report) -> Option<T>,
) -> Option<Which<T>> {
    match &node.value {
        Value::Scalar(text) if text.eq_ignore_ascii_case(VIP) => Some(Which::Vip),
        Value::Scalar(_) | Value::Null | Value::List(_) | Value::Map(_) => {
            read(node, key, report).map(Which::Given)
        }
    }
}

/// Whom to connect to, and the host that the kind names, which is another one where the check has a `host`.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) target: Target,
    pub(super) host: String,
}

/// `host:port`, `192.0.2.1:80` or `[2001:db8::1]:80`; with a `host` given to the check the port alone will do.
pub(super) fn target(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<Target> {
    named(node, key, around, report).map(|named| named.target)
}

/// The same, with the host as it is written.
pub(super) fn named(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<Named> {
    const WHAT: &str = "a host and port";
    let written = value::text(node, key, WHAT, report)?;
    let port = |port: &str| port.parse::<u16>().ok().filter(|port| *port != 0);
    if let Some(host) = &around.host
        && let Some(port) = port(written.strip_prefix(':').unwrap_or(written))
    {
        return Some(Named { target: Target { host: host.clone(), port }, host: host.clone() });
    }
    if let Some((host, number)) = written.rsplit_once(':')
        && let Some(port) = port(number)
    {
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let literal = literal.filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
        if let Some(host) = literal.or_else(|| is_host(host).then_some(host)) {
            let target = Target { host: around.host.clone().unwrap_or_else(|| host.to_owned()), port };
            return Some(Named { target, host: host.to_owned() });
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
pub(super) fn unbracketed(written: &str) -> Option<(&str, u16)> {
    let (host, port) = written.rsplit_once(':')?;
    // A group of an address has at most four digits, and is hexadecimal more often than not.
    let port = port.parse::<u16>().ok().filter(|port| *port != 0)?;
    host.parse::<std::net::Ipv6Addr>().is_ok().then_some((host, port))
}

/// The same for kinds that connect, which may also go to a socket on this host: `unix:/run/web.sock` or `unix:@name`.
pub(super) fn address(
    node: &Node,
    key: Span,
    around: &Around,
    report: &mut Report,
) -> Option<(Named, Option<String>)> {
    let Value::Scalar(written) = &node.value else {
        return named(node, key, around, report).map(|named| (named, None));
    };
    let Some(path) = written.strip_prefix("unix:") else {
        return named(node, key, around, report).map(|named| (named, None));
    };
    let path = socket_path(path, node.span, report)?;
    let host = String::from("localhost");
    Some((Named { target: Target { host: host.clone(), port: 0 }, host }, Some(path)))
}

/// `unix: /run/web.sock` or `unix: "@name"`.
pub(super) fn unix(node: &Node, key: Span, report: &mut Report) -> Option<String> {
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
pub(super) fn proxy_protocol(node: &Node, key: Span, report: &mut Report) -> Option<ProxyProtocol> {
    let versions = [
        ("1", ProxyProtocol::V1),
        ("2", ProxyProtocol::V2),
        ("v1", ProxyProtocol::V1),
        ("v2", ProxyProtocol::V2),
    ];
    value::choice(node, key, &versions, report)
}

/// Like [`target`], where the port may be left out.
pub(super) fn target_with_port(
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

/// A host name or an address, without a port and without brackets.
pub(super) fn host(node: &Node, key: Span, report: &mut Report) -> Option<String> {
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
pub(super) fn is_host(text: &str) -> bool {
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
