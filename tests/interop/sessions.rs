//! One node and one router, for every kind of router.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::router::Routes;
use vipcast_lab::{
    EchoServer, Host, Lab, Link, Neighbor, Notification, Path, Router, RouterConfig, RouterKind, Subnet,
};

use crate::node::Node;
use crate::{SOON, trial};

const KINDS: [RouterKind; 4] = [RouterKind::Frr, RouterKind::Bird, RouterKind::GoBgp, RouterKind::OpenBgpd];
const TOR_AS: u32 = 65000;
const EDGE_AS: u32 = 65001;
const VIP4: &str = "192.0.2.10";
const VIP6: &str = "2001:db8::10";
/// What a client of ours sees after a health event; the checks below are polled every 200 ms.
const FAILOVER: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in KINDS {
        let named = |what: &str| format!("{kind}::{what}");
        trials
            .push(trial(&named("life_of_a_vip_over_our_dial"), &[kind], move |lab| life_of_a_vip(lab, kind)));
        trials.push(trial(&named("session_over_ipv6_from_the_routers_dial"), &[kind], move |lab| {
            routers_dial(lab, kind)
        }));
        trials.push(trial(&named("both_dial_at_once_and_end_with_one_session"), &[kind], move |lab| {
            both_dial(lab, kind)
        }));
    }
    trials
}

/// A router `tor` and a host `edge` with a service on it.
struct Rack<'a> {
    lab: &'a Lab,
    tor: Host,
    edge: Host,
    link: Link,
    service: EchoServer,
}

impl<'a> Rack<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        let link = lab.link(&tor, &edge, Subnet::dual(1))?;
        let service = EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        Ok(Self { lab, tor, edge, link, service })
    }

    fn router(&self, kind: RouterKind, neighbor: Neighbor) -> Result<std::sync::Arc<dyn Router>> {
        let config = RouterConfig::new(TOR_AS, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor.both_families());
        self.lab.router(kind, &self.tor, &config)
    }

    fn tor4(&self) -> Result<IpAddr> {
        self.link.v4(&self.tor)
    }

    fn edge4(&self) -> Result<IpAddr> {
        self.link.v4(&self.edge)
    }

    /// Both VIPs as they should arrive, with these communities.
    fn wait_for_vips(&self, router: &dyn Router, communities: &[&str]) -> Result<()> {
        self.wait_for_vips_via(router, self.edge4()?, communities)
    }

    /// The same, with this next hop for the IPv4 one.
    fn wait_for_vips_via(&self, router: &dyn Router, next_hop4: IpAddr, communities: &[&str]) -> Result<()> {
        let communities: BTreeSet<String> = communities.iter().map(|c| (*c).to_owned()).collect();
        self.lab.until(format_args!("{} to have both VIPs", router.kind()), SOON, || {
            let routes = router.routes()?;
            for (vip, next_hop) in [(VIP4, next_hop4), (VIP6, self.link.v6(&self.edge)?)] {
                let path = only_path(&routes, vip)?;
                ensure!(path.next_hop == next_hop, "{vip}: next hop {} and not {next_hop}", path.next_hop);
                ensure!(path.as_path == [EDGE_AS, EDGE_AS], "{vip}: AS path {:?}", path.as_path);
                ensure!(path.med == Some(77), "{vip}: MED {:?}", path.med);
                ensure!(path.communities == communities, "{vip}: communities {:?}", path.communities);
                ensure!(path.large_communities.contains("65001:1:2"), "{vip}: {:?}", path.large_communities);
            }
            Ok(())
        })
    }

    fn wait_for_none(&self, router: &dyn Router, timeout: Duration) -> Result<()> {
        self.lab.until(format_args!("{} to have no VIP", router.kind()), timeout, || {
            let routes = router.routes()?;
            ensure!(paths(&routes, VIP4)?.is_empty() && paths(&routes, VIP6)?.is_empty(), "{routes:?}");
            Ok(())
        })
    }
}

fn paths<'a>(routes: &'a Routes, vip: &str) -> Result<&'a [Path]> {
    let prefix = IpNet::from(vip.parse::<IpAddr>()?);
    Ok(routes.get(&prefix).map(Vec::as_slice).unwrap_or_default())
}

fn only_path<'a>(routes: &'a Routes, vip: &str) -> Result<&'a Path> {
    let paths = paths(routes, vip)?;
    ensure!(paths.len() == 1, "{vip}: {paths:?}");
    paths.first().context("no path")
}

