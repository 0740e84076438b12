//! Started before the host is ready: addresses, routes and interfaces that come later, and a port that another program has.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::wait::holds;
use vipcast_lab::{Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::addresses::wait_next_hop;
use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("frr::it_starts_before_its_addresses_and_catches_up", &[RouterKind::Frr], addresses_later),
        trial(
            "frr::a_source_address_that_comes_later_is_dialled_from_at_once",
            &[RouterKind::Frr],
            source_later,
        ),
        trial(
            "frr::a_port_of_another_program_is_tried_again_while_routers_are_dialled",
            &[RouterKind::Frr],
            port_taken,
        ),
    ]
}

fn config(peer: &str, more: &str) -> String {
    format!(
        "local_as: 65001\npeers: {{tor: {{{peer}, peer_as: 65000}}}}\nservices: {{web: {{vips: [{VIP}], checks: []}}}}\n{more}\n"
    )
}

/// No address that would tell the router id, and of two addresses to listen at one comes later and one never. The router
/// dials.
fn addresses_later(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let uplink = link.end(&edge).interface.clone();
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    edge.remove_address(&uplink, IpNet::new(edge4, 24)?)?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(Neighbor::new(edge4, 65001));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let listen = format!("listen: {{addresses: [{edge4}, 10.9.9.9]}}");
    let node = Node::start(lab, &edge, &config(&format!("address: {tor4}, passive: true"), &listen))?;
    lab.until("it to say what it waits for", SOON, || {
        let status = node.status()?;
        ensure!(status.router_id.is_none(), "{status:?}");
        ensure!(
            status.warnings.iter().any(|warning| warning.contains("router id is not known")),
            "{status:?}"
        );
        Ok(())
    })?;
    edge.add_address(&uplink, IpNet::new(edge4, 24)?)?;
    wait_next_hop(lab, &*router, VIP, Some(edge4))?;
    let status = node.status()?;
    ensure!(status.warnings.is_empty(), "{status:?}");
    ensure!(status.router_id.map(Into::into) == Some(edge4), "{status:?}");
    Ok(())
}

/// The back-off has grown to half a minute when the address comes; it is not waited for.
fn source_later(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let uplink = link.end(&edge).interface.clone();
    let (tor4, source) = (link.v4(&tor)?, "10.0.1.77".parse()?);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(Ipv4Addr::new(10, 0, 1, 77), 65001).passive());
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let peer = format!("address: {tor4}, source_address: {source}, active: true, connect_retry: 30s");
    let node = Node::start(lab, &edge, &config(&peer, "router_id: 10.0.0.2"))?;
    lab.until("an attempt to fail", SOON, || {
        let error = node.status()?.peers["tor"].last_error.clone().unwrap_or_default();
        ensure!(error.contains("cannot use the source address 10.0.1.77"), "{error}");
        Ok(())
    })?;
    let added = Instant::now();
    edge.add_address(&uplink, IpNet::new(source, 24)?)?;
    wait_next_hop(lab, &*router, VIP, Some(source))?;
    println!("announced {:?} after the source address came, with a back-off of 30 s", added.elapsed());
    ensure!(added.elapsed() < Duration::from_secs(20), "{:?}", added.elapsed());
    Ok(())
}

fn port_taken(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let mut other = edge.command("python3");
    other.args(["-c", "import socket, time\nfor f, a in ((socket.AF_INET, '0.0.0.0'), (socket.AF_INET6, '::')):\n s = socket.socket(f)\n if f == socket.AF_INET6: s.setsockopt(41, 26, 1)\n s.bind((a, 179)); s.listen(); globals()[a] = s\nprint('ready', flush=True)\ntime.sleep(600)"]);
    let other = edge.spawn("other", other)?;
    lab.until("the other program to listen", SOON, || {
        ensure!(other.log().contains("ready"), "{}", other.log());
        Ok(())
    })?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(Neighbor::new(edge4, 65001));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let node = Node::start(lab, &edge, &config(&format!("address: {tor4}"), ""))?;
    wait_next_hop(lab, &*router, VIP, Some(edge4))?;
    let status = node.status()?;
    let deaf = "not listening on 0.0.0.0:179: address already in use";
    ensure!(
        status.warnings.len() == 2 && status.warnings.iter().any(|warning| warning.starts_with(deaf)),
        "{status:?}"
    );
    let log = node.process.log();
    ensure!(log.contains("another program has the port"), "{log}");
    other.kill(vipcast_lab::Signal::SIGKILL)?;
    lab.until("it to listen", SOON, || {
        let status = node.status()?;
        ensure!(status.warnings.is_empty(), "{:?}", status.warnings);
        Ok(())
    })?;
    holds("the session to stay", Duration::from_millis(200), || {
        let status = node.status()?;
        ensure!(status.peers["tor"].state == SessionState::Established, "{status:?}");
        Ok(())
    })?;
    ensure!(edge.run(["ss", "-Hltn", "sport = :179"])?.lines().count() == 2, "not both families");
    Ok(())
}
