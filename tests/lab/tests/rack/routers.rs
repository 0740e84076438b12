//! Each kind of router against FRR, and FRR against itself: the routes that one announces arrive unchanged at the
//! other.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::{
    Announcement, Lab, Link, Neighbor, Notification, Path, Router, RouterConfig, RouterKind, Subnet, wait,
};

use crate::{SOON, trial};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in RouterKind::ALL {
        let kinds = [RouterKind::Frr, kind];
        let mut add = |name: &str, test: fn(&Lab, RouterKind) -> Result<()>| {
            let name = format!("{kind}::{name}");
            trials.push(trial(&name, &kinds, move |name| Lab::run(name, |lab| test(lab, kind))));
        };
        add("tells_the_routes_it_receives", tells_routes);
        add("announces_routes_with_attributes", announces);
        add("comes_back_after_it_was_killed", comes_back);
        add("tells_the_shutdown_communication_it_receives", hears_shutdown);
        add("sends_a_shutdown_communication", sends_shutdown);
        add("asks_for_a_refresh_and_clears", refreshes);
        add("signs_with_md5_and_checks_the_ttl", md5_and_gtsm);
        add("waits_for_a_call_when_passive", passive);
        if kind != RouterKind::OpenBgpd {
            add("carries_ipv4_over_an_ipv6_session", extended_next_hop);
        }
        if kind.forwards() {
            add("installs_equal_routes_for_ecmp", ecmp);
        }
    }
    trials
}

/// The one that is tried, and an FRR beside it: `10.0.1.1` (AS 65000) and `10.0.1.2` (AS 65001).
struct Pair {
    tried: Arc<dyn Router>,
    other: Arc<dyn Router>,
    link: Link,
}

const TRIED: u32 = 65000;
const OTHER: u32 = 65001;

/// What is done to both neighbours of each side.
type Tune = fn(Neighbor) -> Neighbor;

impl Pair {
    /// FRR is up and waiting before the other one starts, and only one of them dials. A call that comes while FRR's
    /// peer is still Idle, or crosses one of its own, may get a NOTIFICATION, and each of these makes OpenBGPD wait
    /// twice as long, from 30 s on.
    fn new(lab: &Lab, kind: RouterKind, tune_tried: Tune, tune_other: Tune) -> Result<Self> {
        let (a, b) = (lab.host("tried")?, lab.host("other")?);
        let link = lab.link(&a, &b, Subnet::dual(1))?;
        let announce = |config: RouterConfig, v4: &str, v6: &str| -> Result<RouterConfig> {
            let decorate = |prefix: &str| -> Result<Announcement> {
                Ok(Announcement::new(prefix.parse()?).med(77).community("65001:100").community("65535:0"))
            };
            Ok(config.announce(decorate(v4)?).announce(decorate(v6)?))
        };
        let config = |asn, last, peers: [IpAddr; 2], peer_asn, tune: Tune| {
            let config = RouterConfig::new(asn, Ipv4Addr::new(10, 0, 1, last));
            peers
                .into_iter()
                .fold(config, |config, peer| config.neighbor(tune(Neighbor::new(peer, peer_asn))))
        };
        let tried = config(TRIED, 1, [link.v4(&b)?, link.v6(&b)?], OTHER, tune_tried);
        let other = config(OTHER, 2, [link.v4(&a)?, link.v6(&a)?], TRIED, tune_other);
        let tried = announce(tried, "198.51.100.1/32", "2001:db8:1::1/128")?;
        let other = announce(other, "198.51.100.2/32", "2001:db8:2::1/128")?;
        let other = lab.router(RouterKind::Frr, &b, &other)?;
        for address in [link.v4(&a)?, link.v6(&a)?] {
            wait::until(format!("FRR to wait for {address}"), SOON, || {
                let state = other.state(address)?;
                ensure!(state != "Idle", "{state}");
                Ok(())
            })?;
        }
        Ok(Self { tried: lab.router(kind, &a, &tried)?, other, link })
    }

