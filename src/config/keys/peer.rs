//! The keys of a peer, and of what stands under it.

use super::section::{Section, section};
use super::shape::{
    ASN, DURATION, GATEWAY, GATEWAY4, GATEWAY6, INTERFACE, IP, NAME, NOT_AT_ALL, PATH, RESTART_TIME, SECONDS,
    SHORT, SOME_TEXT, SWITCH, either, number, section, some, word, words,
};
use crate::config::peers::fields::{FAMILIES, ROLES};
use crate::config::transport::ALGORITHMS;

section! {
    PEER("peer", "under a peer").only_one_of(&[
        &["peer_as", "remote_as"],
        &["password", "password_file", "password_credential", "tcp_ao"],
        &["ttl_security", "multihop"],
    ]).together(&[&["passive", "active"]]).off("remove the peer, or put `#` before its lines, to switch it off") {
        /// the router's address; a link-local one also needs `interface`. Without an address the router is known by its
        /// `interface`: see [below](#routers-without-an-address)
        address: IP => own() written("IP address") called(&["host", "ip", "neighbor", "remote_address"]);
        /// the router's TCP port
        port: number(1, 65535) => default("179");
        /// the router's AS number, equal to `local_as` for iBGP; `external` is any except ours
        peer_as: either(&[ASN, word(&["external", "internal"])]) =>
            required() written("AS number, `external` or `internal`") alias(&["remote_as"])
            called(&["as", "asn", "peer_asn", "remote_asn", "neighbor_as"]);
        /// our AS number towards this peer
        local_as: ASN => default("that of the top level") called(&["local_asn", "my_as"]);
        /// the hold time: after this silence the session ends; the lower value of both sides counts, and KEEPALIVEs are
        /// sent every third of it; 0 turns both off and requires `bfd: {strict: true}`
        hold_time: either(&[SECONDS, NOT_AT_ALL]) => written("whole seconds, 3s to 65535s, or 0") default("9s");
        /// the first delay between two attempts to connect; it doubles up to 30 s
        connect_retry: SHORT => written("100ms to 30s") default("1s");
        /// whether to only accept the router's connections
        passive: SWITCH => default("false");
        /// whether to only connect, never listen; with neither key, both
        active: SWITCH => default("false");
        /// the offered address families; the router must share one
        families: some(&word(&words(&FAMILIES))) =>
            written("list of `ipv4`, `ipv6`") default("both");
        /// our address of the session
        source_address: IP =>
            written("IP address") default("the source address of the route") called(&["local_address", "update_source", "source"]);
        /// the interface that the session is bound to
        interface: INTERFACE => written("name") default("any");
        /// GTSM (RFC 5082): send with TTL 255, accept packets from at most this number of hops; 1 is the same link
        ttl_security: number(1, 255) => written("1 to 255 hops") called(&["gtsm", "ttl_security_hops"]);
        /// the most hops of our packets; for a router that is not on the link, also for loopback to loopback
        multihop: number(1, 255) =>
            written("1 to 255 hops") default("1 for eBGP") called(&["ebgp_multihop", "ttl"]);
        /// the password of TCP MD5 (RFC 2385), 1 to 80 bytes; if everyone may read the configuration file, `check` and
        /// a reload refuse it, and a start warns
        password: SOME_TEXT;
        /// a file with the password in its only line, neither readable nor writable for others; see
        /// [transport.md](transport.md)
        password_file: PATH => called(&["md5", "md5_password", "auth_password", "authentication_key"]);
        /// the password from `LoadCredential=name:…` of the systemd unit
        password_credential: NAME => written("name");
        /// TCP-AO (RFC 5925), for kernels that have it; see [transport.md](transport.md)
        tcp_ao: section(&TCP_AO) =>
            written("map: `key_file` or `key_credential`, `send_id`, `receive_id`, `algorithm`");
        /// the maximum TCP segment size, for a path with a smaller MTU than its links
        tcp_mss: number(88, 32767) =>
            written("88 to 32767 bytes") default("that of the first link")
            called(&["mss", "tcp_maxseg", "maxseg"]);
        /// our BGP role towards a router of another AS (RFC 9234); see below
        role: word(&words(&ROLES)) =>
            called(&["local_role", "bgp_role"]);
        /// whether to refuse a router without a role
        require_role: SWITCH => default("false") called(&["require_roles", "role_strict", "strict_role"]);
        /// the next hop of our routes; see below
        next_hop: either(&[GATEWAY, section(&NEXT_HOP)]) => written("IP address, or `ipv4` and `ipv6`");
        /// MULTI_EXIT_DISC of the routes to this router whose service has no `med`: of two paths through the same AS, the
        /// lower is better
        med: number(0, 4_294_967_295) => default("not sent") called(&["metric"]);
        /// whether to offer IPv6 next hops for IPv4 routes (RFC 8950); only for sessions over IPv6
        extended_next_hop: SWITCH => default("true");
        /// ask the router to keep our routes over a restart; see below
        graceful_restart: either(&[SWITCH, section(&GRACEFUL_RESTART)]) =>
            written("true, false, or a map: `restart_time`, `notification`") default("false");
        /// BFD, which detects a dead router or host in tenths of a second; see below
        bfd: either(&[SWITCH, section(&BFD)]) =>
            written("true, false, or a map: `interval`, `multiplier`, `strict`, `min_ttl`") default("false");
    }
}

