//! A healthy node, for tests that break one thing.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::check::listening::Listening;
use crate::check::target::Transport;
use crate::config;
use crate::control::api::Status;
use crate::doctor::finding::{Finding, Id};
use crate::doctor::gathered::*;
use crate::version::VERSION;

/// The configuration of [`healthy`].
pub(super) const CONFIG: &str = "\
local_as: 65001
peers:
  tor-a: {address: 10.0.1.1, peer_as: 65000}
  tor-b: {address: 10.0.2.1, peer_as: 65000}
checks:
  web: {http: {url: \"http://127.0.0.1:8080/\"}}
services:
  web: {vips: [192.0.2.10], checks: [web]}
";

/// Two sessions, a service, and nothing wrong.
pub(super) fn healthy() -> Gathered {
    let way = |interface: &str| Ok(Way { interface: interface.to_owned(), gateway: None });
    let address = |prefix: &str, interface: &str, is_ours| Address {
        prefix: prefix.parse().unwrap(),
        interface: interface.to_owned(),
        is_ours,
        is_route: false,
    };
    Gathered {
        config_path: "/etc/vipcast/vipcast.yaml".into(),
        config: Some(Ok(configured(CONFIG))),
        socket: "/run/vipcast/control.sock".into(),
        daemon: Some(Daemon::Answers(Box::new(status(|_| ())))),
        process: Some(Process {
            pid: 7,
            capabilities: u64::MAX,
            descriptors: Some(65536),
            is_bfd_real_time: None,
        }),
        running: vec![7],
        kernel: Some((6, 12)),
        network: Some(Network {
            addresses: vec![
                address("127.0.0.1/8", "lo", false),
                address("192.0.2.10/32", "lo", true),
                address("10.0.1.2/24", "eth0", false),
                address("10.0.2.2/24", "eth1", false),
            ],
            aliases: BTreeMap::new(),
            default_route: ["eth0".to_owned(), "eth1".to_owned()].into(),
            rules: [].into(),
        }),
        ways: [("tor-a".into(), way("eth0")), ("tor-b".into(), way("eth1"))].into(),
        sockets: Some(vec![
            socket(Transport::Tcp, 8080, "0.0.0.0", 1),
            socket(Transport::Tcp, 179, "0.0.0.0", 2),
        ]),
        programs: [(1, program("nginx", 20)), (2, program("vipcast", 7))].into(),
        first_free_port: Some(1024),
        is_synchronised: Some(true),
        state_dir: Some(StateDir {
            path: "/var/lib/vipcast".to_owned(),
            free: 1 << 30,
            lacks_inodes: false,
            is_read_only: false,
        }),
        logind: Some(Logind { longest: Duration::from_secs(30), holders: vec![7] }),
        ..Gathered::default()
    }
}

/// A valid configuration.
pub(super) fn configured(text: &str) -> config::Config {
    config::parse("vipcast.yaml", text).unwrap().config
}

/// A healthy node with another configuration.
pub(super) fn with_config(text: &str) -> Gathered {
    Gathered { config: Some(Ok(configured(text))), ..healthy() }
}

/// A healthy node with another answer of the daemon.
pub(super) fn with_status(change: impl FnOnce(&mut Value)) -> Gathered {
    Gathered { daemon: Some(Daemon::Answers(Box::new(status(change)))), ..healthy() }
}

pub(super) fn socket(transport: Transport, port: u16, address: &str, inode: u32) -> Socket {
    let listening = Listening { address: address.parse().unwrap(), only_v6: false };
    Socket { transport, port, listening, inode }
}

pub(super) fn program(name: &str, pid: u32) -> Program {
    Program { name: name.to_owned(), pid }
}

/// The answer of a healthy daemon, changed.
fn status(change: impl FnOnce(&mut Value)) -> Status {
    let peer = |address: &str| {
        json!({
            "address": address, "peer_as": 65000, "state": "Established", "since_ms": 3_600_000, "hold_time": 9,
            "families": ["ipv4-unicast"], "local_address": null, "sessions": 1, "advertised": 1, "updates_sent": 2,
            "received": 0, "restart_time": null, "bfd": null, "last_error": null, "telling_error": null,
            "telling_ms": null, "reduced_offer": null, "unacknowledged": null, "hint": null, "withheld": {},
        })
    };
    let mut value = json!({
        "version": VERSION, "router_id": "10.0.1.2", "uptime_ms": 3_600_000,
        "config": "/etc/vipcast/vipcast.yaml", "shutdown": null, "restarting": false,
        "peers": {"tor-a": peer("10.0.1.1"), "tor-b": peer("10.0.2.1")},
        "checks": {"web": {
            "state": "up", "since_ms": 3_600_000, "degraded": null, "held_ms": null, "detail": "200 OK", "took_ms": 2,
            "ago_ms": 100,
        }},
        "probes": {"started": 3600, "late_p50_us": 250, "late_p99_us": 250},
        "vips": [{
            "vip": "192.0.2.10/32", "service": "web", "verdict": "announced", "state": "announced",
            "since_ms": 3_600_000, "reason": null, "why": null, "bound": true, "sent_to": 2, "not_at": {}, "heard": [],
        }],
    });
    change(&mut value);
    serde_json::from_value(value).unwrap()
}

/// A finding in short: its id, its object, and the words about it.
pub(super) fn short(findings: &[Finding]) -> Vec<(Id, String, &str)> {
    findings.iter().map(|found| (found.id, found.place.to_string(), found.what.as_str())).collect()
}