    /// The addresses of the FRR, seen from the one that is tried.
    fn others(&self) -> Result<[IpAddr; 2]> {
        let host = self.other.host();
        Ok([self.link.v4(host)?, self.link.v6(host)?])
    }

    /// The addresses of the one that is tried, seen from FRR.
    fn trieds(&self) -> Result<[IpAddr; 2]> {
        let host = self.tried.host();
        Ok([self.link.v4(host)?, self.link.v6(host)?])
    }

    fn wait(&self) -> Result<()> {
        self.others()?.into_iter().try_for_each(|address| self.tried.wait_established(address, SOON))?;
        self.trieds()?.into_iter().try_for_each(|address| self.other.wait_established(address, SOON))
    }
}

fn plain(neighbor: Neighbor) -> Neighbor {
    neighbor
}

/// What a router must tell of a route that the other side announced.
fn expected(kind: RouterKind, peer: IpAddr, asn: u32) -> Path {
    Path {
        next_hop: peer,
        as_path: vec![asn],
        med: Some(77),
        // FRR obeys GRACEFUL_SHUTDOWN (RFC 8326): the worst preference there is. GoBGP shows none on eBGP.
        local_pref: match kind {
            RouterKind::Frr => Some(0),
            RouterKind::Bird | RouterKind::OpenBgpd => Some(100),
            RouterKind::GoBgp => None,
        },
        communities: BTreeSet::from(["65001:100".to_owned(), "65535:0".to_owned()]),
        large_communities: BTreeSet::new(),
        peer: Some(peer),
        best: true,
    }
}

fn wait_for_path(router: &dyn Router, prefix: &str, path: &Path) -> Result<()> {
    let prefix: IpNet = prefix.parse()?;
    wait::until(format!("{prefix} at {}", router.host().name()), SOON, || {
        let routes = router.routes()?;
        ensure!(routes.get(&prefix).is_some_and(|paths| paths[..] == [path.clone()]), "{routes:#?}");
        Ok(())
    })
}

fn tells_routes(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, plain, Neighbor::passive)?;
    let [v4, v6] = pair.others()?;
    wait_for_path(&*pair.tried, "198.51.100.2/32", &expected(kind, v4, OTHER))?;
    wait_for_path(&*pair.tried, "2001:db8:2::1/128", &expected(kind, v6, OTHER))?;
    let routes = pair.tried.routes()?;
    let own = routes.get(&"198.51.100.1/32".parse()?).context("its own route is missing")?;
    ensure!(own[0].peer.is_none() && own[0].as_path.is_empty(), "{own:?}");
    let dump = pair.tried.dump();
    ensure!(dump.contains("198.51.100.2") && dump.contains("65001"), "a poor dump: {dump}");
    Ok(())
}

fn announces(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, plain, Neighbor::passive)?;
    let [v4, v6] = pair.trieds()?;
    wait_for_path(&*pair.other, "198.51.100.1/32", &expected(RouterKind::Frr, v4, TRIED))?;
    wait_for_path(&*pair.other, "2001:db8:1::1/128", &expected(RouterKind::Frr, v6, TRIED))?;
    // Nothing but its own: what it learned is not sent back.
    let foreign = pair.other.routes()?.into_values().flatten().filter(|path| path.as_path.len() > 1).count();
    ensure!(foreign == 0, "{:?}", pair.other.routes());
    Ok(())
}

fn comes_back(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, plain, Neighbor::passive)?;
    pair.wait()?;
    let pid = pair.tried.pid()?;
    pair.tried.kill();
    let gone: IpNet = "198.51.100.1/32".parse()?;
    wait::until("the routes of the dead router to go", SOON, || {
        ensure!(!pair.other.routes()?.contains_key(&gone), "{gone} is still there");
        Ok(())
    })?;
    ensure!(pair.tried.pid().is_err() && pair.tried.routes().is_err(), "a dead router answered");
    pair.tried.start()?;
    ensure!(pair.tried.pid()? != pid, "it has the same pid");
    pair.wait()?;
    pair.tried.stop()?;
    pair.tried.start()?;
    pair.wait()?;
    wait_for_path(&*pair.other, "198.51.100.1/32", &expected(RouterKind::Frr, pair.trieds()?[0], TRIED))
}

