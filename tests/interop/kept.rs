//! The daemon is stopped while the router keeps its routes without a session (graceful restart): a VIP stays bound as
//! long as the router may send traffic to it.
//!
//! ```text
//!  client ── tor (FRR) ──┬── edge     announces the VIP
//!                        └── other    also has the VIP: a kernel route, used when the BGP route is gone
//! ```
//!
//! So a lost datagram was sent to a node that no longer had the VIP.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::wait::holds;
use vipcast_lab::{
    Client, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet,
};

use crate::node::{Node, address};
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
const EDGE: &str = "10.0.1.2";

/// The session ends at once on both sides, with no NOTIFICATION, and no other can begin.
const REFUSED: &str = "table inet cut { chain in { type filter hook input priority 0; tcp flags & rst == rst accept; \
                       tcp sport 179 reject with tcp reset; tcp dport 179 reject with tcp reset; }; }";
/// Nothing of BGP gets through: each side finds out by its own hold timer.
const SILENT: &str = "table inet cut { chain in { type filter hook input priority 0; tcp sport 179 drop; tcp dport 179 drop; }; \
                      chain out { type filter hook output priority 0; tcp sport 179 drop; tcp dport 179 drop; }; }";

pub(crate) fn trials() -> Vec<Trial> {
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    vec![
        frr("frr::a_stop_before_the_session_is_back_keeps_the_vip_until_the_router_was_told", told),
        frr("frr::a_stop_without_a_session_keeps_the_vip_until_the_router_has_dropped_its_route", dropped),
        frr("frr::a_stop_after_a_crash_keeps_the_vip_until_the_router_has_dropped_its_route", after_a_crash),
    ]
}

struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    client: Host,
    router: Arc<dyn Router>,
    _services: [EchoServer; 2],
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        let (other, client) = (lab.host("other")?, lab.host("client")?);
        for (host, number) in [(&edge, 1), (&other, 2), (&client, 9)] {
            let link = lab.link(&tor, host, Subnet::dual(number))?;
            host.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        }
        other.add_address("lo", format!("{VIP}/32").parse()?)?;
        // The high byte of its metric is its distance to zebra, which prefers the one of BGP.
        tor.route(&[&format!("{VIP}/32"), "via", "10.0.2.2", "metric", "4194304000"])?;
        let neighbor = Neighbor::new(EDGE.parse::<IpAddr>()?, 65001).graceful_restart();
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
        let router = lab.router(RouterKind::Frr, &tor, &router)?;
        let service = |host, name| EchoServer::start(host, name, "[::]:7".parse()?, None);
        let services = [service(&edge, "edge")?, service(&other, "other")?];
        Ok(Self { lab, edge, client, router, _services: services })
    }

    fn start(&self, restart_time: &str) -> Result<(Node, Client)> {
        let config = format!(
            "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {{address: 10.0.1.1, peer_as: 65000, hold_time: 3s, graceful_restart: {{restart_time: {restart_time}}}}}
services:
  web: {{vips: [{VIP}], checks: []}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
"
        );
        let node = Node::start(self.lab, &self.edge, &config)?;
        self.lab.until("the router to send traffic to the node", SOON, || {
            ensure!(self.is_routed()?, "not yet");
            Ok(())
        })?;
        node.wait_established(self.lab, "tor", SOON)?;
        let client = Client::start(&self.client, format!("{VIP}:7").parse()?)?;
        client.wait_for_servers(&["edge"], SOON)?;
        Ok((node, client))
    }

    /// Whether the router's kernel sends traffic for the VIP to the node.
    fn is_routed(&self) -> Result<bool> {
        let routes = self.router.host().routes(format!("{VIP}/32").parse::<IpNet>()?)?;
        let edge: IpAddr = EDGE.parse()?;
        Ok(routes.iter().any(|route| route.next_hops.iter().any(|hop| hop.gateway == Some(edge))))
    }

    fn is_bound(&self) -> Result<bool> {
        Ok(address(&self.edge, VIP.parse()?)?.is_some())
    }

    /// Waits until the router keeps the route of a session that has ended.
    fn wait_stale(&self) -> Result<()> {
        self.lab.until("the router to keep a stale route", SOON, || {
            let said = self.router.cli(&format!("show bgp ipv4 unicast {VIP}/32 json"))?;
            let said: serde_json::Value = serde_json::from_str(&said).context("no JSON")?;
            ensure!(said["paths"][0]["stale"] == true, "{said}");
            Ok(())
        })
    }

    fn cut(&self, script: &str) -> Result<()> {
        self.edge.nft(script)
    }

    /// Waits for the end of the daemon. Until the router sends the traffic elsewhere the VIP is bound, and the client loses
    /// nothing. Tells how long the router went on sending, and how long the daemon took.
    fn ends(&self, node: &Node, client: Client, stopped: Instant) -> Result<(Duration, Duration)> {
        let mut rerouted = None;
        self.lab.until("the daemon to end", SOON, || {
            // In this order: it may be unbound between the two.
            let (bound, routed) = (self.is_bound()?, self.is_routed()?);
            if !routed {
                rerouted.get_or_insert_with(|| stopped.elapsed());
            }
            // What is wrong is told at the end, with what it has cost.
            ensure!(!node.process.is_running(), "it runs; the VIP is bound: {bound}, routed: {routed}");
            Ok(())
        })?;
        let took = stopped.elapsed();
        ensure!(!self.is_bound()?, "{VIP} is left on the host");
        client.wait_for_servers(&["edge", "other"], SOON)?;
        let report = client.stop()?;
        println!(
            "the router sent traffic for {rerouted:?}, the daemon ended after {took:?}: {}",
            report.summary()
        );
        ensure!(report.lost() == 0, "{}\n{}", report.summary(), node.process.log());
        ensure!(report.sent() > 1_000, "{}", report.summary());
        let status = node.process.wait_exit(SOON)?;
        ensure!(status.success(), "{status}: {}", node.process.log());
        Ok((rerouted.unwrap_or(took), took))
    }
}

