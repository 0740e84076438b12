//! `next_hop:` of a peer or an announcement.

use std::net::IpAddr;

use vipcast_node::model::NextHops;

use crate::config::diagnostic::{Report, Span};
use crate::config::keys;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Table, expected, value};

/// One address, or one for each family.
pub(crate) fn next_hops(node: &Node, key: Span, report: &mut Report) -> Option<NextHops> {
    match &node.value {
        Value::Scalar(_) => {
            let hop = value::address(node, key, report)?;
            next_hop(hop, node.span, report)?;
            Some(match hop {
                IpAddr::V4(v4) => NextHops { v4: Some(v4), v6: None },
                IpAddr::V6(v6) => NextHops { v4: None, v6: Some(v6) },
            })
        }
        Value::Map(_) => {
            let mut table = Table::open(node, &keys::NEXT_HOP, "`next_hop`", key, report)?;
            let v4 = table.field("ipv4", report, |node, key, report| {
                let v4 = value::ipv4(node, key, report)?;
                next_hop(v4.into(), node.span, report).map(|()| v4)
            });
            let v6 = table.field("ipv6", report, |node, key, report| {
                let v6 = value::ipv6(node, key, report)?;
                next_hop(v6.into(), node.span, report).map(|()| v6)
            });
            table.finish(report);
            Some(NextHops { v4: v4.optional()?, v6: v6.optional()? })
        }
        Value::Null | Value::List(_) => {
            expected(node, key, "an IP address, or `{ipv4: …, ipv6: …}`", report);
            None
        }
    }
}

/// Whether a router can forward to this address.
fn next_hop(hop: IpAddr, span: Span, report: &mut Report) -> Option<()> {
    let why = match value::not_a_host(hop) {
        Some(why) => why,
        None if hop.is_loopback() => "a loopback address",
        None if hop.is_ipv6() && value::is_link_local(hop) => "a link-local address",
        None => return Some(()),
    };
    report
        .error(span, format!("{hop} cannot be a next hop: it is {why}"))
        .hint("the next hop is an address of this host that the router can reach");
    None
}
