//! `bind: route`: VIPs and whole prefixes that are local by a route instead of an address.
//!
//! ```text
//!  client ── tor (FRR) ── edge     local routes in the table local: ours carry the protocol 86
//! ```

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::wait::holds;
use vipcast_lab::{
    Client, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet,
};

use crate::node::{Node, address};
use crate::{SOON, trial};

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";
const WIDE4: &str = "198.51.100.0/24";
const WIDE6: &str = "2001:db8:1::/64";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    vec![
        frr("frr::vips_and_whole_prefixes_are_reached_by_local_routes_and_a_stop_leaves_none", reached),
        frr("frr::what_a_crash_leaves_of_local_routes_is_removed_and_nothing_foreign", crashed),
        frr("frr::local_routes_that_are_flushed_are_put_back", flushed),
        frr("frr::a_local_route_of_someone_else_is_used_and_left", foreign),
        frr("frr::addresses_become_local_routes_and_back_by_reload_and_nothing_is_lost", reloaded),
    ]
}

struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    client: Host,
    router: Arc<dyn Router>,
    _service: EchoServer,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge, client) = (lab.host("tor")?, lab.host("edge")?, lab.host("client")?);
        for (host, number) in [(&edge, 1), (&client, 9)] {
            let link = lab.link(&tor, host, Subnet::dual(number))?;
            host.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
            host.route(&["default", "via", &link.v6(&tor)?.to_string()])?;
        }
        // An answer over UDP comes from an address that IPv6 has only as a route: the program or the host must allow it.
        edge.sysctl("net/ipv6/ip_nonlocal_bind", "1")?;
        let neighbor = Neighbor::new("10.0.1.2".parse::<IpAddr>()?, 65001).both_families();
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
        let router = lab.router(RouterKind::Frr, &tor, &router)?;
        let service = EchoServer::start(&edge, "edge", "[::]:7".parse()?, None)?;
        Ok(Self { lab, edge, client, router, _service: service })
    }

    fn start(&self, services: &str) -> Result<Node> {
        Node::start(self.lab, &self.edge, &config(services))
    }

    /// Everything in the table local that the kernel has not made by itself, as `ip` shows it.
    fn routes(&self) -> Result<Vec<String>> {
        let mut all = String::new();
        for family in ["-4", "-6"] {
            all += &self.edge.run(["ip", family, "route", "show", "table", "local"])?;
        }
        let others = all.lines().filter(|line| !line.contains("proto kernel"));
        Ok(others.map(|line| line.trim().replace(" pref medium", "")).collect())
    }

    /// The destinations of those that are ours.
    fn ours(&self) -> Result<Vec<String>> {
        let ours = self.routes()?.into_iter().filter(|line| line.contains("proto 86"));
        Ok(ours.filter_map(|line| line.split(' ').nth(1).map(str::to_owned)).collect())
    }

    fn wait_ours(&self, wanted: &[&str]) -> Result<()> {
        self.lab.until(format_args!("our local routes to be {wanted:?}"), SOON, || {
            let ours = self.ours()?;
            ensure!(ours == wanted, "{ours:?}");
            Ok(())
        })
    }

    /// Waits until the router sends traffic for these to the node, and the client has an answer from each.
    fn wait_reached(&self, targets: &[&str]) -> Result<()> {
        for target in targets {
            let target: IpAddr = target.parse()?;
            self.lab.until(format_args!("{target} to answer"), SOON, || self.client.reaches(target))?;
        }
        Ok(())
    }

    /// Whether the router has a prefix from the node.
    fn has(&self, prefix: &str) -> Result<bool> {
        Ok(self.router.routes()?.contains_key(&prefix.parse()?))
    }

    fn wait_has(&self, prefix: &str, wanted: bool) -> Result<()> {
        self.lab.until(format_args!("the router to have {prefix}: {wanted}"), SOON, || {
            ensure!(self.has(prefix)? == wanted, "not so");
            Ok(())
        })
    }

    fn ip(&self, arguments: &str) -> Result<String> {
        self.edge.run(std::iter::once("ip").chain(arguments.split(' ')))
    }

    fn stop(&self, node: &Node) -> Result<()> {
        node.process.kill(Signal::SIGTERM)?;
        let status = node.process.wait_exit(SOON)?;
        ensure!(status.success(), "{status}: {}", node.process.log());
        Ok(())
    }
}

