//! Graceful restart (RFC 4724, 8538): the routes that the routers keep while we are away, and those that they drop.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::traffic::Health;
use vipcast_lab::wait::holds;
use vipcast_lab::{
    Client, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Signal, Subnet,
};

use crate::node::Node;
use crate::{SOON, trial};

const V4: &str = "192.0.2.10";
const V6: &str = "2001:db8::10";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in [RouterKind::Frr, RouterKind::Bird, RouterKind::GoBgp, RouterKind::OpenBgpd] {
        let name = format!("{kind}::graceful_restart_loses_nothing");
        trials.push(trial(&name, &[kind], move |lab| restart(lab, kind)));
    }
    for kind in [RouterKind::Frr, RouterKind::Bird] {
        let name = format!("{kind}::graceful_restart_keeps_no_family_that_lost_its_addresses");
        trials.push(trial(&name, &[kind], move |lab| lost_family(lab, kind)));
        let name = format!("{kind}::graceful_restart_keeps_nothing_after_a_goodbye");
        trials.push(trial(&name, &[kind], move |lab| goodbye(lab, kind)));
    }
    let frr = |name, test: fn(&Lab) -> Result<()>| trial(name, &[RouterKind::Frr], test);
    trials.push(frr("frr::graceful_restart_keeps_for_the_restart_time_only", never_back));
    trials.push(frr("frr::graceful_restart_that_would_lose_something_is_refused", refused));
    trials
}

/// A router that helps, and a host with one service whose health can be set.
struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    router: Arc<dyn Router>,
    service: EchoServer,
    edge4: IpAddr,
    tor4: IpAddr,
}

impl<'a> Site<'a> {
    fn new(lab: &'a Lab, kind: RouterKind, helps: bool) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        let link = lab.link(&tor, &edge, Subnet::dual(1))?;
        let (edge4, tor4) = (link.v4(&edge)?, link.v4(&tor)?);
        let mut neighbor = Neighbor::new(edge4, 65001).both_families();
        if helps {
            neighbor = neighbor.graceful_restart();
        }
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
        let router = lab.router(kind, &tor, &router)?;
        let service = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        Ok(Self { lab, edge, router, service, edge4, tor4 })
    }

