//! Another routing daemon on the same host, which announces the addresses on `lo`.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "192.0.2.10";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "frr::another_daemon_that_announces_a_withheld_vip_is_noticed",
        &[RouterKind::Frr, RouterKind::Bird],
        exported,
    )]
}

/// BIRD on the host speaks to the router from one address and vipcast from another; the service is down.
fn exported(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let uplink = link.end(&edge).interface.clone();
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let second: IpAddr = Ipv4Addr::new(10, 0, 1, 77).into();
    edge.add_address(&uplink, IpNet::new(second, 24)?)?;
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .transit(true)
        .neighbor(Neighbor::new(edge4, 65002))
        .neighbor(Neighbor::new(second, 65001));
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let bird = edge.write_file(
        "bird.conf",
        &format!(
            "router id 10.0.0.9;\nprotocol device {{ scan time 1; }}\nprotocol direct {{ ipv4; interface \"lo\"; }}\n\
             protocol bgp t {{ local {edge4} as 65002; neighbor {tor4} as 65000; connect retry time 1; \
             ipv4 {{ import none; export all; next hop self; }}; }}\n"
        ),
    )?;
    let mut command = edge.command("bird");
    command.args(["-f", "-c"]).arg(&bird).arg("-s").arg(lab.directory().join("bird.ctl"));
    let _bird = edge.spawn("bird", command)?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: {tor4}, peer_as: 65000, source_address: {second}, active: true}}}}
checks: {{dead: {{file: /nonexistent, interval: 1s}}}}
services: {{web: {{vips: [{VIP}], checks: [dead]}}}}
"
    );
    let node = Node::start(lab, &edge, &config)?;
    node.wait_established(lab, "tor", SOON)?;
    lab.until("the router to have it from BIRD", SOON, || {
        let routes = router.routes()?;
        ensure!(routes.contains_key(&VIP.parse::<IpAddr>()?.into()), "{routes:?}");
        Ok(())
    })?;
    lab.until("the process to be named", SOON, || {
        let warnings = node.status()?.warnings;
        ensure!(warnings.iter().any(|warning| warning.starts_with("bird (process ")), "{warnings:?}");
        Ok(())
    })?;
    let said = "another daemon on this host announces 192.0.2.10, which is withheld here: tor sends a path whose next hop is \
                10.0.1.2, an address of this host";
    lab.until("the path to be noticed", SOON, || {
        let warning = node.explain(VIP.parse()?)?.warning;
        ensure!(warning.as_deref() == Some(said), "{warning:?}");
        Ok(())
    })?;
    let log = node.process.log();
    ensure!(log.matches("announces 192.0.2.10").count() == 1, "{log}");
    ensure!(log.contains("`bind: announced`"), "{log}");
    // Off the host while it is withheld, nobody announces it.
    node.write_config(lab, &config.replace("checks: [dead]", "checks: [dead], bind: announced"))?;
    node.cli(&["reload"])?;
    lab.until("nobody to announce it", Duration::from_secs(60), || {
        ensure!(!router.routes()?.contains_key(&VIP.parse::<IpAddr>()?.into()), "still there");
        ensure!(node.status()?.warnings.is_empty(), "{:?}", node.status()?.warnings);
        Ok(())
    })
}