fn config(services: &str) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {{address: 10.0.1.1, peer_as: 65000}}
services:
{services}
shutdown: {{drain_time: 300ms, unbind_delay: 200ms}}
"
    )
}

fn all_as_routes() -> String {
    format!("  web: {{vips: [{V4}, \"{V6}\", {WIDE4}, \"{WIDE6}\"], checks: [], bind: route}}")
}

fn reached(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = site.start(&all_as_routes())?;
    site.wait_reached(&[V4, V6, "198.51.100.1", "198.51.100.254", "2001:db8:1::1", "2001:db8:1::ffff"])?;
    let expected = [
        format!("local {V4} dev lo proto 86 scope host metric 86"),
        format!("local {WIDE4} dev lo proto 86 scope host metric 86"),
        format!("local {V6} dev lo proto 86 metric 86"),
        format!("local {WIDE6} dev lo proto 86 metric 86"),
    ];
    let routes = site.routes()?;
    ensure!(
        routes.iter().map(|route| route.trim_end_matches(" scope global")).eq(expected.iter()),
        "{routes:?}"
    );
    ensure!(address(&site.edge, V4.parse()?)?.is_none(), "there is an address");
    for target in
        [format!("{V4}:7"), format!("[{V6}]:7"), "198.51.100.77:7".into(), "[2001:db8:1::77]:7".into()]
    {
        let client = Client::start(&site.client, target.parse()?)?;
        client.wait_for_servers(&["edge"], SOON)?;
        let report = client.stop()?;
        ensure!(report.lost() == 0, "{target}: {}", report.summary());
    }
    let said = node.explain(V4.parse()?)?;
    ensure!(said.address == "a local route on lo, by vipcast", "{said:?}");
    let wide = node.cli(&["explain", WIDE4])?;
    ensure!(wide.contains("a local route on lo, by vipcast"), "{wide}");
    site.stop(&node)?;
    let left = site.routes()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What a predecessor that was killed has left, beside what is none of its business.
fn crashed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let foreign = ["203.0.113.1", "203.0.113.0/25"];
    for foreign in foreign {
        site.ip(&format!("route add local {foreign} dev lo table local proto static"))?;
    }
    site.ip("-6 route add local 2001:db8:9::1 dev lo table local")?;
    let before = site.routes()?;
    ensure!(before.len() == 3, "{before:?}");
    let mut node = site.start(&all_as_routes())?;
    site.wait_reached(&[V4, V6, "198.51.100.1", "2001:db8:1::1"])?;
    // Adopted by one that wants the same: not touched.
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    site.wait_ours(&[V4, WIDE4, V6, WIDE6])?;
    node.start_again()?;
    site.wait_reached(&[V4, V6, "198.51.100.1", "2001:db8:1::1"])?;
    let log = node.process.log();
    ensure!(log.contains("local route of an earlier run found"), "{log}");
    ensure!(!log.contains("local route vanished"), "{log}");
    // By one that wants nothing: all of it goes, and nothing else.
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    node.write_config(
        lab,
        "local_as: 65001\nrouter_id: 10.0.0.2\npeers: {tor: {address: 10.0.1.1, peer_as: 65000}}\n",
    )?;
    node.start_again()?;
    site.wait_ours(&[])?;
    let after = site.routes()?;
    ensure!(after == before, "{after:?} instead of {before:?}");
    site.stop(&node)
}

