//! `vipcast upgrade` beside real routers and real traffic: the next program goes on with the sessions, and nobody sees it
//! (I13).
//!
//! ```text
//!  client ── tor (the router) ── edge     vipcast and one service, 192.0.2.10
//! ```
//!
//! | file | contents |
//! | --- | --- |
//! | `again` | upgrades one after the other, beside every kind of router, with 5,000 VIPs, and the length of the pause |
//! | `meanwhile` | … while checks fail, drains run out, files are reloaded, routers flood, and clients stream |
//! | `sessions` | … of sessions with MD5, TTL security, IPv6, link-local addresses, RFC 8950; passive; 200 peers |
//! | `refused` | programs that cannot take over, and other reasons to refuse |
//! | `cut` | signals in the middle of an upgrade, and the death of the next program |
//! | `versions` | there and back between two builds |
//! | `before` | … and between two forms of the state |
//!
//! `VIPCAST_UPGRADES=1000` makes so many of each, with BFD of 50 ms × 3; `--test-threads 1` belongs to it. Beside other
//! tests BFD has 300 ms × 3.

mod again;
mod before;
mod cut;
mod meanwhile;
mod refused;
mod sessions;
mod versions;

use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{BfdState, SessionState};
use vipcast_lab::router::History;
use vipcast_lab::{
    Bfd, Capture, Client, EchoServer, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Subnet,
};

use crate::node::Node;
use crate::{SOON, wait_route};

const VIP: &str = "192.0.2.10";
/// How many upgrades of each kind of router.
const VARIABLE: &str = "VIPCAST_UPGRADES";
/// The program as people run it, by a path of its own, so that it can be replaced. It is started again as it is then.
const REPLACEABLE: &[&str] = &[
    "sh",
    "-c",
    "[ -e \"$4.program\" ] || ln -s \"${VIPCAST_RELEASE:-$1}\" \"$4.program\"; exec \"$4.program\" \"$2\" \"$3\" \"$4\"",
    "sh",
];

