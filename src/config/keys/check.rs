//! The keys that every check has.

use super::{
    DNS, DURATION, EXEC, FILE, GRPC, HOST, HOST_AND_PORT, HTTP, ICMP, INTERFACE, INTERFACE_KIND, IP, Key,
    LISTENER, PATH, PERCENT, PROCESS, SERVER, SOME_TEXT, SWITCH, SYSTEMD, Section, TCP, TEXT, TLS_KIND, UDP,
    UNIT, VIP, either, list, number, section, some, word,
};

const KIND: &str = "the kind of a check is a key: `http: {…}`, `tcp: {…}` or `exec: {…}`";

/// What is looked at on this host has no way to it.
const LOCAL: &[&[&str]] = &[
    &["file", "host"],
    &["file", "source_address"],
    &["file", "source_interface"],
    &["exec", "host"],
    &["exec", "source_address"],
    &["exec", "source_interface"],
    &["listener", "host"],
    &["listener", "source_address"],
    &["listener", "source_interface"],
    &["process", "host"],
    &["process", "source_address"],
    &["process", "source_interface"],
    &["interface", "host"],
    &["interface", "source_address"],
    &["interface", "source_interface"],
    &["systemd", "host"],
    &["systemd", "source_address"],
    &["systemd", "source_interface"],
];

section! {
    CHECK("check", "under a check").at_most_one_of(LOCAL).one_of(&[&[
        "http", "tcp", "tls", "grpc", "udp", "dns", "icmp", "file", "exec", "listener", "process", "interface", "systemd",
    ]]).instead(&[("type", KIND), ("kind", KIND)]).off("remove the check, and its name from the services, to switch it off") {
        /// [`http`](#http): a web server answers as it should
        http: section(&HTTP);
        /// [`tcp`](#tcp): a connection is accepted, and answered as expected
        tcp: either(&[SERVER, section(&TCP)]);
        /// [`tls`](#tls): a TLS handshake succeeds and the certificate is good
        tls: either(&[HOST_AND_PORT, section(&TLS_KIND)]);
        /// [`grpc`](#grpc): a service says that it is SERVING
        grpc: either(&[SERVER, section(&GRPC)]);
        /// [`udp`](#udp): a datagram is answered as it should be
        udp: section(&UDP);
        /// [`dns`](#dns): a name server knows an answer
        dns: section(&DNS);
        /// [`icmp`](#icmp): a host answers echo requests ("ping")
        icmp: either(&[HOST, section(&ICMP)]);
        /// [`file`](#file): a file is there, or is not, or was changed not long ago
        file: either(&[PATH, section(&FILE)]);
        /// [`exec`](#exec): a program exits with 0
        exec: either(&[list(&TEXT), section(&EXEC)]);
        /// [`listener`](#listener): a port of this host is listened on
        listener: section(&LISTENER);
        /// [`process`](#process): a process is alive
        process: section(&PROCESS);
        /// [`interface`](#interface): the link of an interface is up
        interface: either(&[INTERFACE, section(&INTERFACE_KIND)]);
        /// [`systemd`](#systemd): a unit of systemd is active
        systemd: either(&[UNIT, section(&SYSTEMD)]);
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
        then: word(&["degraded", "down"]) => default("`degraded`");
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
        then: word(&["degraded", "down"]) => default("`degraded`");
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
