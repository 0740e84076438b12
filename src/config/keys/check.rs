//! The keys that every check has.

use super::{
    DURATION, HOST, INTERFACE, IP, PERCENT, SOME_TEXT, SWITCH, TEXT, VIP, either, number, section, some,
    word, words,
};
use crate::config::checks::judgement::CONSEQUENCES;

const KIND: &str = "the kind of a check is a key: `http: {…}`, `tcp: {…}` or `exec: {…}`";

section! {
    CHECK("check", "under a check").has_kinds().instead(&[("type", KIND), ("kind", KIND)]).off("remove the check, and its name from the services, to switch it off") {
        /// whom to ask, whatever name is asked for
        host: HOST => written("host name, IP address, or `vip`") default("what the kind says");
        /// where the question comes from; an address of this host
        source_address: either(&[IP, VIP]) =>
            written("IP address, or `vip`") default("what the route says")
            called(&["local_address", "update_source", "source"]);
        /// where the question leaves
        source_interface: INTERFACE => written("interface name") default("what the route says");
        /// between two probes while nothing changes
        interval: DURATION =>
            written("10ms or more") default("1s")
            called(&["min_rx", "min_tx", "receive_interval", "transmit_interval", "period", "every"]);
        /// between two probes as soon as a result disagrees with the state, until it is settled
        fast_interval: DURATION => written("10ms to `interval`") default("100ms");
        /// a probe that takes longer has failed
        timeout: DURATION => written("10ms to `interval`") default("500ms");
        /// passes in a row until it is up
        rise: number(1, 1000) =>
            default("2, or 1") called(&["rise_count", "success_threshold", "healthy_threshold"]);
        /// failures in a row until it is down
        fall: number(1, 1000) =>
            default("2, or 1") called(&["fall_count", "failure_threshold", "unhealthy_threshold", "retries"]);
        /// a limit to how long probes may take: [below](#slow-and-failing-now-and-then)
        latency: either(&[section(&LATENCY), some(&section(&LATENCY))]) => written("duration, or a map");
        /// a limit to how many may fail: [below](#slow-and-failing-now-and-then)
        errors: section(&ERRORS) => written("percentage, or a map");
        /// damping of a check that flaps: [below](#flapping)
        hold_down: either(&[SWITCH, DURATION, section(&HOLD_DOWN)]) =>
            written("true, false, a duration, or a map") default("false");
    }
}

section! {
    LATENCY("latency", "under `latency`").with(&[("window", "of")]) {
        /// more is too much
        over: DURATION => required() written("duration, shorter than `timeout`");
        /// what is compared: each probe, a moving average (of which a result's weight falls to 1/e within `window`), or the
        /// percentile of the window
        of: TEXT => written("`each`, `average`, or a percentile, `p1` to `p99`") default("`each`");
        /// with `of: average` or a percentile
        window: DURATION => written("15 intervals to 1d") default("60s, or 15 intervals");
        /// how many results in a row are over it, or within it again, before that counts
        for: number(1, 1000) => default("5 for `each`, else 1");
        /// what follows
        then: word(&words(&CONSEQUENCES)) => default("`degraded`");
    }
}

section! {
    ERRORS("errors", "under `errors`") {
        /// more is too much
        over: PERCENT => required() written("0% to 99%, in tenths");
        /// at most the last 1000 results
        window: DURATION => written("15 intervals to 1d") default("60s, or 15 intervals");
        /// as above
        for: number(1, 1000) => default("1");
        /// as above
        then: word(&words(&CONSEQUENCES)) => default("`degraded`");
    }
}

section! {
    HOLD_DOWN("hold_down", "under `hold_down`") {
        /// how long it stays down the first time; this doubles each time that it goes down again
        first: DURATION => written("100ms or more") default("10s");
        /// up to this; and for each such time that it is up, one doubling is forgotten
        most: DURATION => written("`first` or more") default("5m");
    }
}

section! {
    PATTERN("pattern", "in an expression") {
        /// must match, instead of a text
        regex: SOME_TEXT => required() written("[expression](#expressions)") called(&["pattern", "regexp", "re"]);
    }
}
