//! RouterOS 7.

use super::{Lines, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    lines.push("/routing/filter/rule");
    for vip in side.vips() {
        lines.push(format!(
            "add chain=vipcast-in rule=\"if (dst == {vip} && bgp-communities includes 65535:0) {{ set bgp-local-pref 0; accept }}\""
        ));
        lines.push(format!("add chain=vipcast-in rule=\"if (dst == {vip}) {{ accept }}\""));
    }
    lines.push("add chain=vipcast-in rule=\"reject\"");
    lines.push("add chain=vipcast-out rule=\"reject\"");
    lines.push("/routing/bgp/connection");
    let mut words = vec![format!("add name={}", side.word()), format!("as={}", side.router_as())];
    words.extend(side.router_id().map(|id| format!("router-id={id}")));
    words.push(format!("remote.address={}", side.node));
    words.push(format!("remote.as={}", side.node_as));
    words.push(format!("local.role={}", if side.is_internal { "ibgp" } else { "ebgp" }));
    words.extend(side.router.map(|router| format!("local.address={router}")));
    words.push(format!("hold-time={}s", side.hold_time));
    words.push(format!("keepalive-time={}s", side.keepalive()));
    if side.has_password {
        words.push(format!("tcp-md5-key={PASSWORD}"));
    }
    if side.ttl_security.is_some() {
        words.push("local.ttl=255".to_owned());
    }
    if side.multihop.is_some() {
        words.push("multihop=yes".to_owned());
    }
    if side.bfd.is_some() {
        words.push("use-bfd=yes".to_owned());
    }
    let families: Vec<&str> = [("ip", &side.vips4), ("ipv6", &side.vips6)]
        .into_iter()
        .filter_map(|(family, vips)| (!vips.is_empty()).then_some(family))
        .collect();
    words.push(format!("address-families={}", families.join(",")));
    words.push("input.filter=vipcast-in".to_owned());
    words.push("output.filter-chain=vipcast-out".to_owned());
    lines.push(words.join(" \\\n    "));
    if let Some((interval, multiplier)) = side.bfd() {
        lines.push("/routing/bfd/configuration");
        lines.push(format!(
            "add addresses={} min-rx={interval}ms min-tx={interval}ms multiplier={multiplier}",
            side.node
        ));
    }
    lines.push("# Paths of equal length from several nodes are used together by default in RouterOS 7.");
    lines.0
}
