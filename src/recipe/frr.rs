//! FRR, and SONiC, which runs it in a container.

use super::{Kind, Lines, MOST_PATHS, PASSWORD, Side};

pub(super) fn write(side: &Side, kind: Kind) -> String {
    let mut lines = Lines::default();
    lines.push_if(
        kind == Kind::Sonic,
        "! Enter it in `vtysh`; `docker_routing_config_mode` must be `split` or `separated` to keep it.",
    );
    lines.push_if(side.bfd.is_some() && kind == Kind::Frr, "! `bfdd=yes` in /etc/frr/daemons.");
    let families = [("ip", "ipv4", &side.vips4), ("ipv6", "ipv6", &side.vips6)];
    for (word, family, vips) in families {
        for (number, vip) in vips.iter().enumerate() {
            lines.push(format!("{word} prefix-list vipcast-{family} seq {} permit {vip}", 5 * (number + 1)));
        }
        if !vips.is_empty() {
            lines.push(format!("route-map vipcast-{family}-in permit 10"));
            lines.push(format!(" match {word} address prefix-list vipcast-{family}"));
            lines.push("exit");
        }
    }
    lines.push("route-map vipcast-out deny 10");
    lines.push("exit");
    if let Some((interval, multiplier)) = side.bfd() {
        lines.push("bfd");
        lines.push(" profile vipcast");
        lines.push(format!("  detect-multiplier {multiplier}"));
        lines.push(format!("  receive-interval {interval}"));
        lines.push(format!("  transmit-interval {interval}"));
        lines.push_if(side.multihop.is_some(), "  minimum-ttl 1");
        lines.push(" exit");
        lines.push("exit");
    }
    lines.push(format!("router bgp {}", side.router_as()));
    if let Some(id) = side.router_id() {
        lines.push(format!(" bgp router-id {id}"));
    }
    lines.push(" no bgp default ipv4-unicast");
    lines.push(" bgp bestpath as-path multipath-relax");
    let neighbor = session(side, &mut lines);
    for (_, family, _) in families.into_iter().filter(|(_, _, vips)| !vips.is_empty()) {
        lines.push(format!(" address-family {family} unicast"));
        lines.push(format!("  maximum-paths {MOST_PATHS}"));
        lines.push_if(side.is_internal, format!("  maximum-paths ibgp {MOST_PATHS}"));
        lines.push(format!("  neighbor {neighbor} activate"));
        lines.push(format!("  neighbor {neighbor} disable-addpath-rx"));
        lines.push(format!("  neighbor {neighbor} route-map vipcast-{family}-in in"));
        lines.push(format!("  neighbor {neighbor} route-map vipcast-out out"));
        lines.push(" exit-address-family");
    }
    lines.push("exit");
    lines.0
}

/// The session. Returns the name of the neighbor.
fn session<'a>(side: &'a Side, lines: &mut Lines) -> &'a str {
    let neighbor = if side.is_unnumbered { "PORT" } else { side.node.as_str() };
    if side.is_unnumbered {
        lines.push(" ! PORT is the router's port to the node.");
        lines.push(format!(" neighbor {neighbor} interface remote-as {}", side.node_as));
    } else {
        lines.push(format!(" neighbor {neighbor} remote-as {}", side.node_as));
    }
    let mut push = |words: String| lines.push(format!(" neighbor {neighbor} {words}"));
    push("description vipcast".to_owned());
    if side.has_password {
        push(format!("password {PASSWORD}"));
    }
    push(format!("timers {} {}", side.keepalive(), side.hold_time));
    if let Some(hops) = side.ttl_security {
        push(format!("ttl-security hops {hops}"));
    }
    if let Some(hops) = side.multihop.filter(|_| !side.is_internal) {
        push(format!("ebgp-multihop {hops}"));
    }
    push(if side.keeps_routes { "graceful-restart-helper" } else { "graceful-restart-disable" }.to_owned());
    if side.bfd.is_some() {
        push("bfd profile vipcast".to_owned());
    }
    neighbor
}
