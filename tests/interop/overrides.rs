//! Operators' overrides at two routers: one in maintenance, a service forced down and up, and a restart between.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::{Reason, VipState};
use vipcast_lab::{EchoServer, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";
const GRACEFUL_SHUTDOWN: &str = "65535:0";

pub(crate) fn trials() -> Vec<Trial> {
    let name = "frr::a_drained_router_loses_its_routes_and_the_other_notices_nothing_also_after_a_restart";
    vec![trial(name, &[RouterKind::Frr], maintenance)]
}

fn config(tors: &[(String, IpAddr)]) -> String {
    let peers: String =
        tors.iter().map(|(name, ip)| format!("  {name}: {{address: {ip}, peer_as: 65000}}\n")).collect();
    format!(
        "local_as: 65001
peers:
{peers}checks:
  web: {{http: {{url: \"http://127.0.0.1:8080/healthz\"}}, interval: 200ms, timeout: 100ms, rise: 1}}
services:
  web: {{vips: [{VIP}], checks: [web]}}
shutdown: {{drain_time: 1s, unbind_delay: 500ms}}
"
    )
}

/// The communities of the VIP at a router; `None`: it has no route.
fn at(router: &Arc<dyn Router>) -> Result<Option<Vec<String>>> {
    let routes = router.routes()?;
    let paths = routes.get(&format!("{VIP}/32").parse::<IpNet>()?);
    Ok(paths.and_then(|paths| paths.first()).map(|path| path.communities.iter().cloned().collect()))
}

fn maintenance(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let (mut tors, mut routers) = (Vec::new(), Vec::new());
    for (name, number) in [("tor-a", 1_u8), ("tor-b", 2)] {
        let tor = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::dual(number))?;
        let config = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, number))
            .neighbor(Neighbor::new(link.v4(&edge)?, 65001));
        routers.push(lab.router(RouterKind::Frr, &tor, &config)?);
        tors.push((name.to_owned(), link.v4(&tor)?));
    }
    let service = EchoServer::start(&edge, "edge", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let mut node = Node::start(lab, &edge, &config(&tors))?;
    let [a, b] = [&routers[0], &routers[1]];
    let wait = |what: &str, wanted: [bool; 2]| {
        lab.until(format_args!("{what}: the VIP to be at the routers {wanted:?}"), SOON, || {
            let seen = [at(a)?.is_some(), at(b)?.is_some()];
            ensure!(seen == wanted, "{seen:?}");
            Ok(())
        })
    };
    wait("at first", [true, true])?;

    // The other router gets no UPDATE while this one is drained, and both sessions stay.
    let before = node.status()?;
    node.cli(&["drain", "--peer", "tor-a", "--reason", "new firmware"])?;
    lab.until("GRACEFUL_SHUTDOWN at the drained router", SOON, || {
        let communities = at(a)?;
        // On a busy machine it may be gone already: then the counters below say that it was sent.
        ensure!(communities.is_none_or(|all| all.contains(&GRACEFUL_SHUTDOWN.to_owned())));
        Ok(())
    })?;
    let waited = node.cli(&["drain", "--peer", "tor-a", "--wait"])?;
    ensure!(waited.contains("1 of 1 VIPs withdrawn from every router"), "{waited}");
    wait("drained", [false, true])?;
    let after = node.status()?;
    let sent = |of: &vipcast::control::api::Status, tor: &str| of.peers[tor].updates_sent;
    ensure!(sent(&after, "tor-b") == sent(&before, "tor-b"), "the other router got an UPDATE");
    ensure!(sent(&after, "tor-a") == sent(&before, "tor-a") + 2, "GRACEFUL_SHUTDOWN, and the withdrawal");
    for (name, tor) in tors.iter().map(|(name, ip)| (name, *ip)).collect::<Vec<_>>() {
        ensure!(after.peers[name].since_ms >= before.peers[name].since_ms, "{name} at {tor} was reset");
    }
    let explanation = node.explain(VIP.parse()?)?;
    let why = explanation.peers["tor-a"].why.clone().unwrap_or_default();
    ensure!(why.starts_with("drained: by ") && why.ends_with("new firmware"), "{why}");
    ensure!(after.vips[0].state == VipState::Announced, "{:?}", after.vips[0]);

    // It survives a restart: the drained router never gets the route, the forced service is never announced.
    node.cli(&["force-down", "web", "--reason", "bad build"])?;
    wait("forced down", [false, false])?;
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    node.start_again()?;
    for tor in ["tor-a", "tor-b"] {
        node.wait_established(lab, tor, SOON)?;
    }
    let status = node.status()?;
    ensure!(status.vips[0].reason == Some(Reason::ForcedDown), "{:?}", status.vips[0]);
    ensure!(status.peers["tor-a"].drain.is_some(), "{:?}", status.peers["tor-a"]);

    // Forced up it is announced although its check fails, and only to the router that is not drained.
    service.kill()?;
    lab.until("the check to fail", SOON, || {
        let status = node.status()?;
        ensure!(status.checks["web"].state.word() == "down", "{:?}", status.checks);
        Ok(())
    })?;
    node.cli(&["force-up", "web"])?;
    wait("forced up", [false, true])?;
    let unforced = node.explain(VIP.parse()?)?.unforced;
    ensure!(unforced.as_ref().is_some_and(|it| it.why.is_some()), "{unforced:?}");
    let waited = node.cli(&["undrain", "--peer", "tor-a", "--wait"])?;
    ensure!(waited.contains("1 of 1 VIPs announced"), "{waited}");
    wait("undrained", [true, true])?;
    node.cli(&["clear", "web"])?;
    wait("cleared", [false, false])
}
