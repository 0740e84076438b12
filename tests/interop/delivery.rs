//! Delivery of our routes to routers: acknowledged, cut off by a small MTU, or not carried; and BGP roles.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::{Verdict, VipState};
use vipcast_lab::{Host, Lab, Link, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const TOR_AS: u32 = 65000;
const EDGE_AS: u32 = 65001;
const VIP4: &str = "192.0.2.10";
const VIP6: &str = "2001:db8::10";

type Test = fn(&Lab) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let frr: [(&str, Test); 3] = [
        ("frr::a_path_that_loses_full_segments_is_named_and_tcp_mss_mends_it", small_mtu),
        ("frr::a_vip_that_no_router_has_is_ready_and_the_log_warns", ready),
        ("frr::a_router_that_gives_us_up_while_we_stand_still_is_not_blamed", stood_still),
    ];
    let mut trials: Vec<Trial> =
        frr.into_iter().map(|(name, test)| trial(name, &[RouterKind::Frr], test)).collect();
    for kind in [RouterKind::Frr, RouterKind::Bird, RouterKind::OpenBgpd] {
        let name = format!("{kind}::a_role_that_the_router_requires_is_named_and_then_it_is_a_customers");
        trials.push(trial(&name, &[kind], move |lab| roles(lab, kind)));
    }
    trials
}

struct Pair {
    tor: Host,
    edge: Host,
    link: Link,
}

impl Pair {
    fn new(lab: &Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        let link = lab.link(&tor, &edge, Subnet::dual(1))?;
        Ok(Self { tor, edge, link })
    }

    fn neighbor(&self) -> Result<Neighbor> {
        Ok(Neighbor::new(self.link.v4(&self.edge)?, EDGE_AS))
    }

    /// The router is the only peer, with these keys besides its address.
    fn config(&self, keys: &str, services: &str) -> Result<String> {
        let tor: IpAddr = self.link.v4(&self.tor)?;
        Ok(format!(
            "local_as: {EDGE_AS}\npeers:\n  tor: {{address: {tor}, peer_as: {TOR_AS}{keys}}}\nservices:\n{services}\n"
        ))
    }
}

fn router(neighbor: Neighbor) -> RouterConfig {
    RouterConfig::new(TOR_AS, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor)
}

/// Waits for a line of the log with all of these words.
fn wait_logged(lab: &Lab, node: &Node, words: &[&str]) -> Result<()> {
    lab.until(format_args!("the log to have {words:?}"), SOON, || {
        let log = node.process.log();
        let found = log.lines().any(|line| words.iter().all(|word| line.contains(word)));
        ensure!(found, "not in {log}");
        Ok(())
    })
}

/// The path carries 1,400 bytes and nobody says so.
fn small_mtu(lab: &Lab) -> Result<()> {
    const VIPS: usize = 900;
    let pair = Pair::new(lab)?;
    let interface = &pair.link.end(&pair.tor).interface;
    pair.tor.nft(&format!(
        "table inet m {{\n chain c {{\n  type filter hook prerouting priority -300;\n  iifname {interface} meta l4proto tcp meta length > 1400 drop\n }}\n}}\n"
    ))?;
    let ours = &pair.link.end(&pair.edge).interface;
    pair.edge.run(["ethtool", "-K", ours, "tso", "off", "gso", "off"])?;
    let router = lab.router(RouterKind::Frr, &pair.tor, &router(pair.neighbor()?))?;
    let vips: Vec<String> = (0..VIPS).map(|n| format!("198.18.{}.{}", n / 250, n % 250 + 1)).collect();
    let communities: Vec<String> = (0..30).map(|n| format!("\"65001:{n}\"")).collect();
    let service = format!(
        "  web: {{vips: [{}], checks: [], announce: {{communities: [{}]}}}}",
        vips.join(", "),
        communities.join(", ")
    );
    let node = Node::start(lab, &pair.edge, &pair.config("", &service)?)?;
    let words = "is the path's MTU smaller?";
    lab.until("the status to name the MTU", SOON, || {
        let status = node.status()?;
        let tor = &status.peers["tor"];
        ensure!(tor.advertised == 0, "{} of {VIPS} are called sent", tor.advertised);
        ensure!(tor.unacknowledged.as_deref().is_some_and(|what| what.ends_with(words)), "{tor:?}");
        ensure!(
            status.vips.iter().all(|vip| vip.state == VipState::Ready && vip.sent_to == 0),
            "{:?}",
            status.vips[0]
        );
        Ok(())
    })?;
    wait_logged(lab, &node, &["nothing of the last", words])?;
    wait_logged(lab, &node, &["session down", "Hold Timer Expired", "hint=", "tcp_mss"])?;

    node.write_config(lab, &pair.config(", tcp_mss: 1200", &service)?)?;
    node.hang_up()?;
    lab.until("everything to arrive", SOON, || {
        let status = node.status()?;
        let tor = &status.peers["tor"];
        ensure!((tor.advertised, &tor.unacknowledged) == (VIPS, &None), "{tor:?}");
        ensure!(router.routes()?.len() == VIPS, "{} routes", router.routes()?.len());
        ensure!(
            status.vips.iter().all(|vip| vip.state == VipState::Announced && vip.not_at.is_empty()),
            "announced"
        );
        Ok(())
    })
}

