//! What a router reads while the program beside it changes again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use ipnet::IpNet;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use vipcast_bgp::jitter::Jitter;
use vipcast_bgp::wire::{Attribute, Message};
use vipcast_bgp::{PeerEvent, Routes, Version};

use super::support::{Raw, encode};
use super::{Node, dialler, is_up, random_routes, wait, wait_told};

/// What a peer that is handed over has announced, as the bare peer on the other side has read it.
#[derive(Default)]
struct Read {
    routes: BTreeMap<IpNet, u32>,
    messages: usize,
}

impl Read {
    /// Takes a message in: nothing may be told twice, and nothing withdrawn that was not told.
    fn take(&mut self, message: &Message) {
        self.messages += 1;
        match message {
            Message::Update(update) => {
                for prefix in update.withdrawn_prefixes() {
                    assert!(
                        self.routes.remove(&prefix).is_some(),
                        "{prefix} is withdrawn, and was not announced"
                    );
                }
                let med = update.attributes.iter().find_map(|attribute| {
                    if let Attribute::MultiExitDisc(med) = attribute { Some(*med) } else { None }
                });
                for prefix in update.announced() {
                    let before = self.routes.insert(prefix, med.unwrap());
                    assert_ne!(before, med, "{prefix} is announced twice");
                }
            }
            Message::Keepalive => {}
            Message::Open(_) | Message::Notification(_) | Message::RouteRefresh(_) => panic!("{message:?}"),
        }
    }
}

fn meds(routes: &Routes) -> BTreeMap<IpNet, u32> {
    routes.iter().map(|(prefix, attributes)| (*prefix, attributes.med.unwrap())).collect()
}

/// The peer reads now and then, and writes its KEEPALIVEs octet by octet, while its router is handed over.
async fn hand_over_at_random(seed: u64, listener: TcpListener, node: Node, (count, rounds): (u32, u32)) {
    let mut random = Jitter::new(seed);
    let mut raw = Raw::establish(&listener, 240).await;
    let mut node = node;
    wait("session", &node.handle, is_up).await;
    let (mut version, mut wanted) = (0, Routes::new());
    let (mut read, mut owed) = (Read::default(), 0_usize);
    let keepalive = encode(&Message::Keepalive);
    for _ in 0..rounds {
        match random.next() % 6 {
            0 | 1 => {
                version += 1;
                wanted = random_routes(&mut random, count);
                node.handle.advertise(Version(version), wanted.clone());
            }
            2 => {
                // Full messages, some time.
                for _ in 0..random.next() % 2_000 {
                    match timeout(Duration::from_millis(2), raw.receive()).await {
                        Ok(message) => read.take(&message.expect("an open connection")),
                        Err(_nothing) => break,
                    }
                }
            }
            3 => {
                // A part of a message.
                let part = usize::try_from(random.next() % 30).unwrap();
                for _ in 0..part {
                    raw.stream.write_all(&keepalive[owed..=owed]).await.unwrap();
                    owed = (owed + 1) % keepalive.len();
                }
            }
            4 => sleep(Duration::from_micros(random.next() % 3_000)).await,
            _ => {
                for _ in 0..random.next() % 20 {
                    yield_now().await;
                }
            }
        }
        node = node.hand_over().await;
        node.note();
        assert_eq!((node.sessions(), node.losses()), (1, 0), "{:?}", node.told);
    }
    node.handle.advertise(Version(version + 1), wanted.clone());
    let wanted = meds(&wanted);
    while read.routes != wanted {
        read.take(&raw.receive().await.expect("an open connection"));
    }
    wait_told(&mut node, &PeerEvent::Synced(Version(version + 1))).await;
    // The whole KEEPALIVEs were read, and the rest is one, too.
    raw.stream.write_all(&keepalive[owed..]).await.unwrap();
    node.handle.advertise(Version(version + 2), Routes::new());
    while !read.routes.is_empty() {
        read.take(&raw.receive().await.expect("an open connection"));
    }
    wait_told(&mut node, &PeerEvent::Synced(Version(version + 2))).await;
    assert_eq!((node.sessions(), node.losses()), (1, 0), "{:?}", node.told);
    println!("{rounds} hand-overs, {version} sets, {} messages", read.messages);
}

#[tokio::test]
async fn every_route_is_told_once_however_often_the_program_changes() {
    for seed in 0..2 {
        let (listener, address) = Raw::listen([127, 7, 2, 1]);
        hand_over_at_random(seed, listener, dialler(address), (600, 150)).await;
    }
}

#[tokio::test]
async fn what_waits_for_a_full_window_waits_for_the_next_program() {
    let (listener, address) = Raw::listen_small([127, 7, 3, 1]);
    hand_over_at_random(10, listener, dialler(address), (2_000, 30)).await;
}
