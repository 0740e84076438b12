//! Every place in the configuration that holds keys, and the keys it holds: what unknown keys are compared with.

use super::near::{folded, is_opposite, nearest};

/// A map with keys of our choosing (unlike `peers:`, whose keys are the operator's names).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Top,
    DropIn,
    Control,
    Log,
    Shutdown,
    Listen,
    Peer,
    PeerDefaults,
    NextHop,
    TcpAo,
    GracefulRestart,
    Bfd,
    Check,
    Http,
    Tls,
    TlsKind,
    Grpc,
    Tcp,
    Udp,
    Dns,
    Icmp,
    File,
    Pattern,
    Exec,
    Latency,
    Errors,
    HoldDown,
    Listener,
    Process,
    Interface,
    Systemd,
    Service,
    Condition,
    Announce,
    Demoted,
}

/// The keys of a peer, the address first.
const PEER: &[&str] = &[
    "address",
    "port",
    "peer_as",
    "remote_as",
    "local_as",
    "hold_time",
    "connect_retry",
    "passive",
    "active",
    "families",
    "source_address",
    "interface",
    "ttl_security",
    "multihop",
    "password",
    "password_file",
    "password_credential",
    "tcp_ao",
    "tcp_mss",
    "role",
    "require_role",
    "next_hop",
    "extended_next_hop",
    "graceful_restart",
    "bfd",
];

/// The keys of a `tls` check: three of its own, and those that `tls` has in all kinds.
const TLS_KIND: &[&str] = &[
    "address",
    "alpn",
    "proxy_protocol",
    "ca_file",
    "insecure",
    "server_name",
    "client_cert_file",
    "client_key_file",
    "expiry",
];

impl Place {
    const ALL: &[Self] = &[
        Self::Top,
        Self::DropIn,
        Self::Control,
        Self::Log,
        Self::Shutdown,
        Self::Listen,
        Self::Peer,
        Self::PeerDefaults,
        Self::NextHop,
        Self::TcpAo,
        Self::GracefulRestart,
        Self::Bfd,
        Self::Check,
        Self::Http,
        Self::Tls,
        Self::TlsKind,
        Self::Grpc,
        Self::Tcp,
        Self::Udp,
        Self::Dns,
        Self::Icmp,
        Self::File,
        Self::Pattern,
        Self::Exec,
        Self::Latency,
        Self::Errors,
        Self::HoldDown,
        Self::Listener,
        Self::Process,
        Self::Interface,
        Self::Systemd,
        Self::Service,
        Self::Condition,
        Self::Announce,
        Self::Demoted,
    ];

