//! Upgrades of every kind of session: with TCP MD5, TTL security, over IPv6, between link-local addresses, with IPv6 next hops
//! for IPv4 (RFC 8950), dialled by the router; and many peers. A new connection after the upgrade comes up as
//! well: the listener and its keys are handed over.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use serde_json::Value;
use vipcast_lab::router::Since;
use vipcast_lab::{Capture, Host, Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use super::{Distribution, REPLACEABLE, Upgrade, updates, upgrade};
use crate::addresses::{neighbor, own_link_local, wait_next_hop};
use crate::node::Node;
use crate::transport::password_file;
use crate::{SOON, trial, wait_route};

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";
const PASSWORD: &str = "correct-horse";
const ROUNDS: usize = 5;

/// A session between two addresses.
#[derive(Clone, Copy)]
struct Way {
    kind: RouterKind,
    v6: bool,
    gtsm: bool,
}

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for (name, way) in [
        ("md5_and_gtsm_over_ipv6", Way { kind: RouterKind::Frr, v6: true, gtsm: true }),
        ("md5_and_gtsm_over_ipv4", Way { kind: RouterKind::Bird, v6: false, gtsm: true }),
        ("md5_over_ipv6", Way { kind: RouterKind::GoBgp, v6: true, gtsm: false }),
        ("md5_over_ipv4", Way { kind: RouterKind::OpenBgpd, v6: false, gtsm: false }),
    ] {
        let name = format!("{}::upgrade_of_a_session_with_{name}_that_the_router_dials", way.kind);
        trials.push(trial(&name, &[way.kind], move |lab| protected(lab, way)));
    }
    for kind in [RouterKind::Frr, RouterKind::Bird] {
        let name = format!("{kind}::upgrade_of_a_link_local_session_with_ipv6_next_hops");
        trials.push(trial(&name, &[kind], move |lab| link_local(lab, kind)));
    }
    trials.push(trial("frr::upgrade_of_an_unnumbered_session", &[RouterKind::Frr], unnumbered));
    trials.push(trial("bird::upgrade_with_200_peers", &[RouterKind::Bird], many_peers));
    trials
}

fn config(peers: &str, services: &str) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
peer_defaults: {{connect_retry: 500ms}}
peers:
{peers}
services:
  web: {{vips: [{V4}, \"{V6}\"], checks: []}}
{services}shutdown: {{drain_time: 0s, unbind_delay: 0s}}
"
    )
}

/// A few upgrades, after which it is the same process.
fn upgrades(node: &Node) -> Result<Vec<Upgrade>> {
    let pid = node.process.pid();
    let upgrades = (0..ROUNDS).map(|_| upgrade(node)).collect::<Result<Vec<_>>>()?;
    ensure!(node.process.pid() == pid && node.process.is_running(), "the process has ended");
    println!("pause {}", Distribution::new(upgrades.iter().map(|upgrade| upgrade.pause)));
    Ok(upgrades)
}

fn session(host: &Host, interface: &str) -> Result<Capture> {
    host.capture(interface, "tcp port 179")
}

fn protected(lab: &Lab, way: Way) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let of = |host: &Host| if way.v6 { link.v6(host) } else { link.v4(host) };
    let (theirs, ours) = (of(&tor)?, of(&edge)?);
    let file = password_file(&edge, "key", PASSWORD)?;
    let gtsm = if way.gtsm { ", ttl_security: 1" } else { "" };
    let peer = format!(
        "  tor: {{address: \"{theirs}\", peer_as: 65000, passive: true, password_file: {}{gtsm}}}",
        file.display()
    );
    let node = Node::start_by(REPLACEABLE, lab, &edge, &config(&peer, ""))?;
    let neighbor = Neighbor::new(ours, 65001).both_families().password(PASSWORD);
    let neighbor = if way.gtsm { neighbor.ttl_security(1) } else { neighbor };
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router = lab.router(way.kind, &tor, &router)?;
    let up = || -> Result<()> {
        router.wait_established(ours, SOON)?;
        node.wait_established(lab, "tor", SOON)?;
        wait_route(lab, router.as_ref(), V4, true, SOON)?;
        wait_route(lab, router.as_ref(), V6, true, SOON)
    };
    up()?;
    let capture = session(&tor, &link.end(&tor).interface)?;
    let before = router.history(ours)?;
    upgrades(&node)?;
    let after = router.history(ours)?;
    ensure!(after == before, "it was {before:?} and is {after:?}");
    ensure!(updates(&capture)? == 0, "{}", capture.text()?);
    // A new connection, to a listener that has its third process by now, with the keys.
    router.restart()?;
    up()?;
    let before = router.history(ours)?;
    upgrade(&node)?;
    let after = router.history(ours)?;
    ensure!(after == before, "after a new session: it was {before:?} and is {after:?}");
    Ok(())
}

