//! The fuzz targets with nothing installed: every saved input once, then random ones from a fixed seed.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `VIPCAST_FUZZ_EXECUTIONS` | random inputs per target, 300 by default |
//! | `VIPCAST_FUZZ_SEED` | another sequence of them |
//!
//! For coverage-guided runs see `node/fuzz/README.md`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "counts, and the input that failed")]
#![expect(unsafe_code, reason = "an allocator that counts")]
#![expect(clippy::disallowed_methods, reason = "the environment says how many")]

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own for libFuzzer")]
mod fuzz;

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::sync::atomic::{AtomicUsize, Ordering};

use vipcast_bgp::jitter::Jitter;

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
    replay("node", fuzz::node, include_str!("../fuzz/seeds/node.txt"));
    replay("health", fuzz::health, include_str!("../fuzz/seeds/health.txt"));
}

fn replay(name: &'static str, target: fn(&[u8]), saved: &str) {
    let saved: Vec<Vec<u8>> = saved.lines().filter_map(octets).collect();
    // The stories are made with the first input.
    target(&[1]);
    for input in &saved {
        run(name, target, input);
    }
    let executions = number("VIPCAST_FUZZ_EXECUTIONS").unwrap_or(300);
    let mut random = Jitter::new(number("VIPCAST_FUZZ_SEED").unwrap_or(1));
    for _ in 0..executions {
        let length = 1 + random.next() % LONGEST;
        let input: Vec<u8> = (0..length).map(|_| random.next().to_be_bytes()[0]).collect();
        run(name, target, &input);
    }
    println!("{name}: {} saved inputs, {executions} random ones", saved.len());
}

/// An input in hexadecimal, blanks between octets and a comment behind `#` at will.
fn octets(line: &str) -> Option<Vec<u8>> {
    let digits: String = line.split('#').next()?.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2);
    let octet = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    (!digits.is_empty()).then(|| pairs.map(|pair| octet(pair).unwrap_or_else(|| panic!("{line}"))).collect())
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

fn run(name: &'static str, target: fn(&[u8]), input: &[u8]) {
    let told = Told { name, input };
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    target(input);
    let most = MOST.load(Ordering::Relaxed).saturating_sub(before);
    assert!(most < MOST_MEMORY, "{most} bytes of memory");
    drop(told);
}

/// Says which input it was when the target panics.
struct Told<'a> {
    name: &'static str,
    input: &'a [u8],
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex: String = self.input.iter().map(|octet| format!("{octet:02x}")).collect();
            eprintln!(
                "target {} fails; once it is mended, add this to node/fuzz/seeds/{0}.txt:\n{hex}",
                self.name
            );
        }
    }
}
