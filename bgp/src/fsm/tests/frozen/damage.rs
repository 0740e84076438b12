//! A damaged peer is refused, or it is one that works.

use std::time::Duration;

use proptest::prelude::*;

use super::golden::{GOLDEN, golden, thaw};
use super::heavy;
use crate::adj_rib_out::Export;
use crate::fsm::tests::support::{ACKNOWLEDGED, encode, update};
use crate::fsm::{Extent, Input, Output, Tuning, Version};
use crate::wire::{Family, Message, RefreshKind, RouteRefresh};

proptest! {
    #![proptest_config(crate::testing::cases(300))]

    #[test]
    fn damaged_peers_are_refused_or_work(
        damages in proptest::collection::vec((0..8_u8, any::<usize>(), any::<u64>()), 1..3),
    ) {
        let mut text = GOLDEN.as_bytes().to_vec();
        for (how, at, value) in damages {
            crate::testing::damage(&mut text, how, at, value);
        }
        let Ok(frozen) = serde_json::from_slice(&text) else { return Ok(()) };
        let (_, mut now) = golden();
        let Ok(mut peer) = thaw(&frozen, now) else { return Ok(()) };
        let Some(conn) = peer.endpoints().next().map(|(conn, _)| conn) else { return Ok(()) };
        let _status = peer.status(now);
        let tuning = Tuning { export: Export::Plain, ..peer.config().tuning() };
        let refresh = Message::RouteRefresh(RouteRefresh::new(Family::IPV4_UNICAST, RefreshKind::Normal));
        let mut inputs = vec![
            Input::Received(conn, encode(&Message::Keepalive).slice(11..)),
            Input::Sent(conn, 70_000),
            Input::Queue(conn, ACKNOWLEDGED),
            Input::Received(conn, encode(&refresh)),
            Input::Tune(tuning),
            Input::Received(conn, encode(&update(1, 3))),
            Input::Advertise(Version(9), heavy(3, 1), Extent::Whole),
        ];
        inputs.reverse();
        for _ in 0..200 {
            let input = inputs.pop().unwrap_or(Input::Tick);
            if let Input::Tick = input {
                let Some(deadline) = peer.deadline() else { break };
                now = now.max(deadline) + Duration::from_millis(1);
            }
            for output in peer.handle(input, now) {
                if let Output::Send { conn, bytes } = output {
                    inputs.insert(0, Input::Sent(conn, bytes.len()));
                }
            }
        }
    }
}
