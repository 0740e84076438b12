//! `vipcast doctor` on hosts with one fault after the other: it finds each, and nothing on a healthy node.
//!
//! A fault of the whole machine, which no network namespace has for itself (the clock, the kernel, systemd-networkd and
//! NetworkManager), is shown by the tests of `doctor::examine` and `doctor::gather`.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use serde_json::Value;
use vipcast_lab::router::Bfd;
use vipcast_lab::{EchoServer, Host, Lab, Neighbor, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::{Node, VIPCAST};
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
/// The machine of the tests need not have an NTP client.
const OF_THE_MACHINE: [&str; 2] = ["--ignore", "clock-not-synchronised"];

pub(crate) fn trials() -> Vec<Trial> {
    let both = [RouterKind::Frr, RouterKind::Bird];
    vec![
        trial("frr::the_doctor_finds_each_fault_of_a_host_and_none_on_a_healthy_one", &both, host),
        trial("frr::the_doctor_finds_each_fault_of_a_session", &[RouterKind::Frr], sessions),
        trial("frr::the_doctor_finds_a_route_that_is_not_accepted", &[RouterKind::Frr], not_accepted),
        trial("the_doctor_finds_what_the_daemon_lacks", &[], limits),
    ]
}

/// Runs `vipcast doctor` on a host: the exit code, and what it prints.
fn run(host: &Host, wrapper: &[&str], arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let words =
        [&["timeout", "20"], wrapper, &[VIPCAST.as_str(), "doctor"], &OF_THE_MACHINE, arguments].concat();
    let output = host.command(words[0]).args(&words[1..]).output().context("cannot run vipcast")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(errors.is_empty(), "it complains: {errors}");
    Ok((output.status.code(), String::from_utf8(output.stdout)?))
}

/// The findings as `id where`.
fn found(host: &Host, wrapper: &[&str], arguments: &[&str]) -> Result<Vec<String>> {
    let (code, text) = run(host, wrapper, &[arguments, &["--json"]].concat())?;
    let list: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("no JSON: {text}"))?;
    let worst = list.first().map_or("none", |finding| finding["severity"].as_str().unwrap_or_default());
    let wanted = match worst {
        "none" => 0,
        "warning" => 1,
        "critical" => 2,
        _unknown => 3,
    };
    ensure!(code == Some(wanted), "exit code {code:?} with {worst}");
    let short = |finding: &Value| {
        let name = finding["where"]["name"].as_str().unwrap_or_default();
        format!("{} {name}", finding["id"].as_str().unwrap_or_default()).trim().to_owned()
    };
    Ok(list.iter().map(short).collect())
}

/// A host with its daemon.
struct Patient<'a> {
    lab: &'a Lab,
    host: &'a Host,
    socket: String,
}

impl<'a> Patient<'a> {
    fn new(lab: &'a Lab, host: &'a Host, node: &Node) -> Self {
        Self { lab, host, socket: node.socket().to_string_lossy().into_owned() }
    }

    fn examine(&self) -> Result<Vec<String>> {
        found(self.host, &[], &["--socket", &self.socket])
    }

    /// Waits until exactly these findings are there.
    fn has(&self, wanted: &[&str]) -> Result<()> {
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        self.lab.until(format_args!("the doctor to find {wanted:?}"), SOON, || {
            let mut found = self.examine()?;
            found.sort_unstable();
            if found != wanted {
                // With the words about each.
                bail!("{found:?}\n{}", run(self.host, &[], &["--socket", &self.socket])?.1);
            }
            Ok(())
        })
    }

    /// Waits until nothing is found, and nothing is printed.
    fn is_healthy(&self) -> Result<()> {
        self.lab.until("the doctor to find nothing", SOON, || {
            let said = run(self.host, &[], &["--socket", &self.socket])?;
            ensure!(said == (Some(0), String::new()), "{said:?}");
            Ok(())
        })
    }
}

fn config(services: &str, more: &str) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  tor-a: {{address: 10.0.1.1, peer_as: 65000}}
  tor-b: {{address: 10.0.2.1, peer_as: 65000}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 200ms, fast_interval: 50ms}}
{more}services:
  web: {{vips: [{VIP}], checks: [web]}}
{services}shutdown: {{drain_time: 0s, unbind_delay: 0s}}
"
    )
}

