//! A speaker among hostile peers and strangers, over loopback: another session is not affected, and the memory and
//! descriptors come back.
//!
//! One test in a process of its own, because it counts the descriptors and the memory of the process.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, not to clippy")]

mod support;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval, sleep, timeout};
use vipcast_bgp::net::{PeerHandle, Speaker};
use vipcast_bgp::transport::{PeerAddress, Transport};
use vipcast_bgp::wire::{Message, SessionContext, next_frame};
use vipcast_bgp::{ConnectMode, RouteAttributes, Routes, State, Version};

use support::{PATIENCE, RAW_AS, Raw, config, encode, open};

/// A KEEPALIVE is due every second, at most 25 % early (hold time 3 s).
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

/// A well-behaved peer, on a thread of its own: sends a KEEPALIVE a second, and tells the number of ours and the longest
/// pause around them, without the time that `waited` grew by.
fn keepalives(
    raw: Raw,
    waited: impl Fn() -> Duration + Send + 'static,
    mut over: oneshot::Receiver<()>,
) -> thread::JoinHandle<(u32, Duration)> {
    let Raw { stream, mut buffer } = raw;
    let stream = stream.into_std().unwrap();
    let mut last = (Instant::now(), waited());
    let mut pause = move || {
        let now = (Instant::now(), waited());
        let (before, waited_before) = std::mem::replace(&mut last, now);
        (now.0 - before).saturating_sub(now.1 - waited_before)
    };
    let exchange = async move {
        let mut stream = TcpStream::from_std(stream).unwrap();
        let (mut longest, mut count) = (Duration::ZERO, 0);
        let mut clock = interval(Duration::from_millis(900));
        loop {
            tokio::select! {
                _ = &mut over => return (count, longest.max(pause())),
                _ = clock.tick() => stream.write_all(&encode(&Message::Keepalive)).await.unwrap(),
                read = stream.read_buf(&mut buffer) => {
                    assert!(read.unwrap() > 0, "the good session was closed");
                    while let Some(frame) = next_frame(&mut buffer).unwrap() {
                        let message = Message::decode(&frame, &SessionContext::external()).unwrap();
                        assert!(!matches!(message, Message::Notification(_)), "{message:?}");
                        if message == Message::Keepalive {
                            longest = longest.max(pause());
                            count += 1;
                        }
                    }
                }
            }
        }
    };
    thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(exchange)
    })
}

/// How long the calling thread waits for a processor, all in all, now and later: the second number, in nanoseconds
/// (proc_pid_schedstat(5)).
fn waiting() -> impl Fn() -> Duration + Clone + Send {
    let thread = std::fs::read_link("/proc/thread-self").unwrap();
    move || {
        let schedstat = std::fs::read_to_string(Path::new("/proc").join(&thread).join("schedstat")).unwrap();
        Duration::from_nanos(schedstat.split_whitespace().nth(1).unwrap().parse().unwrap())
    }
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
    let (over, is_over) = oneshot::channel();
    let waited = waiting();
    let good_end = keepalives(good_peer, waited.clone(), is_over);
    wait_state(&good, State::Established).await;

    let (deaf_listener, deaf_at) = Raw::listen_small([127, 3, 0, 3]);
    let (slow_listener, slow_at) = Raw::listen([127, 3, 0, 4]);
    let flapper_at = [127, 3, 0, 5];
    let flapper = peer((flapper_at, 179).into(), ConnectMode::Passive, 9);
    let routes = many_routes();
    let (fds, kib) = (descriptors(), memory());
    let begin = Instant::now();

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
    let (count, longest) = good_end.join().unwrap();
    println!(
        "{:?}: 1,000 connections in {flapped:?}, the deaf peer given up after {given_up:?}; {count} KEEPALIVEs to the good peer, \
         the longest pause {longest:?} (and {:?} without a processor); descriptors {fds}, {} at most, {} now; memory {kib} KiB, {} at most, {} now",
        begin.elapsed(),
        waited(),
        most.0,
        descriptors(),
        most.1,
        memory()
    );
    assert!(count > 2 && longest < LATEST, "{count} KEEPALIVEs, the longest pause {longest:?}");
    assert!(memory() < kib + REMAINS, "{} KiB after {kib}", memory());
    reader.abort();
}
