//! The fuzz targets with nothing installed: every saved input once, then mutations of them from a fixed seed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_FUZZ_EXECUTIONS` | mutations per target, 3,000 by default |
//! | `VIPCAST_FUZZ_SEED` | another sequence of mutations |
//!
//! For coverage-guided runs see `vrrp/fuzz/README.md`.

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, unused_imports, reason = "it is a crate of its own for libFuzzer")]
mod fuzz;

use fuzz::TARGETS;
use vipcast_fuzz::Replay;

#[test]
fn packets_survive() {
    fuzz("packet");
}

#[test]
fn the_instance_survives() {
    fuzz("instance");
}

fn fuzz(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("one of the targets");
    // Longer than most packets.
    Replay { home: "vrrp/fuzz", longest: 512, executions: 3_000 }.run(target, []);
}
