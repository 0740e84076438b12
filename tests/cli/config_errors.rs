//! Every diagnostic that a configuration can be answered with, as the operator sees it.

use std::fmt::Write as _;

use proptest::prelude::*;
use vipcast::config::{self, Diagnostics, Loaded, Severity};

/// What is printed for a text: the diagnostics, or the warnings of a valid configuration.
fn said(text: &str) -> String {
    match config::parse("vipcast.yaml", text) {
        Ok(Loaded { warnings, .. }) if warnings.is_empty() => String::from("(valid)\n"),
        Ok(Loaded { warnings, .. }) => format!("(valid)\n{warnings}"),
        Err(diagnostics) => diagnostics.to_string(),
    }
}

pub(crate) const FIVE_MISTAKES: &str = "\
local_as: 65001

peers:
  tor-a:
    adress: 192.0.2.1
    peer_as: 65000
    hold_time: 9

checks:
  web:
    http: {url: \"http://127.0.0.1:8080/healthz\"}
    timeout: 2s

services:
  www:
    vips: [198.51.100.10/24]
    checks: [wbe]
";

#[test]
fn five_mistakes_are_reported_in_one_run() {
    let found = config::parse("/etc/vipcast/vipcast.yaml", FIVE_MISTAKES).expect_err("it has five mistakes");
    insta::assert_snapshot!("five_mistakes", found.to_string());
    insta::assert_snapshot!("five_mistakes_json", serde_json::to_string_pretty(&found).expect("plain data"));
    assert_eq!(found.summary(), "5 errors in vipcast.yaml");
}

#[test]
fn colour_adds_escape_sequences_and_nothing_else() {
    let found = config::parse("vipcast.yaml", FIVE_MISTAKES).expect_err("it has five mistakes");
    let coloured = found.render(true);
    assert!(coloured.contains("\u{1b}["), "{coloured}");
    assert_eq!(without_escapes(&coloured), found.render(false));
}

fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest);
    }
    plain + rest
}

/// A configuration with one peer, one check and one service, one of which is what is under test.
fn around(section: &str, text: &str) -> String {
    let indented = |depth: usize| {
        text.lines().fold(String::new(), |mut out, line| {
            let _ = writeln!(out, "{:depth$}{line}", "");
            out
        })
    };
    let peers = "peers: {tor: {address: 192.0.2.1, peer_as: 65000}}\n";
    let checks = "checks: {up: {tcp: \"127.0.0.1:80\"}}\n";
    let services = "services: {web: {vips: [198.51.100.1], checks: [up]}}\n";
    match section {
        "top" => format!("local_as: 65001\n{}{peers}{checks}{services}", indented(0)),
        "peer" => format!("local_as: 65001\npeers:\n  tor:\n{}{checks}{services}", indented(4)),
        "peers" => format!("local_as: 65001\n{}{checks}{services}", indented(0)),
        "check" => {
            format!("local_as: 65001\n{peers}checks:\n  up:\n{}{services}", indented(4))
        }
        "service" => format!("local_as: 65001\n{peers}{checks}services:\n  web:\n{}", indented(4)),
        "services" => format!("local_as: 65001\n{peers}{checks}services:\n{}", indented(2)),
        "all" => text.to_owned(),
        other => panic!("there is no section {other}"),
    }
}

