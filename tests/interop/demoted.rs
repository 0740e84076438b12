//! Demoted nodes: a standby without VRRP, and a service that is slow, or flaps.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::{CheckState, Reason};
use vipcast_lab::{Client, EchoServer, Host, Lab, Neighbor, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<Trial> = [RouterKind::Frr, RouterKind::Bird]
        .into_iter()
        .map(|kind| {
            let name = format!("{kind}::a_standby_takes_over_and_keeps_the_traffic");
            trial(&name, &[kind], move |lab| standby(lab, kind))
        })
        .collect();
    let name = "frr::a_slow_service_is_a_worse_path_and_a_flapping_one_is_held_down";
    trials.push(trial(name, &[RouterKind::Frr], slow));
    trials
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
        service(&self.host, self.name)
    }
}

fn service(host: &Host, name: &str) -> Result<EchoServer> {
    EchoServer::start(host, name, "[::]:7".parse()?, Some("[::]:8080".parse()?))
}

fn standby(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, client) = (lab.host("tor")?, lab.host("client")?);
    lab.link(&tor, &client, Subnet::dual(9))?;
    client.route(&["default", "via", "10.0.9.1"])?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    let (mut edges, mut services) = (Vec::new(), Vec::new());
    for (name, number, rule) in [("active", 1, "preempt: false"), ("standby", 2, "role: standby")] {
        let host = lab.host(name)?;
        let link = lab.link(&tor, &host, Subnet::dual(number))?;
        host.route(&["default", "via", &link.v4(&tor)?.to_string()])?;
        router = router.neighbor(Neighbor::new(link.v4(&host)?, 65001));
        // Before the node: one that has seen its service down is held back, and the other has the traffic.
        services.push(service(&host, name)?);
        let node = Node::start(lab, &host, &config(link.v4(&tor)?, rule))?;
        let address = link.v4(&host)?;
        edges.push(Edge { host, node, address, name });
    }
    let [active, standby] = <[Edge; 2]>::try_from(edges).map_err(|_| anyhow::anyhow!("there are two"))?;
    let [service, _other] =
        <[EchoServer; 2]>::try_from(services).map_err(|_| anyhow::anyhow!("there are two"))?;
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
    lab.until("the standby to have found that it is one", SOON, || {
        let explained = standby.node.explain(address)?.vip;
        ensure!(explained.reason == Some(Reason::Standby) && explained.sent_to == 1, "{explained:?}");
        Ok(())
    })?;

    let client = Client::start(&client, format!("{VIP}:7").parse()?)?;
    client.wait_for_servers(&["active"], SOON)?;
    let killed = service.kill()?;
    carried_by(&standby)?;
    client.wait_for_servers(&["active", "standby"], SOON)?;

    // Back again, and behind the standby.
    let _service = active.service()?;
    lab.until("the active node to be held back", SOON, || {
        let explained = active.node.explain(address)?.vip;
        ensure!(explained.reason == Some(Reason::HeldBack), "{explained:?}");
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
        ensure!(explained.reason == Some(Reason::HeldBack) && explained.sent_to == 1, "{explained:?}");
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

/// A check that is as slow as a file says, and fails when the file says so.
fn slow(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let router =
        RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(Neighbor::new(link.v4(&edge)?, 65001));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let behaviour = edge.write_file("behaviour", "true")?;
    let config = format!(
        "local_as: 65001
peers:
  tor: {{address: {}, peer_as: 65000}}
checks:
  slow:
    exec: {{shell: \". {}\"}}
    interval: 300ms
    fast_interval: 20ms
    latency: {{over: 100ms, for: 2}}
    hold_down: {{first: 1s, most: 1m}}
services:
  web: {{vips: [{VIP}], checks: [slow], warm_up: 500ms}}
",
        link.v4(&tor)?,
        behaviour.display()
    );
    let node = Node::start(lab, &edge, &config)?;
    let (address, vip): (IpAddr, IpNet) = (VIP.parse()?, format!("{VIP}/32").parse()?);
    let path = |wanted: Option<usize>, reason: Option<&str>| {
        lab.until(format_args!("a path of {wanted:?} because of {reason:?}"), SOON, || {
            let routes = router.routes()?;
            let length = routes.get(&vip).and_then(|paths| paths.first()).map(|path| path.as_path.len());
            let explained = node.explain(address)?;
            ensure!(
                length == wanted && explained.vip.reason == reason.map(Reason::from),
                "{routes:?} {explained:?}"
            );
            Ok(explained)
        })
    };
    path(Some(1), None)?;
    edge.write_file("behaviour", "sleep 0.15")?;
    let degraded = path(Some(3), Some("check_degraded"))?;
    let why = degraded.vip.why.unwrap_or_default();
    ensure!(
        why.starts_with("check slow is degraded: latency 1") && why.ends_with(" ms, limit 100 ms"),
        "{why}"
    );
    edge.write_file("behaviour", "true")?;
    path(Some(1), None)?;

    // Down, and well again at once: it is held down for as long as it was told, and then warms up.
    edge.write_file("behaviour", "false")?;
    path(None, Some("check_down"))?;
    edge.write_file("behaviour", "true")?;
    lab.until("the check to be held down", SOON, || {
        let check = &node.explain(address)?.checks["slow"];
        ensure!(
            check.state == CheckState::Rising && check.held_ms.is_some_and(|held| held <= 1000),
            "{check:?}"
        );
        Ok(())
    })?;
    path(Some(3), Some("warming_up"))?;
    path(Some(1), None)?;
    Ok(())
}
