//! Peers whose name or other settings change during a session.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::BfdState;
use vipcast_lab::{Bfd, Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::addresses::wait_next_hop;
use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("frr::a_renamed_peer_keeps_its_session_and_its_bfd_session", &[RouterKind::Frr], renamed),
        trial("frr::two_peers_that_change_names_keep_their_sessions", &[RouterKind::Frr], swapped),
    ]
}

fn config(peers: &str, vips: &str) -> String {
    format!(
        "local_as: 65001\nrouter_id: 10.0.0.2\npeers: {{{peers}}}\nservices: {{web: {{vips: [{vips}], checks: []}}}}\n\
         shutdown: {{drain_time: 0s, unbind_delay: 100ms}}\n"
    )
}

/// The name changes, then settings that do not concern the session, and the next hop; the router counts one session.
fn renamed(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let neighbor = Neighbor::new(edge4, 65001).bfd(Bfd::new(100, 3));
    let router = lab.router(
        RouterKind::Frr,
        &tor,
        &RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor),
    )?;
    let peer = format!("address: {tor4}, peer_as: 65000, bfd: {{interval: 100ms, multiplier: 3}}");
    let node = Node::start(lab, &edge, &config(&format!("old: {{{peer}}}"), VIP))?;
    node.wait_established(lab, "old", SOON)?;
    wait_next_hop(lab, &*router, VIP, Some(edge4))?;
    lab.until("BFD to be up", SOON, || {
        let bfd = node.status()?.peers["old"].bfd.clone().context("no BFD")?;
        ensure!(bfd.state == BfdState::Up, "{bfd:?}");
        Ok(())
    })?;
    let established = || -> Result<String> {
        let said = router.cli(&format!("show bgp neighbors {edge4} json"))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let neighbor = &said[edge4.to_string()];
        // FRR makes the time of the beginning out of the age, so that it may be off by one; a new session is counted.
        ensure!(neighbor["bgpState"] == "Established", "{neighbor}");
        Ok(neighbor["connectionsEstablished"].to_string())
    };
    let before = established()?;
    // With a VIP that comes, so that the reload is seen at the router.
    node.write_config(lab, &config(&format!("new: {{{peer}}}"), "192.0.2.10, 192.0.2.11"))?;
    node.cli(&["reload"])?;
    wait_next_hop(lab, &*router, "192.0.2.11", Some(edge4))?;
    let status = node.status()?;
    ensure!(status.peers.keys().eq(["new"]), "{status:?}");
    let bfd = status.peers["new"].bfd.clone().context("no BFD")?;
    ensure!(bfd.state == BfdState::Up && bfd.downs == 0, "{bfd:?}");
    ensure!(established()? == before, "{before} became {}", established()?);
    // A VIP that goes is withdrawn and unbound under the new name as well.
    let tuned = format!("{peer}, active: true, connect_retry: 5s, next_hop: 10.0.1.99");
    node.write_config(lab, &config(&format!("new: {{{tuned}}}"), VIP))?;
    node.cli(&["reload"])?;
    wait_next_hop(lab, &*router, "192.0.2.11", None)?;
    wait_next_hop(lab, &*router, VIP, Some("10.0.1.99".parse()?))?;
    lab.until("the VIP to be unbound", Duration::from_secs(10), || {
        ensure!(node.address("192.0.2.11".parse()?)?.is_none(), "still there");
        Ok(())
    })?;
    ensure!(established()? == before, "{before} became {}", established()?);
    let bfd = node.status()?.peers["new"].bfd.clone().context("no BFD")?;
    ensure!(bfd.state == BfdState::Up && bfd.downs == 0, "{bfd:?}");
    Ok(())
}

fn swapped(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let mut tors = Vec::new();
    for (name, number) in [("tor-a", 1), ("tor-b", 2)] {
        let tor = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::v4(number))?;
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 9, number))
            .neighbor(Neighbor::new(link.v4(&edge)?, 65001));
        tors.push((lab.router(RouterKind::Frr, &tor, &router)?, link.v4(&tor)?, link.v4(&edge)?));
    }
    let peers = |a: usize, b: usize| {
        format!(
            "a: {{address: {}, peer_as: 65000}}, b: {{address: {}, peer_as: 65000}}",
            tors[a].1, tors[b].1
        )
    };
    let node = Node::start(lab, &edge, &config(&peers(0, 1), VIP))?;
    for (router, _, edge4) in &tors {
        wait_next_hop(lab, &**router, VIP, Some(*edge4))?;
    }
    node.write_config(lab, &config(&peers(1, 0), "192.0.2.11"))?;
    node.cli(&["reload"])?;
    for (router, _, edge4) in &tors {
        wait_next_hop(lab, &**router, "192.0.2.11", Some(*edge4))?;
        wait_next_hop(lab, &**router, VIP, None)?;
    }
    let status = node.status()?;
    ensure!(
        status.peers["a"].address == Some(tors[1].1) && status.peers["b"].address == Some(tors[0].1),
        "{status:?}"
    );
    let log = node.process.log();
    ensure!(log.matches("session established").count() == 2, "a session was lost: {log}");
    lab.until("the VIP to be unbound", SOON, || {
        ensure!(node.address(VIP.parse()?)?.is_none(), "still there");
        Ok(())
    })
}
