//! The keys of the top level, and of what the daemon does as a whole.

use super::section::section;
use super::shape::{
    ASN, ENDPOINT, INTERFACE, IPV4, LISTENED, NOT_AT_ALL, PATH, SHORT_PATH, SIZE, SWITCH, TEXT,
    UP_TO_AN_HOUR, either, map, number, section, some, word, words,
};
use super::{CHECK, HOOK, PEER, PEER_DEFAULTS, SERVICE};
use crate::config::global::{FORMATS, LEVELS};

section! {
    TOP("top", "at the top level").only_one_of(&[&["peers", "neighbors"]]) {
        /// our AS number, for all peers; or set it for each peer
        local_as: ASN => called(&["local_asn", "my_as"]);
        /// the BGP identifier; not 0.0.0.0, and unique in the network; mandatory if no peer has an IPv4 address
        router_id: IPV4 =>
            default("our address towards the first IPv4 peer, which is waited for")
            called(&["routerid", "id"]);
        /// the routers to announce to; a service needs at least one
        peers: map(&section(&PEER)) =>
            written("map by name") alias(&["neighbors"]) called(&["neighbour", "neighbours"]);
        /// values for every peer without its own
        peer_defaults: section(&PEER_DEFAULTS) => written("map");
        /// the health checks
        checks: map(&section(&CHECK)) =>
            written("map by name")
            called(&["check", "healthcheck", "health_check", "health_checks", "healthchecks"]);
        /// the announced services
        services: map(&section(&SERVICE)) => written("map by name");
        /// the interface of VIPs, unless the service has its own
        interface: INTERFACE => written("interface name, or an alternative one") default("`lo`");
        /// the listening addresses for peers
        listen: section(&LISTEN) => written("map");
        /// the socket of `status`, `drain` and the other commands
        control: section(&CONTROL) => written("map");
        /// the read-only API and the status page over TCP
        api: section(&API) => written("map") default("only on the control socket");
        /// metrics for Prometheus over TCP
        metrics: section(&METRICS) => written("map") default("only on the control socket, and with `api`");
        /// the file of events
        events: section(&EVENTS) => written("map") default("the latest events, in memory");
        /// programs and webhooks that are told of events: [hooks.md](hooks.md)
        hooks: map(&section(&HOOK)) =>
            written("map by name") called(&["hook", "on_change", "notify", "webhooks", "scripts"]);
        /// level and format of the log
        log: section(&LOG) => written("map");
        /// timings of SIGTERM and `drain`
        shutdown: section(&SHUTDOWN) => written("map");
        /// while this file exists every service is drained, and its first line is the reason; see
        /// [operations.md](operations.md#cordon-from-outside)
        drain_file: PATH => default("none");
        /// the directory of state that survives a restart: drains, held-back services (`preempt`) and the lock against
        /// a second daemon; made with mode 0700; if it is unusable the daemon runs without it
        state_dir: PATH => default("`/var/lib/vipcast`");
    }
}

section! {
    DROP_IN("drop_in", "in a file in services.d").copy() {
        /// the announced services
        services: map(&section(&SERVICE));
        /// the health checks
        checks: map(&section(&CHECK)) =>
            called(&["check", "healthcheck", "health_check", "health_checks", "healthchecks"]);
    }
}

section! {
    CONTROL("control", "under `control`") {
        /// the control socket, mode 0600; the commands find it in `/etc/vipcast/vipcast.yaml`, in `--socket` or in
        /// VIPCAST_SOCKET. Made again if it is removed. If it cannot be made, the daemon runs without it, logs the
        /// reason and tries again every 5 s; it never replaces a file of another kind or the socket of another daemon
        socket: SHORT_PATH => written("absolute path, at most 107 bytes") default("`/run/vipcast/control.sock`");
        /// the group that may use the socket besides its owner (mode 0660), also for `drain`. The kernel identifies the
        /// caller of a command: the login behind sudo, or the user
        group: TEXT => written("group name");
    }
}

section! {
    API("api", "under `api`") {
        /// the address and port of the status page (`/`), the API (`/v1/status` …) and the metrics (`/metrics`). Anybody
        /// who can reach it may read everything, and change nothing: use a loopback address or a management network
        listen: ENDPOINT => written("IP address and port, for example `127.0.0.1:9468`") required();
    }
}

section! {
    METRICS("metrics", "under `metrics`") {
        /// the address and port of the metrics (`/metrics`), and of nothing else
        listen: ENDPOINT => written("IP address and port, for example `127.0.0.1:9467`") required();
    }
}

section! {
    EVENTS("events", "under `events`").with(&[("max_size", "file"), ("keep", "file")]) {
        /// whether events are written to `events.jsonl` in `state_dir`, one JSON object a line
        file: SWITCH => default("false");
        /// the size at which the file becomes `events.jsonl.1` and a new one begins
        max_size: SIZE => written("64KiB to 16GiB") default("16MiB");
        /// the number of full files that are kept besides the current one
        keep: number(1, 100) => default("4");
    }
}

section! {
    LOG("log", "under `log`") {
        /// the lowest level that is logged
        level: word(&words(&LEVELS)) => default("`info`");
        /// the format of the lines on stderr, one line an event
        format: word(&words(&FORMATS)) => default("`plain`");
    }
}

section! {
    SHUTDOWN("shutdown", "under `shutdown`") {
        /// the time for which VIPs are announced with GRACEFUL_SHUTDOWN (RFC 8326) before the withdrawal, in `drain`
        /// and SIGTERM
        drain_time: either(&[UP_TO_AN_HOUR, NOT_AT_ALL]) => written("duration, at most 1h") default("3s");
        /// the time for which an address or a local route stays bound after its withdrawal was handed to every peer
        unbind_delay: either(&[UP_TO_AN_HOUR, NOT_AT_ALL]) => written("duration, at most 1h") default("1s");
        /// whether addresses and local routes stay on the host at the end
        keep_addresses: SWITCH => default("false");
        /// whether a reboot or shutdown of the machine waits for the withdrawal (a delay inhibitor of logind); nothing without
        /// logind; see [operations.md](operations.md#reboot-and-the-end-of-a-node)
        inhibit: SWITCH => default("true");
    }
}

section! {
    LISTEN("listen", "under `listen`") {
        /// the addresses to listen on; not used while every peer is `active`
        addresses: some(&LISTENED) => written("list of addresses") default("all of the host");
        /// the TCP port
        port: number(1, 65535) => default("179");
    }
}
