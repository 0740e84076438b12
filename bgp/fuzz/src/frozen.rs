//! A frozen machine from octets that are JSON, or nearly.
//!
//! ```text
//!   input ─► which machine, then JSON ─► frozen form ─► thaw ─► refused, or a machine that handles what comes
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vipcast_bgp::fsm::{Input, Output, Peer, SendQueue};
use vipcast_bgp::time::Instant;
use vipcast_bgp::wire::{Asn, Message, SessionContext};
use vipcast_bgp::{Extent, PeerConfig, Routes, Version, bfd, frozen};

/// The time of the seeds.
const NOW: Instant = Instant::from_nanos(10_000_000_000);

/// More than that teaches nothing and costs speed.
const MAX_TICKS: usize = 50;

/// The first octet chooses the machine, the rest is text.
pub fn frozen(data: &[u8]) {
    match data.split_first() {
        Some((0, text)) => session(text),
        Some((_, text)) => peer(text),
        None => {}
    }
}

pub(crate) fn from_message(_message: &[u8]) -> Vec<Vec<u8>> {
    Vec::new()
}

fn session(text: &[u8]) {
    let Ok(frozen) = serde_json::from_slice::<frozen::Session>(text) else { return };
    let Ok(mut session) = bfd::Session::thaw(&frozen, NOW) else { return };
    assert_eq!(session.freeze(), frozen, "a thaw changes nothing");
    let mut now = NOW;
    for _ in 0..MAX_TICKS {
        let Some(deadline) = session.deadline() else { return };
        now = now.max(deadline);
        session.handle(bfd::Input::Tick, now);
        assert!(session.deadline().is_none_or(|at| at > now), "a Tick leaves nothing that is due");
    }
}

fn peer(text: &[u8]) {
    let config = PeerConfig::new(Asn(65001), Asn(65000), [10, 0, 0, 2].into());
    let Ok(frozen) = serde_json::from_slice::<frozen::Peer>(text) else { return };
    let Ok(mut peer) = Peer::thaw(config, &frozen, Routes::new(), Arc::default(), NOW) else { return };
    let conn = peer.endpoints().next().map(|(conn, _)| conn);
    let mut now = NOW;
    let mut inputs = vec![Input::Advertise(Version(1), Routes::new(), Extent::Whole)];
    if let Some(conn) = conn {
        let alive: Bytes = Message::Keepalive.encode(&SessionContext::external()).expect("it fits");
        let queue = SendQueue { unacknowledged: 0, retransmissions: 0, segment: 1460 };
        inputs.extend([Input::Sent(conn, 100), Input::Queue(conn, queue), Input::Received(conn, alive)]);
    }
    for _ in 0..MAX_TICKS {
        let input = inputs.pop().unwrap_or(Input::Tick);
        if let Input::Tick = input {
            let Some(deadline) = peer.deadline() else { return };
            now = now.max(deadline) + Duration::from_nanos(1);
        }
        for output in peer.handle(input, now) {
            if let Output::Send { conn, bytes } = output {
                inputs.insert(0, Input::Sent(conn, bytes.len()));
            }
        }
    }
}
