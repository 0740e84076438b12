//! The keys of a service, and of what stands under it.

use super::NEXT_HOP;
use super::section::{Section, section};
use super::shape::{
    BANDWIDTH, COMMUNITY, DURATION, GATEWAY, INTERFACE, LARGE_COMMUNITY, PREFIX, SWITCH, Shape, TEXT, either,
    list, number, section, some, word, words,
};
use crate::config::services::{BIND, ON_DEGRADED, ON_DOWN, ROLES};

section! {
    SERVICE("service", "under a service").off("remove the service to switch it off, or take it out of traffic with `vipcast drain`") {
        /// the service's addresses and prefixes: an address is bound and announced, a wider prefix is bound only with
        /// `bind: route`; each belongs to one service
        vips: some(&PREFIX) =>
            required() written("list of addresses or prefixes")
            called(&["addresses", "prefix", "prefixes", "ip_prefix", "routes", "networks"]);
        /// the condition for a healthy service; `[]`: always healthy
        checks: either(&[list(&CONDITION_PART), section(&CONDITION)]) =>
            required() written("list, or a condition")
            called(&["check", "healthcheck", "health_check", "health_checks", "healthchecks"]);
        /// the attributes of the routes
        announce: section(&ANNOUNCE) => written("map");
        /// the attributes of the routes of a demoted service
        demoted: section(&DEMOTED) => written("map");
        /// the reaction to an unhealthy service
        on_down: word(&words(&ON_DOWN)) => default("`withdraw`");
        /// the reaction if the service is healthy only with a [degraded](checks.md#slow-and-failing-now-and-then) check
        on_degraded: word(&words(&ON_DEGRADED)) => default("`demote`");
        /// the time for which the service stays demoted after it was down
        warm_up: DURATION => default("none");
        /// active or standby; a standby is always demoted
        role: word(&words(&ROLES)) => default("`active`") called(&["local_role", "bgp_role"]);
        /// when the service takes its traffic back after it was down: at once, after `vipcast promote`, or after a time
        preempt: either(&[SWITCH, DURATION]) => written("true, false, or a duration") default("true");
        /// the kind and the time of the VIPs' binding: [below](#bind)
        bind: word(&words(&BIND)) => default("`always`");
        /// the interface of the VIPs; not with `bind: route`
        interface: INTERFACE =>
            written("interface name, or an alternative one") default("that of the top level");
    }
}

section! {
    CONDITION("condition", "under the `checks` of a service").exactly_one_of(&[&["all", "any", "at_least"]]).with(&[("at_least", "of"), ("of", "at_least")]) {
        /// all of a list
        all: list(&CONDITION_PART);
        /// at least one of a list
        any: some(&CONDITION_PART);
        /// with `of`: this number of checks of a list
        at_least: number(1, 4294967295);
        /// the list for `at_least`
        of: some(&CONDITION_PART);
    }
}

section! {
    ANNOUNCE("announce", "under `announce`") {
        /// MULTI_EXIT_DISC: of two paths through the same AS, the lower is better
        med: number(0, 4294967295) => default("not sent") called(&["metric"]);
        /// LOCAL_PREF, in iBGP sessions only
        local_pref: number(0, 4294967295) => default("100");
        /// the number of extra times that our AS number is prepended to the path
        as_path_prepend: number(0, 16) => default("0") called(&["prepend"]);
        /// `65001:100`, or names such as `no-export`
        communities: list(&COMMUNITY) => written("list") default("none");
        /// `rt:65001:100`, `soo:65001:100`, or 16 hexadecimal digits
        extended_communities: list(&TEXT) => written("list") default("none");
        /// `65001:1:2`
        large_communities: list(&LARGE_COMMUNITY) => written("list") default("none");
        /// link bandwidth community: routers that weigh paths by it give this node its share
        link_bandwidth: BANDWIDTH => written("bits per second, `100M` to `10T`") default("not sent");
        /// the next hop of these routes
        next_hop: either(&[GATEWAY, section(&NEXT_HOP)]) =>
            written("IP address, or `ipv4` and `ipv6`") default("that of the session");
    }
}

/// The attributes when it is demoted.
pub(crate) static DEMOTED: Section = Section::sharing("demoted", "under `demoted`", &ANNOUNCE);

/// A check by its name, or a condition.
static CONDITION_PART: Shape = Shape::Either(&[Shape::Text, Shape::Section(&CONDITION)]);