const MESSAGE: &str = "maintenance on edge-a";

fn wait_for_message(router: &dyn Router, neighbor: IpAddr) -> Result<()> {
    let expected = Notification { code: 6, subcode: 2, text: Some(MESSAGE.to_owned()) };
    wait::until("the shutdown communication", SOON, || {
        let told = router.received_notification(neighbor)?;
        ensure!(told.as_ref() == Some(&expected), "{told:?}");
        Ok(())
    })
}

/// FRR dials here: after a first NOTIFICATION, a call ends the wait of OpenBGPD.
fn hears_shutdown(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, Neighbor::passive, plain)?;
    pair.wait()?;
    for (tried, other) in pair.trieds()?.into_iter().zip(pair.others()?) {
        let before = pair.tried.received_notification(other)?;
        ensure!(before.is_none_or(|told| told.text.is_none()), "told too early");
        pair.other.shut(tried, MESSAGE)?;
        wait_for_message(&*pair.tried, other)?;
        pair.other.unshut(tried)?;
    }
    pair.wait()
}

fn sends_shutdown(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, plain, Neighbor::passive)?;
    pair.wait()?;
    for (tried, other) in pair.trieds()?.into_iter().zip(pair.others()?) {
        pair.tried.shut(other, MESSAGE)?;
        wait_for_message(&*pair.other, tried)?;
        wait::holds("the session stays down", Duration::from_secs(2), || {
            ensure!(!pair.tried.established(other)?, "it is established again");
            Ok(())
        })?;
        pair.tried.unshut(other)?;
    }
    pair.wait()
}

fn refreshes(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, plain, Neighbor::passive)?;
    pair.wait()?;
    for (tried, other) in pair.trieds()?.into_iter().zip(pair.others()?) {
        let count = |what: &str| -> Result<u64> {
            let answer = pair.other.cli(&format!("show bgp neighbors {tried} json"))?;
            let answer: serde_json::Value = serde_json::from_str(&answer)?;
            let value = answer[tried.to_string()].pointer(what).and_then(serde_json::Value::as_u64);
            value.with_context(|| format!("no {what} in {answer}"))
        };
        match kind {
            RouterKind::Frr | RouterKind::Bird | RouterKind::OpenBgpd => {
                pair.tried.refresh(other)?;
                wait::until("a ROUTE-REFRESH", SOON, || {
                    let refreshes = count("/messageStats/routeRefreshRecv")?;
                    ensure!(refreshes >= 1, "{refreshes} refreshes");
                    Ok(())
                })?;
            }
            RouterKind::GoBgp => ensure!(pair.tried.refresh(other).is_err(), "GoBGP has learned to refresh"),
        }
        let before = count("/connectionsDropped")?;
        pair.tried.clear(other)?;
        wait::until("a reset", SOON, || {
            let drops = count("/connectionsDropped")?;
            ensure!(drops > before, "{drops} drops");
            Ok(())
        })?;
    }
    pair.wait()
}

fn md5_and_gtsm(lab: &Lab, kind: RouterKind) -> Result<()> {
    let tune: Tune = |neighbor| neighbor.password("correct-horse-battery").ttl_security(1);
    Pair::new(lab, kind, tune, |neighbor| {
        neighbor.password("correct-horse-battery").ttl_security(1).passive()
    })?
    .wait()
}

fn passive(lab: &Lab, kind: RouterKind) -> Result<()> {
    let pair = Pair::new(lab, kind, Neighbor::passive, plain)?;
    pair.wait()?;
    let port = format!("sport = :179 and dst {}", pair.others()?[0]);
    let sockets = pair.tried.host().run(["ss", "-Htn", &port])?;
    ensure!(sockets.lines().count() == 1, "it has dialled although it is passive: {sockets}");
    Ok(())
}

