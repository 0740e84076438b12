//! A thousand clients that ask for the status of 5,000 VIPs again and again, while a service is killed: its UPDATE leaves as soon as
//! from a node that nobody asks, and no KEEPALIVE is late.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use ipnet::IpNet;
use libtest_mimic::Trial;
use vipcast_lab::speaker::{Event, Heard};
use vipcast_lab::{EchoServer, Host, Lab, Speaker};

use crate::load::{LATEST, Watch, beside, options, peer, same_session};
use crate::node::{Node, RELEASED, is_released};
use crate::{SOON, is_alone, measured, trial};

const CLIENTS: usize = 1000;
const VIPS: u32 = 5000;
/// Kills without clients, and as many with them.
pub(crate) const ROUNDS: usize = 15;
/// How much later the median UPDATE may leave because of the clients.
pub(crate) const LATER: Duration = Duration::from_millis(5);
const DIES: &str = "192.0.2.20/32";
/// In KiB: the answers that nobody has read, one that is made, and what an allocator keeps.
pub(crate) const GROWTH: u64 = 40 << 10;
/// A client that was refused comes again after this time, as `vipcast status` does.
const COMES_AGAIN: Duration = Duration::from_millis(50);
const GET_STATUS: &[u8] = b"GET /v1/status HTTP/1.1\r\nhost: vipcast\r\nconnection: close\r\n\r\n";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(&measured("a_thousand_clients_delay_no_withdrawal_and_no_keepalive"), &[], a_thousand)]
}

/// A node with one peer, this many VIPs, and a service that can be killed.
pub(crate) fn config(vips: u32) -> String {
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    let mut services = String::new();
    for number in 0..vips {
        let vip = Ipv4Addr::from(first + number);
        writeln!(services, "  s{number}: {{vips: [{vip}], checks: [], bind: route}}").expect("a string");
    }
    format!(
        "local_as: 64999
router_id: 10.0.0.99
log: {{level: debug}}
peers:
{}checks:
  dies: {{listener: {{udp: 7}}}}
services:
  dies: {{vips: [192.0.2.20], checks: [dies]}}
{services}",
        peer(1)
    )
}

/// Asks until it is told to stop, and counts whole answers.
fn asks(socket: &Path, over: &AtomicBool, answers: &AtomicUsize) {
    let ask = || -> io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(GET_STATUS)?;
        let (mut buffer, mut last, mut is_answer) = ([0; 65536], 0, None);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(is_answer == Some(true) && last == b'\n'),
                length => {
                    is_answer.get_or_insert(buffer.starts_with(b"HTTP/1.1 200 "));
                    last = buffer[length - 1];
                }
            }
        }
    };
    while !over.load(Ordering::Relaxed) {
        if ask().unwrap_or_default() {
            answers.fetch_add(1, Ordering::Relaxed);
        } else {
            thread::sleep(COMES_AGAIN);
        }
    }
}

/// Kills the service a few times, and tells when.
pub(crate) fn kills(lab: &Lab, edge: &Host, node: &Node, rounds: usize) -> Result<Vec<SystemTime>> {
    let seen = |what: &str, times: usize| {
        lab.until(format_args!("{what} {times} times"), SOON, || {
            let log = node.process.log();
            let count = log.lines().filter(|line| line.contains(what) && line.contains(DIES)).count();
            ensure!(count >= times, "{count}; {}", log.lines().rev().take(5).collect::<Vec<_>>().join("\n"));
            Ok(count)
        })
    };
    let mut killed = Vec::new();
    for _ in 0..rounds {
        let service = EchoServer::start(edge, "dies", "[::]:7".parse()?, None)?;
        // Each time it was withdrawn before.
        let announced = seen("VIP withdrawn", 0)? + 1;
        seen("VIP announced", announced)?;
        killed.push(service.kill()?);
        seen("VIP withdrawn", announced)?;
    }
    Ok(killed)
}

/// From each kill until the UPDATE was heard, shortest first.
pub(crate) fn delays(heard: &Heard, killed: &[SystemTime]) -> Result<Vec<Duration>> {
    let dies: IpNet = DIES.parse()?;
    let delay = |at: &SystemTime| {
        let mut events = heard.events.iter().filter(|(heard, _)| heard >= at);
        let (heard, _) =
            events.find(|(_, event)| *event == Event::Withdrawn(dies)).context("not withdrawn")?;
        Ok(heard.duration_since(*at)?)
    };
    let mut delays = killed.iter().map(delay).collect::<Result<Vec<Duration>>>()?;
    delays.sort();
    Ok(delays)
}

fn a_thousand(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let speaker = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
    let node = Node::start_by(RELEASED, lab, &edge, &config(VIPS))?;
    lab.until("every VIP to be announced", SOON, || {
        let sent = node.status()?.peers["peer-1"].advertised;
        ensure!(sent >= usize::try_from(VIPS)?, "{sent}");
        Ok(())
    })?;
    let idle = kills(lab, &edge, &node, ROUNDS)?;
    let before = node.process.memory()?;

    let (since, begin) = (SystemTime::now(), Instant::now());
    let (over, answers, ended) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicBool::new(false));
    let socket = node.socket().to_owned();
    let (asked, (memory, late)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        for _ in 0..CLIENTS {
            let client = thread::Builder::new().stack_size(256 << 10);
            client.spawn_scoped(scope, || asks(&socket, &over, &answers)).expect("a thread");
        }
        let asked = lab
            .until("the clients to be answered", SOON, || {
                ensure!(answers.load(Ordering::Relaxed) > 10);
                Ok(())
            })
            .and_then(|()| kills(lab, &edge, &node, ROUNDS));
        // Long enough for several KEEPALIVEs.
        let stays = vipcast_lab::wait::holds("the daemon", Duration::from_secs(8), || {
            ensure!(node.process.is_running());
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        (stays.and(asked), watch.stop())
    });
    let (asked, lasted) = (asked?, begin.elapsed());
    let log = node.process.log();
    let mut took: Vec<u64> = (log.lines().filter(|line| line.contains("snapshot taken")))
        .filter_map(|line| line.rsplit_once("took_us=")?.1.trim().parse().ok())
        .collect();
    took.sort_unstable();
    let heard = speaker.stop()?;
    let silence = heard.longest_silence(since);
    let (idle, asked) = (delays(&heard, &idle)?, delays(&heard, &asked)?);
    println!(
        "kill to UPDATE, alone {idle:.1?}, beside {CLIENTS} clients {asked:.1?}\n{} answers in {lasted:.1?}, {} snapshots, which took \
         {} µs in the middle and {} at most; memory {before}, {memory} at most; the longest silence {silence:?}, this machine up to {late:?} late",
        answers.load(Ordering::Relaxed),
        took.len(),
        took.get(took.len() / 2).unwrap_or(&0),
        took.last().unwrap_or(&0),
    );
    same_session(&heard)?;
    ensure!(silence < LATEST + 2 * late, "the peer heard nothing for {silence:?}");
    ensure!(answers.load(Ordering::Relaxed) > CLIENTS / 2, "few were answered");
    ensure!(memory.resident <= before.resident + GROWTH, "it grew from {before} to {memory}");
    let (idle, asked) = (idle[ROUNDS / 2], asked[ROUNDS / 2]);
    let is_held = is_alone() && is_released();
    ensure!(!is_held || asked <= idle + LATER, "{asked:?} and not {idle:?}");
    Ok(())
}
