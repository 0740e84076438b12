//! The transport of sessions: TCP MD5, TTL security, multihop, a bound interface, and the messages when one is wrong.
//! Password files are 0600, because other modes are refused.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast::control::api::SessionState;
use vipcast_lab::wait::holds;
use vipcast_lab::{Host, Lab, Link, Neighbor, Router, RouterConfig, RouterKind, Subnet};

use crate::node::Node;
use crate::{SOON, trial};

const KINDS: [RouterKind; 4] = [RouterKind::Frr, RouterKind::Bird, RouterKind::GoBgp, RouterKind::OpenBgpd];
const TOR_AS: u32 = 65000;
const EDGE_AS: u32 = 65001;
const VIP: &str = "192.0.2.10";
const PASSWORD: &str = "correct-horse";

type Test = fn(&Lab) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in KINDS {
        for (carried, v6) in [("ipv4", false), ("ipv6", true)] {
            for (dial, ours) in [("our_dial", true), ("the_routers_dial", false)] {
                let way = Way { kind, v6, ours };
                trials.push(trial(&format!("{kind}::md5_over_{carried}_by_{dial}"), &[kind], move |lab| {
                    md5(lab, way)
                }));
                trials.push(trial(&format!("{kind}::gtsm_over_{carried}_by_{dial}"), &[kind], move |lab| {
                    gtsm(lab, way)
                }));
            }
        }
    }
    let frr: [(&str, Test); 11] = [
        ("frr::different_passwords_are_named", different_passwords),
        ("frr::a_password_on_the_router_only_is_named", password_there_only),
        ("frr::a_password_here_only_is_named", password_here_only),
        ("frr::a_passive_peer_with_another_password_is_named", passive_and_wrong),
        ("frr::a_wrong_ttl_is_named_on_either_side", wrong_ttl),
        ("frr::a_wrong_as_is_named_in_both_directions", wrong_as),
        ("frr::the_same_router_id_is_named", same_router_id),
        ("frr::multihop_over_another_host", multihop),
        ("frr::a_session_is_bound_to_its_interface", interface),
        ("frr::a_changed_password_restarts_its_session_only", reload),
        ("a_stranger_at_the_address_of_a_peer_with_a_password_gets_nothing", stranger),
    ];
    trials.extend(frr.map(|(name, test)| trial(name, &[RouterKind::Frr], test)));
    trials
}

/// With which router, over which family, and who dials.
#[derive(Clone, Copy)]
struct Way {
    kind: RouterKind,
    v6: bool,
    ours: bool,
}

struct Pair<'a> {
    lab: &'a Lab,
    tor: Host,
    edge: Host,
    link: Link,
}

impl<'a> Pair<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
        let link = lab.link(&tor, &edge, Subnet::dual(1))?;
        Ok(Self { lab, tor, edge, link })
    }

    fn tor4(&self) -> Result<IpAddr> {
        self.link.v4(&self.tor)
    }

    fn edge4(&self) -> Result<IpAddr> {
        self.link.v4(&self.edge)
    }

    fn frr(&self, neighbor: Neighbor) -> Result<Arc<dyn Router>> {
        self.lab.router(RouterKind::Frr, &self.tor, &router(neighbor))
    }

    /// A node whose only peer has these keys besides its address.
    fn node(&self, keys: &str) -> Result<Node> {
        Node::start(
            self.lab,
            &self.edge,
            &config(&format!("tor: {{address: {}, peer_as: {TOR_AS}{keys}}}", self.tor4()?)),
        )
    }

    /// Waits until the log has all of these words in one line, and returns the line.
    fn wait_logged(&self, node: &Node, words: &[&str]) -> Result<String> {
        self.lab.until(format_args!("the log to have {words:?}"), SOON, || {
            let log = node.process.log();
            let line = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
            line.map(str::to_owned).with_context(|| format!("not in {log}"))
        })
    }
}

fn router(neighbor: Neighbor) -> RouterConfig {
    RouterConfig::new(TOR_AS, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor.both_families())
}

fn config(peers: &str) -> String {
    format!(
        "local_as: {EDGE_AS}\nrouter_id: 10.0.0.2\npeer_defaults: {{connect_retry: 500ms}}\npeers:\n  {peers}
services:\n  web: {{vips: [{VIP}], checks: []}}\nshutdown: {{drain_time: 0s, unbind_delay: 0s}}\n"
    )
}

