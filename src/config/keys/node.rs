//! The keys of the top level, and of what the daemon does as a whole.

use super::{
    ASN, CHECK, INTERFACE, IPV4, LISTENED, NOT_AT_ALL, PATH, PEER, PEER_DEFAULTS, SERVICE, SHORT_PATH,
    SWITCH, TEXT, UP_TO_AN_HOUR, either, map, number, section, some, word, words,
};
use crate::config::global::{FORMATS, LEVELS};

section! {
    TOP("top", "at the top level").only_one_of(&[&["peers", "neighbors"]]) {
        /// our AS number; here, or for each peer
        local_as: ASN => called(&["local_asn", "my_as"]);
        /// the BGP identifier; not 0.0.0.0, and unique in the network; it must be given when no peer has an IPv4 address
        router_id: IPV4 =>
            default("our address towards the first IPv4 peer, which is waited for")
            called(&["routerid", "id"]);
        /// the routers to announce to; a service needs at least one
        peers: map(&section(&PEER)) =>
            written("map by name") alias(&["neighbors"]) called(&["neighbour", "neighbours"]);
        /// what holds for every peer that does not say otherwise
        peer_defaults: section(&PEER_DEFAULTS) => written("map");
        /// how the health of a service is found out
        checks: map(&section(&CHECK)) =>
            written("map by name")
            called(&["check", "healthcheck", "health_check", "health_checks", "healthchecks"]);
        /// what is announced
        services: map(&section(&SERVICE)) => written("map by name");
        /// where VIPs are bound, unless the service says otherwise
        interface: INTERFACE => written("interface name, or an alternative one") default("`lo`");
        /// where peers may connect to us
        listen: section(&LISTEN) => written("map");
        /// the socket that `status`, `drain` and the others talk to
        control: section(&CONTROL) => written("map");
        /// what is logged, and how
        log: section(&LOG) => written("map");
        /// what SIGTERM and `drain` take their time for
        shutdown: section(&SHUTDOWN) => written("map");
        /// the drains and what `preempt` holds back, which survive a restart, and the lock against a second daemon with the
        /// same one; made with mode 0700, and the daemon runs without it where it cannot be used
        state_dir: PATH => default("`/var/lib/vipcast`");
    }
}

section! {
    DROP_IN("drop_in", "in a file in services.d").copy() {
        /// what is announced
        services: map(&section(&SERVICE));
        /// how the health of a service is found out
        checks: map(&section(&CHECK)) =>
            called(&["check", "healthcheck", "health_check", "health_checks", "healthchecks"]);
    }
}

section! {
    CONTROL("control", "under `control`") {
        /// mode 0600; the commands find it in `/etc/vipcast/vipcast.yaml`, or are told by `--socket` or VIPCAST_SOCKET. Put
        /// back when somebody removes it. Where it cannot be made the daemon runs without, says why in its log, and tries
        /// again every 5 s; a file of another kind with this name stays, and so does the socket of another daemon
        socket: SHORT_PATH => written("absolute path, at most 107 bytes") default("`/run/vipcast/control.sock`");
        /// who may use the socket besides its owner (mode 0660); that includes `drain`. Who has acted is told by the
        /// kernel: the login behind sudo, or the user
        group: TEXT => written("group name");
    }
}

section! {
    LOG("log", "under `log`") {
        /// the least that is logged
        level: word(&words(&LEVELS)) => default("`info`");
        /// on stderr, one line an event
        format: word(&words(&FORMATS)) => default("`plain`");
    }
}

section! {
    SHUTDOWN("shutdown", "under `shutdown`") {
        /// how long VIPs are announced with GRACEFUL_SHUTDOWN (RFC 8326) before they are withdrawn, by `drain` and by
        /// SIGTERM
        drain_time: either(&[UP_TO_AN_HOUR, NOT_AT_ALL]) => written("duration, at most 1h") default("3s");
        /// how long an address or a local route stays after its withdrawal was handed to every peer
        unbind_delay: either(&[UP_TO_AN_HOUR, NOT_AT_ALL]) => written("duration, at most 1h") default("1s");
        /// leave addresses and local routes on the host at the end
        keep_addresses: SWITCH => default("false");
    }
}

section! {
    LISTEN("listen", "under `listen`") {
        /// where peers may connect to; not used while every peer is `active`
        addresses: some(&LISTENED) => written("list of addresses") default("all of the host");
        /// the TCP port there
        port: number(1, 65535) => default("179");
    }
}
