//! A full table, and more, from one peer: its cost, and its effect on other sessions.
//!
//! The memory is the resident set of the daemon, sampled all the time: it grows by no less than the proportional set
//! does. Signs of life are KEEPALIVEs and UPDATEs
//! as they arrive at peers that only count.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::{Peer, SessionState, Verdict};
use vipcast_lab::speaker::{Event, Flooded, Heard};
use vipcast_lab::{
    EchoServer, Flood, Host, Lab, Memory, Neighbor, Process, RouterConfig, RouterKind, Speaker,
    SpeakerOptions, Subnet,
};

use crate::node::Node;
use crate::{SOON, trial};

const MILLION: u32 = 1_000_000;
/// How much the daemon may grow, in KiB.
pub(crate) const GROWTH: u64 = 2 * 1024;
/// A third of the hold time of 9 s (RFC 4271 §4.4), and what a machine with other things to do may add. A quarter of a
/// second is more than any step of ours may take; how late the machine itself is comes on top of it, twice: it has to wake
/// both sides.
pub(crate) const LATEST: Duration = Duration::from_millis(3_250);
/// How long a flood goes on, so that several KEEPALIVEs are due meanwhile.
const LONG: Duration = Duration::from_secs(10);

/// Between two looks at a process.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("load::a_million_routes_and_refresh_storms", &[], million),
        trial("load::bird_with_200000_routes", &[RouterKind::Bird], full_table_of_a_router),
    ]
}

/// How late this machine wakes a thread at worst, until `ended`.
pub(crate) fn lateness(ended: &AtomicBool) -> Duration {
    let mut worst = Duration::ZERO;
    while !ended.load(Ordering::Relaxed) {
        let begin = Instant::now();
        thread::sleep(PAUSE);
        worst = worst.max(begin.elapsed() - PAUSE);
    }
    worst
}

/// How much memory a process takes at most, and how late this machine wakes a thread at worst, until it is stopped.
pub(crate) struct Watch<'scope> {
    ended: &'scope AtomicBool,
    memory: thread::ScopedJoinHandle<'scope, Memory>,
    lateness: thread::ScopedJoinHandle<'scope, Duration>,
}

impl<'scope> Watch<'scope> {
    pub(crate) fn start(
        scope: &'scope thread::Scope<'scope, '_>,
        ended: &'scope AtomicBool,
        process: &'scope Process,
    ) -> Self {
        let memory = scope.spawn(|| {
            let mut most = Memory::default();
            while !ended.load(Ordering::Relaxed) {
                most = most.max(process.memory().unwrap_or_default());
                thread::sleep(PAUSE);
            }
            most
        });
        let lateness = scope.spawn(|| lateness(ended));
        Self { ended, memory, lateness }
    }

    /// The most memory, and the worst lateness.
    pub(crate) fn stop(self) -> (Memory, Duration) {
        self.ended.store(true, Ordering::Relaxed);
        (self.memory.join().unwrap_or_default(), self.lateness.join().unwrap_or_default())
    }
}

/// A host 10.0.`number`.1 with a link to `edge`, which is 10.0.`number`.2 there.
pub(crate) fn beside(lab: &Lab, edge: &Host, number: u8) -> Result<Host> {
    let host = lab.host(&format!("peer-{number}"))?;
    lab.link(&host, edge, Subnet::dual(number))?;
    Ok(host)
}

/// What a peer at the other end of link `number` is to the daemon, which dials.
pub(crate) fn peer(number: u8) -> String {
    format!(
        "  peer-{number}: {{address: 10.0.{number}.1, peer_as: {}, active: true}}\n",
        65000 + u32::from(number)
    )
}

/// A good peer at the other end of link `number`.
pub(crate) fn options(number: u8) -> SpeakerOptions {
    SpeakerOptions::new(65000 + u32::from(number), Ipv4Addr::new(10, 0, 0, number))
}