    /// `rise` decides how long it takes after a restart until the service is declared healthy.
    fn config(&self, rise: u32, restart: &str) -> String {
        format!(
            "local_as: 65001
router_id: 10.0.0.2
peers:
  tor: {{address: {}, peer_as: 65000, graceful_restart: {restart}}}
checks:
  web:
    http: {{url: \"http://127.0.0.1:8080/healthz\"}}
    interval: 100ms
    timeout: 100ms
    rise: {rise}
services:
  web: {{vips: [{V4}, \"{V6}\"], checks: [web]}}
shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
",
            self.tor4
        )
    }

    fn start(&self, rise: u32, restart: &str) -> Result<Node> {
        let node = Node::start(self.lab, &self.edge, &self.config(rise, restart))?;
        self.wait_routes(&[(V4, true), (V6, true)])?;
        Ok(node)
    }

    fn has(&self, vip: &str) -> Result<bool> {
        Ok(self.router.routes()?.contains_key(&IpNet::from(vip.parse::<IpAddr>()?)))
    }

    fn wait_routes(&self, wanted: &[(&str, bool)]) -> Result<()> {
        self.lab.until(format_args!("the router to have {wanted:?}"), SOON, || {
            for (vip, wanted) in wanted {
                ensure!(self.has(vip)? == *wanted, "{vip}: {}", !wanted);
            }
            Ok(())
        })
    }

    fn wait_established(&self) -> Result<()> {
        self.lab.until("the session to be back", SOON, || {
            let state = self.router.state(self.edge4)?;
            ensure!(state.eq_ignore_ascii_case("established"), "{state}");
            Ok(())
        })
    }
}

/// The daemon is replaced while a client sends a datagram a millisecond, and the router's routes are looked at all the
/// time. Health takes a second to settle, so the session is back long before that.
fn restart(lab: &Lab, kind: RouterKind) -> Result<()> {
    let site = Site::new(lab, kind, true)?;
    let node = site.start(10, "{restart_time: 20s}")?;
    let forwards = matches!(kind, RouterKind::Frr | RouterKind::Bird);
    let client = if forwards {
        let client = lab.host("client")?;
        let link = lab.link(site.router.host(), &client, Subnet::dual(9))?;
        client.route(&["default", "via", &link.v4(site.router.host())?.to_string()])?;
        site.edge.route(&["default", "via", &site.tor4.to_string()])?;
        let client = Client::start(&client, format!("{V4}:7").parse()?)?;
        client.wait_for_servers(&["web"], SOON)?;
        Some(client)
    } else {
        None
    };
    let pid = node.process.pid();
    let said = std::thread::scope(|scope| -> Result<String> {
        let restart = scope.spawn(|| node.cli(&["restart", "--graceful"]));
        while !restart.is_finished() {
            for vip in [V4, V6] {
                ensure!(site.has(vip)?, "{vip} is gone from the router\n{}", node.process.log());
            }
        }
        restart.join().unwrap_or_else(|_panic| Err(anyhow::anyhow!("the command panicked")))
    })?;
    println!("{kind}: {}", said.trim());
    ensure!(said.contains("1 of 1 peers established, 2 of 2 VIPs announced"), "{said}");
    ensure!(node.process.pid() == pid && node.process.is_running(), "the process keeps its id");
    let log = node.process.log();
    ensure!(log.matches("BGP speaker started").count() == 2, "{log}");
    ensure!(log.contains("End-of-RIB waits") && log.contains("every VIP is decided"), "{log}");
    let status = node.status()?;
    ensure!(!status.restarting && status.peers["tor"].restart_time == Some(20), "{status:?}");
    holds("the routes to stay", Duration::from_secs(1), || {
        for vip in [V4, V6] {
            ensure!(site.has(vip)?, "{vip} was flushed after End-of-RIB");
        }
        Ok(())
    })?;
    if let Some(client) = client {
        let report = client.stop()?;
        println!("{kind}: {}", report.summary());
        ensure!(report.lost() == 0 && report.sent() > 1_000, "{}", report.summary());
    }
    Ok(())
}

/// While nothing is decided yet, the family whose VIPs are still there is kept, and the other is not.
fn lost_family(lab: &Lab, kind: RouterKind) -> Result<()> {
    let site = Site::new(lab, kind, true)?;
    let mut node = site.start(2, "{restart_time: 30s}")?;
    node.process.kill(Signal::SIGKILL)?;
    node.process.wait_exit(SOON)?;
    holds("the router to keep what it has", Duration::from_millis(300), || {
        ensure!(site.has(V4)? && site.has(V6)?, "a route is gone");
        Ok(())
    })?;
    site.edge.remove_address("lo", format!("{V6}/128").parse()?)?;
    // It takes four seconds and more to be declared healthy.
    node.write_config(lab, &site.config(40, "{restart_time: 30s}"))?;
    node.start_again()?;
    site.wait_established()?;
    site.wait_routes(&[(V6, false)])?;
    let decided = |node: &Node| -> Result<bool> { Ok(!node.status()?.restarting) };
    ensure!(site.has(V4)?, "IPv4 was forwarded all the time, and is gone");
    ensure!(!decided(&node)?, "the test was too slow to see anything");
    site.wait_routes(&[(V4, true), (V6, true)])
}

/// SIGTERM withdraws and ends with a Hard Reset where the router knows of those: nothing is kept.
fn goodbye(lab: &Lab, kind: RouterKind) -> Result<()> {
    let site = Site::new(lab, kind, true)?;
    let node = site.start(2, "true")?;
    node.process.kill(Signal::SIGTERM)?;
    ensure!(node.process.wait_exit(SOON)?.success(), "{}", node.process.log());
    site.wait_routes(&[(V4, false), (V6, false)])?;
    // RFC 8538 came to FRR only, which shows what is inside the Hard Reset.
    if kind == RouterKind::Frr {
        let said = format!("%NOTIFICATION(Hard Reset): received from neighbor {} 6/2", site.edge4);
        ensure!(site.router.log().contains(&said), "not a Hard Reset");
    } else {
        let said = site.router.received_notification(site.edge4)?.map(|said| (said.code, said.subcode));
        ensure!(said == Some((6, 2)), "{said:?}");
    }
    Ok(())
}

/// The price of graceful restart: a node that dies is a hole for the restart time, and no longer.
fn never_back(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, RouterKind::Frr, true)?;
    let node = site.start(2, "{restart_time: 3s}")?;
    let killed = Instant::now();
    node.process.kill(Signal::SIGKILL)?;
    site.wait_routes(&[(V4, false), (V6, false)])?;
    let kept = killed.elapsed();
    println!("kept for {kept:?} with a restart time of 3 s");
    ensure!(kept > Duration::from_millis(2_500) && kept < Duration::from_secs(8), "{kept:?}");
    Ok(())
}

/// Whatever stands in the way is said, and nothing happens.
fn refused(lab: &Lab) -> Result<()> {
    let site = Site::new(lab, RouterKind::Frr, false)?;
    let node = site.start(2, "true")?;
    let refused = |why: &str| -> Result<()> {
        let Err(error) = node.cli(&["restart", "--graceful"]) else { anyhow::bail!("it restarted") };
        ensure!(format!("{error:#}").contains(why), "{error:#}");
        Ok(())
    };
    refused("tor would drop our routes: graceful restart is not negotiated")?;
    site.router.stop()?;
    let neighbor = Neighbor::new(site.edge4, 65001).both_families().graceful_restart();
    let helper = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router = lab.router(RouterKind::Frr, site.router.host(), &helper)?;
    let has = || -> Result<bool> { Ok(router.routes()?.contains_key(&IpNet::from(V4.parse::<IpAddr>()?))) };
    lab.until("the router to have the VIP again", SOON, || {
        ensure!(has()?, "not yet");
        Ok(())
    })?;
    node.write_config(lab, &site.config(2, "sometimes"))?;
    refused("expected `true` or `false`")?;
    ensure!(node.status()?.peers["tor"].state == SessionState::Established, "the session was touched");
    // A service that fails meanwhile is withdrawn by the new process, not kept for ever.
    node.write_config(lab, &site.config(2, "true"))?;
    node.cli(&["restart", "--graceful"])?;
    site.service.set_health(Health::Bad)?;
    lab.until("the failed service to be withdrawn", SOON, || {
        ensure!(!has()?, "still there");
        Ok(())
    })
}
