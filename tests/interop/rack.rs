//! Two nodes behind one router, and a client that counts its losses.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{Client, EchoServer, Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("frr::two_nodes_share_a_vip_and_one_dies", &[RouterKind::Frr], two_nodes)]
}

fn config(tor: IpAddr, number: u32) -> String {
    format!(
        "local_as: {}
peers:
  tor: {{address: {tor}, peer_as: 65000}}
checks:
  web:
    http: {{url: \"http://127.0.0.1:8080/healthz\"}}
    interval: 1s
    fast_interval: 100ms
    timeout: 500ms
services:
  web: {{vips: [{VIP}], checks: [web]}}
",
        65000 + number
    )
}

fn two_nodes(lab: &Lab) -> Result<()> {
    let (tor, client) = (lab.host("tor")?, lab.host("client")?);
    lab.link(&tor, &client, Subnet::dual(9))?;
    client.route(&["default", "via", "10.0.9.1"])?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let mut nodes = Vec::new();
    let mut next_hops = Vec::new();
    for (name, number) in [("edge-a", 1), ("edge-b", 2)] {
        let edge = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::dual(number))?;
        edge.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        router = router.neighbor(Neighbor::new(link.v4(&edge)?, 65000 + u32::from(number)));
        let service = EchoServer::start(&edge, name, "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        let node = Node::start(lab, &edge, &config(link.v4(&tor)?, u32::from(number)))?;
        next_hops.push(link.v4(&edge)?);
        nodes.push((node, service));
    }
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let vip: IpNet = format!("{VIP}/32").parse()?;
    let hops = |wanted: &[IpAddr]| {
        lab.until(format_args!("the kernel of the router to have the next hops {wanted:?}"), SOON, || {
            let routes = router.host().routes(vip)?;
            let mut hops: Vec<IpAddr> = routes
                .iter()
                .flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway))
                .collect();
            hops.sort();
            ensure!(hops == wanted, "{routes:?}");
            Ok(())
        })
    };
    hops(&next_hops)?;

    let client = Client::start(&client, format!("{VIP}:7").parse()?)?;
    client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
    let (_, service) = &nodes[0];
    let killed = service.kill()?;
    hops(&next_hops[1..])?;
    // Long enough that what the survivor answers is more than what was under way.
    let quiet_since = SystemTime::now();
    vipcast_lab::wait::holds("the survivor to carry it all", Duration::from_millis(500), || Ok(()))?;
    let report = client.stop()?;
    println!("http every 1 s, fall 2, fast_interval 100 ms, one of two services killed:");
    println!("{}", report.summary());
    println!("last datagram lost {:?} after the kill", report.recovered_after(killed));
    let after = report.since(quiet_since);
    ensure!(after.lost() == 0, "still losing: {}", after.summary());
    ensure!(after.per_server().keys().eq(["edge-b"]), "{:?}", after.per_server());
    Ok(())
}
