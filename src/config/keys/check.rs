//! The keys that every check has.

use std::sync::LazyLock;

use super::section::{Alternative, section};
use super::shape::{
    DURATION, HOST, INTERFACE, IP, PERCENT, SWITCH, TEXT, VIP, either, number, section, some, word, words,
};
use crate::check::kinds::KINDS;
use crate::config::checks::judgement::CONSEQUENCES;

const KIND: &str = "the kind of a check is a key: `http: {…}`, `tcp: {…}` or `exec: {…}`";

/// The kinds of check. What is looked at on this host has no way to it.
static OF_KINDS: LazyLock<Vec<Alternative>> = LazyLock::new(|| {
    let excludes =
        |is_local| if is_local { &["host", "source_address", "source_interface"][..] } else { &[] };
    KINDS.iter().map(|kind| Alternative { key: &kind.key, excludes: excludes(kind.is_local) }).collect()
});

fn kinds() -> &'static [Alternative] {
    &OF_KINDS
}

section! {
    CHECK("check", "under a check").alternatives(kinds).instead(&[("type", KIND), ("kind", KIND)]).off("remove the check, and its name from the services, to switch it off") {
        /// the host to probe, independent of the name in the request
        host: HOST => written("host name, IP address, or `vip`") default("the address of the kind");
        /// the source address of the probe; an address of this host
        source_address: either(&[IP, VIP]) =>
            written("IP address, or `vip`") default("from the route")
            called(&["local_address", "update_source", "source"]);
        /// the outgoing interface of the probe
        source_interface: INTERFACE => written("interface name") default("from the route");
        /// the time between two probes while nothing changes
        interval: DURATION =>
            written("10ms or more") default("1s")
            called(&["min_rx", "min_tx", "receive_interval", "transmit_interval", "period", "every"]);
        /// the time between two probes after a result that disagrees with the state, until the state is settled
        fast_interval: DURATION => written("10ms to `interval`") default("100ms");
        /// a longer probe fails
        timeout: DURATION => written("10ms to `interval`") default("500ms");
        /// passes in a row until the check is up
        rise: number(1, 1000) =>
            default("2, or 1") called(&["rise_count", "success_threshold", "healthy_threshold"]);
        /// failures in a row until the check is down
        fall: number(1, 1000) =>
            default("2, or 1") called(&["fall_count", "failure_threshold", "unhealthy_threshold", "retries"]);
        /// a limit to the duration of probes: [below](#slow-and-failing-now-and-then)
        latency: either(&[section(&LATENCY), some(&section(&LATENCY))]) => written("duration, or a map");
        /// a limit to the share of failed probes: [below](#slow-and-failing-now-and-then)
        errors: section(&ERRORS) => written("percentage, or a map");
        /// damping of a check that flaps: [below](#flapping)
        hold_down: either(&[SWITCH, DURATION, section(&HOLD_DOWN)]) =>
            written("true, false, a duration, or a map") default("false");
    }
}

section! {
    LATENCY("latency", "under `latency`").with(&[("window", "of")]) {
        /// the limit
        over: DURATION => required() written("duration, shorter than `timeout`");
        /// the compared value: each probe, a moving average (the weight of a result falls to 1/e within `window`), or
        /// the percentile of the window
        of: TEXT => written("`each`, `average`, or a percentile, `p1` to `p99`") default("`each`");
        /// the window of `of: average` or a percentile
        window: DURATION => written("15 intervals to 1d") default("60s, or 15 intervals");
        /// the number of results in a row that trip or reset the limit
        for: number(1, 1000) => default("5 for `each`, else 1");
        /// the consequence
        then: word(&words(&CONSEQUENCES)) => default("`degraded`");
    }
}

section! {
    ERRORS("errors", "under `errors`") {
        /// the limit
        over: PERCENT => required() written("0% to 99%, in tenths");
        /// the window; at most the last 1000 results
        window: DURATION => written("15 intervals to 1d") default("60s, or 15 intervals");
        /// as above
        for: number(1, 1000) => default("1");
        /// as above
        then: word(&words(&CONSEQUENCES)) => default("`degraded`");
    }
}

section! {
    HOLD_DOWN("hold_down", "under `hold_down`") {
        /// the first hold; it doubles each time that the check goes down again
        first: DURATION => written("100ms or more") default("10s");
        /// the longest hold; while the check is up, each such time undoes one doubling
        most: DURATION => written("`first` or more") default("5m");
    }
}
