//! The choice of next hops, on a host with many addresses of all kinds.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::{Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::addresses::{next_hop, wait_next_hop};
use crate::node::Node;
use crate::{SOON, trial};

const VIP: &str = "2001:db8::10";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "frr::a_next_hop_is_an_address_that_the_router_reaches_and_that_stays",
            &[RouterKind::Frr],
            chosen,
        ),
        trial("frr::a_session_on_a_vip_has_the_next_hop_of_its_link", &[RouterKind::Frr], session_on_a_vip),
        trial(
            "frr::twenty_thousand_foreign_addresses_cost_no_session",
            &[RouterKind::Frr],
            foreign_addresses,
        ),
    ]
}

/// IPv6 VIPs over a session on IPv4. The addresses of the uplink change under it, and each time the next hop is right, or
/// the VIP is withheld and says why.
fn chosen(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let uplink = link.end(&edge).interface.clone();
    let (tor4, edge4, edge6) = (link.v4(&tor)?, link.v4(&edge)?, link.v6(&edge)?);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(edge4, 65001).both_families());
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    // The VIPs are on the uplink itself, and one of them is before every other address in any order.
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: {tor4}, peer_as: 65000}}}}
services: {{web: {{vips: [\"{VIP}\", \"2001:db8::1\"], checks: [], interface: {uplink}}}}}
shutdown: {{drain_time: 0s, unbind_delay: 0s}}
"
    );
    let node = Node::start(lab, &edge, &config)?;
    wait_next_hop(lab, &*router, VIP, Some(edge6))?;
    let ip = |arguments: &str| {
        let words = format!("ip -6 address {arguments}").replace("UPLINK", &uplink);
        edge.run(words.split_whitespace()).map(drop)
    };
    let withheld = |what: &str| -> Result<()> {
        wait_next_hop(lab, &*router, VIP, None).with_context(|| what.to_owned())?;
        let explained = node.explain(VIP.parse()?)?;
        let why = explained.peers["tor"].why.clone().unwrap_or_default();
        ensure!(
            why == "no next hop of this family on the session's interface; set `next_hop`",
            "{what}: {why}"
        );
        ensure!(explained.vip.sent_to == 0, "{what}: {explained:?}");
        Ok(())
    };
    ip(&format!("del {edge6}/64 dev UPLINK"))?;
    withheld("VIPs only")?;
    ip("add 2001:db8:9::77/128 dev UPLINK nodad")?;
    withheld("somebody's /128")?;
    ip("add fd00:1::99/64 dev UPLINK nodad preferred_lft 0")?;
    wait_next_hop(lab, &*router, VIP, Some("fd00:1::99".parse()?))
        .context("a deprecated one, and no other")?;
    ip(&format!("add {edge6}/64 dev UPLINK nodad"))?;
    wait_next_hop(lab, &*router, VIP, Some(edge6)).context("a good one beside a deprecated one")?;
    ip("del fd00:1::99/64 dev UPLINK")?;
    ip(&format!("del {edge6}/64 dev UPLINK"))?;
    withheld("the /128 again")?;
    // The router has this one, and duplicate address detection finds out.
    edge.sysctl(&format!("net/ipv6/conf/{uplink}/accept_dad"), "1")?;
    edge.sysctl("net/ipv6/conf/all/accept_dad", "1")?;
    let taken = link.v6(&tor)?;
    ip(&format!("add {taken}/64 dev UPLINK"))?;
    lab.until("the duplicate to be found", SOON, || {
        let shown = edge.run(["ip", "-6", "address", "show", "dev", &uplink])?;
        ensure!(shown.contains("dadfailed"), "{shown}");
        // Neither while it is tested nor afterwards.
        ensure!(next_hop(&*router, VIP)?.is_none(), "announced with an address that is the router's");
        Ok(())
    })?;
    withheld("a duplicate")?;
    let log = node.process.log();
    ensure!(log.matches("session established").count() == 1, "the session was touched: {log}");
    Ok(())
}

/// The router has the VIP for its neighbor. The session comes up, the route does not lead to itself, and the log warns.
fn session_on_a_vip(lab: &Lab) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let (tor4, edge4): (IpAddr, IpAddr) = (link.v4(&tor)?, link.v4(&edge)?);
    let vip: IpAddr = Ipv4Addr::new(192, 0, 2, 10).into();
    tor.route(&["192.0.2.10/32", "via", &edge4.to_string()])?;
    let neighbor = Neighbor::new(vip, 65001).multihop(2);
    let router = lab.router(
        RouterKind::Frr,
        &tor,
        &RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor),
    )?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: {tor4}, peer_as: 65000, passive: true, multihop: 2}}}}
