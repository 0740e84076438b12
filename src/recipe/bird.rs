//! BIRD 2.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Lines, MOST_PATHS, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    match side.router_id() {
        Some(id) => lines.push(format!("router id {id};")),
        None => lines.push("# router id 192.0.2.1;  # where the router has no IPv4 address"),
    }
    lines.push("");
    lines.push("protocol device {}");
    let families = [("ipv4", &side.vips4), ("ipv6", &side.vips6)];
    let used = || families.into_iter().filter(|(_, vips)| !vips.is_empty());
    for (family, vips) in used() {
        lines.push("");
        lines.push("protocol kernel {");
        lines.push(format!("  {family} {{ import none; export where source = RTS_BGP; }};"));
        lines.push(format!("  merge paths on limit {MOST_PATHS};"));
        lines.push("}");
        lines.push("");
        filter(family, vips, &mut lines);
    }
    bfd(side, &mut lines);
    lines.push("");
    lines.push(format!("protocol bgp {} {{", side.word()));
    let local = side.router.map(|address| format!("{address} ")).unwrap_or_default();
    lines.push(format!("  local {local}as {};", side.router_as()));
    lines.push(format!("  neighbor {} as {};", side.node, side.node_as));
    lines.push_if(side.has_password, format!("  password \"{PASSWORD}\";"));
    lines.push(format!("  hold time {};", side.hold_time));
    lines.push_if(side.ttl_security.is_some(), "  ttl security on;");
    let hops = side.multihop.or(side.ttl_security.filter(|hops| *hops > 1));
    if let Some(hops) = hops {
        lines.push(format!("  multihop {hops};"));
    }
    lines.push_if(side.bfd.is_some(), "  bfd on;");
    // Aware: it keeps routes for a node that restarts.
    lines.push(if side.keeps_routes { "  graceful restart aware;" } else { "  graceful restart off;" });
    lines.push("  # The default is a minute or more after an error, and BIRD refuses connections meanwhile.");
    lines.push("  error wait time 1, 10;");
    for (family, _) in used() {
        lines.push(format!("  {family} {{ import filter vipcast_{family}; export none; add paths off; }};"));
    }
    lines.push("}");
    lines.0
}

fn filter(family: &str, vips: &[IpNet], lines: &mut Lines) {
    lines.push(format!("filter vipcast_{family} {{"));
    lines.push("  if net !~ [");
    for (number, vip) in vips.iter().enumerate() {
        let comma = if number + 1 < vips.len() { "," } else { "" };
        lines.push(format!("    {vip}{comma}"));
    }
    lines.push("  ] then reject;");
    lines.push("  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;");
    lines.push("  accept;");
    lines.push("}");
}

fn bfd(side: &Side, lines: &mut Lines) {
    let Some((interval, multiplier)) = side.bfd() else { return };
    let timers = format!("{{ interval {interval} ms; multiplier {multiplier}; }}");
    lines.push("");
    lines.push("protocol bfd {");
    let is_far = side.multihop.is_some() || side.ttl_security.is_some_and(|hops| hops > 1);
    lines.push(match is_far {
        true => format!("  multihop {timers};"),
        false => format!("  interface \"*\" {timers};"),
    });
    if let (true, Some(IpAddr::V4(_) | IpAddr::V6(_))) = (is_far, side.router) {
        lines.push("  # BIRD sends these with TTL 64: `min_ttl: 1` under `bfd` of the node.");
    }
    lines.push("}");
}