pub(crate) fn config(peers: &str) -> String {
    format!(
        "local_as: 64999
router_id: 10.0.0.99
peers:
{peers}checks:
  web:
    http: {{url: \"http://127.0.0.1:8080/healthz\"}}
    interval: 200ms
    fast_interval: 50ms
    timeout: 200ms
services:
  web: {{vips: [192.0.2.10, 192.0.2.11], checks: [web]}}
"
    )
}

/// Waits until every peer is up and has the VIPs, and what was done for that was freed again.
pub(crate) fn settle(lab: &Lab, node: &Node) -> Result<()> {
    lab.until("all peers to have the VIPs", SOON, || {
        let status = node.status()?;
        let has_all = |peer: &Peer| peer.advertised == status.vips.len();
        ensure!(status.peers.values().all(has_all), "{:?}", status.peers);
        ensure!(status.vips.iter().all(|vip| vip.verdict == Verdict::Announced), "{:?}", status.vips);
        Ok(())
    })
}

fn rate(flood: Flood, flooded: Flooded) -> String {
    let Flooded { rounds, written, answered } = flooded;
    if flood.bursts > 0 {
        return format!("{} storms of {} requests in {written:.1?}", flood.bursts, flood.burst);
    }
    let rate = f64::from(flood.routes) * f64::from(rounds) / answered.as_secs_f64() / 1e6;
    format!(
        "{} a message, {rounds} times: taken in after {answered:.1?}, {rate:.2} million routes/s",
        flood.together
    )
}

fn million(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let flooding = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
    let counting = Speaker::start(&beside(lab, &edge, 2)?, &options(2))?;
    let _web = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let node = Node::start(lab, &edge, &config(&(peer(1) + &peer(2))))?;
    settle(lab, &node)?;
    let (before, since) = (node.process.memory()?, SystemTime::now());
    let ended = AtomicBool::new(false);
    let mut sent = 0;
    let mut account = String::new();
    let (after, (most, late)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        let flooded = (|| -> Result<Memory> {
            let packed =
                Flood { routes: MILLION, together: 800, bursts: 0, burst: 0, lasting: Duration::ZERO };
            let loose = Flood { together: 4, ..packed };
            // Ten storms in the midst of it, at the end.
            let storms = Flood { bursts: 10, burst: 1000, ..loose };
            let mut after = None;
            for flood in
                [packed, loose, Flood { lasting: LONG, ..packed }, Flood { lasting: LONG, ..loose }, storms]
            {
                if flood.bursts > 0 {
                    after = Some(node.process.memory()?);
                }
                let flooded = flooding.flood(flood)?;
                sent += u64::from(MILLION) * u64::from(flooded.rounds);
                writeln!(account, "{}", rate(flood, flooded))?;
            }
            // What was answered last may have been asked in the middle.
            lab.until("all routes to be taken in", SOON, || {
                let received = node.status()?.peers["peer-1"].received;
                ensure!(received == sent, "{received} of {sent}");
                Ok(())
            })?;
            after.context("storms")
        })();
        (flooded, watch.stop())
    });
    let after = after?;
    let at_last = node.process.memory()?;
    let status = node.status()?;
    let (flooding, counting) = (flooding.stop()?, counting.stop()?);
    let silences = [&flooding, &counting].map(|heard| heard.longest_silence(since));
    println!(
        "{account}memory {before}, at most {most}, {after} after the floods, {at_last} after the storms; the longest silence \
         {:?} to the peer that floods ({} KEEPALIVEs), {:?} to the other ({}), this machine up to {late:?} late",
        silences[0],
        flooding.count(&Event::Keepalive),
        silences[1],
        counting.count(&Event::Keepalive)
    );
    for (name, heard) in [("peer-1", &flooding), ("peer-2", &counting)] {
        ensure!(status.peers[name].state == SessionState::Established, "{:?}", status.peers[name]);
        same_session(heard)?;
        let silence = heard.longest_silence(since);
        ensure!(silence < LATEST + 2 * late, "{name} heard nothing for {silence:?}");
        ensure!(heard.count(&Event::Keepalive) >= 5, "too short to tell: {heard:?}");
    }
    ensure!(most.resident <= before.resident + GROWTH, "it grew from {before} to {most}");
    Ok(())
}

pub(crate) fn same_session(heard: &Heard) -> Result<()> {
    let ends: Vec<_> = heard.events.iter().filter(|(_, event)| matches!(event, Event::Down(_))).collect();
    ensure!(heard.sessions() == 1 && ends.is_empty(), "{} sessions, {ends:?}", heard.sessions());
    Ok(())
}

/// The same from a router of another kind, which takes its time.
fn full_table_of_a_router(lab: &Lab) -> Result<()> {
    const ROUTES: u32 = 200_000;
    let edge = lab.host("edge")?;
    let counting = Speaker::start(&beside(lab, &edge, 2)?, &options(2))?;
    let tor = lab.host("tor")?;
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let _web = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let net = |n: u32| Ipv4Addr::from(0x0100_0000 + (n << 8));
    let routes: String = (0..ROUTES).map(|n| format!("route {}/24 blackhole;\n", net(n))).collect();
    let router = RouterConfig::new(65001, Ipv4Addr::new(10, 0, 0, 1))
        .neighbor(Neighbor::new(link.v4(&edge)?, 64999).passive())
        .extra(&format!("protocol static full {{ ipv4; disabled yes;\n{routes}}}\n"));
    let router = lab.router(RouterKind::Bird, &tor, &router)?;
    let node = Node::start(lab, &edge, &config(&(peer(1) + &peer(2))))?;
    settle(lab, &node)?;
    let (before, since) = (node.process.memory()?, SystemTime::now());
    let ended = AtomicBool::new(false);
    let (result, (most, late)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        let result = (|| -> Result<()> {
            let mut wanted = 0;
            for round in 0..3 {
                let begin = Instant::now();
                let command = if round == 0 { "enable full" } else { "reload out n0" };
                router.cli(command)?;
                wanted += u64::from(ROUTES);
                lab.until("all routes to come in", SOON, || {
                    let received = node.status()?.peers["peer-1"].received;
                    ensure!(received >= wanted, "{received} of {wanted}");
                    Ok(())
                })?;
                println!("bird's {ROUTES} routes came in within {:.1?}", begin.elapsed());
            }
            // Long enough for a KEEPALIVE that is late because of it to be seen.
            vipcast_lab::wait::holds("the sessions", Duration::from_secs(6), || {
                ensure!(node.process.is_running());
                Ok(())
            })
        })();
        (result, watch.stop())
    });
    result?;
    let after = node.process.memory()?;
    let (status, heard) = (node.status()?, counting.stop()?);
    let silence = heard.longest_silence(since);
    println!(
        "memory {before}, at most {most}, {after} after; the longest silence to the other peer {silence:?}"
    );
    same_session(&heard)?;
    ensure!(silence < LATEST + 2 * late, "the other peer heard nothing for {silence:?}");
    ensure!(status.peers["peer-1"].state == SessionState::Established, "{:?}", status.peers["peer-1"]);
    ensure!(router.established(link.v4(&edge)?)?, "the router says that the session is down");
    ensure!(most.resident <= before.resident + GROWTH, "it grew from {before} to {most}");
    Ok(())
}
