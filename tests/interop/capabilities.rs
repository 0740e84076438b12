//! Optional abilities of a session: IPv4 over IPv6 next hops, iBGP, two-octet AS numbers, refresh, weights.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::traffic::ClientOptions;
use vipcast_lab::{Client, EchoServer, Lab, Neighbor, Path, Router, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const VIP4: &str = "192.0.2.10";
const VIP6: &str = "2001:db8::10";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in [RouterKind::Frr, RouterKind::Bird] {
        let name = format!("{kind}::ipv4_vips_over_an_ipv6_next_hop");
        trials.push(trial(&name, &[kind], move |lab| extended_next_hop(lab, kind)));
    }
    for kind in [RouterKind::Frr, RouterKind::Bird, RouterKind::GoBgp, RouterKind::OpenBgpd] {
        let name = format!("{kind}::internal_session_has_local_pref_and_no_as_path");
        trials.push(trial(&name, &[kind], move |lab| internal(lab, kind)));
        // GoBGP keeps what it was sent and never asks again.
        if kind != RouterKind::GoBgp {
            let name = format!("{kind}::a_refresh_is_answered_with_everything");
            trials.push(trial(&name, &[kind], move |lab| refresh(lab, kind)));
        }
    }
    trials.push(trial("bird::two_octet_as_numbers", &[RouterKind::Bird], two_octet_as));
    trials.push(trial("frr::link_bandwidth_splits_traffic_one_to_three", &[RouterKind::Frr], link_bandwidth));
    trials
}

fn config(local_as: u32, peer: &str, announce: &str) -> String {
    format!(
        "local_as: {local_as}
router_id: 10.0.0.2
peers: {{tor: {{{peer}}}}}
services:
  web: {{vips: [{VIP4}, \"{VIP6}\"], checks: [], announce: {{{announce}}}}}
shutdown: {{drain_time: 1s, unbind_delay: 200ms}}
"
    )
}

/// Waits until the router has exactly one path to the VIP, and that path passes `check`.
fn wait_path(lab: &Lab, router: &dyn Router, vip: &str, check: impl Fn(&Path) -> bool) -> Result<()> {
    let vip = IpNet::from(vip.parse::<IpAddr>()?);
    lab.until(format_args!("{} to have {vip} as it should be", router.kind()), SOON, || {
        let routes = router.routes()?;
        let paths = routes.get(&vip).with_context(|| format!("no {vip} among {routes:?}"))?;
        ensure!(paths.len() == 1 && paths.iter().all(&check), "{paths:?}");
        Ok(())
    })
}

/// The link has no IPv4 at all, as in a fabric numbered with IPv6 only.
fn extended_next_hop(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v6(1))?;
    let (tor6, edge6) = (link.v6(&tor)?, link.v6(&edge)?);
    let neighbor = Neighbor::new(edge6, 65001).both_families().extended_nexthop();
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router = lab.router(kind, &tor, &router)?;
    let peer = format!("address: \"{tor6}\", peer_as: 65000");
    let node = Node::start(lab, &edge, &config(65001, &peer, ""))?;
    for vip in [VIP4, VIP6] {
        wait_path(lab, &*router, vip, |path| path.next_hop == edge6)?;
    }
    ensure!(node.status()?.peers["tor"].withheld.is_empty(), "{:?}", node.status()?);
    // Without RFC 8950 there is no next hop for IPv4, and the VIP is withheld with the reason.
    let plain = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(edge6, 65001).both_families());
    router.stop()?;
    let router = lab.router(kind, &tor, &plain)?;
    wait_path(lab, &*router, VIP6, |path| path.next_hop == edge6)?;
    lab.until("the reason to be told", SOON, || {
        let why = node.explain(VIP4.parse()?)?.peers["tor"].why.clone().unwrap_or_default();
        ensure!(why.starts_with("no next hop of this family"), "{why}");
        Ok(())
    })?;
    let vip = IpNet::from(VIP4.parse::<IpAddr>()?);
    ensure!(!router.routes()?.contains_key(&vip), "announced with a wrong next hop");
    Ok(())
}

fn internal(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(edge4, 65000).both_families());
    let router = lab.router(kind, &tor, &router)?;
    let peer = format!("address: {tor4}, peer_as: 65000");
    let _node = Node::start(lab, &edge, &config(65000, &peer, "local_pref: 250, as_path_prepend: 2"))?;
    wait_path(lab, &*router, VIP4, |path| {
        path.as_path.is_empty() && path.local_pref == Some(250) && path.next_hop == edge4
    })?;
    wait_path(lab, &*router, VIP6, |path| path.as_path.is_empty() && path.local_pref == Some(250))
}

