//! GoBGP.

use super::{Lines, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    lines.push("# Routes reach the kernel only through zebra; see GoBGP's documentation.");
    lines.push("[global.config]");
    lines.push(format!("as = {}", side.router_as()));
    match side.router_id() {
        Some(id) => lines.push(format!("router-id = \"{id}\"")),
        None => lines.push("router-id = \"192.0.2.1\"  # replace it: an IPv4 address of the router"),
    }
    lines.push("");
    lines.push("[global.use-multiple-paths.config]");
    lines.push("enabled = true");
    lines.push("");
    lines.push("[global.apply-policy.config]");
    lines.push("import-policy-list = [\"vipcast-in\"]");
    lines.push("default-import-policy = \"reject-route\"");
    lines.push("default-export-policy = \"reject-route\"");
    let families = [("ipv4", &side.vips4), ("ipv6", &side.vips6)];
    let used = || families.into_iter().filter(|(_, vips)| !vips.is_empty());
    for (family, vips) in used() {
        lines.push("");
        lines.push("[[defined-sets.prefix-sets]]");
        lines.push(format!("prefix-set-name = \"vipcast-{family}\""));
        for vip in vips {
            lines.push("[[defined-sets.prefix-sets.prefix-list]]");
            lines.push(format!("ip-prefix = \"{vip}\""));
            lines.push(format!("masklength-range = \"{0}..{0}\"", vip.prefix_len()));
        }
    }
    lines.push("");
    lines.push("[[defined-sets.bgp-defined-sets.community-sets]]");
    lines.push("community-set-name = \"graceful-shutdown\"");
    lines.push("community-list = [\"65535:0\"]");
    lines.push("");
    lines.push("[[policy-definitions]]");
    lines.push("name = \"vipcast-in\"");
    for (family, _) in used() {
        for is_draining in [true, false] {
            statement(family, is_draining, &mut lines);
        }
    }
    session(side, used().map(|(family, _)| family), &mut lines);
    lines.0
}

fn statement(family: &str, is_draining: bool, lines: &mut Lines) {
    lines.push("[[policy-definitions.statements]]");
    lines.push(format!("name = \"{family}{}\"", if is_draining { "-draining" } else { "" }));
    lines.push("[policy-definitions.statements.conditions.match-prefix-set]");
    lines.push(format!("prefix-set = \"vipcast-{family}\""));
    lines.push_if(
        is_draining,
        "[policy-definitions.statements.conditions.bgp-conditions.match-community-set]\n\
         community-set = \"graceful-shutdown\"",
    );
    lines.push("[policy-definitions.statements.actions]");
    lines.push("route-disposition = \"accept-route\"");
    lines.push_if(is_draining, "[policy-definitions.statements.actions.bgp-actions]\nset-local-pref = 0");
}

fn session<'a>(side: &Side, families: impl Iterator<Item = &'a str>, lines: &mut Lines) {
    lines.push("");
    lines.push("[[neighbors]]");
    lines.push("[neighbors.config]");
    lines.push(format!("neighbor-address = \"{}\"", side.node));
    lines.push(format!("peer-as = {}", side.node_as));
    lines.push_if(side.has_password, format!("auth-password = \"{PASSWORD}\""));
    lines.push("[neighbors.timers.config]");
    lines.push(format!("hold-time = {}", side.hold_time));
    lines.push(format!("keepalive-interval = {}", side.keepalive()));
    lines.push("connect-retry = 10");
    if let Some(hops) = side.ttl_security {
        lines.push("[neighbors.ttl-security.config]");
        lines.push("enabled = true");
        lines.push(format!("ttl-min = {}", 256 - u16::from(hops)));
    }
    if let Some(hops) = side.multihop.filter(|_| !side.is_internal) {
        lines.push("[neighbors.ebgp-multihop.config]");
        lines.push("enabled = true");
        lines.push(format!("multihop-ttl = {hops}"));
    }
    if side.keeps_routes {
        lines.push("[neighbors.graceful-restart.config]");
        lines.push("enabled = true");
        lines.push("helper-only = true");
    }
    for family in families {
        lines.push("[[neighbors.afi-safis]]");
        lines.push("[neighbors.afi-safis.config]");
        lines.push(format!("afi-safi-name = \"{family}-unicast\""));
        lines.push("[neighbors.afi-safis.add-paths.config]");
        lines.push("receive = false");
        lines.push_if(side.keeps_routes, "[neighbors.afi-safis.mp-graceful-restart.config]\nenabled = true");
    }
}
