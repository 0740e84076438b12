//! Cisco NX-OS.

use super::eos::maps;
use super::{Lines, MOST_PATHS, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    let families = [("ip", "ipv4", &side.vips4), ("ipv6", "ipv6", &side.vips6)];
    let used = || families.into_iter().filter(|(_, _, vips)| !vips.is_empty());
    lines.push("feature bgp");
    lines.push_if(side.bfd.is_some(), "feature bfd");
    if let Some((interval, multiplier)) = side.bfd() {
        lines.push(format!("bfd interval {interval} min_rx {interval} multiplier {multiplier}"));
    }
    lines.push("ip community-list standard VIPCAST-GSHUT seq 10 permit 65535:0");
    for (word, family, vips) in used() {
        for (number, vip) in vips.iter().enumerate() {
            let name = family.to_uppercase();
            lines.push(format!("{word} prefix-list VIPCAST-{name} seq {} permit {vip}", 10 * (number + 1)));
        }
        maps(word, family, &mut lines);
    }
    lines.push("route-map VIPCAST-OUT deny 10");
    lines.push(format!("router bgp {}", side.router_as()));
    if let Some(id) = side.router_id() {
        lines.push(format!("  router-id {id}"));
    }
    lines.push("  bestpath as-path multipath-relax");
    for (_, family, _) in used() {
        lines.push(format!("  address-family {family} unicast"));
        lines.push(format!("    maximum-paths {MOST_PATHS}"));
        lines.push_if(side.is_internal, format!("    maximum-paths ibgp {MOST_PATHS}"));
    }
    lines.push(format!("  neighbor {}", side.node));
    lines.push(format!("    remote-as {}", side.node_as));
    lines.push("    description vipcast");
    lines.push_if(side.has_password, format!("    password {PASSWORD}"));
    lines.push(format!("    timers {} {}", side.keepalive(), side.hold_time));
    if let Some(hops) = side.ttl_security {
        lines.push(format!("    ttl-security hops {hops}"));
    }
    if let Some(hops) = side.multihop.filter(|_| !side.is_internal) {
        lines.push(format!("    ebgp-multihop {hops}"));
    }
    lines.push_if(side.bfd.is_some() && side.multihop.is_none(), "    bfd");
    lines.push_if(side.bfd.is_some() && side.multihop.is_some(), "    bfd multihop");
    lines.push_if(
        side.keeps_routes,
        "    ! As a helper the switch keeps routes by itself: graceful-restart-helper below router bgp.",
    );
    for (_, family, _) in used() {
        lines.push(format!("    address-family {family} unicast"));
        lines.push(format!("      route-map VIPCAST-{}-IN in", family.to_uppercase()));
        lines.push("      route-map VIPCAST-OUT out");
        lines.push("      capability additional-paths receive disable");
    }
    lines.0
}