pub(crate) fn password_file(host: &Host, name: &str, password: &str) -> Result<PathBuf> {
    let path = host.write_file(name, "")?;
    write_password(&path, password)?;
    Ok(path)
}

fn write_password(path: &Path, password: &str) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).context("cannot protect a password file")?;
    fs::write(path, format!("{password}\n")).context("cannot write a password file")
}

fn md5(lab: &Lab, way: Way) -> Result<()> {
    let pair = Pair::new(lab)?;
    let file = password_file(&pair.edge, "key", PASSWORD)?;
    carried(&pair, way, &format!("password_file: {}", file.display()), |neighbor| neighbor.password(PASSWORD))
}

fn gtsm(lab: &Lab, way: Way) -> Result<()> {
    carried(&Pair::new(lab)?, way, "ttl_security: 1", |neighbor| neighbor.ttl_security(1))
}

/// The session comes up, the VIP arrives, and it comes back after the router was killed.
fn carried(pair: &Pair<'_>, way: Way, keys: &str, tune: impl Fn(Neighbor) -> Neighbor) -> Result<()> {
    let address = |host| if way.v6 { pair.link.v6(host) } else { pair.link.v4(host) };
    let (tor, edge) = (address(&pair.tor)?, address(&pair.edge)?);
    let (neighbor, dial) = match way.ours {
        true => (Neighbor::new(edge, EDGE_AS).passive(), "active: true"),
        false => (Neighbor::new(edge, EDGE_AS), "passive: true"),
    };
    let peer = format!("tor: {{address: \"{tor}\", peer_as: {TOR_AS}, {dial}, {keys}}}");
    let node = Node::start(pair.lab, &pair.edge, &config(&peer))?;
    let router = pair.lab.router(way.kind, &pair.tor, &router(tune(neighbor)))?;
    let both = || -> Result<()> {
        router.wait_established(edge, SOON)?;
        node.wait_established(pair.lab, "tor", SOON)?;
        pair.lab.until("the VIP", SOON, || {
            ensure!(router.routes()?.contains_key(&IpNet::from(VIP.parse::<IpAddr>()?)), "no route");
            Ok(())
        })
    };
    both()?;
    router.restart()?;
    both()
}

fn different_passwords(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let file = password_file(&pair.edge, "key", "battery-staple")?;
    let node = pair.node(&format!(", password_file: {}", file.display()))?;
    let _router = pair.frr(Neighbor::new(pair.edge4()?, EDGE_AS).password(PASSWORD))?;
    pair.wait_logged(&node, &["no session", "no answer", "wrong or missing TCP MD5"])?;
    pair.wait_logged(&node, &["no session", "the passwords differ"])?;
    // The key is in no log, and in no answer.
    let said = node.process.log() + &node.cli(&["status", "--json"])?;
    ensure!(!said.contains("battery-staple"), "the password was shown: {said}");
    // Put right, it comes up.
    write_password(&file, PASSWORD)?;
    node.cli(&["reload"])?;
    node.wait_established(lab, "tor", SOON)
}

fn password_there_only(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let node = pair.node("")?;
    let _router = pair.frr(Neighbor::new(pair.edge4()?, EDGE_AS).password(PASSWORD))?;
    pair.wait_logged(&node, &["no session", "no answer", "does it want a password"])?;
    pair.wait_logged(&node, &["no session", "the other side has a password"])?;
    ensure!(node.status()?.peers["tor"].state != SessionState::Established, "a session without its password");
    Ok(())
}

fn password_here_only(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let file = password_file(&pair.edge, "key", PASSWORD)?;
    let node = pair.node(&format!(", password_file: {}", file.display()))?;
    let _router = pair.frr(Neighbor::new(pair.edge4()?, EDGE_AS))?;
    pair.wait_logged(&node, &["no session", "wrong or missing TCP MD5"])?;
    pair.wait_logged(&node, &["no session", "the other side has no password"])?;
    ensure!(node.status()?.peers["tor"].state != SessionState::Established, "a session without its password");
    Ok(())
}

/// Nothing of ours fails, so only the kernel's counters can tell.
fn passive_and_wrong(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let file = password_file(&pair.edge, "key", "battery-staple")?;
    let node = pair.node(&format!(", passive: true, password_file: {}", file.display()))?;
    let _router = pair.frr(Neighbor::new(pair.edge4()?, EDGE_AS).password(PASSWORD))?;
    pair.wait_logged(&node, &["no session with this peer", "the passwords differ"]).map(drop)
}

