//! An active node and a standby without VRRP: who has the traffic, and when it moves.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{Client, EchoServer, Host, Lab, Neighbor, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    let kinds = [RouterKind::Frr, RouterKind::Bird];
    let names = [
        "frr::a_standby_takes_over_and_keeps_the_traffic",
        "bird::a_standby_takes_over_and_keeps_the_traffic",
    ];
    kinds
        .into_iter()
        .zip(names)
        .map(|(kind, name)| trial(name, &[kind], move |lab| standby(lab, kind)))
        .collect()
}

/// Both nodes are in the same AS, so that only the length of the path decides.
fn config(tor: IpAddr, rule: &str) -> String {
    format!(
        "local_as: 65001
peers:
  tor: {{address: {tor}, peer_as: 65000}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, fast_interval: 100ms}}
services:
  web: {{vips: [{VIP}], checks: [web], {rule}}}
"
    )
}

struct Edge {
    host: Host,
    node: Node,
    address: IpAddr,
    name: &'static str,
}

impl Edge {
    fn service(&self) -> Result<EchoServer> {
        EchoServer::start(&self.host, self.name, "[::]:7".parse()?, Some("[::]:8080".parse()?))
    }
}

fn standby(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, client) = (lab.host("tor")?, lab.host("client")?);
    lab.link(&tor, &client, Subnet::dual(9))?;
    client.route(&["default", "via", "10.0.9.1"])?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let mut edges = Vec::new();
    for (name, number, rule) in [("active", 1, "preempt: false"), ("standby", 2, "role: standby")] {
        let host = lab.host(name)?;
        let link = lab.link(&tor, &host, Subnet::dual(number))?;
        host.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        router = router.neighbor(Neighbor::new(link.v4(&host)?, 65001));
        let node = Node::start(lab, &host, &config(link.v4(&tor)?, rule))?;
        let address = link.v4(&host)?;
        edges.push(Edge { host, node, address, name });
    }
    let [active, standby] = <[Edge; 2]>::try_from(edges).map_err(|_| anyhow::anyhow!("there are two"))?;
    let (service, _other) = (active.service()?, standby.service()?);
    let router = lab.router(kind, &tor, &router)?;
    let vip: IpNet = format!("{VIP}/32").parse()?;
    let carried_by = |edge: &Edge| {
        lab.until(format_args!("the traffic to go to {}", edge.name), SOON, || {
            let routes = router.host().routes(vip)?;
            let hops = routes.iter().flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway));
            let hops: Vec<IpAddr> = hops.collect();
            ensure!(hops == [edge.address], "{routes:?}");
            Ok(())
        })
    };
    carried_by(&active)?;
    let address: IpAddr = VIP.parse()?;
    ensure!(
        standby.node.explain(address)?.vip.reason.as_deref() == Some("standby"),
        "{:?}",
        standby.node.explain(address)?
    );

    let client = Client::start(&client, format!("{VIP}:7").parse()?)?;
    client.wait_for_servers(&["active"], SOON)?;
    let killed = service.kill()?;
    carried_by(&standby)?;
    client.wait_for_servers(&["active", "standby"], SOON)?;

    // Back again, and behind the standby.
    let _service = active.service()?;
    lab.until("the active node to be held back", SOON, || {
        let explained = active.node.explain(address)?.vip;
        ensure!(explained.reason.as_deref() == Some("held_back"), "{explained:?}");
        ensure!(explained.sent_to == 1, "{explained:?}");
        Ok(())
    })?;
    carried_by(&standby)?;
    // The daemon forgets nothing, however it ends.
    let mut active = active;
    active.node.process.kill(Signal::SIGKILL)?;
    active.node.process.wait_exit(SOON)?;
    active.node.start_again()?;
    lab.until("the active node to be held back again", SOON, || {
        let explained = active.node.explain(address)?.vip;
        ensure!(explained.reason.as_deref() == Some("held_back") && explained.sent_to == 1, "{explained:?}");
        Ok(())
    })?;
    carried_by(&standby)?;

    let said = active.node.cli(&["promote", "web"])?;
    ensure!(said.trim() == "web takes over as soon as it is healthy", "{said}");
    carried_by(&active)?;
    let report = client.stop()?;
    println!("{}", report.summary());
    println!("last datagram lost {:?} after the kill", report.recovered_after(killed));
    Ok(())
}