    /// The keys that are known here; an alias stands behind the key that it is an alias of.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Top => &[
                "local_as",
                "router_id",
                "peers",
                "neighbors",
                "peer_defaults",
                "checks",
                "services",
                "interface",
                "listen",
                "control",
                "log",
                "shutdown",
                "state_dir",
            ],
            Self::DropIn => &["services", "checks"],
            Self::Control => &["socket", "group"],
            Self::Log => &["level", "format"],
            Self::Shutdown => &["drain_time", "unbind_delay", "keep_addresses"],
            Self::Listen => &["addresses", "port"],
            Self::Peer => PEER,
            // All but the address, which each peer has to itself.
            Self::PeerDefaults => PEER.split_first().map_or(PEER, |(_address, shared)| shared),
            Self::NextHop => &["ipv4", "ipv6"],
            Self::TcpAo => &["key_file", "key_credential", "send_id", "receive_id", "algorithm"],
            Self::GracefulRestart => &["restart_time", "notification"],
            Self::Bfd => &["interval", "multiplier", "strict", "min_ttl"],
            Self::Check => &[
                "http",
                "tcp",
                "tls",
                "grpc",
                "udp",
                "dns",
                "icmp",
                "file",
                "exec",
                "listener",
                "process",
                "interface",
                "systemd",
                "host",
                "source_address",
                "source_interface",
                "interval",
                "fast_interval",
                "timeout",
                "rise",
                "fall",
                "latency",
                "errors",
                "hold_down",
            ],
            Self::Http => &[
                "url",
                "host",
                "status",
                "tls",
                "method",
                "headers",
                "request_body",
                "body",
                "redirects",
                "version",
                "unix",
                "proxy_protocol",
            ],
            Self::Tls => match TLS_KIND {
                [_address, _alpn, _proxy_protocol, shared @ ..] => shared,
                [] | [_] | [_, _] => TLS_KIND,
            },
            Self::TlsKind => TLS_KIND,
            Self::Grpc => &["address", "service", "authority", "tls", "proxy_protocol"],
            Self::Tcp => &["address", "send", "send_hex", "expect", "proxy_protocol"],
            Self::Udp => &["address", "send", "send_hex", "expect"],
            Self::Dns => &[
                "server",
                "name",
                "type",
                "transport",
                "rcode",
                "answers",
                "authenticated",
                "recursion",
                "edns",
            ],
            Self::Icmp => &["host", "count", "loss", "size", "spacing"],
            Self::File => &["path", "present", "max_age", "contains"],
            Self::Pattern => &["regex"],
            Self::Exec => &["command", "shell", "user", "group", "directory", "environment"],
            Self::Latency => &["over", "of", "window", "for", "then"],
            Self::Errors => &["over", "window", "for", "then"],
            Self::HoldDown => &["first", "most"],
            Self::Service => &[
                "vips",
                "checks",
                "announce",
                "demoted",
                "on_down",
                "on_degraded",
                "warm_up",
                "role",
                "preempt",
                "bind",
                "interface",
            ],
            Self::Listener => &["tcp", "udp", "address"],
            Self::Process => &["pid_file", "pid", "name"],
            Self::Interface => &["name"],
            Self::Systemd => &["unit", "bus"],
            Self::Condition => &["all", "any", "at_least", "of"],
            Self::Announce | Self::Demoted => &[
                "med",
                "local_pref",
                "as_path_prepend",
                "communities",
                "extended_communities",
                "large_communities",
                "link_bandwidth",
                "next_hop",
            ],
        }
    }

    /// Where it is: `at the top level`, `under a peer`.
    fn name(self) -> &'static str {
        match self {
            Self::Top => "at the top level",
            Self::DropIn => "in a file in services.d",
            Self::Control => "under `control`",
            Self::Log => "under `log`",
            Self::Shutdown => "under `shutdown`",
            Self::Listen => "under `listen`",
            Self::Peer => "under a peer",
            Self::PeerDefaults => "under `peer_defaults`",
            Self::NextHop => "under `next_hop`",
            Self::TcpAo => "under `tcp_ao`",
            Self::GracefulRestart => "under `graceful_restart`",
            Self::Bfd => "under `bfd`",
            Self::Check => "under a check",
            Self::Http => "under `http`",
            Self::Tls | Self::TlsKind => "under `tls`",
            Self::Grpc => "under `grpc`",
            Self::Tcp => "under `tcp`",
            Self::Udp => "under `udp`",
            Self::Dns => "under `dns`",
            Self::Icmp => "under `icmp`",
            Self::File => "under `file`",
            Self::Pattern => "in an expression",
            Self::Exec => "under `exec`",
            Self::Latency => "under `latency`",
            Self::Errors => "under `errors`",
            Self::HoldDown => "under `hold_down`",
            Self::Listener => "under `listener`",
            Self::Process => "under `process`",
            Self::Interface => "under `interface`",
            Self::Systemd => "under `systemd`",
            Self::Service => "under a service",
            Self::Condition => "under the `checks` of a service",
            Self::Announce => "under `announce`",
            Self::Demoted => "under `demoted`",
        }
    }

    /// The key of this place that an unknown one was probably meant to be.
    pub(super) fn meant(self, unknown: &str) -> Option<&'static str> {
        nearest(unknown, self.keys().iter().copied())
            .or_else(|| other_words(unknown).filter(|key| self.keys().contains(key)))
    }

    /// The key of this place whose opposite an unknown one is: `nopreempt`.
    fn opposite(self, unknown: &str) -> Option<&'static str> {
        let unknown = folded(unknown);
        self.keys().iter().copied().find(|key| is_opposite(&unknown, key))
    }

    /// What to write instead of a key that is not known here.
    pub(super) fn hint(self, unknown: &str) -> String {
        if let Some(key) = self.opposite(unknown) {
            return format!("`{key}` is the opposite of that: write `{key}: false`, or leave it out");
        }
        if let Some(hint) = self.switched_off(unknown) {
            return hint.to_owned();
        }
        if let Some(key) = nearest(unknown, self.keys().iter().copied()) {
            return format!("did you mean `{key}`?");
        }
        if matches!(unknown, "type" | "kind") && self == Self::Check {
            return String::from("the kind of a check is a key: `http: {…}`, `tcp: {…}` or `exec: {…}`");
        }
        if let Some(key) = self.meant(unknown) {
            return format!("it is called `{key}` here");
        }
        if self == Self::PeerDefaults && unknown == "address" {
            return String::from("each peer has an address of its own");
        }
        if matches!(self, Self::Tcp | Self::Udp) && unknown == "port" {
            return String::from("host and port go together: `address: \"127.0.0.1:8080\"`");
        }
        if self == Self::Listener && matches!(unknown, "port" | "protocol") {
            return String::from("the protocol is a key, and the port its value: `tcp: 8080` or `udp: 53`");
        }
        if let Some(place) = self.elsewhere(unknown) {
            return format!("it belongs {}, not {}", place.name(), self.name());
        }
        let keys = self.keys().iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        format!("what can be given {}: {keys}", self.name())
    }

    /// What to do instead of switching a part of the configuration off.
    fn switched_off(self, unknown: &str) -> Option<&'static str> {
        const SWITCHES: [&str; 8] =
            ["shutdown", "shut", "enabled", "enable", "disabled", "disable", "admin_down", "admin_state"];
        if !SWITCHES.contains(&folded(unknown).as_str()) {
            return None;
        }
        Some(match self {
            Self::Peer | Self::PeerDefaults => {
                "remove the peer, or put `#` before its lines, to switch it off"
            }
            Self::Check => "remove the check, and its name from the services, to switch it off",
            Self::Service => {
                "remove the service to switch it off, or take it out of traffic with `vipcast drain`"
            }
            Self::Top
            | Self::DropIn
            | Self::Control
            | Self::Log
            | Self::Shutdown
            | Self::Listen
            | Self::NextHop
            | Self::TcpAo
            | Self::GracefulRestart
            | Self::Bfd
            | Self::Http
            | Self::Tls
            | Self::TlsKind
            | Self::Grpc
            | Self::Tcp
            | Self::Udp
            | Self::Dns
            | Self::Icmp
            | Self::File
            | Self::Pattern
            | Self::Exec
            | Self::Latency
            | Self::Errors
            | Self::HoldDown
            | Self::Listener
            | Self::Process
            | Self::Interface
            | Self::Systemd
            | Self::Condition
            | Self::Announce
            | Self::Demoted => return None,
        })
    }

    /// The one other place that knows a key.
    fn elsewhere(self, key: &str) -> Option<Self> {
        // These are copies of the place before them, which is the one to name.
        let copies = [Self::DropIn, Self::PeerDefaults, Self::Demoted, Self::TlsKind];
        let mut places = Self::ALL
            .iter()
            .copied()
            .filter(|place| *place != self && !copies.contains(place) && place.keys().contains(&key));
        let place = places.next()?;
        places.next().is_none().then_some(place)
    }
}

