//! Readers of the API over TCP: thousands of scrapes, a thousand streams of events, one that never reads, half a request, a body
//! of a gigabyte. A service is killed meanwhile: its UPDATE leaves as soon as from a node that nobody asks, and no
//! KEEPALIVE is late.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use nix::sched::{CloneFlags, setns};
use vipcast_lab::{Host, Lab, Speaker};

use crate::clients::{self, GROWTH, LATER, ROUNDS, delays, kills};
use crate::load::{LATEST, Watch, beside, options, same_session};
use crate::node::{Node, RELEASED, is_released};
use crate::{SOON, is_alone, measured, trial};

const STREAMS: usize = 1000;
const HALF_OPEN: usize = 100;
const SCRAPERS: usize = 8;
/// Between two looks at the streams.
const PAUSE: Duration = Duration::from_millis(50);
const BODY: usize = 1 << 30;
const API: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9468);
pub(crate) const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9467);
const GET_EVENTS: &[u8] = b"GET /v1/events/stream HTTP/1.1\r\nhost: vipcast\r\n\r\n";
const GET_METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: vipcast\r\nconnection: close\r\naccept: application/openmetrics-text; version=1.0.0\r\n\r\n";

pub(crate) fn trials() -> Vec<Trial> {
    let name = "scrapes_streams_and_rude_readers_delay_no_withdrawal_and_no_keepalive";
    vec![trial(&measured(name), &[], watchers)]
}

fn config() -> String {
    format!("{}api: {{listen: \"{API}\"}}\nmetrics: {{listen: \"{METRICS}\"}}\n", clients::config(1000))
}

/// All requests are made in the namespace of the daemon, whose listeners are on loopback. Its threads stay in it.
pub(crate) fn enter(host: &Host) -> Result<()> {
    let namespace = File::open(Path::new("/run/netns").join(host.namespace()))?;
    setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")
}

fn connect(to: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.set_write_timeout(Some(SOON))?;
    stream.write_all(request)?;
    Ok(stream)
}

/// A whole scrape, which has to be one.
pub(crate) fn scrape() -> Result<()> {
    let mut answer = Vec::new();
    connect(METRICS, GET_METRICS)?.read_to_end(&mut answer)?;
    ensure!(
        answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"# EOF\n"),
        "no scrape: {}",
        String::from_utf8_lossy(&answer[..answer.len().min(200)])
    );
    Ok(())
}

