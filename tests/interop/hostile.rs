//! Hostile peers and strangers, all at once: another session and the checks are not affected, and memory and
//! descriptors come back.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use vipcast::control::api::Verdict;
use vipcast_lab::speaker::{Event, knock, linger};
use vipcast_lab::{EchoServer, Host, Lab, Speaker, SpeakerOptions};

use crate::load::{GROWTH, LATEST, Watch, beside, config, options, peer, same_session};
use crate::node::Node;
use crate::{SOON, trial};

/// Prefixes that are announced beside the two VIPs, so that a peer which reads nothing has something not to read.
const MANY: u32 = 2_000;
/// The check runs every 200 ms, 5 % more or less; the rest is what may be added by us. How late the machine itself is comes
/// on top of it, three times: it has to wake the prober, the server, and the thread that notes the request.
const CHECKED: Duration = Duration::from_millis(210 + 100);

/// What 1,000 more connections and 200 more strangers may add, in KiB, when there were as many before.
const AGAIN: u64 = 256;
/// Our address on the link of the peer that opens and closes connections.
const KNOCKED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 5, 2)), 179);
/// Our address on the link of the strangers.
const LINGERED: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 6, 2)), 179);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("hostile::peers_and_strangers_are_not_noticed_and_leave_nothing", &[], hostile)]
}

/// The good peer is number 1. What the others are is told where they begin.
fn hostile(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    // What the kernel takes for a peer that reads nothing.
    edge.sysctl("net/ipv4/tcp_wmem", "4096 16384 65536")?;
    let mut hosts = Vec::new();
    for number in 1..=6 {
        hosts.push(beside(lab, &edge, number)?);
    }
    let [good, deaf, slow, slower, knocking, stranger] = hosts.as_slice() else { unreachable!("six") };
    let counting = Speaker::start(good, &options(1))?;
    let web = EchoServer::start(&edge, "web", "[::]:7".parse()?, Some("[::]:8080".parse()?))?;
    let peers: String = (1..=4).map(peer).collect();
    let mut text = config(&(peers + "  peer-5: {address: 10.0.5.1, peer_as: 65005, passive: true}\n"));
    let many = (0..MANY).map(|n| format!("{}/31", Ipv4Addr::from(0x0A80_0000 + 2 * n)));
    writeln!(text, "  many: {{vips: [{}], checks: []}}", many.collect::<Vec<_>>().join(", "))?;
    let node = Node::start(lab, &edge, &text)?;
    lab.until("the good peer to have it all", SOON, || {
        let status = node.status()?;
        ensure!(status.peers["peer-1"].advertised == status.vips.len(), "{:?}", status.peers);
        ensure!(status.vips.iter().all(|vip| vip.verdict == Verdict::Announced), "not all are announced");
        Ok(())
    })?;

    let (descriptors, memory, since) =
        (node.process.descriptors()?, node.process.memory()?, SystemTime::now());
    let ended = AtomicBool::new(false);
    let (account, (most, late)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        let account = misbehave(lab, &node, [deaf, slow, slower, knocking, stranger]);
        (account, watch.stop())
    });
    let account = account?;
    lab.until("the descriptors to come back", SOON, || {
        let now = node.process.descriptors()?;
        ensure!(now <= descriptors, "{now} and not {descriptors}");
        Ok(())
    })?;
    let after = node.process.memory()?;
    // What stays is what the allocator keeps for the next time.
    knock(knocking, KNOCKED, 1_000, &options(5))?;
    linger(stranger, LINGERED, 200)?;
    let again = node.process.memory()?;
    let requests: Vec<SystemTime> = web.requests().into_iter().filter(|at| *at >= since).collect();
    let pauses =
        requests.iter().zip(requests.iter().skip(1)).map(|(a, b)| b.duration_since(*a).unwrap_or_default());
    let pause = pauses.max().unwrap_or_default();
    let status = node.status()?;
    let heard = counting.stop()?;
    let silence = heard.longest_silence(since);
    println!(
        "{account}in {:.1?}: the longest silence to the good peer {silence:?} ({} KEEPALIVEs), between two of {} checks {pause:?}, \
         this machine up to {late:?} late; descriptors {descriptors} before, {} after; memory {memory}, at most {most}, {after} after, {again} after more of it",
        since.elapsed()?,
        heard.count(&Event::Keepalive),
        requests.len(),
        node.process.descriptors()?,
    );
    same_session(&heard)?;
    ensure!(status.vips.iter().all(|vip| vip.verdict == Verdict::Announced), "something was withdrawn");
    ensure!(silence < LATEST + 2 * late, "the good peer heard nothing for {silence:?}");
    ensure!(pause < CHECKED + 3 * late, "nothing was checked for {pause:?}");
    ensure!(after.resident <= memory.resident + GROWTH, "it grew from {memory} to {after}");
    ensure!(again.resident <= after.resident + AGAIN, "it goes on growing, from {after} to {again}");
    Ok(())
}

/// Tells how it went.
fn misbehave(lab: &Lab, node: &Node, [deaf, slow, slower, knocking, stranger]: [&Host; 5]) -> Result<String> {
    let begin = Instant::now();
    let wait_state = |peer: &str, state: &str| {
        lab.until(format_args!("{peer} to be {state}"), SOON, || {
            let peer = node.status()?.peers[peer].clone();
            ensure!(peer.state.word() == state, "{peer:?}");
            Ok(())
        })
    };
    let wait_end = |peer: &str, cause: &str| {
        lab.until(format_args!("{peer} to be given up"), SOON, || {
            let peer = node.status()?.peers[peer].clone();
            ensure!(peer.last_error.as_deref().unwrap_or_default().contains(cause), "{peer:?}");
            Ok(begin.elapsed())
        })
    };
    // One reads nothing, and asks for everything all the time.
    let deaf = Speaker::start(deaf, &SpeakerOptions { small: true, ..options(2) })?;
    // One sends its OPEN a byte a second, which takes most of a minute.
    let slow = Speaker::start(slow, &SpeakerOptions { drips: true, ..options(3) })?;
    // One begins to send a byte a second when the session stands.
    let slower = Speaker::start(slower, &options(4))?;
    wait_state("peer-2", "Established")?;
    wait_state("peer-3", "OpenSent")?;
    wait_state("peer-4", "Established")?;
    deaf.stop_reading()?;
    deaf.ask(100_000)?;
    slower.drip()?;
    // One opens and closes a thousand connections, and 200 come whom nobody knows.
    knock(knocking, KNOCKED, 1_000, &options(5))?;
    let knocked = begin.elapsed();
    let answered = linger(stranger, LINGERED, 200)?;
    ensure!(answered == 0, "{answered} strangers were answered");
    let lingered = begin.elapsed();
    let dripped = wait_end("peer-4", "Hold Timer Expired")?;
    let given_up = wait_end("peer-2", "Send Hold Timer expired")?;
    wait_state("peer-3", "OpenSent")?;
    let drops = [deaf, slow, slower];
    drop(drops);
    Ok(format!(
        "1,000 connections until {knocked:.1?}, 200 strangers closed until {lingered:.1?}, a byte a second given up after \
         {dripped:.1?}, a deaf peer after {given_up:.1?}; "
    ))
}
