//! Routers that are known by their link: FRR's `neighbor … interface remote-as external`.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::{Lab, RouterConfig, RouterKind, Subnet};

use crate::addresses::{own_link_local, wait_next_hop};
use crate::node::Node;
use crate::{SOON, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "frr::routers_and_hosts_find_each_other_on_a_link_without_addresses",
        &[RouterKind::Frr],
        unnumbered,
    )]
}

/// No address on the link but those that the kernel makes. Then the router's address changes.
fn unnumbered(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::none())?;
    let (swp, uplink) = (link.end(&tor).interface.clone(), link.end(&edge).interface.clone());
    let edge6 = own_link_local(&edge, &uplink)?;
    let extra = format!(
        "router bgp 65000\n neighbor {swp} interface remote-as external\n neighbor {swp} timers 1 3\n neighbor {swp} timers connect 1\n \
         address-family ipv4 unicast\n  neighbor {swp} activate\n exit-address-family\n \
         address-family ipv6 unicast\n  neighbor {swp} activate\n exit-address-family\nexit"
    );
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).extra(&extra);
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{interface: {uplink}, peer_as: external}}}}
services: {{web: {{vips: [192.0.2.10, \"2001:db8::10\"], checks: []}}}}
"
    );
    let node = Node::start(lab, &edge, &config)?;
    node.wait_established(lab, "tor", SOON)?;
    for vip in ["192.0.2.10", "2001:db8::10"] {
        wait_next_hop(lab, &*router, vip, Some(edge6))?;
    }
    let status = node.status()?;
    let peer = &status.peers["tor"];
    ensure!(peer.peer_as == Some(65000) && peer.withheld.is_empty(), "{peer:?}");
    ensure!(peer.address == Some(own_link_local(&tor, &swp)?), "{peer:?}");
    // Another router in its place: the old address is gone, and the session with it.
    tor.run(["ip", "-6", "address", "flush", "dev", &swp, "scope", "link"])?;
    tor.add_address(&swp, "fe80::77/64".parse()?)?;
    lab.until("the session to be with the new address", Duration::from_secs(90), || {
        let status = node.status()?;
        let peer = &status.peers["tor"];
        ensure!(
            peer.address == Some("fe80::77".parse()?) && peer.state == SessionState::Established,
            "{peer:?}"
        );
        Ok(())
    })?;
    wait_next_hop(lab, &*router, "192.0.2.10", Some(edge6))
}
