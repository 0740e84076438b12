//! BFD on an overloaded host: no live host or router is taken for dead.
//!
//! Two spinning processes for each core, a thousand HTTP checks a second on the probes thread, and a second peer that
//! sends a full table again and again.
//!
//! There are two routers. `tor` represents a router with its own cores: its bfdd has real-time priority. `busy` shares
//! the load, and may be silent beyond the detection time; that is measured, and its session must come back.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use serde_json::Value;
use vipcast::control::api::{Bfd as Ours, BfdState};
use vipcast_lab::{
    Bfd, Capture, EchoServer, Flood, Host, Lab, Neighbor, Process, Router, RouterConfig, RouterKind, Speaker,
    Subnet,
};

use crate::load::{Watch, beside, options, peer, same_session};
use crate::node::Node;
use crate::{SOON, is_alone};

/// Seconds of load. Without it these tests are not there: whatever runs beside them would be disturbed.
pub(crate) const VARIABLE: &str = "VIPCAST_SOAK";
/// One a second each.
const CHECKS: usize = 1000;
/// A quarter of a full table, again and again, so that the end is not a full table late.
const TABLE: Flood = Flood { routes: 250_000, together: 4, bursts: 0, burst: 0, lasting: Duration::ZERO };
/// What BFD is told to do, in milliseconds and times.
const INTERVAL: u32 = 50;
const MULTIPLIER: u8 = 3;

/// Without real-time priority there may be false deaths, which are printed; what is asserted is that all is well afterwards.
pub(crate) fn trials() -> Vec<Trial> {
    if !is_alone() {
        return Vec::new();
    }
    let real_time = || Lab::available_with(&[RouterKind::Frr]).and_then(|()| real_time_is_granted());
    let trial = |name: &'static str, priority| {
        vipcast_lab::trial(name, real_time(), move || Lab::run(name, |lab| under_load(lab, priority)))
    };
    vec![
        trial("frr::soak_bfd_has_no_false_down_under_load", Priority::RealTime),
        trial("frr::soak_bfd_recovers_under_load_without_real_time", Priority::Ordinary),
    ]
}

/// Not in every container, even as root.
fn real_time_is_granted() -> Result<(), String> {
    let granted = Command::new("chrt").args(["-f", "20", "true"]).status();
    if granted.is_ok_and(|status| status.success()) {
        Ok(())
    } else {
        Err("no real-time priority".to_owned())
    }
}

/// How our BFD thread competes for a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Priority {
    RealTime,
    Ordinary,
}

impl Priority {
    /// Without CAP_SYS_NICE the limit counts, and that is 0 unless somebody has raised it.
    fn wrapper(self) -> &'static [&'static str] {
        match self {
            Self::RealTime => &[],
            Self::Ordinary => &["prlimit", "--rtprio=0", "setpriv", "--bounding-set", "-sys_nice"],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::RealTime => "real-time priority",
            Self::Ordinary => "ordinary priority",
        }
    }
}

fn config(tors: &[Tor]) -> String {
    let bfd = format!("{{interval: {INTERVAL}ms, multiplier: {MULTIPLIER}}}");
    let one =
        |tor: &Tor| format!("  {}: {{address: {}, peer_as: 65000, bfd: {bfd}}}\n", tor.name, tor.address);
    let peers: String = tors.iter().map(one).collect();
    let names: Vec<String> = (0..CHECKS).map(|number| format!("c{number}")).collect();
    // One that fails, because everything is slow, is not asked more often than the others.
    let check =
        "{http: {url: \"http://127.0.0.1:8080/healthz\"}, interval: 1s, fast_interval: 1s, timeout: 1s}";
    let checks: String = names.iter().map(|name| format!("  {name}: {check}\n")).collect();
    format!(
        "local_as: 65001
peers:
{peers}{}checks:
{checks}services:
  web: {{vips: [192.0.2.10], checks: []}}
  busy: {{vips: [192.0.2.11], checks: {{any: [{}]}}}}
",
        peer(2),
        names.join(", ")
    )
}

