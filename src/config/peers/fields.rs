//! The keys of a peer: what each may hold.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vipcast_bgp::HoldTime;
use vipcast_bgp::wire::{Asn, Family, Role};
use vipcast_node::model::ConnectMode;

use crate::config::diagnostic::{Report, Span};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Placed, Table, list_of, value};

/// The delay between two attempts to connect doubles up to this, so it cannot start above it.
const LONGEST_CONNECT_RETRY: Duration = Duration::from_secs(30);

/// `peer_as: 65000`, `internal` or `external`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerAs {
    Number(Asn),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

pub(super) fn peer_as(node: &Node, key: Span, report: &mut Report) -> Option<PeerAs> {
    match &node.value {
        Value::Scalar(word) if word == "internal" => Some(PeerAs::Internal),
        Value::Scalar(word) if word == "external" => Some(PeerAs::External),
        Value::Scalar(_) | Value::Null | Value::Map(_) | Value::List(_) => {
            value::asn(node, key, report).map(PeerAs::Number)
        }
    }
}

pub(super) fn peer_address(node: &Node, key: Span, report: &mut Report) -> Option<IpAddr> {
    let address = value::address(node, key, report)?;
    host_address(address, node.span, "a peer", report)?;
    Some(address)
}

pub(super) fn source_address(node: &Node, key: Span, report: &mut Report) -> Option<IpAddr> {
    let address = value::address(node, key, report)?;
    host_address(address, node.span, "a session", report)?;
    Some(address)
}

/// Whether a TCP connection can begin or end at this address.
fn host_address(address: IpAddr, span: Span, whose: &str, report: &mut Report) -> Option<()> {
    if let Some(why) = value::not_a_host(address) {
        let diagnostic = report.error(span, format!("{whose} cannot have the address {address}, {why}"));
        if let IpAddr::V6(v6) = address
            && let Some(v4) = v6.to_ipv4_mapped()
        {
            diagnostic.hint(format!("write `{v4}`"));
        }
        return None;
    }
    Some(())
}

pub(super) fn hold_time(node: &Node, key: Span, report: &mut Report) -> Option<HoldTime> {
    // None at all; whether that may be is seen when it is known whether there is BFD.
    if matches!(&node.value, Value::Scalar(text) if matches!(text.as_str(), "0" | "0s" | "0ms")) {
        return Some(HoldTime::NONE);
    }
    let range = HoldTime::MIN.as_secs()..=HoldTime::MAX.as_secs();
    value::whole_seconds(node, key, range, "hold time", report).and_then(HoldTime::from_secs)
}

pub(super) fn connect_retry(node: &Node, key: Span, report: &mut Report) -> Option<Duration> {
    let delay = value::duration(node, key, Duration::from_millis(100), report)?;
    if delay > LONGEST_CONNECT_RETRY {
        report.error(node.span, "the first delay cannot be longer than the last").hint(format!(
            "it doubles up to {}, which is the most",
            value::show_duration(LONGEST_CONNECT_RETRY)
        ));
        return None;
    }
    Some(delay)
}

/// `passive` and `active` together say who connects.
pub(super) fn mode(table: &mut Table<'_>, report: &mut Report) -> Field<ConnectMode> {
    let passive = table.field("passive", report, value::boolean);
    let active = table.field("active", report, value::boolean);
    match (passive, active) {
        (Field::Absent, Field::Absent) => Field::Absent,
        (Field::Broken, _) | (_, Field::Broken) => Field::Broken,
        (Field::Set(Placed { value: true, span: first }), Field::Set(Placed { value: true, span })) => {
            report
                .error(span, "a peer cannot be both passive and active: neither side would connect")
                .also(first, "here it only accepts")
                .hint("leave both out: then we dial and accept");
            Field::Broken
        }
        (Field::Set(Placed { value: true, span }), _) => {
            Field::Set(Placed { value: ConnectMode::Passive, span })
        }
        (_, Field::Set(Placed { value: true, span })) => {
            Field::Set(Placed { value: ConnectMode::Active, span })
        }
        (Field::Set(Placed { span, .. }), _) | (_, Field::Set(Placed { span, .. })) => {
            Field::Set(Placed { value: ConnectMode::Both, span })
        }
    }
}

/// `role`.
pub(crate) const ROLES: [(&str, Role); 5] = [
    ("customer", Role::Customer),
    ("provider", Role::Provider),
    ("peer", Role::Peer),
    ("rs", Role::Rs),
    ("rs-client", Role::RsClient),
];

pub(super) fn role(node: &Node, key: Span, report: &mut Report) -> Option<Role> {
    value::choice(node, key, &ROLES, report)
}

/// `families`.
pub(crate) const FAMILIES: [(&str, Family); 4] = [
    ("ipv4", Family::IPV4_UNICAST),
    ("ipv6", Family::IPV6_UNICAST),
    ("ipv4-unicast", Family::IPV4_UNICAST),
    ("ipv6-unicast", Family::IPV6_UNICAST),
];

pub(super) fn families(node: &Node, key: Span, report: &mut Report) -> Option<BTreeSet<Family>> {
    let list = list_of(node, key, "a list of address families", report, |node, key, report| {
        value::choice(node, key, &FAMILIES, report)
    })?;
    if list.is_empty() {
        report
            .error(node.span, "a session without an address family carries nothing")
            .hint("write `[ipv4, ipv6]`, or leave `families` out");
        return None;
    }
    Some(list.into_iter().map(|family| family.value).collect())
}
