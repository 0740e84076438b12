//! OpenBGPD.

use super::{Lines, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    lines.push("# bgpd refuses a file that others may read: `chmod 600`. Portable OpenBGPD puts no routes into a Linux kernel.");
    lines.push(format!("AS {}", side.router_as()));
    if let Some(id) = side.router_id() {
        lines.push(format!("router-id {id}"));
    }
    lines.push("");
    lines.push_if(side.vips().next().is_some(), "prefix-set vipcast-vips {");
    for vip in side.vips() {
        lines.push(format!("  {vip}"));
    }
    lines.push_if(side.vips().next().is_some(), "}");
    lines.push("");
    lines.push(format!("neighbor {} {{", side.node));
    lines.push(format!("  remote-as {}", side.node_as));
    lines.push("  descr \"vipcast\"");
    lines.push(format!("  holdtime {}", side.hold_time));
    lines.push_if(side.has_password, format!("  tcp md5sig password {PASSWORD}"));
    lines.push_if(side.ttl_security == Some(1), "  ttl-security yes");
    let hops = side.multihop.or(side.ttl_security.filter(|hops| *hops > 1));
    if let Some(hops) = hops.filter(|_| !side.is_internal) {
        lines.push(format!("  multihop {hops}"));
    }
    lines.push(format!("  announce restart {}", if side.keeps_routes { "yes" } else { "no" }));
    lines.push("  announce add-path recv no");
    let announced = |is_so: bool| if is_so { "unicast" } else { "none" };
    lines.push(format!("  announce IPv4 {}", announced(!side.vips4.is_empty())));
    lines.push(format!("  announce IPv6 {}", announced(!side.vips6.is_empty())));
    lines.push("}");
    lines.push("");
    lines.push("deny from any");
    lines.push_if(side.vips().next().is_some(), format!("allow from {} prefix-set vipcast-vips", side.node));
    lines.push(format!("match from {} community GRACEFUL_SHUTDOWN set {{ localpref 0 }}", side.node));
    lines.push("deny to any");
    lines.0
}