fn wrong_ttl(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let node = pair.node(", ttl_security: 1")?;
    let tor = pair.frr(Neighbor::new(pair.edge4()?, EDGE_AS))?;
    pair.wait_logged(&node, &["no session", "low TTL came in"])?;
    tor.stop()?;
    drop(node);

    let other = lab.host("other")?;
    let link = lab.link(&other, &pair.edge, Subnet::dual(2))?;
    let neighbor = Neighbor::new(link.v4(&pair.edge)?, EDGE_AS).ttl_security(1).passive();
    let _router = lab.router(RouterKind::Frr, &other, &router(neighbor))?;
    let peer = format!("tor: {{address: {}, peer_as: {TOR_AS}}}", link.v4(&other)?);
    let node = Node::start(lab, &pair.edge, &config(&peer))?;
    // FRR accepts before it looks at the TTL, and never hears us after that.
    pair.wait_logged(&node, &["Hold Timer Expired", "set `ttl_security` here too"]).map(drop)
}

fn wrong_as(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let other = lab.host("other")?;
    let link = lab.link(&other, &pair.edge, Subnet::dual(2))?;
    let _tor = pair.frr(Neighbor::new(pair.edge4()?, 65099))?;
    let _other =
        lab.router(RouterKind::Frr, &other, &router(Neighbor::new(link.v4(&pair.edge)?, EDGE_AS)))?;
    let peers = format!(
        "tor: {{address: {}, peer_as: {TOR_AS}}}\n  other: {{address: {}, peer_as: 65009}}",
        pair.tor4()?,
        link.v4(&other)?
    );
    let node = Node::start(lab, &pair.edge, &config(&peers))?;
    pair.wait_logged(&node, &["peer=tor ", "the router's `remote-as` for us is not our local_as 65001"])?;
    pair.wait_logged(&node, &["peer=other ", "the router is AS 65000, not our configured peer_as 65009"])
        .map(drop)
}

fn same_router_id(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let router = RouterConfig::new(EDGE_AS, Ipv4Addr::new(10, 0, 0, 2))
        .neighbor(Neighbor::new(pair.edge4()?, EDGE_AS).both_families());
    let _router = lab.router(RouterKind::Frr, &pair.tor, &router)?;
    let peer = format!("tor: {{address: {}, peer_as: {EDGE_AS}}}", pair.tor4()?);
    let node = Node::start(lab, &pair.edge, &config(&peer))?;
    pair.wait_logged(&node, &["no session", "uses our router_id 10.0.0.2"]).map(drop)
}

/// `tor ── middle ── edge`. Without `multihop` the first packet dies in the middle, and the log says what to set.
fn multihop(lab: &Lab) -> Result<()> {
    let (tor, middle, edge) = (lab.host("tor")?, lab.host("middle")?, lab.host("edge")?);
    let far = lab.link(&tor, &middle, Subnet::dual(1))?;
    let near = lab.link(&middle, &edge, Subnet::dual(2))?;
    tor.route(&["10.0.2.0/24", "via", &far.v4(&middle)?.to_string()])?;
    edge.route(&["10.0.1.0/24", "via", &near.v4(&middle)?.to_string()])?;
    let pair = Pair { lab, tor, edge, link: far };
    let address = near.v4(&pair.edge)?;
    let node = pair.node("")?;
    pair.wait_logged(&node, &["no session", "no route to host", "set `multihop` on both sides"])?;
    let router = pair.frr(Neighbor::new(address, EDGE_AS).multihop(2))?;
    let peer = |keys: &str| -> Result<String> {
        Ok(config(&format!("tor: {{address: {}, peer_as: {TOR_AS}, {keys}}}", pair.tor4()?)))
    };
    node.write_config(lab, &peer("multihop: 2")?)?;
    node.cli(&["reload"])?;
    node.wait_established(lab, "tor", SOON)?;
    router.wait_established(address, SOON)?;
    // TTL security counts the same hops, and is stricter.
    node.write_config(lab, &peer("ttl_security: 1")?)?;
    node.cli(&["reload"])?;
    pair.wait_logged(&node, &["no session", "ttl_security"]).map(drop)
}

