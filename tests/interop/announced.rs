//! `bind: announced`: the address is on the host only while its service is announced, so of two nodes with the same
//! service only one may have the VIP.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::traffic::Health;
use vipcast_lab::{
    Client, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet,
};

use crate::node::{Node, address};
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
/// Two checks in a row that fail, 100 ms each, what BGP and the router take, and what a busy machine adds.
const IN_TIME: Duration = Duration::from_secs(3);

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::a_vip_that_is_bound_while_announced_is_where_its_service_is_well_and_fails_over";
    vec![trial(name, &[RouterKind::Frr], fail_over)]
}

/// The check asks 127.0.0.1: the VIP may be on the other node.
fn config(tor: IpAddr, number: u32) -> String {
    format!(
        "local_as: {}
peers: {{tor: {{address: {tor}, peer_as: 65000}}}}
checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 200ms, fast_interval: 100ms, timeout: 100ms}}
services:
  web: {{vips: [{VIP}], checks: [web], bind: announced}}
shutdown: {{drain_time: 500ms, unbind_delay: 500ms}}
",
        65000 + number
    )
}

struct Edge {
    host: Host,
    address: IpAddr,
    node: Node,
    service: EchoServer,
}

/// What is on the hosts, and where the router sends the traffic.
struct Site<'a> {
    lab: &'a Lab,
    router: Arc<dyn Router>,
    edges: [Edge; 2],
}

impl Site<'_> {
    /// Waits until the VIP is on exactly these of the two nodes, and the router sends traffic to exactly them.
    fn wait(&self, wanted: [bool; 2]) -> Result<()> {
        self.lab.until(format_args!("the VIP to be on the nodes {wanted:?}"), SOON, || {
            let seen = self.look()?;
            ensure!(seen == (wanted, wanted), "bound {:?}, routed {:?}", seen.0, seen.1);
            Ok(())
        })
    }

    /// Where it is bound and where it is routed to. Nothing is routed to a node that did not have it just before and does not
    /// have it just after.
    fn look(&self) -> Result<([bool; 2], [bool; 2])> {
        let before = self.bound()?;
        let routes = self.router.host().routes(format!("{VIP}/32").parse::<IpNet>()?)?;
        let after = self.bound()?;
        let hops: Vec<IpAddr> =
            routes.iter().flat_map(|route| route.next_hops.iter().filter_map(|hop| hop.gateway)).collect();
        let routed = [0, 1].map(|edge: usize| hops.contains(&self.edges[edge].address));
        for edge in [0, 1] {
            ensure!(
                !routed[edge] || before[edge] || after[edge],
                "routed to node {edge}, where it is not bound"
            );
        }
        Ok((after, routed))
    }

    fn bound(&self) -> Result<[bool; 2]> {
        let [a, b] = &self.edges;
        Ok([address(&a.host, VIP.parse()?)?.is_some(), address(&b.host, VIP.parse()?)?.is_some()])
    }
}

fn fail_over(lab: &Lab) -> Result<()> {
    let (tor, from) = (lab.host("tor")?, lab.host("client")?);
    lab.link(&tor, &from, Subnet::dual(9))?;
    from.route(&["default", "via", "10.0.9.1"])?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let mut edges = Vec::new();
    for (name, number, health) in [("edge-a", 1_u8, Health::Good), ("edge-b", 2, Health::Bad)] {
        let host = lab.host(name)?;
        let link = lab.link(&tor, &host, Subnet::dual(number))?;
        host.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        router = router.neighbor(Neighbor::new(link.v4(&host)?, 65000 + u32::from(number)));
        let service = EchoServer::start(&host, name, "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        service.set_health(health)?;
        let node = Node::start(lab, &host, &config(link.v4(&tor)?, number.into()))?;
        edges.push(Edge { address: link.v4(&host)?, host, node, service });
    }
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let edges = <[Edge; 2]>::try_from(edges).map_err(|_| anyhow::anyhow!("there are two"))?;
    let site = Site { lab, router, edges };
    let [a, b] = &site.edges;
    site.wait([true, false])?;
    let target = format!("{VIP}:7").parse()?;
    let client = Client::start(&from, target)?;
    client.wait_for_servers(&["edge-a"], SOON)?;

    // One recovers and the other fails: nothing is lost, because the first has it before the second loses it.
    b.service.set_health(Health::Good)?;
    site.wait([true, true])?;
    a.service.set_health(Health::Bad)?;
    site.wait([false, true])?;
    client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
    // Drained, and lifted again; the other one is stopped.
    a.service.set_health(Health::Good)?;
    site.wait([true, true])?;
    b.node.cli(&["drain", "web"])?;
    site.wait([true, false])?;
    b.node.cli(&["undrain", "web"])?;
    site.wait([true, true])?;
    let report = client.stop()?;
    println!("moved and drained: {}", report.summary());
    ensure!(report.lost() == 0 && report.sent() > 1_000, "{}", report.summary());
    ensure!(report.per_server().len() == 2, "{}", report.summary());

    // One dies: what is lost is what the check takes to see it.
    let client = Client::start(&from, target)?;
    client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
    let killed = b.service.kill()?;
    site.wait([true, false])?;
    let report = client.stop()?;
    let lasted = report.recovered_after(killed);
    println!("killed: the last datagram was lost after {lasted:?}: {}", report.summary());
    ensure!(report.lost() > 0, "nothing was lost, so nothing was killed: {}", report.summary());
    ensure!(lasted < IN_TIME, "{}", report.summary());

    // The node that has it alone is stopped when the other one is back.
    let _service = EchoServer::start(&b.host, "edge-b", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    site.wait([true, true])?;
    let client = Client::start(&from, target)?;
    client.wait_for_servers(&["edge-a", "edge-b"], SOON)?;
    a.node.process.kill(Signal::SIGTERM)?;
    ensure!(a.node.process.wait_exit(SOON)?.success(), "{}", a.node.process.log());
    site.wait([false, true])?;
    let report = client.stop()?;
    println!("stopped: {}", report.summary());
    ensure!(report.lost() == 0 && report.sent() > 500, "{}", report.summary());
    Ok(())
}
