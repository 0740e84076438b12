//! Sends numbered datagrams at absolute times and writes down the answers.
//!
//! This thread sends; another polls all sockets, so that an answer is stamped when it arrives. A third waits for the
//! end of standard input.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How long the last answers may take.
const GRACE: Duration = Duration::from_millis(200);

/// Nanoseconds since the start, and the name of the server.
type Answers = HashMap<u64, (u64, String)>;

pub(crate) fn run(target: SocketAddr, interval: Duration, ports: u16, report: &Path) -> Result<()> {
    // Not connected: a connected socket reports an ICMP error in place of sending the next datagram.
    let any = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let bind = |_| -> Result<UdpSocket> {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).context("cannot bind a source port")?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let sockets = (0..ports.max(1)).map(bind).collect::<Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    let sent_all = AtomicU64::new(u64::MAX);
    let (start, epoch) = (Instant::now(), SystemTime::now());
    println!("sending");
    let (sent, answers) = thread::scope(|scope| -> Result<_> {
        let receiver = scope.spawn(|| receive(&sockets, start, &sent_all));
        scope.spawn(|| {
            let _ended = crate::wait_for_end_of_input();
            stop.store(true, Ordering::Relaxed);
        });
        let sent = send(&sockets, target, start, interval, &stop);
        sent_all.store(sent.len() as u64, Ordering::Relaxed);
        let answers = receiver.join().map_err(|_| anyhow!("the receiver panicked"))??;
        Ok((sent, answers))
    })?;
    let mut text = format!("{}\n", epoch.duration_since(SystemTime::UNIX_EPOCH)?.as_nanos());
    for (sequence, sent) in (0..).zip(&sent) {
        match answers.get(&sequence) {
            Some((received, server)) => writeln!(text, "{sent} {received} {server}")?,
            None => writeln!(text, "{sent}")?,
        }
    }
    std::fs::write(report, text).context("cannot write the report")
}

/// Datagram n leaves at `start + n × interval`; after a delay the late ones leave at once, so nothing drifts.
/// Returns when each was sent.
fn send(
    sockets: &[UdpSocket],
    target: SocketAddr,
    start: Instant,
    interval: Duration,
    stop: &AtomicBool,
) -> Vec<u64> {
    let mut sent = Vec::new();
    let mut deadline = start;
    for (sequence, socket) in (0_u64..).zip(sockets.iter().cycle()) {
        thread::sleep(deadline.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sent.push(nanoseconds(start));
        // No route, or a full queue: the datagram is lost, and that is what is measured.
        let _lost = socket.send_to(sequence.to_string().as_bytes(), target);
        deadline += interval;
    }
    sent
}

/// Collects answers until all have come, or the grace after the last sending is over.
fn receive(sockets: &[UdpSocket], start: Instant, sent_all: &AtomicU64) -> Result<Answers> {
    let mut answers = Answers::new();
    let mut servers = BTreeSet::new();
    let mut end: Option<Instant> = None;
    let mut descriptors: Vec<_> =
        sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    loop {
        poll(&mut descriptors, PollTimeout::from(10_u8)).context("cannot poll")?;
        let now = nanoseconds(start);
        for (socket, descriptor) in sockets.iter().zip(&descriptors) {
            if descriptor.any() == Some(true) {
                drain(socket, now, &mut answers, &mut servers);
            }
        }
        let sent = sent_all.load(Ordering::Relaxed);
        if sent != u64::MAX {
            let end = *end.get_or_insert_with(|| Instant::now() + GRACE);
            if answers.len() as u64 >= sent || Instant::now() >= end {
                return Ok(answers);
            }
        }
    }
}

fn drain(socket: &UdpSocket, now: u64, answers: &mut Answers, servers: &mut BTreeSet<String>) {
    let mut buffer = [0; 512];
    while let Ok((length, _)) = socket.recv_from(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        let Some((server, sequence)) = text.split_once(' ') else { continue };
        let Ok(sequence) = sequence.parse() else { continue };
        if servers.insert(server.to_owned()) {
            println!("server {server}");
        }
        answers.entry(sequence).or_insert_with(|| (now, server.to_owned()));
    }
}

/// 2^64 ns are 584 years.
fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