/// Somebody flushes what is ours, in one go and one by one.
fn flushed(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let node = site.start(&all_as_routes())?;
    let all = [V4, WIDE4, V6, WIDE6];
    site.wait_ours(&all)?;
    site.wait_reached(&[V4, "2001:db8:1::1"])?;
    for _ in 0..2 {
        for family in ["-4", "-6"] {
            site.ip(&format!("{family} route flush table local proto 86"))?;
        }
        site.wait_ours(&all)?;
        site.wait_reached(&[V4, V6, "198.51.100.1", "2001:db8:1::1"])?;
    }
    let log = node.process.log();
    for vip in [format!("{V4}/32"), WIDE6.to_owned()] {
        let lost = log.lines().find(|line| line.contains("local route vanished") && line.contains(&vip));
        ensure!(lost.is_some(), "{vip}: {log}");
    }
    // The kernel takes them along without a word when the last address of the interface goes.
    site.ip("address del 127.0.0.1/8 dev lo")?;
    site.lab.until("the routes to be gone or back", SOON, || {
        ensure!(node.process.log().matches("local route vanished").count() > 0, "nothing yet");
        Ok(())
    })?;
    site.wait_ours(&all)?;
    site.wait_reached(&[V4, "198.51.100.1"])?;
    site.stop(&node)?;
    let left = site.routes()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

/// What was there before serves and stays; when its owner takes it away, ours takes its place.
fn foreign(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    site.ip(&format!("route add local {WIDE4} dev lo table local proto static"))?;
    site.ip(&format!("address add {V4}/32 dev lo"))?;
    let before = site.routes()?;
    let node = site.start(&all_as_routes())?;
    site.wait_reached(&[V4, V6, "198.51.100.1", "2001:db8:1::1"])?;
    site.wait_ours(&[V6, WIDE6])?;
    let said = node.explain(V4.parse()?)?;
    ensure!(said.address == "on lo, not by vipcast, which will leave it there", "{said:?}");
    site.ip(&format!("route del local {WIDE4} dev lo table local proto static"))?;
    site.wait_ours(&[WIDE4, V6, WIDE6])?;
    site.wait_reached(&["198.51.100.1"])?;
    // One that comes later stays beside ours.
    site.ip(&format!("route add local {WIDE4} dev lo table local proto static"))?;
    site.ip(&format!("-6 route add local {V6} dev lo table local"))?;
    holds("nothing to be announced anew", Duration::from_millis(300), || {
        ensure!(site.ours()? == [WIDE4, V6, WIDE6], "{:?}", site.routes()?);
        Ok(())
    })?;
    site.stop(&node)?;
    let v6 = site.routes()?.into_iter().filter(|line| line.contains(V6)).count();
    ensure!(v6 == 1 && site.ours()?.is_empty(), "{:?}", site.routes()?);
    ensure!(before.iter().all(|route| site.routes().is_ok_and(|now| now.contains(route))), "{before:?}");
    ensure!(address(&site.edge, V4.parse()?)?.is_some(), "the address of someone else is gone");
    Ok(())
}

/// Make before break: nothing is lost on the way, and nothing is left of what was.
fn reloaded(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let service = |bind: &str| format!("  web: {{vips: [{V4}, \"{V6}\"], checks: [], bind: {bind}}}");
    let node = site.start(&service("always"))?;
    site.wait_reached(&[V4, V6])?;
    let clients =
        [format!("{V4}:7"), format!("[{V6}]:7")].map(|target| Client::start(&site.client, target.parse()?));
    let clients = clients.into_iter().collect::<Result<Vec<_>>>()?;
    for client in &clients {
        client.wait_for_servers(&["edge"], SOON)?;
    }
    for _ in 0..3 {
        node.write_config(lab, &config(&service("route")))?;
        node.cli(&["reload"])?;
        site.wait_ours(&[V4, V6])?;
        lab.until("the addresses to be gone", SOON, || {
            let there: Vec<_> =
                site.edge.addresses()?.into_iter().map(|there| there.address.addr()).collect();
            ensure!(!there.contains(&V4.parse()?) && !there.contains(&V6.parse()?), "{there:?}");
            Ok(())
        })?;
        node.write_config(lab, &config(&service("always")))?;
        node.cli(&["reload"])?;
        site.wait_ours(&[])?;
        for vip in [V4, V6] {
            let there = site.edge.addresses()?;
            ensure!(there.iter().any(|there| there.address.addr().to_string() == vip), "{there:?}");
        }
    }
    for client in clients {
        let report = client.stop()?;
        println!("changed six times: {}", report.summary());
        ensure!(report.lost() == 0 && report.sent() > 100, "{}", report.summary());
    }
    let log = node.process.log();
    ensure!(!log.contains("VIP withdrawn") && !log.contains("vanished"), "{log}");

    // A wider prefix is bound as a route or not at all; it is announced either way.
    let wide = |bind: &str| format!("  web: {{vips: [{WIDE4}], checks: [], bind: {bind}}}");
    node.write_config(lab, &config(&wide("route")))?;
    node.cli(&["reload"])?;
    site.wait_reached(&["198.51.100.1"])?;
    node.write_config(lab, &config(&wide("always")))?;
    node.cli(&["reload"])?;
    site.wait_ours(&[])?;
    site.wait_has(WIDE4, true)?;
    site.wait_has(&format!("{V4}/32"), false)?;
    site.stop(&node)?;
    let left = site.routes()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}