/// RFC 8950: the IPv6 session alone, with IPv4 routes over IPv6 next hops on it.
fn extended_next_hop(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (a, b) = (lab.host("tried")?, lab.host("other")?);
    let link = lab.link(&a, &b, Subnet::v6(1))?;
    let prefix: IpNet = "198.51.100.2/32".parse()?;
    let tried = RouterConfig::new(TRIED, Ipv4Addr::new(10, 0, 1, 1))
        .neighbor(Neighbor::new(link.v6(&b)?, OTHER).extended_nexthop());
    let other = RouterConfig::new(OTHER, Ipv4Addr::new(10, 0, 1, 2))
        .neighbor(Neighbor::new(link.v6(&a)?, TRIED).extended_nexthop())
        .announce(prefix);
    let tried = lab.router(kind, &a, &tried)?;
    let _other = lab.router(RouterKind::Frr, &b, &other)?;
    wait::until("an IPv4 route with an IPv6 next hop", SOON, || {
        let routes = tried.routes()?;
        let paths = routes.get(&prefix).with_context(|| format!("{routes:?}"))?;
        ensure!(paths.len() == 1 && paths[0].next_hop.is_ipv6() && paths[0].as_path == [OTHER], "{paths:?}");
        if kind.forwards() {
            let hops: Vec<_> = a.routes(prefix)?.into_iter().flat_map(|route| route.next_hops).collect();
            ensure!(hops.len() == 1 && hops[0].gateway.is_some_and(|hop| hop.is_ipv6()), "{hops:?}");
        }
        Ok(())
    })
}

/// Two FRRs announce the same prefix; the one that is tried gets two next hops into its kernel.
fn ecmp(lab: &Lab, kind: RouterKind) -> Result<()> {
    let tor = lab.host("tor")?;
    let mut config = RouterConfig::new(TRIED, Ipv4Addr::new(10, 0, 0, 1));
    let mut others = Vec::new();
    let mut gateways = [BTreeSet::new(), BTreeSet::new()];
    let prefixes: [IpNet; 2] = ["198.51.100.9/32".parse()?, "2001:db8:9::1/128".parse()?];
    for number in [1, 2] {
        let node = lab.host(&format!("node{number}"))?;
        let link = lab.link(&tor, &node, Subnet::dual(number))?;
        let asn = OTHER + u32::from(number);
        let mut other = RouterConfig::new(asn, Ipv4Addr::new(10, 0, number, 2));
        let ends = [(link.v4(&tor)?, link.v4(&node)?), (link.v6(&tor)?, link.v6(&node)?)];
        for ((near, far), gateways) in ends.into_iter().zip(&mut gateways) {
            config = config.neighbor(Neighbor::new(far, asn));
            other = other.neighbor(Neighbor::new(near, TRIED));
            gateways.insert(far);
        }
        for prefix in prefixes {
            other = other.announce(prefix);
        }
        others.push(lab.router(RouterKind::Frr, &node, &other)?);
    }
    let _tor = lab.router(kind, &tor, &config)?;
    let wait_for = |prefix: IpNet, gateways: &BTreeSet<IpAddr>| {
        wait::until(format!("{} next hops of {prefix}", gateways.len()), SOON, || {
            let routes = tor.routes(prefix)?;
            let hops: Vec<_> = routes.iter().flat_map(|route| &route.next_hops).collect();
            ensure!(hops.len() == gateways.len(), "{routes:?}");
            // FRR forwards IPv6 over link-local next hops.
            let known =
                |gateway: IpAddr| gateways.contains(&gateway) || gateway.to_string().starts_with("fe80:");
            ensure!(hops.iter().all(|hop| hop.gateway.is_some_and(known)), "{routes:?}");
            ensure!(hops.iter().all(|hop| hop.weight == 1), "{routes:?}");
            Ok(())
        })
    };
    wait_for(prefixes[0], &gateways[0])?;
    wait_for(prefixes[1], &gateways[1])?;
    others[1].kill();
    gateways[0].remove(&"10.0.2.2".parse()?);
    gateways[1].remove(&"fd00:2::2".parse()?);
    wait_for(prefixes[0], &gateways[0])?;
    wait_for(prefixes[1], &gateways[1])
}