/// Reads all streams in one thread, because a thousand would be late by themselves, and counts the events `withdrawn`.
fn follow(streams: Vec<TcpStream>, withdrawn: &AtomicUsize, over: &AtomicBool) -> Result<()> {
    streams.iter().try_for_each(|stream| stream.set_nonblocking(true))?;
    let mut streams: Vec<_> = streams.into_iter().map(|stream| (stream, Vec::new())).collect();
    let mut buffer = vec![0; 16 << 10];
    while !over.load(Ordering::Relaxed) {
        for (stream, rest) in &mut streams {
            match stream.read(&mut buffer) {
                Ok(0) => bail!("a stream has ended"),
                Ok(length) => rest.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => bail!("a stream has ended: {error}"),
            }
            let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let told =
                rest[..end].split(|byte| *byte == b'\n').filter(|line| *line == b"event: withdrawn").count();
            rest.drain(..end);
            withdrawn.fetch_add(told, Ordering::Relaxed);
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Sends a body until nobody takes it; returns the bytes that were taken.
fn push_body() -> Result<usize> {
    let head = format!("POST /v1/drain HTTP/1.1\r\nhost: vipcast\r\ncontent-length: {BODY}\r\n\r\n");
    let mut stream = connect(API, head.as_bytes())?;
    let (piece, mut taken) = (vec![b' '; 64 << 10], 0);
    while taken < BODY {
        match stream.write(&piece) {
            Ok(length) => taken += length,
            Err(_) => return Ok(taken),
        }
    }
    bail!("a gigabyte was taken")
}

/// By itself the release build answers them all; beside other tests there is no time for that.
fn scrapes() -> usize {
    if is_alone() { 10_000 } else { 1_000 }
}

/// What the readers had.
#[derive(Debug, Default)]
struct Counts {
    scrapes: AtomicUsize,
    withdrawn: AtomicUsize,
}

fn watchers(lab: &Lab) -> Result<()> {
    let edge = lab.host("edge")?;
    let speaker = Speaker::start(&beside(lab, &edge, 1)?, &options(1))?;
    let node = Node::start_by(RELEASED, lab, &edge, &config())?;
    lab.until("every VIP to be announced", SOON, || {
        let sent = node.status()?.peers["peer-1"].advertised;
        ensure!(sent >= 1000, "{sent}");
        Ok(())
    })?;
    let idle = kills(lab, &edge, &node, ROUNDS)?;
    let before = node.process.memory()?;
    let (since, begin) = (SystemTime::now(), Instant::now());
    let (over, ended, counts) = (AtomicBool::new(false), AtomicBool::new(false), Counts::default());
    let (asked, (memory, late)) = thread::scope(|scope| {
        let watch = Watch::start(scope, &ended, &node.process);
        let readers = scope.spawn(|| readers(&edge, &over, &counts));
        let asked = lab
            .until("scrapes", SOON, || {
                ensure!(counts.scrapes.load(Ordering::Relaxed) > 100 || readers.is_finished());
                Ok(())
            })
            .and_then(|()| kills(lab, &edge, &node, ROUNDS));
        let done = lab.until("the scrapes, and every stream to have every event", 5 * SOON, || {
            let (done, told) = (&counts.scrapes, counts.withdrawn.load(Ordering::Relaxed));
            ensure!(readers.is_finished() || done.load(Ordering::Relaxed) >= scrapes(), "{done:?} scrapes");
            ensure!(readers.is_finished() || told >= STREAMS * ROUNDS, "{told} events");
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        let readers = readers.join().unwrap_or_else(|_| bail!("the readers panicked"));
        (readers.and(done).and(asked), watch.stop())
    });
    let asked = asked?;
    let lasted = begin.elapsed();
    let heard = speaker.stop()?;
    let silence = heard.longest_silence(since);
    let (idle, asked) = (delays(&heard, &idle)?, delays(&heard, &asked)?);
    println!(
        "kill to UPDATE, alone {idle:.1?}, with readers {asked:.1?}\n{} scrapes and {STREAMS} streams in {lasted:.1?}; memory \
         {before}, {memory} at most; the longest silence {silence:?}, this machine up to {late:?} late",
        scrapes()
    );
    same_session(&heard)?;
    ensure!(silence < LATEST + 2 * late, "the peer heard nothing for {silence:?}");
    ensure!(memory.resident <= before.resident + GROWTH, "it grew from {before} to {memory}");
    let (idle, asked) = (idle[ROUNDS / 2], asked[ROUNDS / 2]);
    ensure!(!(is_alone() && is_released()) || asked <= idle + LATER, "{asked:?} and not {idle:?}");
    Ok(())
}

/// Makes all connections, and reads from them in threads of their own until it is over.
fn readers(edge: &Host, over: &AtomicBool, counts: &Counts) -> Result<()> {
    enter(edge)?;
    let streams =
        (0..STREAMS).map(|_| connect(API, GET_EVENTS)).collect::<Result<Vec<_>>>().context("a stream")?;
    // One that never reads, and requests that do not end.
    let _rude = connect(API, GET_EVENTS)?;
    let _half = (0..HALF_OPEN).map(|_| connect(API, &GET_METRICS[..20])).collect::<Result<Vec<_>>>()?;
    let taken = push_body()?;
    println!("{taken} bytes of a body of {BODY} were taken");
    thread::scope(|scope| {
        let mut threads = vec![scope.spawn(|| follow(streams, &counts.withdrawn, over))];
        for _ in 0..SCRAPERS {
            threads.push(scope.spawn(|| {
                (0..scrapes() / SCRAPERS).try_for_each(|_| {
                    scrape().inspect_err(|_| over.store(true, Ordering::Relaxed))?;
                    counts.scrapes.fetch_add(1, Ordering::Relaxed);
                    anyhow::Ok(())
                })
            }));
        }
        let ends =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a reader panicked")));
        ends.collect()
    })
}