fn refresh(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(edge4, 65001).both_families());
    let router = lab.router(kind, &tor, &router)?;
    let peer = format!("address: {tor4}, peer_as: 65000, active: true");
    let node = Node::start(lab, &edge, &config(65001, &peer, ""))?;
    wait_path(lab, &*router, VIP4, |path| path.next_hop == edge4)?;
    wait_path(lab, &*router, VIP6, |_| true)?;
    let before = node.status()?.peers["tor"].clone();
    for _round in 0..3 {
        let sent = node.status()?.peers["tor"].updates_sent;
        router.refresh(edge4)?;
        lab.until("everything to be sent again", SOON, || {
            let now = node.status()?.peers["tor"].updates_sent;
            ensure!(now >= sent + 2, "{now} UPDATEs after {sent}");
            Ok(())
        })?;
    }
    let after = node.status()?.peers["tor"].clone();
    ensure!(after.state == SessionState::Established && after.since_ms > before.since_ms, "{after:?}");
    wait_path(lab, &*router, VIP4, |path| path.next_hop == edge4)?;
    wait_path(lab, &*router, VIP6, |_| true)
}

/// The router knows nothing of four-octet AS numbers, so AS_PATH has two octets each (RFC 6793 §4.2.2). It also refuses a
/// neighbor whose number has four; what such a one is sent is shown by its bytes in the tests of the rib.
fn two_octet_as(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let neighbor = Neighbor::new(edge4, 65001).both_families().extra("enable as4 off;");
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router = lab.router(RouterKind::Bird, &tor, &router)?;
    let peer = format!("address: {tor4}, peer_as: 65000");
    let _node = Node::start(lab, &edge, &config(65001, &peer, "as_path_prepend: 1"))?;
    wait_path(lab, &*router, VIP4, |path| path.as_path == [65001; 2] && path.next_hop == edge4)
}

/// Two nodes announce 1 and 3 Gbit/s: the kernel of the router has their weights, and a client sees them.
fn link_bandwidth(lab: &Lab) -> Result<()> {
    let (tor, client) = (lab.host("tor")?, lab.host("client")?);
    lab.link(&tor, &client, Subnet::dual(9))?;
    client.route(&["default", "via", "10.0.9.1"])?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let mut running = Vec::new();
    for (name, number, rate) in [("edge-a", 1_u8, "1G"), ("edge-b", 2, "3G")] {
        let edge = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::dual(number))?;
        edge.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        let asn = 65000 + u32::from(number);
        router = router.neighbor(Neighbor::new(link.v4(&edge)?, asn));
        let peer = format!("address: {}, peer_as: 65000", link.v4(&tor)?);
        let text = config(asn, &peer, &format!("link_bandwidth: {rate}"))
            .replace("router_id: 10.0.0.2", &format!("router_id: 10.0.0.{}", 10 + number));
        running.push((
            Node::start(lab, &edge, &text)?,
            EchoServer::start(&edge, name, "[::]:7".parse()?, None)?,
            link.v4(&edge)?,
        ));
    }
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let vip: IpNet = format!("{VIP4}/32").parse()?;
    let weights = lab.until("weights in the router's kernel", SOON, || {
        let routes = router.host().routes(vip)?;
        let mut weights: Vec<_> = (routes.iter().flat_map(|route| &route.next_hops))
            .filter_map(|hop| Some((hop.gateway?, hop.weight)))
            .collect();
        weights.sort();
        ensure!(weights.len() == 2, "{routes:?}");
        ensure!(
            weights[1].1 == 3 * weights[0].1 || weights[1].1.abs_diff(3 * weights[0].1) <= 2,
            "{weights:?}"
        );
        Ok(weights)
    })?;
    println!("link bandwidth 1G and 3G: weights in the router's kernel {weights:?}");
    // So many flows that a split which is twice off is no accident: 128 of them are a, with a deviation of 10.
    let options = ClientOptions { source_ports: 512, ..ClientOptions::default() };
    let client = Client::start_with(&client, format!("{VIP4}:7").parse()?, &options)?;
    client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
    vipcast_lab::wait::holds("traffic to flow", Duration::from_secs(3), || Ok(()))?;
    let report = client.stop()?;
    println!("{}", report.summary());
    let counts = report.per_server();
    let (a, b) = (counts["edge-a"], counts["edge-b"]);
    ensure!(b > 2 * a && b < 5 * a, "{a} and {b}");
    Ok(())
}