/// The session comes back while the daemon is being stopped: the router is told, and then the address may go.
fn told(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let (node, client) = site.start("60s")?;
    site.cut(REFUSED)?;
    site.wait_stale()?;
    node.process.kill(Signal::SIGTERM)?;
    let stopped = Instant::now();
    // Much longer than a drain takes.
    holds("the VIP to stay bound while the router keeps its route", Duration::from_secs(8), || {
        ensure!(site.is_bound()? && site.is_routed()?, "it is gone: {}", node.process.log());
        ensure!(node.process.is_running(), "it has ended: {}", node.process.log());
        Ok(())
    })?;
    site.cut("delete table inet cut")?;
    site.ends(&node, client, stopped)?;
    Ok(())
}

/// It does not come back. Each side counts from when its own hold timer has found out.
fn dropped(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let (node, client) = site.start("8s")?;
    site.cut(SILENT)?;
    lab.until("the daemon to notice", SOON, || {
        let state = &node.status()?.peers["tor"].state;
        ensure!(*state != SessionState::Established, "{state}");
        Ok(())
    })?;
    node.process.kill(Signal::SIGTERM)?;
    let stopped = Instant::now();
    site.wait_stale()?;
    let (routed, took) = site.ends(&node, client, stopped)?;
    ensure!(routed > Duration::from_secs(5), "the router kept it for {routed:?} only, so nothing was tried");
    ensure!(took < Duration::from_secs(30), "the daemon waited for {took:?}");
    Ok(())
}

/// The daemon was killed and started again; its session is not back.
fn after_a_crash(lab: &Lab) -> Result<()> {
    let site = Site::new(lab)?;
    let (mut node, client) = site.start("10s")?;
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    site.wait_stale()?;
    site.cut(REFUSED)?;
    node.start_again()?;
    node.wait_verdict(lab, VIP.parse()?, "announced", SOON)?;
    node.process.kill(Signal::SIGTERM)?;
    let stopped = Instant::now();
    let (routed, took) = site.ends(&node, client, stopped)?;
    ensure!(routed > Duration::from_secs(3), "the router kept it for {routed:?} only, so nothing was tried");
    ensure!(took < Duration::from_secs(30), "the daemon waited for {took:?}");
    Ok(())
}
