//! The fuzz targets with nothing installed: every saved input once, then mutations of them from a fixed seed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_FUZZ_EXECUTIONS` | mutations per target, 3,000 by default |
//! | `VIPCAST_FUZZ_SEED` | another sequence of mutations |
//! | `VIPCAST_CORPUS` | a file of messages, one JSON object with `hex` a line, to begin with as well |
//!
//! For coverage-guided runs see `bgp/fuzz/README.md`.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, unused_imports, reason = "it is a crate of its own for libFuzzer")]
mod fuzz;

use fuzz::TARGETS;
use vipcast_fuzz::Replay;

#[test]
fn messages_survive() {
    fuzz("message");
}

#[test]
fn framing_survives() {
    fuzz("frame");
}

#[test]
fn every_attribute_survives() {
    fuzz("attribute");
}

#[test]
fn every_capability_survives() {
    fuzz("capability");
}

#[test]
fn notifications_survive() {
    fuzz("notification");
}

#[test]
fn the_peer_machine_survives() {
    fuzz("peer");
}

#[test]
fn bfd_packets_survive() {
    fuzz("bfd_packet");
}

#[test]
fn the_bfd_session_survives() {
    fuzz("bfd_session");
}

#[test]
fn frozen_machines_survive() {
    fuzz("frozen");
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.target.name == name).expect("one of the targets");
    let seen = target.seen().expect("VIPCAST_CORPUS is a readable file");
    // As long as the longest message.
    Replay { home: "bgp/fuzz", longest: 4096, executions: 3_000 }.run(&target.target, seen);
}