section! {
    NEXT_HOP("next_hop", "under `next_hop`") {
        /// the next hop of IPv4 routes
        ipv4: GATEWAY4 => default("that of the session");
        /// the next hop of IPv6 routes
        ipv6: GATEWAY6 => default("that of the session");
    }
}

section! {
    TCP_AO("tcp_ao", "under `tcp_ao`").exactly_one_of(&[&["key_file", "key_credential"]]) {
        /// a file with the key, which other users must not be able to read
        key_file: PATH => called(&["key", "client_key", "private_key"]);
        /// a systemd credential with the key, instead
        key_credential: NAME => written("name");
        /// the id of the key in our segments
        send_id: number(0, 255);
        /// the id of the key in the router's segments
        receive_id: number(0, 255) => called(&["recv_id"]);
        /// the algorithm of the signature (RFC 5926)
        algorithm: word(&words(&ALGORITHMS)) => default("`hmac-sha-1-96`");
    }
}

section! {
    GRACEFUL_RESTART("graceful_restart", "under `graceful_restart`") {
        /// the time for which the router keeps our routes; 10 to 30 s is sensible
        restart_time: RESTART_TIME => written("whole seconds, 1s to 4095s") default("20s");
        /// whether the router also keeps the routes after a NOTIFICATION other than a Hard Reset (RFC 8538), if it
        /// supports that; then the routes of a host that dies silently stay for the hold time *and* the restart time
        notification: SWITCH => default("true");
    }
}

section! {
    BFD("bfd", "under `bfd`") {
        /// our shortest transmit and receive interval; the slower end counts
        interval: DURATION =>
            written("10ms to 60s") default("300ms")
            called(&["min_rx", "min_tx", "receive_interval", "transmit_interval", "period", "every"]);
        /// the number of our packets in a row whose loss brings the session down at the router; for its packets, the
        /// router's multiplier counts
        multiplier: number(1, 255) => default("3") called(&["detect_multiplier", "detect_mult"]);
        /// whether the session waits until BFD is up; then `hold_time` may be 0
        strict: SWITCH => default("false");
        /// the lowest TTL of packets from a router that is not on the link; BIRD sends 64, so set 1 for it
        min_ttl: number(1, 255) => default("from `multihop` or `ttl_security`");
    }
}

/// Those that hold for every peer that does not say otherwise.
pub(crate) static PEER_DEFAULTS: Section = Section::sharing("peer_defaults", "under `peer_defaults`", &PEER)
    .instead(&[("address", "each peer has an address of its own")]);
