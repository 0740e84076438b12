//! A speaker among hostile peers and strangers, over loopback: another session is not affected, and the memory and
//! descriptors come back.
//!
//! One test in a process of its own, because it counts the descriptors and the memory of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, not to clippy")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, interval, sleep, timeout};
use vipcast_bgp::net::{PeerHandle, Speaker};
use vipcast_bgp::transport::{PeerAddress, Transport};
use vipcast_bgp::wire::{Message, SessionContext, next_frame};
use vipcast_bgp::{ConnectMode, RouteAttributes, Routes, State, Version};

use support::{PATIENCE, RAW_AS, Raw, config, encode, open};

/// A KEEPALIVE is due every second, at most 25 % early (hold time 3 s); how late the machine itself is comes on top.
const LATEST: Duration = Duration::from_millis(1500);
/// The memory that may stay in use, in KiB. 50,000 sets of attributes are queued for the peer that does not read, a few
/// MiB, and the allocator keeps freed memory below memory in use.
const REMAINS: u64 = 8 * 1024;
const US: [u8; 4] = [127, 3, 0, 1];
const OUR_AS: u32 = 65001;

async fn wait(what: &str, mut done: impl FnMut() -> Result<(), String>) {
    let begin = Instant::now();
    while let Err(status) = done() {
        assert!(begin.elapsed() < PATIENCE, "no {what} after {PATIENCE:?}: {status}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_state(handle: &PeerHandle, state: State) {
    wait("session", || {
        let status = handle.status();
        if status.state == state { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Resident memory, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A well-behaved peer: sends a KEEPALIVE a second, and tells the longest pause between two of ours.
async fn keepalives(raw: Raw, mut over: tokio::sync::oneshot::Receiver<()>) -> (u32, Duration) {
    let Raw { mut stream, mut buffer } = raw;
    let (mut last, mut longest, mut count) = (None::<Instant>, Duration::ZERO, 0);
    let mut clock = interval(Duration::from_millis(900));
    loop {
        tokio::select! {
            _ = &mut over => return (count, longest),
            _ = clock.tick() => stream.write_all(&encode(&Message::Keepalive)).await.unwrap(),
            read = stream.read_buf(&mut buffer) => {
                assert!(read.unwrap() > 0, "the good session was closed");
                while let Some(frame) = next_frame(&mut buffer).unwrap() {
                    let message = Message::decode(&frame, &SessionContext::external()).unwrap();
                    assert!(!matches!(message, Message::Notification(_)), "{message:?}");
                    if message == Message::Keepalive {
                        let now = Instant::now();
                        longest = longest.max(last.map_or(Duration::ZERO, |last| now - last));
                        (last, count) = (Some(now), count + 1);
                    }
                }
            }
        }
    }
}

/// How much later than asked for a thread of this process was woken, at worst, until it is told to end.
fn lateness(over: Arc<AtomicBool>) -> std::thread::JoinHandle<Duration> {
    const PAUSE: Duration = Duration::from_millis(5);
    std::thread::spawn(move || {
        let mut worst = Duration::ZERO;
        while !over.load(Ordering::Relaxed) {
            let begin = Instant::now();
            std::thread::sleep(PAUSE);
            worst = worst.max(begin.elapsed() - PAUSE);
        }
        worst
    })
}

fn many_routes() -> Routes {
    let host = |n| IpNet::from(IpAddr::from(Ipv4Addr::from(0xC612_0000 + n)));
    // Each has attributes of its own, so that each takes an UPDATE of its own.
    let attributes = |n| Arc::new(RouteAttributes { med: Some(n), ..RouteAttributes::default() });
    (0..50_000).map(|n| (host(n), attributes(n))).collect()
}

#[tokio::test]
async fn hostile_peers_and_strangers_do_not_delay_a_keepalive_and_leave_nothing() {
    let (mut speaker, mut events, _) = Speaker::new();
    let here = speaker.listen((US, 0).into()).unwrap();
    // The stream of events must be read.
    let reader = tokio::spawn(async move { while events.recv().await.is_some() {} });
    let mut peer = |remote: SocketAddr, mode, hold| {
        // All unread bytes may fit into the kernel's buffer: then the kernel must give up.
        let user_timeout = Some(Duration::from_secs(u64::from(hold) * 2 + 1));
        let transport = Transport {
            user_timeout,
            ..PeerAddress { remote, source: Some(Ipv4Addr::from(US).into()) }.into()
        };
        speaker.add_peer(transport, config(OUR_AS, RAW_AS, mode, hold))
    };
    let (good_listener, at) = Raw::listen([127, 3, 0, 2]);
    let good = peer(at, ConnectMode::Active, 3);
    let good_peer = Raw::establish(&good_listener, 3).await;
    let (over, is_over) = tokio::sync::oneshot::channel();
    let good_end = tokio::spawn(keepalives(good_peer, is_over));
    wait_state(&good, State::Established).await;

    let (deaf_listener, deaf_at) = Raw::listen_small([127, 3, 0, 3]);
    let (slow_listener, slow_at) = Raw::listen([127, 3, 0, 4]);
    let flapper_at = [127, 3, 0, 5];
    let flapper = peer((flapper_at, 179).into(), ConnectMode::Passive, 9);
    let routes = many_routes();
    let (fds, kib) = (descriptors(), memory());
    let begin = Instant::now();
    let ended = Arc::new(AtomicBool::new(false));
    let late = lateness(Arc::clone(&ended));

    // One reads nothing, with 50,000 routes on the way to it. Its own KEEPALIVEs come.
    let deaf = peer(deaf_at, ConnectMode::Active, 3);
    let mut deaf_peer = Raw::establish(&deaf_listener, 3).await;
    deaf.advertise(Version(1), routes.clone());
    let deaf_end = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(900)).await;
            if deaf_peer.stream.write_all(&encode(&Message::Keepalive)).await.is_err() {
                return begin.elapsed();
            }
        }
    });
    // One sends its OPEN a byte at a time, and would take half a minute.
    let slow = peer(slow_at, ConnectMode::Active, 9);
    let mut slow_peer = Raw::accept(&slow_listener).await;
    let slow_end = tokio::spawn(async move {
        for byte in encode(&open(9)) {
            if slow_peer.stream.write_all(&[byte]).await.is_err() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    // One opens and closes a thousand connections, half of them with an OPEN.
    for n in 0..1_000 {
        let mut stream = Raw::dial(flapper_at, here).await.stream;
        if n % 2 == 0 {
            // It may be closed already.
            let _closed = stream.write_all(&encode(&open(9))).await;
        }
    }
    let flapped = begin.elapsed();
    // And 200 strangers come, and stay as long as they may.
    let mut strangers = Vec::new();
    for n in 0..200 {
        strangers.push(Raw::dial([127, 3, 1, n], here).await.stream);
    }
    for mut stranger in strangers {
        let mut nothing = [0];
        let read = timeout(PATIENCE, stranger.read(&mut nothing)).await.expect("to be closed");
        assert!(matches!(read, Ok(0) | Err(_)), "a stranger was answered: {read:?}");
    }
    // The deaf one is given up after twice its hold time, and nothing else has happened until then.
    let given_up = timeout(PATIENCE, deaf_end).await.expect("the deaf peer to be given up").unwrap();
    let most = (descriptors(), memory());
    slow_end.abort();
    drop((slow_listener, deaf_listener));
    for handle in [deaf, slow, flapper] {
        drop(handle);
    }
    wait("descriptors to come back", || {
        let now = descriptors();
        // The two listeners of the test are gone.
        if now <= fds { Ok(()) } else { Err(format!("{now} and not {fds}")) }
    })
    .await;
    assert_eq!(good.status().counters.established, 1, "the good session was lost");
    over.send(()).unwrap();
    let (count, longest) = good_end.await.unwrap();
    ended.store(true, Ordering::Relaxed);
    let late = late.join().unwrap();
    println!(
        "{:?}: 1,000 connections in {flapped:?}, the deaf peer given up after {given_up:?}; {count} KEEPALIVEs to the good peer, \
         the longest pause {longest:?} (the machine up to {late:?} late); descriptors {fds}, {} at most, {} now; memory {kib} KiB, {} at most, {} now",
        begin.elapsed(),
        most.0,
        descriptors(),
        most.1,
        memory()
    );
    assert!(count > 4 && longest < LATEST + late, "{count} KEEPALIVEs, the longest pause {longest:?}");
    assert!(memory() < kib + REMAINS, "{} KiB after {kib}", memory());
    reader.abort();
}
