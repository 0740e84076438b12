//! Reads the `grpc` kind: the server, and the service in the question.

use hyper::http::uri::Authority;

use super::KEYS;
use crate::check::kinds::grpc::GrpcCheck;
use crate::check::kinds::tls::read as tls;
use crate::check::target::Dial;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::target::{NamedTarget, address, proxy_protocol};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Table, expected, short, value};

/// `grpc: "host:port"`, or `grpc: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<GrpcCheck> {
    let Value::Map(_) = &node.value else {
        let (NamedTarget { target, host }, unix) = address(node, key, around, report)?;
        let dial = Dial { unix, proxy: None };
        let authority = authority_of(&host, target.port);
        let service = String::new();
        return Some(GrpcCheck { target, dial, host, service, authority, tls: None });
    };
    let mut table = Table::open(node, &KEYS, "`grpc`", key, report)?;
    let place = table.required(
        "address",
        "the server to connect to: `address: \"127.0.0.1:50051\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let service = table.field("service", report, service).or_else(String::new);
    let authority = table.field("authority", report, authority).optional();
    let tls = table.field("tls", report, |node, key, report| {
        const WHAT: &str = "`true`, `false` or a map of TLS options";
        value::switch(node, key, WHAT, report, |report| tls::options(node, key, report))
    });
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let (NamedTarget { target, host }, unix) = place?.value;
    let dial = Dial { unix, proxy: proxy? };
    let authority = authority?.unwrap_or_else(|| authority_of(&host, target.port));
    Some(GrpcCheck { target, dial, host, service: service?, authority, tls: tls.or(None)? })
}

/// `host:port`, with an IPv6 address in brackets; a socket on this host has no port.
fn authority_of(host: &str, port: u16) -> String {
    if port == 0 {
        return host.to_owned();
    }
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// The name of a service, `package.Service` as a rule; the empty one is the server as a whole.
fn service(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    /// What the frame has room for, by far.
    const LONGEST: usize = 1024;
    const WHAT: &str = "the name of a service";
    let name = value::text(node, key, WHAT, report)?;
    if name.len() > LONGEST {
        report.error(node.span, format!("`{}` is too long for the name of a service", short(name)));
        return None;
    }
    Some(name.to_owned())
}

fn authority(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "a host name, with a port if need be";
    let written = value::text(node, key, WHAT, report)?;
    match written.parse::<Authority>() {
        Ok(authority) if !written.contains('@') => Some(authority.to_string()),
        Ok(_) | Err(_) => {
            expected(node, key, WHAT, report)
                .hint("write it like `api.example.com` or `api.example.com:443`");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::target::{ProxyProtocol, Target};
    use crate::check::tls::TlsOptions;
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let grpc = GrpcCheck {
            dial: Dial::PLAIN,
            target: Target { host: "::1".into(), port: 50051 },
            host: "::1".into(),
            service: String::new(),
            authority: "[::1]:50051".into(),
            tls: None,
        };
        assert_eq!(asked::<GrpcCheck>("grpc: \"[::1]:50051\""), grpc);
        assert_eq!(
            asked::<GrpcCheck>(
                "grpc: {address: \"[::1]:50051\", service: a.B, authority: api.example, tls: {insecure: true}}"
            ),
            GrpcCheck {
                service: "a.B".into(),
                authority: "api.example".into(),
                tls: Some(TlsOptions { insecure: true, ..TlsOptions::default() }),
                ..grpc
            }
        );
        let socket = asked::<GrpcCheck>("grpc: {address: \"unix:/run/x.sock\", proxy_protocol: 1}").dial;
        assert_eq!(socket, Dial { unix: Some("/run/x.sock".into()), proxy: Some(ProxyProtocol::V1) });
    }
}