fn link_local(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::none())?;
    let (tor_side, edge_side) = (&link.end(&tor).interface, &link.end(&edge).interface);
    let (tor6, edge6) = (own_link_local(&tor, tor_side)?, own_link_local(&edge, edge_side)?);
    let router =
        RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor(kind, edge6, tor_side));
    let router = lab.router(kind, &tor, &router)?;
    let peer = format!("  tor: {{address: \"{tor6}\", interface: {edge_side}, peer_as: 65000}}");
    let node = Node::start_by(REPLACEABLE, lab, &edge, &config(&peer, ""))?;
    for vip in [V4, V6] {
        wait_next_hop(lab, &*router, vip, Some(edge6))?;
    }
    let capture = tor.capture(tor_side, &format!("tcp port 179 and src host {edge6}"))?;
    let before = router.history(edge6)?;
    upgrades(&node)?;
    let after = router.history(edge6)?;
    ensure!(after == before, "it was {before:?} and is {after:?}");
    ensure!(updates(&capture)? == 0, "{}", capture.text()?);
    for vip in [V4, V6] {
        wait_next_hop(lab, &*router, vip, Some(edge6))?;
    }
    Ok(())
}

/// The peer is known by its link alone.
fn unnumbered(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::none())?;
    let (swp, uplink) = (link.end(&tor).interface.clone(), link.end(&edge).interface.clone());
    let edge6 = own_link_local(&edge, &uplink)?;
    let extra = format!(
        "router bgp 65000\n neighbor {swp} interface remote-as external\n neighbor {swp} timers connect 1\n \
         address-family ipv4 unicast\n  neighbor {swp} activate\n exit-address-family\n \
         address-family ipv6 unicast\n  neighbor {swp} activate\n exit-address-family\nexit"
    );
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).extra(&extra);
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let peer = format!("  tor: {{interface: {uplink}, peer_as: external}}");
    let node = Node::start_by(REPLACEABLE, lab, &edge, &config(&peer, ""))?;
    for vip in [V4, V6] {
        wait_next_hop(lab, &*router, vip, Some(edge6))?;
    }
    let history = || -> Result<Vec<Option<u64>>> {
        let said = router.cli(&format!("show bgp neighbors {swp} json"))?;
        let said: Value = serde_json::from_str(&said)?;
        let said = &said[&swp];
        let counters = [
            &said["connectionsEstablished"],
            &said["connectionsDropped"],
            &said["messageStats"]["updatesRecv"],
        ];
        ensure!(counters[0].is_u64(), "{said}");
        Ok(counters.map(Value::as_u64).into())
    };
    let before = history()?;
    upgrades(&node)?;
    let after = history()?;
    ensure!(after == before, "sessions, their ends, UPDATEs were {before:?} and are {after:?}");
    Ok(())
}

/// Either end has an address for each session.
fn many_peers(lab: &Lab) -> Result<()> {
    const PEERS: u8 = 200;
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let address = |net: u8, number: u8| IpNet::new(IpAddr::from([10, 1, net, number]), 16);
    let addresses = |net: u8| (1..=PEERS).map(|number| Ok(address(net, number)?)).collect::<Result<Vec<_>>>();
    let link = lab.link_addresses((&tor, &addresses(0)?), (&edge, &addresses(1)?))?;
    let (mut sessions, mut peers, mut routes) = (String::new(), String::new(), String::new());
    for number in 1..=PEERS {
        let (theirs, ours) = (address(0, number)?.addr(), address(1, number)?.addr());
        sessions += &format!(
            "protocol bgp p{number} {{ local {theirs} port 179 as 65000; neighbor {ours} as 65001; passive on; hold time 30; \
             connect delay time 0; error wait time 1, 2; ipv4 {{ import all; export none; }}; }}\n"
        );
        peers += &format!("  p{number}: {{address: {theirs}, peer_as: 65000, active: true}}\n");
        routes += &format!("route add {theirs}/32 dev {} src {ours}\n", link.end(&edge).interface);
    }
    // BIRD has one session at a time with an address.
    let routes = edge.write_file("routes", &routes)?;
    edge.run(["ip", "-batch", &routes.to_string_lossy()])?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).without_kernel().extra(&sessions);
    let router = lab.router(RouterKind::Bird, &tor, &router)?;
    let node = Node::start_by(REPLACEABLE, lab, &edge, &config(peers.trim_end(), ""))?;
    // The name of each session, and the time since which it stands.
    let sessions = || -> Result<Vec<(String, Option<Since>)>> {
        let said = router.cli("show protocols")?;
        let lines = said.lines().filter(|line| line.starts_with('p') && line.contains("Established"));
        let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
        let session = |words: Vec<&str>| Some(((*words.first()?).to_owned(), Since::read(words.get(4)?)));
        Ok(words.filter_map(session).collect())
    };
    let counts = || -> Result<Vec<String>> {
        let said = router.cli("show protocols all")?;
        let counts = said.lines().filter(|line| line.contains("Import updates:"));
        Ok(counts.map(str::to_owned).collect())
    };
    let before = lab.until("every session to be up", SOON, || {
        let status = node.status()?;
        let done = status.peers.values().filter(|peer| peer.advertised == 1).count();
        let sessions = sessions()?;
        ensure!(sessions.len() == usize::from(PEERS) && done == sessions.len(), "{done}, {}", sessions.len());
        Ok(sessions)
    })?;
    let counted = lab.until("every route to be there", SOON, || {
        let counts = counts()?;
        let there = counts.iter().filter(|line| line.split_whitespace().nth(2) == Some("1")).count();
        ensure!(there == usize::from(PEERS), "{there}");
        Ok(counts)
    })?;
    upgrades(&node)?;
    let after = sessions()?;
    let others: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    ensure!(
        others.is_empty() && after.len() == before.len(),
        "{} of {}: {others:?}",
        after.len(),
        before.len()
    );
    ensure!(counts()? == counted, "routes came again");
    Ok(())
}
