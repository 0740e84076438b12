//! Other nodes that announce a VIP: several nodes behind one router that passes its best path on.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{Heard, Whose};
use vipcast_lab::{Lab, Neighbor, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

/// Announced by both nodes of different ASes.
const SHARED: &str = "192.0.2.10";
const SHARED6: &str = "2001:db8::10";
/// Announced by `b` alone, and configured on `a` later.
const LATER: &str = "192.0.2.20";
/// Announced by two nodes of one AS.
const SAME_AS: &str = "192.0.2.30";

pub(crate) fn trials() -> Vec<Trial> {
    let kinds = [RouterKind::Frr, RouterKind::Bird];
    let name = |kind| format!("{kind}::other_nodes_that_announce_a_vip_are_seen");
    kinds.map(|kind| trial(&name(kind), &[kind], move |lab| others(lab, kind))).into()
}

fn config(asn: u32, number: u8, tor: IpAddr, services: &[(&str, &str, &str)]) -> String {
    let mut text = format!(
        "local_as: {asn}\nrouter_id: 10.0.0.{}\npeers: {{tor: {{address: {tor}, peer_as: 65000}}}}\n\
         shutdown: {{drain_time: 200ms, unbind_delay: 100ms}}\nservices:\n",
        10 + number
    );
    for (name, vips, announce) in services {
        text += &format!("  {name}: {{vips: [{vips}], checks: [], announce: {{{announce}}}}}\n");
    }
    text
}

/// Waits until what `node` hears of `vip` passes `check`, and returns the line of `explain` about others.
fn wait_heard(lab: &Lab, node: &Node, vip: &str, check: impl Fn(&[Heard]) -> bool) -> Result<String> {
    let ip: IpAddr = vip.parse()?;
    lab.until(format_args!("{vip} to be heard as it should be"), SOON, || {
        let status = node.status()?;
        let entry = status.vips.iter().find(|entry| entry.vip.ip() == ip);
        let heard = entry.map(|entry| entry.heard.as_slice()).unwrap_or_default();
        ensure!(check(heard), "{heard:?}");
        // In words, without what depends on how wide the terminal is.
        let words = node.cli(&["explain", vip])?;
        Ok(words.lines().find_map(|line| line.strip_prefix("others")).unwrap_or_default().trim().to_owned())
    })
}

/// FRR sends a route back to where it came from, with itself as the next hop.
fn nobody(heard: &[Heard]) -> bool {
    heard.iter().all(|heard| heard.whose != Whose::Anothers)
}

fn others(lab: &Lab, kind: RouterKind) -> Result<()> {
    let tor = lab.host("tor")?;
    let mut router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).transit(true);
    let mut edges = Vec::new();
    for (name, number, asn) in [("edge-a", 1, 65001), ("edge-b", 2, 65002), ("edge-c", 3, 65001)] {
        let edge = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::dual(number))?;
        router = router.neighbor(Neighbor::new(link.v4(&edge)?, asn).both_families());
        edges.push((edge, link.v4(&tor)?, asn, number));
    }
    let router = lab.router(kind, &tor, &router)?;
    let text = |index: usize, services: &[(&str, &str, &str)]| {
        let (_, tor, asn, number) = &edges[index];
        config(*asn, *number, *tor, services)
    };
    let shared = format!("{SHARED}, \"{SHARED6}\"");
    // The router passes on the path that it prefers, which is not that of `a`.
    let of_a = [("web", shared.as_str(), "as_path_prepend: 1"), ("same", SAME_AS, "as_path_prepend: 1")];
    let of_b = [("web", shared.as_str(), "communities: [\"65002:7\"]"), ("later", LATER, "")];
    let a = Node::start(lab, &edges[0].0, &text(0, &of_a))?;
    let b = Node::start(lab, &edges[1].0, &text(1, &of_b))?;
    let c = Node::start(lab, &edges[2].0, &text(2, &[("same", SAME_AS, "")]))?;

    // Of another AS: beyond doubt.
    let next_hop = edges[0].1;
    let said = wait_heard(lab, &a, SHARED, |heard| match heard {
        [one] => {
            one.whose == Whose::Anothers
                && one.peer == "tor"
                && one.as_path == [65000, 65002]
                && one.next_hop == next_hop
                && one.communities == ["65002:7"]
        }
        _ => false,
    })?;
    ensure!(
        said == format!("AS 65002, heard from tor (next hop {next_hop}, AS path 65000 65002)"),
        "{said:?}"
    );
    let is_b = |heard: &[Heard]| matches!(heard, [one] if one.whose == Whose::Anothers && one.origin_as == Some(65002));
    wait_heard(lab, &a, SHARED6, is_b)?;
    // Of our own AS: it may be ourselves.
    let said = wait_heard(lab, &a, SAME_AS, |heard| matches!(heard, [one] if one.whose == Whose::Unclear))?;
    ensure!(
        said.starts_with("our own route reflected, or another node in AS 65001, heard from tor ("),
        "{said:?}"
    );
    // The router prefers that of `b`: what comes back to it from there, if anything, is its own.
    let said = wait_heard(lab, &b, SHARED, nobody)?;
    println!("{kind} tells the node that it prefers: {said:?}");

    // A VIP that is new here, and was announced to us long before: the router is asked for it. FRR answers no request on
    // a session with enhanced refresh before its End-of-RIB, and sends none to who does not offer graceful restart; so
    // there it shows with the next change.
    let of_a = [of_a[0], of_a[1], ("later", LATER, "as_path_prepend: 1")];
    let session = a.status()?.peers["tor"].since_ms;
    a.write_config(lab, &text(0, &of_a))?;
    a.hang_up()?;
    if kind == RouterKind::Frr {
        a.wait_verdict(lab, LATER.parse()?, "announced", SOON)?;
        b.cli(&["drain", "later"])?;
        b.wait_verdict(lab, LATER.parse()?, "withheld", SOON)?;
        b.cli(&["undrain", "later"])?;
    }
    wait_heard(lab, &a, LATER, is_b)?;
    ensure!(a.status()?.peers["tor"].since_ms > session, "the session was touched");

    // Gone when it withdraws, and with its session.
    b.cli(&["drain", "web"])?;
    let said = wait_heard(lab, &a, SHARED, nobody)?;
    let come_back = "our own route reflected, or another node in AS 65001, heard from tor";
    ensure!(said == "none seen by our peers" || said.starts_with(come_back), "{said:?}");
    wait_heard(lab, &a, SHARED6, nobody)?;
    wait_heard(lab, &a, LATER, is_b)?;
    b.cli(&["undrain", "web"])?;
    wait_heard(lab, &a, SHARED, is_b)?;
    router.stop()?;
    for vip in [SHARED, SHARED6, LATER, SAME_AS] {
        wait_heard(lab, &a, vip, <[Heard]>::is_empty)?;
    }
    drop(c);
    Ok(())
}
