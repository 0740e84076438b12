//! A VIP: an address or a prefix that may be announced.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::config::diagnostic::{Report, Span};
use crate::config::read::expected;
use crate::config::tree::Node;
use crate::config::value;

/// Reads `192.0.2.10`, `2001:db8::10/128` or `192.0.2.0/24`.
pub(super) fn read(node: &Node, key: Span, report: &mut Report) -> Option<IpNet> {
    const WHAT: &str = "an IP address or prefix";
    let written = value::text(node, key, WHAT, report)?;
    let parsed = match written.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => written.parse::<IpNet>().ok(),
    };
    let Some(vip) = parsed else {
        let diagnostic = expected(node, key, WHAT, report);
        if written.split(['/', ':']).next().is_some_and(|host| host.bytes().any(|b| b.is_ascii_alphabetic()))
            && !written.contains("::")
        {
            diagnostic.hint("host names are not looked up here");
        } else if written.matches(':').count() == 1 {
            diagnostic.hint("a VIP has no port: write the address alone");
        }
        return None;
    };
    if vip.addr() != vip.network() {
        report
            .error(
                node.span,
                format!("{vip} is not a prefix: it has bits set after the first {}", vip.prefix_len()),
            )
            .hint(format!("write `{}`, or `{}` for the one address", vip.trunc(), vip.addr()));
        return None;
    }
    match why_not(vip) {
        None => Some(vip),
        Some(why) => {
            let diagnostic = report.error(node.span, format!("{} cannot be a VIP: it is {why}", show(vip)));
            if let IpAddr::V6(v6) = vip.addr()
                && let Some(v4) = v6.to_ipv4_mapped()
            {
                diagnostic.hint(format!("write `{v4}`"));
            } else {
                diagnostic.hint("a VIP is a unicast address that clients are routed to");
            }
            None
        }
    }
}

/// What makes an address or prefix one that nobody can be routed to.
fn why_not(vip: IpNet) -> Option<&'static str> {
    let address = vip.network();
    if vip.prefix_len() == 0 {
        Some("the default route")
    } else if let Some(why) = value::not_a_host(address) {
        Some(why)
    } else if address.is_loopback() {
        Some("a loopback address")
    } else if value::is_link_local(address) {
        Some("a link-local address")
    } else {
        None
    }
}

/// Whether it is one address, which is also bound.
pub(super) fn is_host(vip: IpNet) -> bool {
    vip.prefix_len() == vip.max_prefix_len()
}

/// A single address without its `/32` or `/128`.
pub(super) fn show(vip: IpNet) -> String {
    if is_host(vip) { vip.addr().to_string() } else { vip.to_string() }
}