/// The router has IPv4 alone, and another is not there.
fn ready(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let router = lab.router(RouterKind::Frr, &pair.tor, &router(pair.neighbor()?))?;
    let tor = pair.link.v4(&pair.tor)?;
    let config = format!(
        "local_as: {EDGE_AS}\npeers:\n  tor: {{address: {tor}, peer_as: {TOR_AS}}}\n  gone: {{address: 10.0.1.99, peer_as: {TOR_AS}}}\n\
         services:\n  web: {{vips: [{VIP4}, \"{VIP6}\"], checks: []}}\n"
    );
    let node = Node::start(lab, &pair.edge, &config)?;
    let family = "the peer has not activated this address family";
    lab.until("each VIP to be what it is", SOON, || {
        let status = node.status()?;
        let shown = |vip: &str| {
            let vip = status.vips.iter().find(|entry| entry.vip.ip().to_string() == vip);
            vip.cloned().context("no such VIP")
        };
        let (v4, v6) = (shown(VIP4)?, shown(VIP6)?);
        ensure!(
            (&v4.state, &v4.verdict, v4.sent_to) == (&VipState::Announced, &Verdict::Announced, 1),
            "{v4:?}"
        );
        ensure!(v4.not_at.keys().eq(["gone"]), "{v4:?}");
        ensure!((&v6.state, &v6.verdict, v6.sent_to) == (&VipState::Ready, &Verdict::Announced, 0), "{v6:?}");
        ensure!(v6.not_at.get("tor").is_some_and(|why| why == family), "{v6:?}");
        Ok(())
    })?;
    wait_logged(lab, &node, &["VIP announced", VIP4])?;
    wait_logged(
        lab,
        &node,
        &["WARN", "VIP ready, no router has it: gone: no session; tor: the peer has not", VIP6],
    )?;
    ensure!(!node.process.log().contains(&format!("VIP announced vip={VIP6}")), "it is announced to nobody");
    let said = node.cli(&["explain", VIP6])?;
    ensure!(
        said.contains("is ready to be announced, and at none of 2 peers") && said.contains(family),
        "{said}"
    );
    drop(router);
    Ok(())
}

/// SIGSTOP for longer than the hold time.
fn stood_still(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let router = lab.router(RouterKind::Frr, &pair.tor, &router(pair.neighbor()?.hold_time(3)))?;
    let service = format!("  web: {{vips: [{VIP4}], checks: []}}");
    let node = Node::start(lab, &pair.edge, &pair.config(", hold_time: 3s", &service)?)?;
    router.wait_established(pair.link.v4(&pair.edge)?, SOON)?;
    node.wait_established(lab, "tor", SOON)?;
    node.process.kill(vipcast_lab::Signal::SIGSTOP)?;
    let vip: IpNet = format!("{VIP4}/32").parse()?;
    let gone = lab.until("the router to give us up", SOON, || {
        ensure!(!router.routes()?.contains_key(&vip), "it has the route");
        Ok(())
    });
    node.process.kill(vipcast_lab::Signal::SIGCONT)?;
    gone?;
    wait_logged(lab, &node, &["session down", "vipcast stood still: its KEEPALIVE was"])
}

fn roles(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab)?;
    let edge = pair.link.v4(&pair.edge)?;
    let requires = match kind {
        RouterKind::Frr => format!(" neighbor {edge} local-role provider strict-mode"),
        // It refuses calls for a minute after an error.
        RouterKind::Bird => "local role provider; require roles; error wait time 1, 2;".to_owned(),
        RouterKind::OpenBgpd => "announce policy provider enforce\n".to_owned(),
        RouterKind::GoBgp => anyhow::bail!("GoBGP has no roles"),
    };
    let router = lab.router(kind, &pair.tor, &router(pair.neighbor()?.extra(&requires)))?;
    let service = format!("  web: {{vips: [{VIP4}], checks: []}}");
    let node = Node::start(lab, &pair.edge, &pair.config("", &service)?)?;
    lab.until("the status to name the role", SOON, || {
        let tor = node.status()?.peers["tor"].clone();
        let told = tor.telling_error.as_ref().or(tor.last_error.as_ref()).cloned().unwrap_or_default();
        ensure!(told.ends_with("OPEN Message Error / Role Mismatch"), "{tor:?}");
        ensure!(tor.hint.as_deref().is_some_and(|hint| hint.contains("write `role: customer`")), "{tor:?}");
        Ok(())
    })?;
    node.write_config(lab, &pair.config(", role: customer, require_role: true", &service)?)?;
    node.hang_up()?;
    let vip: IpNet = format!("{VIP4}/32").parse()?;
    lab.until("the router to have the route", SOON, || {
        ensure!(router.routes()?.contains_key(&vip), "{:?}", router.routes()?);
        Ok(())
    })?;
    // Provider and provider do not go together, and we say so.
    node.write_config(lab, &pair.config(", role: provider", &service)?)?;
    node.hang_up()?;
    wait_logged(
        lab,
        &node,
        &[
            "no session",
            "the router is `provider`, which does not go with `role: provider`: write `role: customer`",
        ],
    )
}
