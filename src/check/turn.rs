//! When a probe begins: its turn may come late, where many programs run or descriptors are few. Its time does not run until then,
//! and whoever waits for its result can see that it waits.

use std::future::{Future as _, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

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
    /// Ends when a probe has waited for its turn for so long. To be awaited beside the probe, in one task.
    pub(super) async fn long(&self, time: Duration) {
        let mut alarm = None;
        poll_fn(|cx| {
            if !self.0.load(Ordering::Relaxed) {
                alarm = None;
                return Poll::Pending;
            }
            let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(time)));
            alarm.as_mut().poll(cx)
        })
        .await;
    }
}
