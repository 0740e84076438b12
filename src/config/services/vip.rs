//! A VIP: an address or a prefix that may be announced.

use std::net::IpAddr;

use ipnet::IpNet;
use vipcast_node::vip::Vip;

use crate::config::diagnostic::{Report, Span};
use crate::config::read::tree::Node;
use crate::config::read::{expected, value};

/// Reads `192.0.2.10`, `2001:db8::10/128` or `192.0.2.0/24`.
pub(super) fn read(node: &Node, key: Span, report: &mut Report) -> Option<Vip> {
    const WHAT: &str = "an IP address or prefix";
    let written = value::text(node, key, WHAT, report)?;
    let parsed = match written.parse::<IpAddr>() {
        Ok(address) => Some(IpNet::from(address)),
        Err(_) => written.parse::<IpNet>().ok(),
    };
    let Some(prefix) = parsed else {
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
    let vip = Vip::from(prefix);
    if vip.prefix() != prefix {
        report
            .error(
                node.span,
                format!("{prefix} is not a prefix: it has bits set after the first {}", prefix.prefix_len()),
            )
            .hint(format!("write `{vip}`, or `{}` for the one address", prefix.addr()));
        return None;
    }
    match why_not(prefix) {
        None => Some(vip),
        Some(why) => {
            let diagnostic = report.error(node.span, format!("{} cannot be a VIP: it is {why}", vip.short()));
            if let IpAddr::V6(v6) = vip.ip()
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

/// The reason why an address or prefix cannot be routed; `None` if it can.
fn why_not(prefix: IpNet) -> Option<&'static str> {
    let address = prefix.network();
    if prefix.prefix_len() == 0 {
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
