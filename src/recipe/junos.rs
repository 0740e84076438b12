//! Junos.

use super::{Lines, PASSWORD, Side};

pub(super) fn write(side: &Side) -> String {
    let mut lines = Lines::default();
    let mut set = |words: String| lines.push(format!("set {words}"));
    for vip in side.vips() {
        set(format!("policy-options prefix-list vipcast-vips {vip}"));
    }
    set("policy-options community graceful-shutdown members 65535:0".to_owned());
    const IN: &str = "policy-options policy-statement vipcast-in";
    set(format!("{IN} term draining from prefix-list vipcast-vips"));
    set(format!("{IN} term draining from community graceful-shutdown"));
    set(format!("{IN} term draining then local-preference 0"));
    set(format!("{IN} term draining then accept"));
    set(format!("{IN} term vips from prefix-list vipcast-vips"));
    set(format!("{IN} term vips then accept"));
    set(format!("{IN} term others then reject"));
    set("policy-options policy-statement vipcast-out then reject".to_owned());
    set("policy-options policy-statement vipcast-ecmp then load-balance per-packet".to_owned());
    set("routing-options forwarding-table export vipcast-ecmp".to_owned());
    set(format!("routing-options autonomous-system {}", side.router_as()));
    if let Some(id) = side.router_id() {
        set(format!("routing-options router-id {id}"));
    }
    let group = "protocols bgp group vipcast";
    set(format!("{group} type {}", if side.is_internal { "internal" } else { "external" }));
    set(format!("{group} multipath{}", if side.is_internal { "" } else { " multiple-as" }));
    let neighbor = format!("{group} neighbor {}", side.node);
    set(format!("{neighbor} description vipcast"));
    if !side.is_internal {
        set(format!("{neighbor} peer-as {}", side.node_as));
    }
    if let Some(router) = side.router {
        set(format!("{neighbor} local-address {router}"));
    }
    if side.has_password {
        set(format!("{neighbor} authentication-key {PASSWORD}"));
    }
    set(format!("{neighbor} hold-time {}", side.hold_time));
    if side.ttl_security.is_some() {
        set(format!("{neighbor} ttl 255"));
    }
    if let Some(hops) = side.multihop.filter(|_| !side.is_internal) {
        set(format!("{neighbor} multihop ttl {hops}"));
    }
    if let Some((interval, multiplier)) = side.bfd() {
        set(format!("{neighbor} bfd-liveness-detection minimum-interval {interval}"));
        set(format!("{neighbor} bfd-liveness-detection multiplier {multiplier}"));
    }
    if !side.keeps_routes {
        set(format!("{neighbor} graceful-restart disable"));
    }
    for (family, vips) in [("inet", &side.vips4), ("inet6", &side.vips6)] {
        if !vips.is_empty() {
            set(format!("{neighbor} family {family} unicast"));
        }
    }
    set(format!("{neighbor} import vipcast-in"));
    set(format!("{neighbor} export vipcast-out"));
    lines.0
}