pub(crate) fn trials() -> Vec<Trial> {
    [
        again::trials(),
        meanwhile::trials(),
        sessions::trials(),
        refused::trials(),
        cut::trials(),
        versions::trials(),
        before::trials(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The number of upgrades that was asked for.
fn wanted() -> Option<usize> {
    std::env::var(VARIABLE).ok()?.parse().ok()
}

/// The interval of BFD, in milliseconds; the multiplier is 3.
fn interval() -> u32 {
    if wanted().is_some() { 50 } else { 300 }
}

/// The path that the program of a node is started by.
fn program(node: &Node) -> PathBuf {
    PathBuf::from(format!("{}.program", node.config().display()))
}

/// One service behind a router.
struct Site<'a> {
    lab: &'a Lab,
    edge: Host,
    client: Host,
    router: Arc<dyn Router>,
    edge4: IpAddr,
    service: EchoServer,
    node: Node,
    /// What the node sends over the session.
    said: Capture,
    began: Instant,
}

/// What must not change.
#[derive(Debug, Clone, PartialEq)]
struct Before {
    history: History,
    pid: u32,
    updates: usize,
}

impl<'a> Site<'a> {
    /// `peer` is further keys of the peer, `more` further sections of the file.
    fn new(lab: &'a Lab, kind: RouterKind, peer: &str, services: &str, more: &str) -> Result<Self> {
        Self::by(REPLACEABLE, lab, kind, peer, services, more)
    }

    /// The same with a program that this command starts.
    fn by(
        command: &'static [&'static str],
        lab: &'a Lab,
        kind: RouterKind,
        peer: &str,
        services: &str,
        more: &str,
    ) -> Result<Self> {
        let (tor, edge, client) = (lab.host("tor")?, lab.host("edge")?, lab.host("client")?);
        let link = lab.link(&tor, &edge, Subnet::dual(1))?;
        let outside = lab.link(&tor, &client, Subnet::dual(9))?;
        client.route(&["default", "via", &outside.v4(&tor)?.to_string()])?;
        let (tor4, edge4) = (link.v4(&tor)?, link.v4(&edge)?);
        edge.route(&["default", "via", &tor4.to_string()])?;
        if !kind.forwards() {
            // Its routes do not reach the kernel. What is left to see is that the address stays.
            tor.route(&[VIP, "via", &edge4.to_string()])?;
        }
        let mut neighbor = Neighbor::new(edge4, 65001);
        let mut bfd = String::new();
        if kind.has_bfd() {
            neighbor = neighbor.bfd(Bfd::new(interval(), 3));
            bfd = format!(", bfd: {{interval: {}ms, multiplier: 3}}", interval());
        }
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(neighbor);
        let router = lab.router(kind, &tor, &router)?;
        for pid in tor.pids()? {
            // A router has a processor of its own for BFD. Here it would be late, and end the session.
            tor.run(["chrt", "--all-tasks", "--rr", "--pid", "10", &pid.to_string()])?;
        }
        let said = tor.capture(&link.end(&tor).interface, &format!("tcp port 179 and src host {edge4}"))?;
        let service = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
        let config = config(&format!("tor: {{address: {tor4}, peer_as: 65000{bfd}{peer}}}"), services, more);
        let node = Node::start_by(command, lab, &edge, &config)?;
        let site = Self { lab, edge, client, router, edge4, service, node, said, began: Instant::now() };
        site.settle()?;
        Ok(Self { began: Instant::now(), ..site })
    }

    /// Waits until the route is there and BFD has its timers at both ends.
    fn settle(&self) -> Result<()> {
        wait_route(self.lab, self.router.as_ref(), VIP, true, SOON)?;
        if !self.router.kind().has_bfd() {
            return Ok(());
        }
        let detection = Duration::from_millis((3 * interval()).into());
        self.lab.until("BFD to be up at both ends", SOON, || {
            let bfd = self.node.status()?.peers["tor"].bfd.clone().context("no BFD session")?;
            ensure!(bfd.state == BfdState::Up, "{bfd:?}");
            let theirs = self.router.bfd(self.edge4)?;
            ensure!(theirs.state == "up" && theirs.detection == detection, "{theirs:?}");
            Ok(())
        })
    }

    fn before(&self) -> Result<Before> {
        Ok(Before {
            history: self.router.history(self.edge4)?,
            pid: self.node.process.pid(),
            updates: updates(&self.said)?,
        })
    }

    /// Whether the session is the one of `before`, for the router and for us, and not an UPDATE was sent since.
    fn ensure_untouched(&self, before: &Before) -> Result<()> {
        let now = self.before()?;
        ensure!(now == *before, "it was {before:?}\nand is {now:?}\n{}", story(&self.node));
        self.ensure_known()
    }

    /// Whether the session is the one of `before`, whatever was sent.
    fn ensure_same_session(&self, before: &Before) -> Result<()> {
        let now = self.before()?.history;
        let before = &before.history;
        ensure!(now.is_same_session(before), "it was {before:?}, is {now:?}\n{}", story(&self.node));
        self.ensure_known()
    }

    /// The node remembers how old the session is.
    fn ensure_known(&self) -> Result<()> {
        ensure!(self.node.process.is_running(), "the daemon has ended");
        let since = self.began.elapsed();
        let status = self.node.status()?;
        let tor = &status.peers["tor"];
        ensure!(
            tor.state == SessionState::Established && Duration::from_millis(tor.since_ms) >= since,
            "not a session of {since:?}: {tor:?}"
        );
        Ok(())
    }

    /// What a client loses while something happens: nothing.
    fn under_traffic<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<T> {
        let client = Client::start(&self.client, format!("{VIP}:7").parse()?)?;
        client.wait_for_servers(&["web"], SOON)?;
        let done = what()?;
        let report = client.stop()?;
        println!("{}", report.summary());
        ensure!(report.lost() == 0 && report.sent() > 100, "{}", report.summary());
        Ok(done)
    }
}

/// The configuration of a node with this peer; its check asks every second, and does not take a busy machine for a dead service.
fn config(peer: &str, services: &str, more: &str) -> String {
    format!(
        "local_as: 65001
router_id: 10.0.0.2
peers:
  {peer}
checks:
  web:
    http: {{url: \"http://127.0.0.1:8080/healthz\"}}
    interval: 1s
    fast_interval: 100ms
    timeout: 1s
services:
  web: {{vips: [{VIP}], checks: [web]}}
{services}shutdown: {{drain_time: 500ms, unbind_delay: 200ms}}
{more}"
    )
}

/// The UPDATEs in a capture.
fn updates(said: &Capture) -> Result<usize> {
    Ok(said.text()?.matches("Update Message").count())
}

/// An upgrade, as the one who asked for it saw it.
#[derive(Debug, Clone)]
struct Upgrade {
    said: String,
    /// What the next program says.
    pause: Duration,
    asked: SystemTime,
    done: SystemTime,
}

fn upgrade(node: &Node) -> Result<Upgrade> {
    let asked = SystemTime::now();
    let (code, said) = ask(node, &["upgrade"])?;
    ensure!(code == Some(0), "exit {code:?}: {said}\n{}", story(node));
    Ok(Upgrade { pause: pause(&said)?, said, asked, done: SystemTime::now() })
}

/// Runs a command against the daemon for as long as it takes; its exit code, and what it says.
fn ask(node: &Node, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = node.command(arguments).output().context("cannot run vipcast")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

/// What the log has of upgrades and sessions.
fn story(node: &Node) -> String {
    let log = node.process.log();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains("DEBUG")).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

/// Writes a program. Another process does it: this one may have a child just now that would keep the file open for writing.
fn write_program(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut write = Command::new("sh");
    write.args(["-c", "cat >\"$1\" && chmod \"$2\" \"$1\"", "sh"]).arg(path).arg(format!("{mode:o}"));
    let mut write = write.stdin(Stdio::piped()).spawn().context("cannot run sh")?;
    write.stdin.take().context("no input")?.write_all(bytes)?;
    let status = write.wait()?;
    ensure!(status.success(), "cannot write {}: {status}", path.display());
    Ok(())
}

/// The time in `…, paused 14 ms`.
fn pause(said: &str) -> Result<Duration> {
    let words = || {
        let rest = said.split_once("paused ")?.1;
        let mut words = rest.split_whitespace();
        let number: f64 = words.next()?.parse().ok()?;
        let unit = words.next()?.trim_end_matches([',', '.']);
        Some(Duration::from_secs_f64(number / if unit == "ms" { 1e3 } else { 1.0 }))
    };
    words().with_context(|| format!("no pause in {said:?}"))
}

/// Durations, the shortest first.
struct Distribution(Vec<Duration>);

impl Distribution {
    fn new(durations: impl IntoIterator<Item = Duration>) -> Self {
        let mut durations: Vec<Duration> = durations.into_iter().collect();
        durations.sort();
        Self(durations)
    }

    /// The smallest that so many per cent do not exceed; zero without any.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, all] = [50, 99, 100].map(|percent| self.percentile(percent));
        write!(f, "p50 {half:.1?}, p99 {most:.1?}, at most {all:.1?} ({})", self.0.len())
    }
}

/// The command refuses, and says why.
fn refused(node: &Node, arguments: &[&str]) -> Result<String> {
    let (code, said) = ask(node, arguments)?;
    ensure!(code == Some(1), "exit {code:?}: {said}");
    Ok(said)
}