/// What other daemons, or plain English, call our keys.
fn other_words(word: &str) -> Option<&'static str> {
    Some(match word {
        "addresses" | "prefix" | "prefixes" | "ip_prefix" | "routes" | "networks" => "vips",
        "as" | "asn" | "peer_asn" | "remote_asn" | "neighbor_as" => "peer_as",
        "check" | "healthcheck" | "health_check" | "health_checks" | "healthchecks" => "checks",
        "cmd" | "program" | "script" => "command",
        "receive" | "response" | "reply" | "answer" => "expect",
        "request" | "payload" => "send",
        "pattern" | "regexp" | "re" => "regex",
        "host" | "ip" | "neighbor" | "remote_address" => "address",
        "local_address" | "update_source" | "source" => "source_address",
        "local_asn" | "my_as" => "local_as",
        "metric" => "med",
        "detect_multiplier" | "detect_mult" => "multiplier",
        "min_rx" | "min_tx" | "receive_interval" | "transmit_interval" => "interval",
        "ebgp_multihop" | "ttl" => "multihop",
        "mss" | "tcp_maxseg" | "maxseg" => "tcp_mss",
        "local_role" | "bgp_role" => "role",
        "require_roles" | "role_strict" | "strict_role" => "require_role",
        "gtsm" | "ttl_security_hops" => "ttl_security",
        "md5" | "md5_password" | "auth_password" | "authentication_key" => "password_file",
        "recv_id" => "receive_id",
        "neighbour" | "neighbours" => "peers",
        "prepend" => "as_path_prepend",
        "nameserver" | "resolver" => "server",
        "qname" | "query" | "domain" => "name",
        "qtype" | "record_type" | "record" => "type",
        "expected" | "values" => "answers",
        "ad" | "dnssec" => "authenticated",
        "rd" | "recurse" => "recursion",
        "status" => "rcode",
        "cwd" | "working_directory" | "chdir" => "directory",
        "env" => "environment",
        "packets" => "count",
        "packet_loss" | "max_loss" => "loss",
        "period" | "every" => "interval",
        "rise_count" | "success_threshold" | "healthy_threshold" => "rise",
        "fall_count" | "failure_threshold" | "unhealthy_threshold" | "retries" => "fall",
        "routerid" | "id" => "router_id",
        "uri" | "endpoint" => "url",
        "proxy" | "send_proxy" | "send_proxy_v2" | "haproxy_protocol" => "proxy_protocol",
        "unix_socket" | "socket_path" => "unix",
        "ca" | "ca_cert" | "cacert" | "ca_bundle" | "root_ca" => "ca_file",
        "sni" | "servername" => "server_name",
        "cert" | "cert_file" | "certificate" | "client_cert" => "client_cert_file",
        "key" | "client_key" | "private_key" => "client_key_file",
        "min_days" | "expires_within" | "days" | "days_left" => "expiry",
        "insecure_skip_verify" | "skip_verify" | "tls_skip_verify" | "no_verify" => "insecure",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_answered_with_the_key_that_was_meant() {
        let table = [
            (Place::Peer, "adress", "did you mean `address`?"),
            (Place::Peer, "peer-as", "did you mean `peer_as`?"),
            (Place::Peer, "remoteAs", "did you mean `remote_as`?"),
            (Place::Top, "service", "did you mean `services`?"),
            (Place::Peer, "asn", "it is called `peer_as` here"),
            (Place::Service, "prefixes", "it is called `vips` here"),
            (Place::Service, "communities", "it belongs under `announce`, not under a service"),
            (Place::Peer, "router_id", "it belongs at the top level, not under a peer"),
            (Place::Check, "type", "the kind of a check is a key: `http: {…}`, `tcp: {…}` or `exec: {…}`"),
            (
                Place::Service,
                "nopreempt",
                "`preempt` is the opposite of that: write `preempt: false`, or leave it out",
            ),
            (Place::Peer, "no-bfd", "`bfd` is the opposite of that: write `bfd: false`, or leave it out"),
            (
                Place::Peer,
                "inactive",
                "`active` is the opposite of that: write `active: false`, or leave it out",
            ),
            (
                Place::Tls,
                "secure",
                "`insecure` is the opposite of that: write `insecure: false`, or leave it out",
            ),
            (Place::Peer, "shutdown", "remove the peer, or put `#` before its lines, to switch it off"),
            (
                Place::Service,
                "enabled",
                "remove the service to switch it off, or take it out of traffic with `vipcast drain`",
            ),
            (Place::Log, "colour", "what can be given under `log`: `level`, `format`"),
        ];
        for (place, key, hint) in table {
            assert_eq!(place.hint(key), hint, "{key} in {place:?}");
        }
    }
}