fn host(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let mut router = RouterConfig::new(65000, [10, 0, 0, 1].into());
    let mut uplinks = Vec::new();
    for number in [1, 2] {
        let link = lab.link(&tor, &edge, Subnet::v4(number))?;
        router = router.neighbor(Neighbor::new(link.v4(&edge)?, 65001));
        uplinks.push(link.end(&edge).interface.clone());
    }
    edge.route(&["default", "via", "10.0.1.1"])?;
    let _router = lab.router(RouterKind::Frr, &tor, &router)?;
    let everywhere = || EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?));
    let service = everywhere()?;
    let node = Node::start(lab, &edge, &config("", ""))?;
    let patient = Patient::new(lab, &edge, &node);
    patient.is_healthy()?;

    let vip: IpNet = format!("{VIP}/32").parse()?;
    edge.add_address(&uplinks[1], vip)?;
    patient.has(&["other-interface 192.0.2.10/32"])?;
    edge.remove_address(&uplinks[1], vip)?;
    let filter = format!("net/ipv4/conf/{}/rp_filter", uplinks[1]);
    edge.sysctl(&filter, "1")?;
    patient.has(&[&format!("reverse-path-filter {}", uplinks[1])])?;
    edge.sysctl(&filter, "2")?;
    patient.is_healthy()?;

    service.kill()?;
    patient.has(&["nobody-listens 192.0.2.10/32", "check-down web"])?;
    let at = |port| format!("127.0.0.1:{port}");
    let alone = EchoServer::start(&edge, "alone", at(7).parse()?, Some(at(8080).parse()?))?;
    patient.has(&["only-loopback 192.0.2.10/32"])?;
    alone.kill()?;
    let _service = everywhere()?;
    patient.is_healthy()?;
    let bird = edge.write_file("bird.conf", "router id 10.0.0.9;\nprotocol device {}\n")?;
    let mut command = edge.command("bird");
    command.args(["-f", "-c"]).arg(&bird).arg("-s").arg(lab.directory().join("bird.ctl"));
    let bird = edge.spawn("bird", command)?;
    patient.has(&["other-routing-daemon"])?;
    bird.kill(Signal::SIGKILL)?;
    bird.wait_exit(SOON)?;
    patient.is_healthy()?;

    // Faults of single VIPs and checks.
    edge.add_address("lo", "192.0.2.30/32".parse()?)?;
    let services = "  near: {vips: [10.0.1.100], checks: []}
  lost: {vips: [192.0.2.20], checks: [], interface: svc9}
  foreign: {vips: [192.0.2.30], checks: []}
  six: {vips: [\"2001:db8::10\"], checks: []}
  lazy: {vips: [192.0.2.40], checks: [lazy]}
";
    let lazy = "  lazy: {exec: {shell: \"sleep 0.8\"}, timeout: 1s}\n";
    node.write_config(lab, &config(services, lazy))?;
    node.cli(&["reload"])?;
    patient.has(&[
        "arp-answers 10.0.1.100/32",
        "not-bound 192.0.2.20/32",
        "foreign-address 192.0.2.30/32",
        "not-sendable tor-a",
        "not-sendable tor-b",
        "at-no-router 2001:db8::10/128",
        "check-slow lazy",
    ])?;
    let near = format!("net/ipv4/conf/{}", uplinks[0]);
    edge.sysctl(&format!("{near}/arp_ignore"), "1")?;
    edge.sysctl(&format!("{near}/arp_announce"), "2")?;
    edge.remove_address("lo", "192.0.2.30/32".parse()?)?;
    node.write_config(lab, &config("  near: {vips: [10.0.1.100], checks: []}\n", ""))?;
    node.cli(&["reload"])?;
    patient.is_healthy()?;
    without_daemon(lab, &edge, &node, &patient)
}

/// A daemon that stands still, that is gone, and was not started yet.
fn without_daemon(lab: &Lab, edge: &Host, node: &Node, patient: &Patient<'_>) -> Result<()> {
    let file = node.config().to_string_lossy().into_owned();
    let nowhere = lab.directory().join("nowhere.sock").to_string_lossy().into_owned();
    let unreachable = found(edge, &[], &[&file, "--socket", &nowhere])?;
    ensure!(unreachable == [format!("socket-unreachable {nowhere}")], "{unreachable:?}");
    let broken = edge.write_file("broken.yaml", "local_as: many\n")?.to_string_lossy().into_owned();
    let invalid = found(edge, &[], &[&broken, "--socket", &patient.socket])?;
    ensure!(invalid == [format!("invalid-configuration {broken}")], "{invalid:?}");
    node.process.kill(Signal::SIGSTOP)?;
    let silent = found(edge, &[], &[&file, "--socket", &patient.socket])?;
    ensure!(silent == ["daemon-silent"], "{silent:?}");
    node.process.kill(Signal::SIGCONT)?;
    node.process.kill(Signal::SIGTERM)?;
    ensure!(node.process.wait_exit(SOON)?.success(), "{}", node.process.log());
    // With the configuration alone: the routers are asked.
    let alone = || found(edge, &[], &[&file, "--socket", &patient.socket]);
    ensure!(alone()? == ["not-running"], "{:?}", alone()?);
    let mut command = edge.command("socat");
    command.args(["TCP-LISTEN:179,reuseaddr,fork", "/dev/null"]);
    let other = edge.spawn("socat", command)?;
    lab.until("the other program to be named", SOON, || {
        let found = alone()?;
        ensure!(found == ["not-running", "port-taken"], "{found:?}");
        Ok(())
    })?;
    other.kill(Signal::SIGKILL)?;
    other.wait_exit(SOON)?;
    let state = lab.directory().join(format!("{}-state", edge.name()));
    for (options, id) in [("ro", "state-directory-read-only"), ("size=4k", "state-directory-full")] {
        let mounted = [
            "unshare",
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs -o \"$0\" none \"$1\"; shift; exec \"$@\"",
            options,
            &path(&state),
        ];
        let found = found(edge, &mounted, &[&file, "--socket", &patient.socket])?;
        ensure!(found == ["not-running".to_owned(), format!("{id} {}", path(&state))], "{found:?}");
    }
    // The text, as an operator sees it.
    let (code, text) = run(edge, &[], &[&file, "--socket", &patient.socket])?;
    let wanted = "critical: the daemon: not-running
  no vipcast runs in this network namespace
  fix: start it; its log says why if it does not stay
    systemctl enable --now vipcast
  see: docs/doctor.md#not-running

1 critical
";
    ensure!((code, text.as_str()) == (Some(2), wanted), "{code:?} {text}");
    let quiet = run(edge, &[], &[&file, "--socket", &patient.socket, "--quiet"])?;
    ensure!(quiet == (Some(2), String::new()), "{quiet:?}");
    let ignored = run(edge, &[], &[&file, "--socket", &patient.socket, "--ignore", "not-running"])?;
    ensure!(ignored == (Some(0), String::new()), "{ignored:?}");
    Ok(())
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Each peer has its own fault, and its own addresses on both ends.
fn sessions(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let (there, here) = (&link.end(&tor).interface, &link.end(&edge).interface);
    let our = |number: u8| IpAddr::from([10, 0, 1, 20 + number]);
    for number in 1..=9 {
        tor.add_address(there, format!("10.0.1.{}/24", 10 + number).parse()?)?;
        edge.add_address(here, IpNet::new(our(number), 24)?)?;
    }
    edge.route(&["10.9.9.9", "via", "10.0.1.1"])?;
    tor.nft(
        "table inet doctor {\n chain in { type filter hook input priority 0; tcp dport 1180 drop; }\n}\n",
    )?;
    let key = edge.write_file("key", "battery-staple\n")?;
    fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let router = RouterConfig::new(65000, [10, 0, 0, 1].into())
        .neighbor(Neighbor::new(our(1), 65001))
        .neighbor(
            Neighbor::new(our(2), 65001)
                .password("correct-horse")
                .extra(&format!(" neighbor {} update-source 10.0.1.12", our(2))),
        )
        .neighbor(Neighbor::new(our(4), 64999).passive())
        .neighbor(
            Neighbor::new(our(5), 65001)
                .bfd(Bfd::new(100, 3))
                .extra(&format!(" neighbor {} shutdown", our(5))),
        );
    let _router = lab.router(RouterKind::Frr, &tor, &router)?;
    // A router without TTL security. FRR sets its TTL only after the handshake: whether the kernel acknowledges our OPEN
    // before or after that differs.
    let mut far = tor.command("socat");
    far.args(["TCP-LISTEN:1181,ip-ttl=1,reuseaddr,fork", "/dev/null"]);
    let _far = tor.spawn("far", far)?;
    let peer = |name: &str, number: u8, more: &str| {
        let source = our(number);
        format!(
            "  {name}: {{address: 10.0.1.{}, peer_as: 65000, source_address: {source}{more}}}\n",
            10 + number
        )
    };
    let peers = [
        peer("well", 1, ", bfd: {interval: 100ms, multiplier: 3}"),
        peer("key", 2, &format!(", password_file: {}", key.display())),
        peer("near", 3, ", active: true, ttl_security: 1, port: 1181"),
        peer("as", 4, ", active: true"),
        peer("shut", 5, ", active: true"),
        peer("refused", 6, ", active: true, port: 1179"),
        peer("filtered", 7, ", active: true, port: 1180"),
        "  nobody: {address: 10.0.1.99, peer_as: 65000, active: true}\n".to_owned(),
        "  far: {address: 10.9.9.9, peer_as: 65000, active: true}\n".to_owned(),
    ];
    let config = format!(
        "local_as: 65001\nrouter_id: 10.0.0.2\npeer_defaults: {{connect_retry: 500ms}}\npeers:\n{}services:\n  web: \
         {{vips: [{VIP}], checks: []}}\nshutdown: {{drain_time: 0s, unbind_delay: 0s}}\n",
        peers.concat()
    );
    let node = Node::start(lab, &edge, &config)?;
    let patient = Patient::new(lab, &edge, &node);
    patient.has(&[
        "bfd-down well",
        "wrong-password key",
        "wrong-ttl near",
        "wrong-as as",
        "session-down shut",
        "connection-refused refused",
        "no-answer filtered",
        "no-route nobody",
        "wrong-ttl far",
    ])?;
    let one = found(&edge, &[], &["--socket", &patient.socket, "--peer", "key"])?;
    ensure!(one == ["wrong-password key"], "{one:?}");
    let missing = edge
        .command(VIPCAST.as_str())
        .args(["doctor", "--socket", &patient.socket, "--peer", "k"])
        .output()?;
    ensure!(missing.status.code() == Some(3), "{missing:?}");
    // Without a daemon, connections are tried. A session's own faults show only in a session.
    node.process.kill(Signal::SIGTERM)?;
    node.process.wait_exit(SOON)?;
    let file = node.config().to_string_lossy().into_owned();
    let mut tried = found(&edge, &[], &[&file, "--socket", &patient.socket])?;
    tried.sort_unstable();
    let wanted = [
        "connection-refused refused",
        "no-answer filtered",
        "no-answer key",
        "no-route nobody",
        "not-running",
        "wrong-ttl far",
        "wrong-ttl near",
    ];
    ensure!(tried == wanted, "{tried:?}");
    Ok(())
}

/// Two sessions on one link with a router that sends routes back, and accepts one of two.
fn not_accepted(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    tor.add_address(&link.end(&tor).interface, "10.0.1.11/24".parse()?)?;
    edge.add_address(&link.end(&edge).interface, "10.0.1.12/24".parse()?)?;
    let list = "ip prefix-list web permit 192.0.2.10/32\nrouter bgp 65000\n address-family ipv4 unicast\n  neighbor \
                10.0.1.2 prefix-list web in\n  neighbor 10.0.1.12 prefix-list web in\n exit-address-family\nexit\n";
    let router = RouterConfig::new(65000, [10, 0, 0, 1].into())
        .transit(true)
        .neighbor(Neighbor::new(link.v4(&edge)?, 65001))
        .neighbor(Neighbor::new("10.0.1.12".parse::<IpAddr>()?, 65001))
        .extra(list);
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  tor-a: {{address: 10.0.1.1, peer_as: 65000, source_address: 10.0.1.2}}
  tor-b: {{address: 10.0.1.11, peer_as: 65000, source_address: 10.0.1.12}}
services:
  web: {{vips: [{VIP}], checks: []}}
  dns: {{vips: [192.0.2.53], checks: []}}
shutdown: {{drain_time: 0s, unbind_delay: 0s}}
"
    );
    let node = Node::start(lab, &edge, &config)?;
    let patient = Patient::new(lab, &edge, &node);
    lab.until("the refused route to be noticed", SOON, || {
        let found = patient.examine()?;
        ensure!(
            found.iter().any(|found| found.starts_with("not-accepted ")),
            "{found:?}: {:?}",
            node.status()?.vips
        );
        Ok(())
    })?;
    // Sessions that an operator resets again and again.
    for number in 2_u64..=3 {
        router.cli("clear bgp 10.0.1.2")?;
        lab.until("another session", SOON, || {
            let peer = &node.status()?.peers["tor-a"];
            ensure!(peer.sessions >= number, "{peer:?}");
            Ok(())
        })?;
    }
    lab.until("the session that flaps to be named", SOON, || {
        let found = patient.examine()?;
        ensure!(found.contains(&"session-flaps tor-a".to_owned()), "{found:?}");
        Ok(())
    })
}

/// A daemon with few rights and no router.
fn limits(lab: &Lab) -> Result<()> {
    const FEW: &[&str] = &[
        "setpriv",
        "--bounding-set",
        "-sys_nice,-net_raw,-net_bind_service",
        "prlimit",
        "--nofile=64:64",
        "--rtprio=0:0",
    ];
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    lab.link(&tor, &edge, Subnet::v4(1))?;
    edge.sysctl("net/ipv4/ping_group_range", "1 0")?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: 10.0.1.1, peer_as: 65000, bfd: {{interval: 100ms, multiplier: 3}}}}}}
checks: {{gateway: {{icmp: 10.0.1.1}}}}
services: {{web: {{vips: [{VIP}], checks: [gateway]}}}}
"
    );
    let node = Node::start_by(FEW, lab, &edge, &config)?;
    let patient = Patient::new(lab, &edge, &node);
    patient.has(&[
        "missing-capability",
        "missing-capability",
        "few-descriptors",
        "no-real-time",
        "connection-refused tor",
        "check-down gateway",
    ])
}
