//! Arista EOS.

use super::{Lines, MOST_PATHS, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    let families = [("ip", "ipv4", &side.vips4), ("ipv6", "ipv6", &side.vips6)];
    let used = || families.into_iter().filter(|(_, _, vips)| !vips.is_empty());
    lines.push("ip community-list VIPCAST-GSHUT permit 65535:0");
    for (word, family, vips) in used() {
        lines.push(format!("{word} prefix-list VIPCAST-{}", family.to_uppercase()));
        for (number, vip) in vips.iter().enumerate() {
            lines.push(format!("   seq {} permit {vip}", 10 * (number + 1)));
        }
        maps(word, family, &mut lines);
    }
    lines.push("route-map VIPCAST-OUT deny 10");
    lines.push(format!("router bgp {}", side.router_as()));
    if let Some(id) = side.router_id() {
        lines.push(format!("   router-id {id}"));
    }
    lines.push(format!("   maximum-paths {MOST_PATHS} ecmp {MOST_PATHS}"));
    lines.push("   bgp bestpath as-path multipath-relax");
    let mut push = |words: String| lines.push(format!("   neighbor {} {words}", side.node));
    push(format!("remote-as {}", side.node_as));
    push("description vipcast".to_owned());
    if side.has_password {
        push(format!("password 0 {PASSWORD}"));
    }
    push(format!("timers {} {}", side.keepalive(), side.hold_time));
    if let Some(hops) = side.ttl_security {
        push(format!("ttl maximum-hops {hops}"));
    }
    if let Some(hops) = side.multihop.filter(|_| !side.is_internal) {
        push(format!("ebgp-multihop {hops}"));
    }
    if let Some((interval, multiplier)) = side.bfd() {
        push("bfd".to_owned());
        push(format!("bfd interval {interval} min-rx {interval} multiplier {multiplier}"));
    }
    if side.keeps_routes {
        push("graceful-restart-helper".to_owned());
    }
    lines.push_if(!side.keeps_routes, format!("   no neighbor {} graceful-restart-helper", side.node));
    lines.push(format!("   no neighbor {} additional-paths receive", side.node));
    for (_, family, _) in used() {
        lines.push(format!("   address-family {family}"));
        lines.push(format!("      neighbor {} activate", side.node));
        lines.push(format!("      neighbor {} route-map VIPCAST-{}-IN in", side.node, family.to_uppercase()));
        lines.push(format!("      neighbor {} route-map VIPCAST-OUT out", side.node));
    }
    lines.0
}

/// First what is draining, then the rest.
pub(super) fn maps(word: &str, family: &str, lines: &mut Lines) {
    let name = family.to_uppercase();
    lines.push(format!("route-map VIPCAST-{name}-IN permit 10"));
    lines.push(format!("   match {word} address prefix-list VIPCAST-{name}"));
    lines.push("   match community VIPCAST-GSHUT");
    lines.push("   set local-preference 0");
    lines.push(format!("route-map VIPCAST-{name}-IN permit 20"));
    lines.push(format!("   match {word} address prefix-list VIPCAST-{name}"));
}
