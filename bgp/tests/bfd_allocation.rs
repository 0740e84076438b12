//! The packet path of the BFD driver allocates nothing. A test target of its own, because it counts what the whole
//! process allocates.

#![expect(unsafe_code, reason = "an allocator that counts")]
#![expect(clippy::disallowed_methods, reason = "a real driver and its clock")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use vipcast_bgp::bfd::SessionSettings;
use vipcast_bgp::bfd::{Interval, SessionConfig, State};
use vipcast_bgp::net::bfd::{Bfd, Options};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn packets_come_and_go_without_an_allocation() {
    let [.., high, low] = std::process::id().to_be_bytes();
    let [one, other] = [1, 2].map(|last| Ipv4Addr::new(127, high | 0x80, low, last));
    let config = SessionConfig::new(Interval::from_millis(10).unwrap(), 50.try_into().unwrap());
    let start = |local: Ipv4Addr, remote: Ipv4Addr| {
        let (bfd, events) = Bfd::start(Options { listen_v4: local, ..Options::default() }).unwrap();
        let settings =
            SessionSettings { local: Some(local.into()), config, ..SessionSettings::new(remote.into()) };
        bfd.set(BTreeMap::from([("it".into(), settings)]));
        (bfd, events)
    };
    let drivers = [start(one, other), start(other, one)];
    let counted = || {
        drivers.each_ref().map(|(bfd, _)| {
            let status = bfd.report().unwrap().sessions["it"].status.clone();
            (status.state == State::Up && !status.polling).then_some(status.counters.received)
        })
    };
    let begin = Instant::now();
    let before = loop {
        if let [Some(first), Some(second)] = counted() {
            break [first, second];
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", counted());
        std::thread::sleep(Duration::from_millis(10));
    };
    // Only the time in which nothing else happens in this process is measured.
    let allocated = ALLOCATIONS.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(1));
    let allocated = ALLOCATIONS.load(Ordering::Relaxed) - allocated;
    let after = counted().map(|received| received.expect("they stay up"));
    assert!(after[0] > before[0] + 50 && after[1] > before[1] + 50, "{before:?} {after:?}");
    assert_eq!(allocated, 0, "for {} packets", after[0] + after[1] - before[0] - before[1]);
}
