//! When a probe begins: its turn may come late, where many programs run or descriptors are few. Its time does not run until then,
//! and whoever waits for its result can see that it waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;

/// Of one probe after the other.
#[derive(Debug)]
pub(super) struct Turns {
    /// When the last one began.
    pub(super) began: Instant,
    waits: Waits,
}

/// Whether a probe waits for its turn. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<AtomicBool>);

impl Turns {
    pub(super) fn new(waits: &Waits) -> Self {
        Self { began: clock::now(), waits: waits.clone() }
    }

    /// Waits for `turn`, with which the probe begins. Not cancel-safe: who gives up does not ask again.
    pub(super) async fn take<T>(&mut self, turn: impl Future<Output = T>) -> T {
        self.waits.0.store(true, Ordering::Relaxed);
        let taken = turn.await;
        self.waits.0.store(false, Ordering::Relaxed);
        self.began = clock::now();
        taken
    }
}

impl Waits {
    pub(super) fn are_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
