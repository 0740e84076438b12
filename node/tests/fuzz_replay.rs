//! The fuzz targets with nothing installed: every saved input once, some random ones, then mutations of them from a fixed
//! seed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_FUZZ_EXECUTIONS` | mutations per target, 300 by default |
//! | `VIPCAST_FUZZ_SEED` | another sequence of mutations |
//!
//! For coverage-guided runs see `node/fuzz/README.md`.

#![expect(unsafe_code, reason = "an allocator that counts")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own for libFuzzer")]
mod fuzz;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use fuzz::TARGETS;
use vipcast_bgp::jitter::Jitter;
use vipcast_fuzz::{Replay, Target};

/// More memory than this for one input, in bytes, is too much: the largest form here has some 30 KiB.
const MOST_MEMORY: usize = 32 << 20;
/// The longest random input, in octets.
const LONGEST: u64 = 48;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One test, because it counts what the whole process allocates.
#[test]
fn damaged_frozen_forms_are_refused_or_thawed_whole() {
    let [node, health] = TARGETS;
    // The stories are made with the first input.
    fuzz::node(&[1]);
    replay(Target { run: |input| within_bounds(fuzz::node, input), ..node });
    replay(Target { run: |input| within_bounds(fuzz::health, input), ..health });
}

fn replay(target: Target) {
    let mut random = Jitter::new(1);
    let octets =
        |count: u64, random: &mut Jitter| (0..count).map(|_| random.next().to_be_bytes()[0]).collect();
    // The meaning of an input is in each octet, so that any is as good as one that was chosen.
    let any = std::iter::repeat_with(|| octets(1 + random.next() % LONGEST, &mut random)).take(100);
    Replay { home: "node/fuzz", longest: LONGEST as usize, executions: 300 }.run(&target, any);
}

fn within_bounds(target: fn(&[u8]), input: &[u8]) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    target(input);
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    assert!(most < MOST_MEMORY, "{most} bytes of memory");
}
