//! The keys of a peer, and of what stands under it.

use super::{
    ASN, DURATION, GATEWAY, GATEWAY4, GATEWAY6, INTERFACE, IP, NAME, NOT_AT_ALL, PATH, RESTART_TIME, SECONDS,
    SHORT, SOME_TEXT, SWITCH, Section, either, number, section, some, word, words,
};
use crate::config::peers::fields::{FAMILIES, ROLES};
use crate::config::transport::ALGORITHMS;

section! {
    PEER("peer", "under a peer").only_one_of(&[
        &["peer_as", "remote_as"],
        &["password", "password_file", "password_credential", "tcp_ao"],
        &["ttl_security", "multihop"],
    ]).together(&[&["passive", "active"]]).off("remove the peer, or put `#` before its lines, to switch it off") {
        /// the router's; for a link-local one `interface` is needed, too. Without it, the router is known by its
        /// `interface`: see [below](#routers-without-an-address)
        address: IP => own() written("IP address") called(&["host", "ip", "neighbor", "remote_address"]);
        /// its TCP port
        port: number(1, 65535) => default("179");
        /// its AS number, equal to `local_as` for iBGP; `external` is any but ours
        peer_as: either(&[ASN, word(&["external", "internal"])]) =>
            required() written("AS number, `external` or `internal`") alias(&["remote_as"])
            called(&["as", "asn", "peer_asn", "remote_asn", "neighbor_as"]);
        /// ours towards this peer
        local_as: ASN => default("that of the top level") called(&["local_asn", "my_as"]);
        /// silence after which the session is over; the lower of both sides' counts, KEEPALIVEs go three times as often; 0
        /// turns both off, which takes `bfd: {strict: true}`
        hold_time: either(&[SECONDS, NOT_AT_ALL]) => written("whole seconds, 3s to 65535s, or 0") default("9s");
        /// first delay between two attempts to connect; it doubles up to 30 s
        connect_retry: SHORT => written("100ms to 30s") default("1s");
        /// only wait for the router to connect
        passive: SWITCH => default("false");
        /// only connect, never listen; with neither, both
        active: SWITCH => default("false");
        /// what is offered; the router must have one of them in common
        families: some(&word(&words(&FAMILIES))) =>
            written("list of `ipv4`, `ipv6`") default("both");
        /// our end of the session
        source_address: IP =>
            written("IP address") default("what the route to the peer says") called(&["local_address", "update_source", "source"]);
        /// the session is bound to it
        interface: INTERFACE => written("name") default("any");
        /// GTSM (RFC 5082): send with TTL 255, accept from at most so many hops away; 1 is the same link
        ttl_security: number(1, 255) => written("1 to 255 hops") called(&["gtsm", "ttl_security_hops"]);
        /// how far our packets may travel; for a router that is not on the link, loopback to loopback too
        multihop: number(1, 255) =>
            written("1 to 255 hops") default("1 for eBGP") called(&["ebgp_multihop", "ttl"]);
        /// the password of TCP MD5 (RFC 2385), 1 to 80 bytes; refused by `check` and a reload where everyone may read the
        /// configuration file, warned of at a start
        password: SOME_TEXT;
        /// a file that has it in its only line, and that others may neither read nor write; see
        /// [transport.md](transport.md)
        password_file: PATH => called(&["md5", "md5_password", "auth_password", "authentication_key"]);
        /// the same from `LoadCredential=name:…` of the systemd unit
        password_credential: NAME => written("name");
        /// TCP-AO (RFC 5925), for kernels that have it; see [transport.md](transport.md)
        tcp_ao: section(&TCP_AO) =>
            written("map: `key_file` or `key_credential`, `send_id`, `receive_id`, `algorithm`");
        /// the most that a TCP segment holds, for a path whose MTU is smaller than that of its links
        tcp_mss: number(88, 32767) =>
            written("88 to 32767 bytes") default("what the first link allows")
            called(&["mss", "tcp_maxseg", "maxseg"]);
        /// what we are towards a router of another AS (RFC 9234); see below
        role: word(&words(&ROLES)) =>
            called(&["local_role", "bgp_role"]);
        /// no session with a router that does not tell its role
        require_role: SWITCH => default("false") called(&["require_roles", "role_strict", "strict_role"]);
        /// see below
        next_hop: either(&[GATEWAY, section(&NEXT_HOP)]) => written("IP address, or `ipv4` and `ipv6`");
        /// offer IPv6 next hops for IPv4 routes (RFC 8950); for sessions over IPv6 only
        extended_next_hop: SWITCH => default("true");
        /// the router keeps our routes over a restart; see below
        graceful_restart: either(&[SWITCH, section(&GRACEFUL_RESTART)]) =>
            written("true, false, or a map: `restart_time`, `notification`") default("false");
        /// notices a dead router, or a dead host, in tenths of a second; see below
        bfd: either(&[SWITCH, section(&BFD)]) =>
            written("true, false, or a map: `interval`, `multiplier`, `strict`, `min_ttl`") default("false");
    }
}

section! {
    NEXT_HOP("next_hop", "under `next_hop`") {
        /// next hop of IPv4 routes
        ipv4: GATEWAY4 => default("what the session says");
        /// next hop of IPv6 routes
        ipv6: GATEWAY6 => default("what the session says");
    }
}

section! {
    TCP_AO("tcp_ao", "under `tcp_ao`").exactly_one_of(&[&["key_file", "key_credential"]]) {
        /// a file with the key, which other users must not be able to read
        key_file: PATH => called(&["key", "client_key", "private_key"]);
        /// a systemd credential with it, instead
        key_credential: NAME => written("name");
        /// the id of the key in what we send
        send_id: number(0, 255);
        /// the id of the key in what the router sends
        receive_id: number(0, 255) => called(&["recv_id"]);
        /// how segments are signed (RFC 5926)
        algorithm: word(&words(&ALGORITHMS)) => default("`hmac-sha-1-96`");
    }
}

section! {
    GRACEFUL_RESTART("graceful_restart", "under `graceful_restart`") {
        /// how long the router keeps our routes while we are away; 10 to 30 s is sensible
        restart_time: RESTART_TIME => written("whole seconds, 1s to 4095s") default("20s");
        /// it keeps them after a NOTIFICATION, too, unless that is a Hard Reset (RFC 8538), where the router knows of that;
        /// then a host that dies silently keeps its routes for the hold time *and* the restart time
        notification: SWITCH => default("true");
    }
}

section! {
    BFD("bfd", "under `bfd`") {
        /// we send, and can receive, that often; the slower of both ends counts
        interval: DURATION =>
            written("10ms to 60s") default("300ms")
            called(&["min_rx", "min_tx", "receive_interval", "transmit_interval", "period", "every"]);
        /// so many of our packets in a row may be lost; ours is theirs to count, and theirs is ours
        multiplier: number(1, 255) => default("3") called(&["detect_multiplier", "detect_mult"]);
        /// no session before BFD is up; then `hold_time` may be 0
        strict: SWITCH => default("false");
        /// the packets of a router that is not on the link have this TTL at least; BIRD sends them with 64, so give it 1
        min_ttl: number(1, 255) => default("what `multihop` or `ttl_security` allows");
    }
}

/// Those that hold for every peer that does not say otherwise.
pub(crate) static PEER_DEFAULTS: Section = Section::sharing("peer_defaults", "under `peer_defaults`", &PEER)
    .instead(&[("address", "each peer has an address of its own")]);