fn interface(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let name = pair.link.end(&pair.edge).interface.clone();
    let node = pair.node(", interface: nope0")?;
    let router = pair.frr(Neighbor::new(pair.edge4()?, EDGE_AS))?;
    pair.wait_logged(&node, &["no session", "cannot use the interface nope0: no such device"])?;
    let peer = format!("tor: {{address: {}, peer_as: {TOR_AS}, interface: {name}}}", pair.tor4()?);
    node.write_config(lab, &config(&peer))?;
    node.cli(&["reload"])?;
    node.wait_established(lab, "tor", SOON)?;
    router.wait_established(pair.edge4()?, SOON)?;
    let sockets =
        pair.edge.run(["ss", "-Htn", "state", "established", "( sport = :179 or dport = :179 )"])?;
    ensure!(sockets.contains(&format!("%{name}")), "not bound to {name}: {sockets}");
    Ok(())
}

fn reload(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let mut peers = String::new();
    let mut sites = Vec::new();
    for (name, number) in [("a", 1), ("b", 2)] {
        let tor = lab.host(name)?;
        let link = lab.link(&tor, &edge, Subnet::dual(number))?;
        let neighbor = Neighbor::new(link.v4(&edge)?, EDGE_AS).password(PASSWORD);
        let router = lab.router(RouterKind::Frr, &tor, &router(neighbor))?;
        let file = password_file(&edge, name, PASSWORD)?;
        let (address, path) = (link.v4(&tor)?, file.display());
        peers += &format!("  {name}: {{address: {address}, peer_as: {TOR_AS}, password_file: {path}}}\n");
        sites.push((router, file, link));
    }
    let node = Node::start(lab, &edge, &config(peers.trim()))?;
    node.wait_established(lab, "a", SOON)?;
    node.wait_established(lab, "b", SOON)?;
    let since = node.status()?.peers["b"].since_ms;

    write_password(&sites[0].1, "battery-staple")?;
    node.cli(&["reload"])?;
    lab.until("the session with a to be down", SOON, || {
        let a = node.status()?.peers.get("a").map(|a| a.state.clone());
        ensure!(a != Some(SessionState::Established), "{a:?}");
        Ok(())
    })?;
    holds("b to stay and a to be out", Duration::from_secs(4), || {
        let status = node.status()?;
        ensure!(status.peers["b"].state == SessionState::Established, "{:?}", status.peers["b"]);
        ensure!(
            status.peers.get("a").is_none_or(|a| a.state != SessionState::Established),
            "a is up with another password"
        );
        Ok(())
    })?;
    write_password(&sites[0].1, PASSWORD)?;
    node.cli(&["reload"])?;
    node.wait_established(lab, "a", SOON)?;
    // A file that everyone may read is refused, and the sessions stay as they are.
    fs::set_permissions(&sites[0].1, fs::Permissions::from_mode(0o644)).context("chmod")?;
    let refused =
        format!("{:#}", node.cli(&["reload"]).err().context("a world-readable password was taken")?);
    ensure!(refused.contains("everyone may read or write it"), "{refused}");
    let now = node.status()?.peers["b"].clone();
    ensure!(now.state == SessionState::Established && now.since_ms > since + 4000, "b was touched: {now:?}");
    for (router, _, link) in &sites {
        router.wait_established(link.v4(&edge)?, SOON)?;
    }
    Ok(())
}

/// The kernel answers no SYN that is not signed; without a password the same connection is made.
fn stranger(lab: &Lab) -> Result<()> {
    let pair = Pair::new(lab)?;
    let file = password_file(&pair.edge, "key", PASSWORD)?;
    let keys = format!(", passive: true, password_file: {}", file.display());
    let node = pair.node(&keys)?;
    lab.until("the daemon to answer", SOON, || node.status().map(drop))?;
    let connect = |address: IpAddr| {
        pair.tor.run(["timeout", "2", "bash", "-c", &format!("exec 3<>/dev/tcp/{address}/179")])
    };
    let refused = connect(pair.edge4()?);
    ensure!(refused.is_err(), "a connection without a signature was made");
    let peer = format!("tor: {{address: {}, peer_as: {TOR_AS}, passive: true}}", pair.tor4()?);
    node.write_config(lab, &config(&peer))?;
    node.cli(&["reload"])?;
    lab.until("the same connection without a password", SOON, || connect(pair.edge4()?).map(drop))?;
    // And with the password again, none.
    node.write_config(lab, &config(&format!("tor: {{address: {}, peer_as: {TOR_AS}{keys}}}", pair.tor4()?)))?;
    node.cli(&["reload"])?;
    lab.until("no connection any more", SOON, || {
        ensure!(connect(pair.edge4()?).is_err(), "still connected");
        Ok(())
    })
}