services: {{web: {{vips: [{vip}, 192.0.2.11], checks: []}}}}
"
    );
    let node = Node::start(lab, &edge, &config)?;
    node.wait_established(lab, "tor", SOON)?;
    for vip in ["192.0.2.10", "192.0.2.11"] {
        wait_next_hop(lab, &*router, vip, Some(edge4))?;
    }
    let log = node.process.log();
    ensure!(log.contains("our end of the session is a VIP"), "{log}");
    Ok(())
}

/// Containers come and go on a host: 20,000 addresses that are none of ours, in one batch, on the uplink itself. The session
/// with a hold time of 3 s stays, `status` answers, and a death is seen.
fn foreign_addresses(lab: &Lab) -> Result<()> {
    const COUNT: u32 = 20_000;
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let uplink = link.end(&edge).interface.clone();
    let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
    let neighbor = Neighbor::new(edge4, 65001).both_families().hold_time(3);
    let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
    let router = lab.router(RouterKind::Frr, &tor, &router)?;
    let alive = edge.write_file("alive", "yes")?;
    let config = format!(
        "local_as: 65001
router_id: 10.0.0.2
peers: {{tor: {{address: {tor4}, peer_as: 65000, hold_time: 3s}}}}
checks: {{alive: {{file: {}, rise: 1, fall: 1}}}}
services: {{web: {{vips: [192.0.2.10, \"{VIP}\"], checks: [alive]}}}}
",
        alive.display()
    );
    let node = Node::start(lab, &edge, &config)?;
    wait_next_hop(lab, &*router, "192.0.2.10", Some(edge4))?;
    wait_next_hop(lab, &*router, VIP, Some(link.v6(&edge)?))?;
    let mut batch = String::new();
    for number in 0..COUNT {
        let [_, high, middle, low] = number.to_be_bytes();
        let interface = if number % 2 == 0 { "lo" } else { &uplink };
        writeln!(batch, "address add 10.{}.{middle}.{low}/32 dev {interface}", 64 + high)?;
    }
    let add = edge.write_file("add", &batch)?;
    let del = edge.write_file("del", &batch.replace("address add", "address del"))?;
    let (over, mut worst, mut deaths) = (AtomicBool::new(false), Duration::ZERO, Vec::new());
    std::thread::scope(|scope| -> Result<()> {
        let burst = scope.spawn(|| {
            let result = [&add, &del].into_iter().try_for_each(|file| {
                let began = Instant::now();
                let status = edge.command("ip").arg("-batch").arg(file).status()?;
                println!("ip -batch took {:?}", began.elapsed());
                ensure!(status.success(), "ip -batch: {status}");
                Ok(())
            });
            over.store(true, Ordering::Relaxed);
            result
        });
        let vip: IpNet = "192.0.2.10/32".parse()?;
        while !over.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let status = node.status()?;
            worst = worst.max(asked.elapsed());
            ensure!(status.peers["tor"].state == SessionState::Established, "{:?}", status.peers["tor"]);
            let died = Instant::now();
            std::fs::remove_file(&alive)?;
            lab.until("the route to be gone", SOON, || {
                ensure!(!router.routes()?.contains_key(&vip), "still there");
                Ok(())
            })?;
            deaths.push(died.elapsed());
            std::fs::write(&alive, "yes")?;
            wait_next_hop(lab, &*router, "192.0.2.10", Some(edge4))?;
        }
        burst.join().map_err(|_panic| anyhow::anyhow!("the burst panicked"))?
    })?;
    let slowest = deaths.iter().max().copied().unwrap_or_default();
    println!(
        "{COUNT} foreign addresses came and went: `status` took {worst:?} at most; of {} deaths the slowest was seen by the \
         router after {slowest:?}",
        deaths.len()
    );
    ensure!(!deaths.is_empty(), "the burst was over before anything was seen");
    ensure!(worst < Duration::from_secs(2) && slowest < Duration::from_secs(2), "{worst:?}, {slowest:?}");
    let log = node.process.log();
    ensure!(log.matches("session established").count() == 1, "the session was lost: {log}");
    // Whatever was lost meanwhile, the picture is right afterwards.
    wait_next_hop(lab, &*router, VIP, Some(link.v6(&edge)?))
}