fn duration() -> Result<Duration> {
    let text = std::env::var(VARIABLE)?;
    let seconds = text.parse().with_context(|| format!("{VARIABLE}={text} is no number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}

/// Children that take all the time they can get, until they are dropped.
fn spin(host: &Host) -> Result<Vec<Process>> {
    let cores = thread::available_parallelism().context("cannot count the cores")?.get();
    let spinning = |number| {
        let mut command = host.command("sh");
        command.args(["-c", "while :; do :; done"]);
        host.spawn(&format!("spin-{number}"), command)
    };
    (0..2 * cores).map(spinning).collect()
}

/// A router with a link to the host under test.
struct Tor {
    name: &'static str,
    router: Arc<dyn Router>,
    address: IpAddr,
    /// The other end.
    edge: IpAddr,
}

impl Tor {
    fn start(lab: &Lab, edge: &Host, name: &'static str, number: u8) -> Result<Self> {
        let host = lab.host(name)?;
        let link = lab.link(&host, edge, Subnet::dual(number))?;
        let neighbor = Neighbor::new(link.v4(edge)?, 65001).bfd(Bfd::new(INTERVAL, MULTIPLIER));
        let router = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, number)).neighbor(neighbor);
        let router = lab.router(RouterKind::Frr, &host, &router)?;
        Ok(Self { name, router, address: link.v4(&host)?, edge: link.v4(edge)? })
    }

    /// Gives its bfdd real-time priority.
    fn hurry(&self) -> Result<()> {
        let host = self.router.host();
        for pid in host.pids()? {
            if fs::read_to_string(format!("/proc/{pid}/comm"))?.trim() == "bfdd" {
                return host.run(["chrt", "-a", "-f", "-p", "20", &pid.to_string()]).map(drop);
            }
        }
        bail!("{} has no bfdd", self.name)
    }

    /// What we say of BFD with it.
    fn bfd(&self, node: &Node) -> Result<Ours> {
        node.status()?.peers[self.name].bfd.clone().context("no BFD session")
    }

    fn wait_up(&self, lab: &Lab, node: &Node) -> Result<()> {
        node.wait_established(lab, self.name, SOON)?;
        lab.until("BFD to be up on both ends, with the timers agreed upon", SOON, || {
            let (ours, theirs) = (self.bfd(node)?, self.router.bfd(self.edge)?);
            ensure!(ours.state == BfdState::Up && theirs.state == "up", "{ours:?} {theirs:?}");
            let detection = Duration::from_millis(u64::from(INTERVAL * u32::from(MULTIPLIER)));
            let same = ours.detection_us.map(Duration::from_micros) == Some(theirs.detection);
            ensure!(theirs.detection == detection && same, "{ours:?} {theirs:?}");
            Ok(())
        })
    }
}

/// What both ends say of BFD and BGP between them, so that it can be compared.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    our_downs: u64,
    /// Of our BGP session with the router.
    our_sessions: usize,
    their_downs: u64,
    their_sessions_dropped: u64,
}

impl Account {
    fn of(tor: &Tor, node: &Node) -> Result<Self> {
        let json = |command: &str| -> Result<Value> { Ok(serde_json::from_str(&tor.router.cli(command)?)?) };
        let edge = tor.edge.to_string();
        let counters = json("show bfd peers counters json")?;
        let mut sessions = counters.as_array().into_iter().flatten();
        let session = sessions.find(|session| session["peer"].as_str() == Some(&edge));
        let their_downs = session.and_then(|session| session["session-down"].as_u64());
        let neighbor = json(&format!("show bgp neighbors {edge} json"))?;
        let dropped = neighbor[&edge]["connectionsDropped"].as_u64();
        let log = node.process.log();
        let peer = format!("peer={} ", tor.name);
        let ours = log.lines().filter(|line| line.contains("session established") && line.contains(&peer));
        Ok(Self {
            our_downs: tor.bfd(node)?.downs,
            our_sessions: ours.count(),
            their_downs: their_downs.with_context(|| format!("no session-down in {counters}"))?,
            their_sessions_dropped: dropped
                .with_context(|| format!("no connectionsDropped in {neighbor}"))?,
        })
    }
}

/// Times between packets that follow each other, the longest last.
struct Spacings(Vec<Duration>);

impl Spacings {
    fn from(capture: &Capture, source: IpAddr) -> Result<Self> {
        let text = capture.read(&["-q", "src", "host", &source.to_string()])?;
        let stamp = |line: &str| -> Result<u64> {
            let (seconds, micros) =
                line.split_once(' ').and_then(|(stamp, _)| stamp.split_once('.')).context("?")?;
            Ok(seconds.parse::<u64>()? * 1_000_000 + micros.parse::<u64>()?)
        };
        let stamps = text.lines().map(|line| stamp(line).with_context(|| format!("no time in {line:?}")));
        let stamps = stamps.collect::<Result<Vec<_>>>()?;
        let mut spacings: Vec<_> =
            stamps.windows(2).map(|pair| Duration::from_micros(pair[1].saturating_sub(pair[0]))).collect();
        spacings.sort();
        ensure!(!spacings.is_empty(), "no packets from {source}");
        Ok(Self(spacings))
    }

