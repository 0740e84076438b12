//! The invariants that need a kernel, a router and real time. Each test is named after the invariants that it shows;
//! the pure engine shows I2 and I4 again over random events.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{CheckState, SessionState};
use vipcast_lab::traffic::Health;
use vipcast_lab::wait::holds;
use vipcast_lab::{
    Client, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet,
};

use crate::node::{Node, VIPCAST, address};
use crate::{SOON, has_route, trial, wait_route};

const A: &str = "192.0.2.10";
const B: &str = "192.0.2.20";
const TOR: &str = "10.0.1.1";
const EDGE: &str = "10.0.1.2";

type Test = fn(&Lab) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 9] = [
        ("i1_announced_only_while_bound_and_put_back_when_it_vanishes", vanishing_address),
        ("i2_i9_a_node_that_is_stopped_loses_no_datagram", stopped_node),
        ("i3_i10_kill_9_withdraws_at_once_and_the_successor_adopts", crash),
        ("i4_a_failing_service_touches_no_other", failing_service),
        ("i5_a_hanging_check_fails_at_its_timeout_and_delays_nothing", hanging_check),
        ("i7_a_reload_sends_nothing_for_what_it_does_not_touch", reload),
        ("i8_a_broken_config_never_takes_effect", broken_config),
        ("i9_a_second_sigterm_cuts_the_drain_short_but_still_withdraws", second_sigterm),
        ("i12_a_drain_survives_a_restart_and_a_second_daemon_is_refused", drain_and_lock),
    ];
    tests.map(|(name, test)| trial(name, &[RouterKind::Frr], test)).into()
}

/// An FRR router, and a host with two services, `a` and `b`, each with a check of its own.
struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    router: Arc<dyn Router>,
    a: EchoServer,
    b: EchoServer,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        lab.link(&tor, &edge, Subnet::dual(1))?;
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
            .neighbor(Neighbor::new(EDGE.parse::<IpAddr>()?, 65001).both_families());
        let router = lab.router(RouterKind::Frr, &tor, &router)?;
        let a = EchoServer::start(&edge, "a", "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
        let b = EchoServer::start(&edge, "b", "[::]:8".parse()?, Some("[::]:8082".parse()?))?;
        Ok(Self { lab, edge, router, a, b })
    }

    /// Waits until the router has a route to `vip`, or none.
    fn wait_route(&self, vip: &str, wanted: bool, timeout: Duration) -> Result<()> {
        wait_route(self.lab, self.router.as_ref(), vip, wanted, timeout)
    }

    fn has_route(&self, vip: &str) -> Result<bool> {
        has_route(self.router.as_ref(), vip)
    }

    /// The same, once the router has counted all that a node has sent: the End-of-RIB of a session comes behind its routes.
    fn settled_updates(&self, lab: &Lab, node: &Node) -> Result<u64> {
        lab.until("the router to have counted every UPDATE", SOON, || {
            let (sent, counted) = (node.status()?.peers["tor"].updates_sent, self.updates()?);
            ensure!(sent == counted, "{counted} of {sent}");
            Ok(counted)
        })
    }

    /// The UPDATEs that the router has had from us since the session began.
    fn updates(&self) -> Result<u64> {
        let shown: serde_json::Value =
            serde_json::from_str(&self.router.cli("show bgp neighbors 10.0.1.2 json")?)?;
        shown[EDGE]["messageStats"]["updatesRecv"].as_u64().context("no updatesRecv")
    }
}