/// Section, text: what can be wrong.
const WRONG: &[(&str, &str)] = &[
    // The text as such.
    ("all", "peers:\n\ttor: {}"),
    ("all", "peers:\n  tor: {address: 192.0.2.1\nchecks: {}"),
    ("all", "local_as: 65001\n  peers: {}"),
    ("all", "local_as: \"65001"),
    ("all", "local_as: @asn"),
    ("all", "local_as: *asn"),
    ("all", "local_as: 65001\n---\nlocal_as: 65002"),
    ("all", "local_as: !secret 65001"),
    ("all", ""),
    ("all", "- local_as: 65001"),
    ("all", "local_as"),
    ("all", "local_as: {{ asn }}\nlog: {level: warn}\nlog: {level: debug, {a: b}: c}"),
    // The top level.
    ("all", "{}"),
    ("all", "local_as: 65001\npeers:\nservices:\nchecks:"),
    (
        "all",
        "peers: {a: {address: 192.0.2.1, peer_as: 1}, b: {address: 192.0.2.2, peer_as: 1}}\nservices: {}",
    ),
    ("top", "state_dir: var/lib"),
    ("top", "interface: a-name-that-is-too-long"),
    ("top", "router_id: 2001:db8::1"),
    ("top", "router_id: 0.0.0.0"),
    ("top", "service: {}\ncommunities: []\nverbosity: 3"),
    ("top", "metrics: {listen: 127.0.0.1:9100}"),
    ("top", "log: {level: warning, format: xml, colour: true}"),
    ("top", "log: info"),
    ("top", "control: {socket: control.sock, group: no-such-group-here}"),
    (
        "top",
        "control: {socket: /run/a-very-long-path/a-very-long-path/a-very-long-path/a-very-long-path/a-very-long-path/a-very-long-path/control.sock}",
    ),
    ("top", "shutdown: {drain_time: 3, unbind_delay: soon, keep_addresses: yes}"),
    ("top", "shutdown: {drain_time: 400d, keep_addresses: maybe}"),
    ("top", "listen: {addresses: 192.0.2.2, port: 0}"),
    ("top", "listen: {addresses: [192.0.2.2, 192.0.2.2], port:}"),
    // Peers.
    ("peers", "peers: [192.0.2.1]"),
    (
        "peers",
        "peers: {tor: {address: 192.0.2.1, peer_as: 1}}\nneighbors: {tor: {address: 192.0.2.1, peer_as: 1}}",
    ),
    ("peers", "peers:\n  a: {address: 192.0.2.1, peer_as: 1}\n  b: {address: 192.0.2.1, peer_as: 2}"),
    ("peers", "peers:\n  a: {address: 192.0.2.1, peer_as: 1}\n  a: {address: 192.0.2.2, peer_as: 2}"),
    (
        "peers",
        "peers:\n  \"a b\": {address: 192.0.2.1, peer_as: 1}\n  \"\": {address: 192.0.2.2, peer_as: 1}",
    ),
    (
        "peers",
        "peers:\n  a-name-that-goes-on-and-on-and-on-and-on-until-nobody-can-remember-it: {address: 192.0.2.1, peer_as: 1}",
    ),
    (
        "peers",
        "peer_defaults: {address: 192.0.2.1, hold_time: 1s}\npeers:\n  a: {address: 192.0.2.1, peer_as: 1}",
    ),
    ("peers", "peer_defaults: none\npeers:\n  a: {address: 192.0.2.1}"),
    ("peers", "peers: {tor: 192.0.2.1}"),
    ("peer", "port: 179"),
    ("peer", "address: 192.0.2.1/32\npeer_as: AS65000"),
    ("peer", "address: tor-a.example.com\npeer_as: 0"),
    ("peer", "address: 0.0.0.0\npeer_as: 23456"),
    ("peer", "address: 224.0.0.1\npeer_as: 65535"),
    ("peer", "address: 255.255.255.255\npeer_as: 4294967295"),
    ("peer", "address: ::ffff:192.0.2.1\npeer_as: [1]"),
    ("peer", "address: fe80::1\npeer_as: {a: 1}"),
    ("peer", "address: fe80::1%eth0\npeer_as:"),
    ("peer", "address: 2001:db8::1\npeer_as: 1\nsource_address: fe80::2"),
    (
        "peers",
        "peers:\n  a: {address: \"fe80::1\", peer_as: 1, interface: eth0}\n  b: {address: \"fe80::1\", peer_as: 1, interface: eth1}\n  c: {address: \"fe80::1\", peer_as: 1, interface: eth1}",
    ),
    ("peer", "address: 0.1.2.3\npeer_as: 1\nremote_as: 1"),
    (
        "peer",
        "address: 192.0.2.1\npeer_as: 1\npasive: true\nroute_reflector_client: true\npassword_file: /x\nttl_security: 1",
    ),
    ("peer", "address: 192.0.2.1\npeer_as: 1\npassive: true\nactive: true"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nhold_time: 0s"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nhold_time: 2s\nconnect_retry: 1m"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nhold_time: 3500ms\nconnect_retry: 0s"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nhold_time: 1d\nport: 70000"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ngraceful_restart: sometimes"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ngraceful_restart: [20s]"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ngraceful_restart: {restart_time: 1h, time: 1}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ngraceful_restart: {restart_time: 2h}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ngraceful_restart: {restart_time: 1500ms, notification: 1}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ngraceful_restart: {restart_time: 0s}\nextended_next_hop: true"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nhold_time: 0\nbfd: true"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nbfd: {min_ttl: 254}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nbfd: fast"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nbfd: [50ms]"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nbfd: {interval: 50, multiplier: 0}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nbfd: {interval: 1ms, multiplier: 256, min_ttl: 0}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nbfd: {interval: 5m, detect_multiplier: 3, strict: maybe}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nfamilies: []"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nfamilies: [ipv4, ip6, vpnv4]"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nfamilies: ipv4"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nsource_address: 2001:db8::1"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nsource_address: 224.0.0.1"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nttl_security: 1\nmultihop: 2"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nttl_security: 0\ninterface: a/b"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nmultihop: yes\nebgp_multihop: 2"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\npassword: \"\""),
    ("peer", "address: 192.0.2.1\npeer_as: 1\npassword: [x]"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\npassword: hunter2\npassword_file: key"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\npassword_credential: ../key"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\ntcp_ao: {send_id: 256, algorithm: md5}"),
    (
        "peers",
        "peers:\n  a: {address: 192.0.2.1, peer_as: 1, password: one}\n  b: {address: 192.0.2.1, peer_as: 1, port: 1179}",
    ),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nnext_hop: []"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nnext_hop: 127.0.0.1"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nnext_hop: {ipv4: 2001:db8::1, ipv6: 192.0.2.1, ip: x}"),
    ("peer", "address: 192.0.2.1\npeer_as: 1\nnext_hop: {ipv6: fe80::1}"),
    // Checks.
    ("check", "tcp: 80\nhost: vip\nsource_address: \"2001:db8::1\""),
    ("check", "tcp: 80\nhost: 192.0.2.1\nsource_address: \"2001:db8::1\""),
    ("check", "tcp: \"127.0.0.1:80\"\ninterval: 1d\nerrors: {over: 5%}"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\nrole: standby\ndemoted: {as_path_prepend: 1}"),
    ("check", "tcp: 80"),
    ("check", "tcp: 80\nhost: \"vip:80\""),
    ("check", "exec: {command: [/bin/true]}\nhost: vip\nsource_address: 192.0.2.1\nsource_interface: eth0"),
    ("check", "tcp: \"localhost:80\"\nsource_address: vips"),
    (
        "all",
        "local_as: 65001\npeers: {tor: {address: 192.0.2.1, peer_as: 65000}}\nchecks:\n  up: {tcp: 80, host: vip}\n  \
         up@198.51.100.1: {tcp: \"a:1\"}\nservices:\n  web: {vips: [198.51.100.1], checks: [up]}\n  wide: {vips: \
         [198.51.100.0/24], checks: [up]}",
    ),
    ("check", "interval: 1s"),
    ("check", "type: http\nurl: \"http://127.0.0.1/\""),
    ("check", "dns: {name: example.com}"),
    ("check", "listener: 8080"),
    ("check", "listener:"),
    ("check", "listener: {}"),
    ("check", "listener: {address: 192.0.2.10}"),
    ("check", "listener: {port: 8080}"),
    ("check", "listener: {tcp: 0}"),
    ("check", "listener: {udp: \"127.0.0.1:53\"}"),
    ("check", "listener: {tcp: 53, udp: 53}"),
    ("check", "listener: {tcp: 53, address: 0.0.0.0}"),
    ("check", "listener: {tcp: 53, address: \"::ffff:192.0.2.10\"}"),
    ("check", "listener: {tcp: 53, address: localhost}"),
    ("check", "listener: {tcp: 53}\nhost: vip\nsource_address: 192.0.2.1"),
    ("check", "process: /run/nginx.pid"),
    ("check", "process: nginx"),
    ("check", "process: {}"),
    ("check", "process: {pid_file: nginx.pid}"),
    ("check", "process: {pidfile: /run/nginx.pid}"),
    ("check", "process: {pid: 0}"),
    ("check", "process: {pid: 12, pid_file: /run/nginx.pid}"),
    ("check", "process: {pid_file: /run/nginx.pid, name: /usr/sbin/nginx}"),
    ("check", "process: {pid_file: /run/nginx.pid, name: \"\"}"),
    ("check", "process: {name: nginx}"),
    ("check", "interface:"),
    ("check", "interface: {}"),
    ("check", "interface: a-name-that-is-too-long"),
    ("check", "interface: {name: eth/0}"),
    ("check", "interface: [eth0]"),
    ("check", "interface: eth0\ntcp: \"127.0.0.1:80\""),
    ("check", "snmp: {name: example.com}"),
    ("check", "systemd:"),
    ("check", "systemd: {}"),
    ("check", "systemd: nginx"),
    ("check", "systemd: {unit: nginx.conf}"),
    ("check", "systemd: {unit: \"nginx .service\"}"),
    ("check", "systemd: {unit: getty@.service}"),
    ("check", "systemd: {units: [nginx.service]}"),
    ("check", "systemd: {unit: nginx.service, bus: \"unix:path=/run/bus\"}"),
    ("check", "systemd: nginx.service\nsource_address: 192.0.2.1"),
    ("check", "htpp: {url: \"http://127.0.0.1/\"}"),
    ("check", "tcp: \"127.0.0.1:80\"\nexec: {command: [/bin/true]}"),
    ("check", "tcp: \"127.0.0.1:80\"\ninterval: 500ms\ntimeout: 1s\nfast_interval: 2s"),
    ("check", "tcp: \"127.0.0.1:80\"\ntimeout: 3s"),
    ("check", "tcp: \"127.0.0.1:80\"\ninterval: 0s\nrise: 0\nfall: -1"),
    ("check", "tcp: \"127.0.0.1:80\"\ninterval: 1ms\nrise: 1.5\nfall: many"),
    ("check", "tcp: localhost"),
    ("check", "tcp: ::1"),
    ("check", "tcp: 8080:127.0.0.1"),
    ("check", "tcp: {host: localhost, port: 80}"),
    ("check", "tcp: {address: \"localhost:0\"}"),
    ("check", "tcp: {port: 80}"),
    ("check", "tcp: {address: \"localhost:25\", response: OK}"),
    ("check", "tcp: {address: \"localhost:25\", send: \"\", expect: \"\"}"),
    ("check", "tcp: {address: \"localhost:25\", send: [PING], expect: [PONG]}"),
    ("check", "tcp: {address: \"localhost:25\", send: PING\\r\\n}"),
    ("check", "tcp: {address: \"localhost:25\", expect: {regexp: ok}}"),
    ("check", "tcp: {address: \"localhost:25\", expect: {regex: \"\"}}"),
    ("check", "tcp: {address: \"localhost:25\", expect: {regex: \"(ok\"}}"),
    ("check", "tcp: {address: \"localhost:25\", expect: {regex: \"(?=ok)\"}}"),
    ("check", "tcp: {address: \"localhost:25\", expect: {regex: \"(a{100}){100}\"}}"),
    ("check", "tcp:"),
    ("check", "http: http://127.0.0.1/"),
    ("check", "http: {}"),
    ("check", "http: {url: 127.0.0.1/healthz}"),
    ("check", "http: {url: \"ftp://127.0.0.1/\"}"),
    ("check", "http: {url: \"http://user:secret@127.0.0.1/\"}"),
    ("check", "http: {url: \"http://127.0.0.1/#top\"}"),
    ("check", "http: {url: \"http://127.0.0.1:99999/\"}"),
    ("check", "http: {url: \"http://127.0.0.256/\"}"),
    ("check", "http: {url: \"http://[::1/\"}"),
    ("check", "http: {url: \"http://127.0.0.1/\", status: 2xx}"),
    ("check", "http: {url: \"http://127.0.0.1/\", status: [200, 299-200, 600, ok]}"),
    ("check", "http: {url: \"http://127.0.0.1/\", status: []}"),
    ("check", "http: {url: \"http://127.0.0.1/\", host: \"www.example.com:80\"}"),
    ("check", "http: {url: \"http://127.0.0.1/\", host: \"two words\"}"),
    ("check", "http: {url: \"http://127.0.0.1/\", method: DELETE}"),
    ("check", "http: {url: \"http://127.0.0.1/\", request_body: hi}"),
    ("check", "http: {url: \"http://127.0.0.1/\", method: PUT, request_body: [hi]}"),
    ("check", "http: {url: \"http://127.0.0.1/\", method: HEAD, body: ok}"),
    ("check", "http: {url: \"http://127.0.0.1/\", method: POST, redirects: 1}"),
    ("check", "http: {url: \"http://127.0.0.1/\", redirects: 11, version: 3}"),
    ("check", "http: {url: \"http://127.0.0.1/\", body: \"\"}"),
    ("check", "http: {url: \"http://127.0.0.1/\", body: {regex: \"[\"}}"),
    ("check", "http: {url: \"http://127.0.0.1/\", body: ok, headers: {accept-encoding: gzip}}"),
    ("check", "http: {url: \"http://127.0.0.1/\", headers: [a]}"),
    ("check", "http: {url: \"http://127.0.0.1/\", headers: {Host: www.example.com}}"),
    ("check", "http: {url: \"http://127.0.0.1/\", headers: {Connection: close, Content-Length: 3}}"),
    ("check", "http: {url: \"http://127.0.0.1/\", headers: {\"a b\": c, x-a: \"s3cret\\n\", x-b: [s3cret]}}"),
    ("check", "http: {url: \"http://127.0.0.1/\", headers: {X-A: s3cret, x-a: s3cret}}"),
    ("check", "http: {url: \"http://127.0.0.1/\", tls: {insecure: true}}"),
    ("check", "http: {url: \"https://127.0.0.1/\", tls: {ca_file: /no/such/file.pem}}"),
    ("check", "http: {url: \"https://127.0.0.1/\", tls: {ca_file: ca.pem, insecure: true}}"),
    ("check", "http: {url: \"https://127.0.0.1/\", tls: {ca_file: ca.pem}}"),
    ("check", "http: {url: \"https://127.0.0.1/\", tls: {ca_file: /}}"),
    ("check", "http: {url: \"https://127.0.0.1/\", tls: {ca_file: /etc/passwd}}"),
    ("check", "http: {url: \"https://127.0.0.1/\", tls: {cert: /etc/passwd, key: /etc/passwd}}"),
    ("check", "tls: localhost"),
    ("check", "tls: {alpn: []}"),
    ("check", "tls: {address: \"localhost:443\", alpn: h2, server_name: \"a b\"}"),
    ("check", "tls: {address: \"localhost:443\", alpn: [\"\"], sni: a.example}"),
    ("check", "tls: {address: \"localhost:443\", insecure: true, expiry: 14d}"),
    ("check", "tls: {address: \"localhost:443\", expiry: 14}"),
    ("check", "tls: {address: \"localhost:443\", expiry: 1s}"),
    ("check", "tls: {address: \"localhost:443\", min_days: 14}"),
    ("check", "tls: {address: \"localhost:443\", client_cert_file: client.pem}"),
    ("check", "grpc: localhost"),
    ("check", "grpc: {service: [a]}"),
    ("check", "grpc: {address: \"localhost:50051\", tls: yes, authority: \"a b\"}"),
    (
        "check",
        "grpc: {address: \"localhost:50051\", tls: {address: \"localhost:1\", ca: /etc/passwd}, method: Check}",
    ),
    ("check", "udp: \"127.0.0.1:53\""),
    ("check", "udp: {address: 127.0.0.1, send: x}"),
    ("check", "udp: {port: 53, send: x}"),
    ("check", "udp: {address: \"127.0.0.1:53\"}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: \"\", send_hex: \"\"}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, send_hex: \"00\"}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send_hex: \"0x00\"}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send_hex: \"0 00\"}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: \"\"}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: [a, b]}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: {}}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: {regexp: a}}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: {regex: \"\"}}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: {regex: \"a(b\"}}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: {regex: '\\p{Greek}'}}"),
    ("check", "udp: {address: \"127.0.0.1:53\", send: x, expect: {regex: \"((a{99}){99}){99}\"}}"),
    ("check", "dns: 127.0.0.1"),
    ("check", "dns: {}"),
    ("check", "dns: {server: \"127.0.0.1:0\", name: a..b}"),
    ("check", "dns: {server: ns.example, name: ö.example, type: AXFR, transport: tls}"),
    ("check", "dns: {server: ns.example, qname: a.example, record_type: AAAAA}"),
    ("check", "dns: {server: ns.example, name: a.example, rcode: [NOERROR, NXDOMAN]}"),
    ("check", "dns: {server: ns.example, name: a.example, rcode: [], answers: 192.0.2.1}"),
    ("check", "dns: {server: ns.example, name: a.example, rcode: NXDOMAIN, answers: [192.0.2.1]}"),
    ("check", "dns: {server: ns.example, name: a.example, answers: [\"2001:db8::1\", up]}"),
    ("check", "dns: {server: ns.example, name: a.example, dnssec: yes}"),
    ("check", "icmp: \"192.0.2.1:7\""),
    ("check", "icmp: {}"),
    ("check", "icmp: [192.0.2.1]"),
    ("check", "icmp: {host: 192.0.2.1, count: 0, loss: 34, size: 7, spacing: 0ms}"),
    ("check", "icmp: {host: 192.0.2.1, count: 101, loss: 100%, size: 9001}"),
    ("check", "icmp: {host: 192.0.2.1, loss: most, packets: 3}"),
    ("check", "icmp: {host: 192.0.2.1, count: 30}"),
    ("check", "file: maintenance"),
    ("check", "file: {}"),
    ("check", "file: [/etc/maintenance]"),
    ("check", "file: {path: ./x, present: no}"),
    ("check", "file: {path: /x, present: false, max_age: 5m, contains: up}"),
    ("check", "file: {path: /x, max_age: 10ms, contains: \"\"}"),
    ("check", "file: {path: /x, max_age: 300, age: 5m}"),
    ("check", "file: /x\nhost: vip"),
    ("check", "exec: {}"),
    ("check", "exec: /usr/bin/true --now"),
    ("check", "exec: {command: \"/bin/true --now\"}"),
    ("check", "exec: {command: []}"),
    ("check", "exec: {command: [\"a\\0b\"]}"),
    ("check", "exec: {command: [bin/true]}"),
    ("check", "exec: {command: [/bin/true], shell: \"true\"}"),
    ("check", "exec: {cmd: [/bin/true], user: no-such-user-here}"),
    ("check", "exec: {shell: \" \"}"),
    ("check", "exec: {command: [/bin/true], group: no-such-group-here, cwd: /, env: {}}"),
    ("check", "exec: {command: [/bin/true], directory: here, environment: [A=1]}"),
    (
        "check",
        "exec:\n  command: [/bin/true]\n  environment: {VIPCAST_CHECK: hush, 1A: hush, \"a=b\": hush, N: \"hu\\0sh\", L: [hush], O:}",
    ),
    // Services.
    ("service", "vips: [198.51.100.1]"),
    ("service", "vips: []\nchecks:"),
    ("service", "checks: [up]\nprefixes: [198.51.100.1]"),
    ("service", "checks: []\nvips: 198.51.100.1"),
    ("service", "checks: []\nvips: [198.51.100.1/24, www.example.com, \"198.51.100.1:80\", 198.51.100.300]"),
    ("service", "checks: []\nvips: [0.0.0.0/0, 0.0.0.0, 127.0.0.1, 169.254.1.1, 224.0.0.1, 255.255.255.255]"),
    ("service", "checks: []\nvips: [\"::\", ::1, fe80::1, ff02::1, ::ffff:198.51.100.1, 2001:db8::1/64]"),
    ("service", "checks: []\nvips: [2001:db8::]"),
    ("service", "checks: []\nvips: [198.51.100.1, 198.51.100.1/32]"),
    ("service", "checks: []\nvips: [192.0.2.1]"),
    ("service", "vips: [198.51.100.1]\nchecks: [upp, up, up, [up]]"),
    ("service", "vips: [198.51.100.1]\nchecks: [database]"),
    ("service", "vips: [198.51.100.1]\nchecks: up"),
    ("service", "vips: [198.51.100.1]\nchecks: {any: [], all: [up]}"),
    ("service", "vips: [198.51.100.1]\nchecks: {at_least: 2, of: [up]}"),
    ("service", "vips: [198.51.100.1]\nchecks: {at_least: 0, of: [up]}"),
    ("service", "vips: [198.51.100.1]\nchecks: {at_least: 1}"),
    ("service", "vips: [198.51.100.1]\nchecks: {of: [up]}"),
    ("service", "vips: [198.51.100.1]\nchecks: {}"),
    ("service", "vips: [198.51.100.1]\nchecks: {none: [up]}"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\nbind: allways\ninterface: \"\""),
    (
        "service",
        "vips: [198.51.100.1]\nchecks: [up]\nannounce: {med: -1, local_pref: high, as_path_prepend: 17}",
    ),
    (
        "service",
        "vips: [198.51.100.1]\nchecks: [up]\nannounce: {communities: [65001:70000, noexport, 1:1, 1:1]}",
    ),
    (
        "service",
        "vips: [198.51.100.1]\nchecks: [up]\nannounce: {large_communities: [65001:1], communities: 1:1}",
    ),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\nannounce: {next_hop: ::}"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\non_down: demoted"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\non_down: {demote: {med: 5}}"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\non_degraded: ignored\nwarm_up: 30\nrole: backup"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\nrole: standby\npreempt: false"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\npreempt: never"),
    ("check", "tcp: \"127.0.0.1:80\"\nlatency: {over: 500ms}"),
    ("check", "tcp: \"127.0.0.1:80\"\nlatency: {of: p100, window: 5s}"),
    ("check", "tcp: \"127.0.0.1:80\"\nlatency: {over: 100ms, window: 60s}"),
    ("check", "tcp: \"127.0.0.1:80\"\nlatency: [{over: 100ms, of: p95, window: 5s, then: demote}]"),
    ("check", "tcp: \"127.0.0.1:80\"\nerrors: {over: 5}\nhold_down: 10"),
    ("check", "tcp: \"127.0.0.1:80\"\nerrors: {over: 100%, window: 2d, for: 0}"),
    ("check", "tcp: \"127.0.0.1:80\"\nhold_down: {first: 10m, most: 5m}"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\ndemoted: {as_path_prepend: 0}"),
    (
        "service",
        "vips: [198.51.100.1]\nchecks: [up]\nannounce: {as_path_prepend: 4}\ndemoted: {as_path_prepend: 2}",
    ),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\nannounce: {as_path_prepend: 16}\non_down: demote"),
    ("services", "a: {vips: [198.51.100.1], checks: [up]}\nb: {vips: [198.51.100.1], checks: [up]}"),
    ("services", "a: {vips: &v [198.51.100.1], checks: [up]}\nb: {vips: *v, checks: [up]}"),
    // Valid, and probably not what was meant.
    ("all", "local_as: 65001\npeers: {tor: {address: 192.0.2.1, peer_as: 65000}}\nservices:"),
    ("service", "vips: [198.51.100.1]\nchecks: []"),
    ("check", "exec: {command: [true]}"),
    ("check", "exec: {command: [/no/such/program]}"),
    ("check", "exec: {command: [/etc]}"),
    ("check", "exec: {command: [/bin/true], directory: /no/such}"),
    ("check", "exec: {command: [/bin/true], directory: /etc/passwd}"),
    ("check", "exec: {command: [/etc/passwd]}"),
    ("service", "vips: [198.51.100.1]\nchecks: [up]\nannounce: {local_pref: 200}"),
    ("peer", "address: 192.0.2.1\npeer_as: 65000\nfamilies: [ipv6]"),
];

#[test]
fn every_diagnostic_as_the_operator_sees_it() {
    let mut all = String::new();
    for (section, text) in WRONG {
        let _ =
            write!(all, "════ {section}: {}\n\n{}\n", text.replace('\n', "⏎"), said(&around(section, text)));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn nothing_said_is_wider_than_a_terminal_or_ends_in_a_period() {
    for (section, text) in WRONG {
        let text = around(section, text);
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        assert!(!found.is_empty(), "nothing is said about {text}");
        for diagnostic in &found {
            for said in [Some(&diagnostic.message), diagnostic.hint.as_ref(), diagnostic.label.as_ref()] {
                assert!(said.is_none_or(|said| !said.ends_with('.')), "{said:?} ends in a period");
            }
        }
        for line in found.to_string().lines().filter(|line| !line.contains('|')) {
            assert!(line.chars().count() <= 80, "this line is too long: {line}");
        }
    }
}

#[test]
fn a_bomb_of_aliases_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(text, "a{level}: &a{level} [{aliases}]");
    }
    insta::assert_snapshot!(said(&text));
}

#[test]
fn deep_nesting_is_refused() {
    insta::assert_snapshot!("deep_list", said(&format!("peers: {}", "[".repeat(100_000))));
    insta::assert_snapshot!("deep_map", said(&format!("peers: {}", "{a: ".repeat(1000))));
    let block = (0..2000).fold(String::new(), |mut text, depth| {
        let _ = writeln!(text, "{:depth$}a:", "");
        text
    });
    insta::assert_snapshot!("deep_block", said(&block));
}

#[test]
fn a_huge_scalar_is_shown_in_part() {
    let text = format!("local_as: {}\n", "9".repeat(8 << 20));
    let said = said(&text);
    assert!(said.len() < 2000, "{} bytes are too much to read", said.len());
    assert!(said.contains("found `9999999999999999999999999999999999999999…`"), "{said}");
}

#[test]
fn a_thousand_mistakes_are_counted_and_a_hundred_shown() {
    let text = (0..1000).fold(String::from("local_as: 65001\npeers:\n"), |mut text, n| {
        let _ = writeln!(text, "  tor-{n}: {{address: 192.0.2.{n}, peer_as: 65000, mode: passive}}");
        text
    });
    let found = config::parse("vipcast.yaml", &text).expect_err("it is full of mistakes");
    assert_eq!(found.count(Severity::Error), 1000 + (1000 - 256));
    let said = found.render(false);
    assert_eq!(said.matches("error: ").count(), 99, "and one warning");
    assert!(said.contains("… and 1645 more"), "{}", &said[said.len() - 200..]);
}

#[test]
fn a_line_of_json_is_a_configuration_too() {
    let text = r#"{"local_as": 65001, "peers": {"tor": {"address": "192.0.2.1", "peer_as": 65000}},
	"checks": {"up": {"tcp": "127.0.0.1:80", "interval": "1s"}},
	"services": {"web": {"vips": ["198.51.100.1"], "checks": ["up"]}}}"#;
    assert_eq!(said(text), "(valid)\n");
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "\
local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
checks:
  a: &defaults {tcp: \"127.0.0.1:80\", interval: 5s, rise: 3}
  b: {<<: *defaults, tcp: \"127.0.0.1:81\", rise: 4}
services:
  web: {vips: [198.51.100.1], checks: [a, b]}
";
    let loaded = config::parse("vipcast.yaml", text).unwrap_or_else(|found| panic!("{found}"));
    let b = &loaded.config.checks["b"];
    assert_eq!((b.interval.as_secs(), b.rise.get()), (5, 4));
}

/// Every span of a finding lies inside the text that it points into, at characters.
fn spans_are_inside(found: &Diagnostics) {
    for diagnostic in found {
        let spans = diagnostic.span.iter().chain(diagnostic.secondary.iter().map(|(span, _)| span));
        for span in spans {
            let text = found.text(span.file);
            assert!(text.get(span.start..span.end).is_some(), "{span:?} is outside of the text");
        }
    }
}

/// What happens to a text on its way to us.
#[derive(Debug, Clone)]
enum Mutation {
    Remove(prop::sample::Index, usize),
    Insert(prop::sample::Index, String),
    Repeat(prop::sample::Index, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            " ",
            "\n",
            "\n  ",
            ":",
            ": ",
            "- ",
            "[",
            "]",
            "{",
            "}",
            "&a ",
            "*a",
            "<<: ",
            "!t ",
            "|\n",
            ">\n",
            "\"",
            "'",
            "#",
            "\t",
            "~",
            "0",
            "-1",
            "1e9",
            "é",
            "\u{1F600}",
            "\u{feff}",
            "\r\n",
            "? ",
            "---\n",
            "::",
            "/",
            "%",
            "\0",
        ])
        .prop_map(String::from),
        ".{0,6}",
    ];
    prop_oneof![
        (any::<prop::sample::Index>(), 1..20_usize).prop_map(|(at, length)| Mutation::Remove(at, length)),
        (any::<prop::sample::Index>(), piece).prop_map(|(at, piece)| Mutation::Insert(at, piece)),
        (any::<prop::sample::Index>(), 1..80_usize).prop_map(|(at, length)| Mutation::Repeat(at, length)),
    ]
}

/// The offset, or the nearest before it that a text can be cut at.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

fn mutate(text: &mut String, mutation: &Mutation) {
    let place = |text: &str, index: &prop::sample::Index| boundary(text, index.index(text.len() + 1));
    match mutation {
        Mutation::Remove(index, length) => {
            let start = place(text, index);
            let end = boundary(text, start + length);
            text.replace_range(start..end, "");
        }
        Mutation::Insert(index, piece) => text.insert_str(place(text, index), piece),
        Mutation::Repeat(index, length) => {
            let start = place(text, index);
            let end = boundary(text, start + length);
            let piece = text[start..end].to_owned();
            text.insert_str(end, &piece);
        }
    }
}

const STARTS: [&str; 3] = [
    include_str!("../../examples/two-tors-dual-stack.yaml"),
    include_str!("../../examples/exec-and-demote.yaml"),
    FIVE_MISTAKES,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_configuration_never_panics_and_is_pointed_into(
        start in prop::sample::select(STARTS.to_vec()),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let mut text = start.to_owned();
        for mutation in &mutations {
            mutate(&mut text, mutation);
        }
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => {
                prop_assert!(found.count(Severity::Error) > 0, "refused without a reason");
                found
            }
        };
        spans_are_inside(&found);
        let _ = found.render(false);
        let _ = serde_json::to_string(&found).expect("plain data");
    }

    #[test]
    fn any_text_at_all_is_answered(text in ".{0,200}") {
        let found = match config::parse("vipcast.yaml", &text) {
            Ok(loaded) => loaded.warnings,
            Err(found) => found,
        };
        spans_are_inside(&found);
        let _ = found.render(true);
    }
}