    fn describe(&self) -> String {
        let Self(all) = self;
        let at = |per_mille: usize| all[(all.len() - 1) * per_mille / 1000];
        let over = |ms: u64| all.iter().filter(|spacing| **spacing > Duration::from_millis(ms)).count();
        format!(
            "{} packets, spacing median {:.1?}, 99.9 % {:.1?}, worst {:.1?}; \
             over 55 ms: {}, over 100 ms: {}, over 150 ms: {}",
            all.len() + 1,
            at(500),
            at(999),
            at(1000),
            over(55),
            over(100),
            over(150)
        )
    }
}

fn under_load(lab: &Lab, priority: Priority) -> Result<()> {
    let duration = duration()?;
    let edge = lab.host("edge")?;
    let full = Speaker::start(&beside(lab, &edge, 2)?, &options(2))?;
    let tors = [Tor::start(lab, &edge, "tor", 1)?, Tor::start(lab, &edge, "busy", 3)?];
    let [tor, busy] = &tors;
    tor.hurry()?;
    let web = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let node = Node::start_by(priority.wrapper(), lab, &edge, &config(&tors))?;
    node.wait_established(lab, "peer-2", SOON)?;
    tors.iter().try_for_each(|tor| tor.wait_up(lab, &node))?;
    let log = node.process.log();
    let granted = log.lines().find_map(|line| Some(line.split_once("BFD started priority=")?.1));
    let granted = granted.with_context(|| format!("no priority in {log}"))?;
    ensure!(granted.contains(priority.words()), "{granted}");

    let accounts = || -> Result<Vec<Account>> { tors.iter().map(|tor| Account::of(tor, &node)).collect() };
    let before = accounts()?;
    let received = node.status()?.peers["peer-2"].received;
    let capture = |tor: &Tor| tor.router.host().capture("any", "udp port 3784");
    let captures = [capture(tor)?, capture(busy)?];
    let (begin, since) = (Instant::now(), SystemTime::now());
    let spinning = spin(&edge)?;
    let ended = AtomicBool::new(false);
    let (flooded, (memory, machine)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        let flooded = (|| -> Result<()> {
            while begin.elapsed() < duration {
                full.flood(TABLE)?;
            }
            Ok(())
        })();
        (flooded, watch.stop())
    });
    let lasted = begin.elapsed();
    ensure!(spinning.iter().all(Process::is_running), "somebody had enough of spinning");
    let spinners = spinning.len();
    drop(spinning);
    captures.iter().try_for_each(Capture::stop)?;
    let asked = web.requests().iter().filter(|at| **at >= since).count();
    let (status, after) = (node.status()?, accounts()?);
    let routes = status.peers["peer-2"].received - received;
    let rate = |count: f64| count / lasted.as_secs_f64();
    println!(
        "{lasted:.0?} with {spinners} processes spinning, BFD with {granted}; {:.0} checks/s, {:.0} routes/s taken in, \
         {memory} KiB at most, an ordinary thread up to {machine:.0?} late",
        rate(asked as f64),
        rate(routes as f64),
    );
    for (index, tor) in tors.iter().enumerate() {
        println!(
            "{}: we sent {}\n{0}: it sent {}\n{0}: {:?}; before {:?}, after {:?}",
            tor.name,
            Spacings::from(&captures[index], tor.edge)?.describe(),
            Spacings::from(&captures[index], tor.address)?.describe(),
            tor.bfd(&node)?,
            before[index],
            after[index]
        );
    }
    let log = node.process.log();
    let changes = log.lines().filter(|line| line.contains("BFD") || line.contains("session down"));
    changes.for_each(|line| println!("{line}"));
    flooded?;
    ensure!(routes > 0, "nothing came in");
    ensure!(asked > CHECKS, "only {asked} checks");
    match priority {
        Priority::RealTime => ensure!(before[0] == after[0], "{:?} {:?}", before[0], after[0]),
        // Measured: it waits for a processor for so long now and then that they are right to take us for dead.
        Priority::Ordinary => {}
    }
    tors.iter().try_for_each(|tor| tor.wait_up(lab, &node))?;
    same_session(&full.stop()?)
}