fn config(services: &str) -> String {
    format!(
        "local_as: 65001
peers:
  tor: {{address: {TOR}, peer_as: 65000}}
checks:
  a: {{http: {{url: \"http://127.0.0.1:8081/healthz\"}}, interval: 200ms, fast_interval: 50ms, timeout: 200ms}}
  b: {{http: {{url: \"http://127.0.0.1:8082/healthz\"}}, interval: 200ms, fast_interval: 50ms, timeout: 200ms}}
shutdown: {{drain_time: 2s, unbind_delay: 500ms}}
services:
{services}"
    )
}

fn two_services() -> String {
    config(&format!("  a: {{vips: [{A}], checks: [a]}}\n  b: {{vips: [{B}], checks: [b]}}\n"))
}

fn vanishing_address(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let nowhere =
        "  a: {vips: [192.0.2.10], checks: [a]}\n  b: {vips: [192.0.2.20], checks: [b], interface: nope0}\n";
    let node = Node::start(lab, &site.edge, &config(nowhere))?;
    site.wait_route(A, true, SOON)?;
    // Healthy but not bound: never announced, and it says why.
    lab.until("the reason to name the interface", SOON, || {
        let why = node.explain(B.parse()?)?.vip.why.unwrap_or_default();
        ensure!(why == "it is not bound on this host: there is no interface \"nope0\"", "{why}");
        Ok(())
    })?;
    ensure!(!site.has_route(B)?, "announced although it is not bound");
    for _round in 0..5 {
        site.edge.remove_address("lo", format!("{A}/32").parse()?)?;
        lab.until("the address to be back, and ours", SOON, || {
            let ours = node.address(A.parse()?)?;
            ensure!(ours == Some(true), "{ours:?}");
            Ok(())
        })?;
        node.wait_verdict(lab, A.parse()?, "announced", SOON)?;
    }
    site.wait_route(A, true, SOON)?;
    let log = node.process.log();
    ensure!(log.matches("address vanished").count() == 1, "it is warned of once: {log}");
    ensure!(log.matches("VIP withdrawn").count() == 5, "it is not announced while it is missing: {log}");
    lab.until("the end of it to be told", SOON, || {
        let log = node.process.log();
        ensure!(log.contains("address stays again") && log.contains("losses=5"), "{log}");
        Ok(())
    })?;
    Ok(())
}

/// Two nodes share a VIP and a client sends a datagram a millisecond. One node is told to stop: the router has moved
/// every flow before the address goes.
fn stopped_node(lab: &Lab) -> Result<()> {
    let (tor, client) = (lab.host("tor")?, lab.host("client")?);
    lab.link(&tor, &client, Subnet::dual(9))?;
    client.route(&["default", "via", "10.0.9.1"])?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let mut nodes = Vec::new();
    for (name, number) in [("edge-a", 1_u8), ("edge-b", 2)] {
        let edge = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::dual(number))?;
        edge.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        router = router.neighbor(Neighbor::new(link.v4(&edge)?, 65000 + u32::from(number)));
        let service = EchoServer::start(&edge, name, "[::]:7".parse()?, Some("[::]:8081".parse()?))?;
        let services = format!("  a: {{vips: [{A}], checks: [a]}}\n");
        let text = config(&services)
            .replace("local_as: 65001", &format!("local_as: {}", 65000 + u32::from(number)))
            .replace(TOR, &link.v4(&tor)?.to_string());
        nodes.push((Node::start(lab, &edge, &text)?, service, edge));
    }
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    lab.until("two next hops", SOON, || {
        let routes = router.host().routes(format!("{A}/32").parse()?)?;
        ensure!(routes.iter().any(|route| route.next_hops.len() == 2), "{routes:?}");
        Ok(())
    })?;
    let client = Client::start(&client, format!("{A}:7").parse()?)?;
    client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
    let (node, _service, edge) = &nodes[0];
    let stopped = SystemTime::now();
    node.process.kill(Signal::SIGTERM)?;
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.success(), "vipcast ended with {status}");
    ensure!(address(edge, A.parse()?)?.is_none(), "the address was left behind");
    let gone = SystemTime::now();
    holds("the survivor to carry it all", Duration::from_millis(300), || Ok(()))?;
    let report = client.stop()?;
    println!("one of two nodes stopped with SIGTERM: {}", report.since(stopped).summary());
    ensure!(report.lost() == 0, "{}", report.summary());
    ensure!(report.since(gone).per_server().keys().eq(["edge-b"]), "{:?}", report.per_server());
    Ok(())
}

fn crash(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    // B was there before us, and is a VIP too.
    site.edge.add_address("lo", format!("{B}/32").parse()?)?;
    let mut node = Node::start(lab, &site.edge, &two_services())?;
    site.wait_route(A, true, SOON)?;
    site.wait_route(B, true, SOON)?;
    ensure!(node.address(A.parse()?)? == Some(true), "A is ours");
    ensure!(node.address(B.parse()?)? == Some(false), "B is not ours");

    let killed = Instant::now();
    node.process.kill(Signal::SIGKILL)?;
    // The hold time is 9 s; the kernel closes the session at once.
    site.wait_route(A, false, Duration::from_secs(5))?;
    println!("kill -9: the router has no route any more after {:?}", killed.elapsed());
    ensure!(node.address(A.parse()?)? == Some(true), "it has just crashed");

    // The successor finds both, and announces both.
    node.process.wait_exit(SOON)?;
    node.start_again()?;
    site.wait_route(A, true, SOON)?;
    site.wait_route(B, true, SOON)?;
    ensure!(node.process.log().contains("address of an earlier run found"), "{}", node.process.log());

    // It crashes again, and A and B are configured no longer: A is removed, B stays.
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    node.write_config(lab, &config("  c: {vips: [192.0.2.30], checks: [a]}\n"))?;
    node.start_again()?;
    site.wait_route("192.0.2.30", true, SOON)?;
    lab.until("the address that is configured no longer to go", SOON, || {
        let left = node.address(A.parse()?)?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })?;
    ensure!(!site.has_route(A)? && !site.has_route(B)?, "announced although not configured");
    node.process.kill(Signal::SIGTERM)?;
    node.process.wait_exit(SOON)?;
    ensure!(node.address("192.0.2.30".parse()?)?.is_none(), "left behind");
    ensure!(node.address(B.parse()?)? == Some(false), "B was there before us and must survive everything");
    Ok(())
}

fn failing_service(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = Node::start(lab, &site.edge, &two_services())?;
    site.wait_route(A, true, SOON)?;
    site.wait_route(B, true, SOON)?;
    let (updates, since) = (site.settled_updates(lab, &node)?, node.explain(B.parse()?)?.vip.since_ms);
    for _round in 0..3 {
        site.a.set_health(Health::Bad)?;
        site.wait_route(A, false, SOON)?;
        ensure!(site.has_route(B)?, "B went with A");
        site.a.set_health(Health::Good)?;
        site.wait_route(A, true, SOON)?;
    }
    // A withdrawal and an announcement of A a round, and nothing of B.
    let sent = site.updates()? - updates;
    ensure!(sent == 6, "{sent} UPDATEs");
    ensure!(node.explain(B.parse()?)?.vip.since_ms > since, "the verdict about B changed");
    Ok(())
}

fn hanging_check(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = Node::start(lab, &site.edge, &two_services())?;
    site.wait_route(A, true, SOON)?;
    site.wait_route(B, true, SOON)?;
    let (updates, since) = (site.settled_updates(lab, &node)?, node.status()?.peers["tor"].since_ms);
    site.a.set_health(Health::Hang)?;
    site.wait_route(A, false, SOON)?;
    let why = node.explain(A.parse()?)?.vip.why.unwrap_or_default();
    ensure!(why == "check a is down: no answer within 200 ms", "{why}");
    // Longer than a hold time, with a check that hangs at every probe.
    holds("B and the session", Duration::from_secs(10), || {
        ensure!(site.has_route(B)?, "B went with A");
        Ok(())
    })?;
    let peer = node.status()?.peers["tor"].clone();
    ensure!(peer.state == SessionState::Established && peer.since_ms > since + 9000, "{peer:?}");
    let sent = site.updates()? - updates;
    ensure!(sent == 1, "{sent} UPDATEs, and not one withdrawal");
    let descriptors = |node: &Node| -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", node.process.pid())).context("no /proc")?.count())
    };
    let before = descriptors(&node)?;
    holds("descriptors not to pile up", Duration::from_secs(2), || {
        let now = descriptors(&node)?;
        ensure!(now <= before + 2, "{now} after {before}");
        Ok(())
    })?;
    site.a.set_health(Health::Good)?;
    site.wait_route(A, true, SOON)
}

fn reload(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.b.set_health(Health::Bad)?;
    let node = Node::start(lab, &site.edge, &two_services())?;
    site.wait_route(A, true, SOON)?;
    node.wait_verdict(lab, B.parse()?, "withheld", SOON)?;
    lab.until("check b to be down", SOON, || {
        let check = node.status()?.checks["b"].clone();
        ensure!(check.state == CheckState::Down, "{check:?}");
        Ok(())
    })?;
    let updates = site.updates()?;
    let before = node.status()?;

    // Nothing changed: nothing is sent, and a failed check stays failed.
    ensure!(node.cli(&["reload"])?.contains("is in force"), "reload");
    node.hang_up()?;
    lab.until("the second reload to be logged", SOON, || {
        let log = node.process.log();
        ensure!(log.contains("vipcast.yaml is in force"), "{log}");
        Ok(())
    })?;
    holds("B to stay down", Duration::from_secs(1), || {
        let now = node.status()?;
        ensure!(
            now.checks["b"].state == CheckState::Down
                && now.checks["b"].since_ms >= before.checks["b"].since_ms,
            "{now:?}"
        );
        ensure!(!site.has_route(B)?, "a failed check came back as good");
        Ok(())
    })?;
    ensure!(site.updates()? == updates, "UPDATEs were sent although nothing changed");

    // A service more: one UPDATE more, and nothing for A.
    let more = config(&format!(
        "  a: {{vips: [{A}], checks: [a]}}\n  b: {{vips: [{B}], checks: [b]}}\n  c: {{vips: [192.0.2.30], checks: [a]}}\n"
    ));
    node.write_config(lab, &more)?;
    node.hang_up()?;
    site.wait_route("192.0.2.30", true, SOON)?;
    let sent = site.updates()? - updates;
    ensure!(sent == 1, "{sent} UPDATEs for one new VIP");

    // And a service less: it is withdrawn, and its address goes.
    node.write_config(lab, &two_services())?;
    node.hang_up()?;
    site.wait_route("192.0.2.30", false, SOON)?;
    lab.until("its address to go", SOON, || {
        let left = node.address("192.0.2.30".parse()?)?;
        ensure!(left.is_none(), "{left:?}");
        Ok(())
    })?;
    let after = node.status()?.peers["tor"].clone();
    ensure!(
        after.state == SessionState::Established && after.since_ms > before.peers["tor"].since_ms,
        "{after:?}"
    );
    let sent = site.updates()? - updates;
    ensure!(sent == 2, "{sent} UPDATEs for a VIP that came and went");
    Ok(())
}

fn broken_config(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let mut node = Node::start(lab, &site.edge, &two_services())?;
    site.wait_route(A, true, SOON)?;
    let updates = site.updates()?;
    node.write_config(lab, &two_services().replace("checks: [a]", "checks: [aa]"))?;
    let refused = node.cli(&["reload"]).err().context("a broken config was taken")?;
    let refused = format!("{refused:#}");
    ensure!(
        refused.contains("there is no check `aa`") && refused.contains("hint: define it under"),
        "{refused}"
    );
    // A change that only a restart can make is refused whole, too.
    node.write_config(
        lab,
        &format!("listen: {{port: 1179}}\n{}", config("  c: {vips: [192.0.2.30], checks: []}\n")),
    )?;
    let refused = format!("{:#}", node.cli(&["reload"]).err().context("listen was reloaded")?);
    ensure!(refused.contains("a reload cannot change listen"), "{refused}");
    node.hang_up()?;
    holds("everything to stay as it was", Duration::from_secs(1), || {
        ensure!(site.has_route(A)? && site.has_route(B)?, "withdrawn");
        ensure!(site.updates()? == updates, "UPDATEs were sent");
        ensure!(node.address("192.0.2.30".parse()?)?.is_none(), "half-applied");
        Ok(())
    })?;
    // At start it exits with 78.
    node.process.kill(Signal::SIGTERM)?;
    node.process.wait_exit(SOON)?;
    node.write_config(lab, "services: {web: {}}\n")?;
    node.start_again()?;
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.code() == Some(78), "{status}: {}", node.process.log());
    Ok(())
}

fn second_sigterm(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let slow =
        two_services().replace("drain_time: 2s, unbind_delay: 500ms", "drain_time: 10m, unbind_delay: 5m");
    let node = Node::start(lab, &site.edge, &slow)?;
    site.wait_route(A, true, SOON)?;
    node.process.kill(Signal::SIGTERM)?;
    lab.until("GRACEFUL_SHUTDOWN at the router", SOON, || {
        let routes = site.router.routes()?;
        let graceful = routes.values().flatten().all(|path| path.communities.contains("65535:0"));
        ensure!(!routes.is_empty() && graceful, "{routes:?}");
        Ok(())
    })?;
    let second = Instant::now();
    node.process.kill(Signal::SIGTERM)?;
    let status = node.process.wait_exit(SOON)?;
    println!("a second SIGTERM: gone after {:?} instead of 15 minutes", second.elapsed());
    ensure!(status.success(), "vipcast ended with {status}");
    let log = node.process.log();
    ensure!(log.contains("VIP withdrawn"), "{log}");
    site.wait_route(A, false, SOON)?;
    lab.until("the Cease to be understood", SOON, || {
        let notification = site.router.received_notification(EDGE.parse()?)?.context("no Cease")?;
        ensure!((notification.code, notification.subcode) == (6, 2), "{notification:?}");
        Ok(())
    })?;
    ensure!(node.address(A.parse()?)?.is_none(), "the address was left behind");
    Ok(())
}

fn drain_and_lock(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let mut node = Node::start(lab, &site.edge, &two_services())?;
    site.wait_route(A, true, SOON)?;
    node.cli(&["drain", "a", "--reason", "kernel update"])?;
    site.wait_route(A, false, SOON)?;
    ensure!(site.has_route(B)?, "only a was drained");

    let config = lab.directory().join("edge-vipcast.yaml");
    let config = config.to_str().context("path")?;
    let second = site.edge.run([VIPCAST.as_str(), "run", "-c", config]).err().context("two daemons")?;
    let (second, pid) = (format!("{second:#}"), node.process.pid());
    ensure!(
        second.contains(&format!("another vipcast (process {pid}) runs with the state directory")),
        "{second}"
    );

    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    node.start_again()?;
    site.wait_route(B, true, SOON)?;
    let explanation = node.explain(A.parse()?)?;
    let drain = explanation.drain.context("the drain is forgotten")?;
    ensure!(drain.reason.as_deref() == Some("kernel update"), "{drain:?}");
    ensure!(!site.has_route(A)?, "announced although drained");
    node.cli(&["undrain", "--all"])?;
    site.wait_route(A, true, SOON)
}
