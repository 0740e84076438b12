//! Records as events.

use std::time::Duration;

use jiff::Timestamp;
use vipcast_bgp::Instant;
use vipcast_node::engine::{Order, Override, Scope};
use vipcast_node::now::Now;
use vipcast_node::record::What;

use super::*;
use crate::control::api::Event;
use crate::journal::Lines;

fn events(all: impl IntoIterator<Item = What>) -> Vec<String> {
    let mut lines = Lines::default();
    let mut events = Vec::new();
    for (seq, what) in (1..).zip(all) {
        let mono = Instant::BOOT + Duration::from_secs(1);
        let wall = Timestamp::UNIX_EPOCH + Duration::from_millis(seq * 1500);
        let record = Record { seq, at: Now { mono, wall }, what };
        events.extend(lines.tell(&record).map(|told| String::from_utf8(json(&record, &told)).unwrap()));
    }
    events
}

#[test]
fn i11_an_event_has_its_subject_its_cause_and_who_did_it() {
    let order = Order { by: "alice".into(), reason: Some("kernel".into()) };
    let drain = Override { order, since: Timestamp::UNIX_EPOCH, ends: None };
    let all = events([
        What::Drained(Scope::Service("web".into()), drain.clone()),
        What::Promoted("web".into(), drain),
        What::Commanded { by: "bob".into(), command: "drain".into(), refused: None },
        What::HandedOver { peer: "tor".into(), version: vipcast_bgp::Version(1) },
        What::RouterFound { interface: "eth0".into(), router: "fe80::1".parse().unwrap() },
    ]);
    assert_eq!(
        all,
        [
            r#"{"seq":1,"at":"1970-01-01T00:00:01.500Z","event":"drain_begins","level":"info","message":"drain begins","service":"web","by":"alice","reason":"kernel"}"#,
            r#"{"seq":2,"at":"1970-01-01T00:00:03.000Z","event":"promoted","level":"info","message":"promoted","service":"web","by":"alice","reason":"kernel"}"#,
            r#"{"seq":3,"at":"1970-01-01T00:00:04.500Z","event":"command","level":"debug","message":"command","by":"bob","details":{"command":"drain"}}"#,
            r#"{"seq":5,"at":"1970-01-01T00:00:07.500Z","event":"router_found","level":"info","message":"router found by its advertisement","details":{"interface":"eth0","router":"fe80::1"}}"#,
        ]
    );
    for json in &all {
        let event: Event = serde_json::from_str(json).expect("an event of the API");
        assert_eq!(&serde_json::to_string(&event).unwrap(), json, "as the API writes it");
    }
}