fn config(peer: &str) -> String {
    format!(
        "local_as: {EDGE_AS}
router_id: 10.0.0.2
peers:
  tor: {{{peer}}}
checks:
  web:
    http: {{url: \"http://127.0.0.1:8080/healthz\"}}
    interval: 200ms
    fast_interval: 50ms
    timeout: 200ms
services:
  web:
    vips: [{VIP4}, \"{VIP6}\"]
    checks: [web]
    announce:
      communities: [\"65001:100\"]
      large_communities: [\"65001:1:2\"]
      med: 77
      as_path_prepend: 1
shutdown: {{drain_time: 6s, unbind_delay: 200ms}}
"
    )
}

/// We dial. The attributes arrive, the route follows the service down and up, comes back after the router's restart,
/// and leaves with GRACEFUL_SHUTDOWN, a withdrawal and a Cease that says why.
fn life_of_a_vip(lab: &Lab, kind: RouterKind) -> Result<()> {
    let rack = Rack::new(lab)?;
    let router = rack.router(kind, Neighbor::new(rack.edge4()?, EDGE_AS).passive())?;
    let peer = format!("address: {}, peer_as: {TOR_AS}, active: true", rack.tor4()?);
    let node = Node::start(lab, &rack.edge, &config(&peer))?;
    router.wait_established(rack.edge4()?, SOON)?;
    node.wait_established(lab, "tor", SOON)?;
    rack.wait_for_vips(&*router, &["65001:100"])?;

    rack.service.set_health(vipcast_lab::traffic::Health::Bad)?;
    rack.wait_for_none(&*router, FAILOVER)?;
    rack.service.set_health(vipcast_lab::traffic::Health::Good)?;
    rack.wait_for_vips(&*router, &["65001:100"])?;

    router.restart()?;
    router.wait_established(rack.edge4()?, SOON)?;
    rack.wait_for_vips(&*router, &["65001:100"])?;

    node.process.kill(vipcast_lab::Signal::SIGTERM)?;
    rack.wait_for_vips(&*router, &["65001:100", "65535:0"])?;
    rack.wait_for_none(&*router, FAILOVER)?;
    let status = node.process.wait_exit(SOON)?;
    ensure!(status.success(), "vipcast ended with {status}");
    let wanted = Notification { code: 6, subcode: 2, text: Some("vipcast is shutting down".to_owned()) };
    lab.until("the Cease to be understood", SOON, || {
        let notification = router.received_notification(rack.edge4()?)?;
        ensure!(notification.as_ref() == Some(&wanted), "{notification:?}");
        Ok(())
    })?;
    for vip in [VIP4, VIP6] {
        ensure!(node.address(vip.parse()?)?.is_none(), "{vip} was left behind");
    }
    Ok(())
}

/// The router dials over IPv6; the IPv4 VIP travels with the IPv4 address of the same interface, or with our end of the
/// session where the router takes that (RFC 8950), as GoBGP does unasked.
fn routers_dial(lab: &Lab, kind: RouterKind) -> Result<()> {
    let rack = Rack::new(lab)?;
    let (tor6, edge6) = (rack.link.v6(&rack.tor)?, rack.link.v6(&rack.edge)?);
    let peer = format!("address: \"{tor6}\", peer_as: {TOR_AS}, passive: true");
    let _node = Node::start(lab, &rack.edge, &config(&peer))?;
    let router = rack.router(kind, Neighbor::new(edge6, EDGE_AS))?;
    router.wait_established(edge6, SOON)?;
    let next_hop4 = if kind == RouterKind::GoBgp { edge6 } else { rack.edge4()? };
    rack.wait_for_vips_via(&*router, next_hop4, &["65001:100"])
}

/// Both dial, again and again: each time one session remains, and it is the same for both.
fn both_dial(lab: &Lab, kind: RouterKind) -> Result<()> {
    let rack = Rack::new(lab)?;
    let (tor, edge) = (rack.tor4()?, rack.edge4()?);
    let router = rack.router(kind, Neighbor::new(edge, EDGE_AS))?;
    let peer = format!("address: {tor}, peer_as: {TOR_AS}, connect_retry: 200ms");
    let node = Node::start(lab, &rack.edge, &config(&peer))?;
    for _round in 0..3 {
        router.wait_established(edge, SOON)?;
        rack.wait_for_vips(&*router, &["65001:100"])?;
        let sockets = "ss -Htn state established '( sport = :179 or dport = :179 )'";
        lab.until("exactly one connection", SOON, || {
            let connections = rack.edge.run(["sh", "-c", sockets])?;
            ensure!(connections.lines().count() == 1, "{connections}");
            Ok(())
        })?;
        router.clear(edge)?;
    }
    node.wait_established(lab, "tor", SOON)?;
    let before = node.status()?.peers["tor"].since_ms;
    vipcast_lab::wait::holds("the session", Duration::from_secs(4), || {
        let now = node.status()?.peers["tor"].clone();
        ensure!(now.state == SessionState::Established && now.since_ms >= before, "{now:?}");
        Ok(())
    })
}
