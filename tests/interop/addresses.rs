//! The host's own addresses and its sessions: link-local addresses, addresses that vanish, next hops that change.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::wait::holds;
use vipcast_lab::{Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("frr::two_routers_share_a_link_local_address", &[RouterKind::Frr], shared_link_local),
        trial("frr::a_session_whose_address_is_gone_begins_anew", &[RouterKind::Frr], vanished),
        trial("frr::next_hops_follow_the_interface", &[RouterKind::Frr], next_hops),
    ];
    for kind in [RouterKind::Frr, RouterKind::Bird] {
        let name = format!("{kind}::a_link_local_session_carries_both_families");
        trials.push(trial(&name, &[kind], move |lab| link_local(lab, kind)));
    }
    trials
}

fn config(peers: &str) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
{peers}
services:
  web: {{vips: [{V4}, \"{V6}\"], checks: []}}
shutdown: {{drain_time: 0s, unbind_delay: 0s}}
"
    )
}

/// The next hop that the router has for a VIP; `None`: no path.
pub(crate) fn next_hop(router: &dyn Router, vip: &str) -> Result<Option<IpAddr>> {
    let routes = router.routes()?;
    let paths = routes.get(&IpNet::from(vip.parse::<IpAddr>()?));
    Ok(paths.and_then(|paths| paths.first()).map(|path| path.next_hop))
}

pub(crate) fn wait_next_hop(lab: &Lab, router: &dyn Router, vip: &str, wanted: Option<IpAddr>) -> Result<()> {
    lab.until(format_args!("{vip} to have the next hop {wanted:?}"), SOON, || {
        let found = next_hop(router, vip)?;
        ensure!(found == wanted, "{found:?}");
        Ok(())
    })
}

/// The address that the kernel gave an interface.
pub(crate) fn own_link_local(host: &Host, interface: &str) -> Result<IpAddr> {
    let addresses = host.addresses()?;
    let mut on = addresses.iter().filter(|address| address.interface == interface && address.scope == "link");
    Ok(on.next().with_context(|| format!("no link-local address on {interface}"))?.address.addr())
}

pub(crate) fn neighbor(kind: RouterKind, address: IpAddr, interface: &str) -> Neighbor {
    let neighbor = Neighbor::new(address, 65001).both_families().extended_nexthop();
    match kind {
        RouterKind::Frr => neighbor.extra(&format!(" neighbor {address} interface {interface}")),
        RouterKind::Bird => neighbor.extra(&format!("interface \"{interface}\";")),
        RouterKind::GoBgp | RouterKind::OpenBgpd => neighbor,
    }
}

/// A fabric without any address but those that the kernel makes, with both ends dialling.
fn link_local(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::none())?;
    let (tor_side, edge_side) = (&link.end(&tor).interface, &link.end(&edge).interface);
    let (tor6, edge6) = (own_link_local(&tor, tor_side)?, own_link_local(&edge, edge_side)?);
    let router =
        RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor(kind, edge6, tor_side));
    let router = lab.router(kind, &tor, &router)?;
    let peers = format!("  tor: {{address: \"{tor6}\", interface: {edge_side}, peer_as: 65000}}");
    let node = Node::start(lab, &edge, &config(&peers))?;
    for vip in [V4, V6] {
        wait_next_hop(lab, &*router, vip, Some(edge6))?;
    }
    let status = node.status()?;
    ensure!(status.peers["tor"].withheld.is_empty(), "{status:?}");
    Ok(())
}

/// Every router is fe80::1 on its own link.
fn shared_link_local(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let (mut routers, mut peers) = (Vec::new(), String::new());
    for (number, name) in ["tor-a", "tor-b"].into_iter().enumerate() {
        let tor = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::none())?;
        let (tor_side, edge_side) = (&link.end(&tor).interface, &link.end(&edge).interface);
        tor.add_address(tor_side, "fe80::1/64".parse()?)?;
        let edge6 = own_link_local(&edge, edge_side)?;
        let id = Ipv4Addr::new(10, 0, 9, u8::try_from(number)? + 1);
        let config = RouterConfig::new(65000, id).neighbor(neighbor(RouterKind::Frr, edge6, tor_side));
        routers.push((lab.router(RouterKind::Frr, &tor, &config)?, edge6));
        peers += &format!(
            "  {name}: {{address: \"fe80::1\", interface: {edge_side}, peer_as: 65000, active: true}}\n"
        );
    }
    let node = Node::start(lab, &edge, &config(&peers))?;
    for (router, edge6) in &routers {
        wait_next_hop(lab, &**router, V4, Some(*edge6))?;
        wait_next_hop(lab, &**router, V6, Some(*edge6))?;
    }
    drop(node);
    Ok(())
}

/// The host is renumbered: the old address goes while the new one is there.
fn vanished(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let interface = &link.end(&edge).interface;
    let (tor4, old) = (link.v4(&tor)?, link.v4(&edge)?);
    let new: IpAddr = "10.0.1.22".parse()?;
    let both = |address| Neighbor::new(address, 65001).both_families();
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(both(old)).neighbor(both(new));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let peers = format!("  tor: {{address: {tor4}, peer_as: 65000, active: true}}");
    let node = Node::start(lab, &edge, &config(&peers))?;
    wait_next_hop(lab, &*router, V4, Some(old))?;
    edge.add_address(interface, "10.0.1.22/25".parse()?)?;
    let removed = std::time::Instant::now();
    edge.remove_address(interface, IpNet::new(old, 24)?)?;
    wait_next_hop(lab, &*router, V4, Some(new))?;
    println!("announced from the new address {:?} after the old one was removed", removed.elapsed());
    let log = node.process.log();
    ensure!(log.contains("our own address of the session is gone from this host"), "{log}");
    Ok(())
}

/// IPv6 VIPs over a session on IPv4 have the interface's IPv6 address as next hop. When that goes they are withdrawn,
/// and when there is another one they are back; the session does not notice.
fn next_hops(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let interface = &link.end(&edge).interface;
    let (tor4, edge4, edge6) = (link.v4(&tor)?, link.v4(&edge)?, link.v6(&edge)?);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(edge4, 65001).both_families());
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let peers = format!("  tor: {{address: {tor4}, peer_as: 65000}}");
    let node = Node::start(lab, &edge, &config(&peers))?;
    wait_next_hop(lab, &*router, V6, Some(edge6))?;
    wait_next_hop(lab, &*router, V4, Some(edge4))?;
    edge.remove_address(interface, IpNet::new(edge6, 64)?)?;
    wait_next_hop(lab, &*router, V6, None)?;
    let why = node.explain(V6.parse()?)?.peers["tor"].why.clone().unwrap_or_default();
    ensure!(why.contains("next hop"), "{why}");
    edge.add_address(interface, "fd00:1::66/64".parse()?)?;
    wait_next_hop(lab, &*router, V6, Some("fd00:1::66".parse()?))?;
    holds("IPv4 to be announced all the while", Duration::from_millis(200), || {
        ensure!(next_hop(&*router, V4)? == Some(edge4), "gone");
        Ok(())
    })?;
    let log = node.process.log();
    ensure!(log.matches("session established").count() == 1, "the session was touched: {log}");
    Ok(())
}
