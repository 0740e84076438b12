//! One probe of one check of any kind: ends at its time-out, and has a result in words.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_node::health::report::Outcome;
use vipcast_node::model::Check;
use vipcast_node::names::CheckName;

use super::kind::{Probe, definition};
use super::permit::{Attempt, Queue, Waiting};
use super::shared::Shared;
use super::words;

#[cfg(test)]
pub(crate) mod tests;

/// An event is no reason to ask sooner after the last question than this: whatever happens how often, the thread is not
/// busy with one check.
const LEAST_PAUSE: Duration = Duration::from_millis(1);

/// Probes one check, again and again.
#[derive(Debug)]
pub(super) struct Prober {
    name: CheckName,
    check: Arc<Check>,
    shared: Arc<Shared>,
    probe: Box<dyn Probe>,
    asked: Instant,
    started: Option<Instant>,
    waiting: Waiting,
}

impl Prober {
    pub(super) fn new(name: CheckName, check: Arc<Check>, shared: impl Into<Arc<Shared>>) -> Self {
        let shared = shared.into();
        let probe = Arc::clone(definition(&check)).probe(&shared);
        Self { name, check, shared, probe, asked: clock::now(), started: None, waiting: Waiting::default() }
    }

    /// Asks once. A panic is a failed probe (I4).
    ///
    /// Cancel-safe: dropping it closes the sockets and kills the process group of the probe.
    pub(super) async fn probe(&mut self) -> Outcome {
        let Self { name, check, shared, probe, .. } = self;
        let mut queue = Queue::new(&self.waiting);
        self.asked = queue.began;
        let answer = {
            // Boxed by the kind, so that a check that waits for its next probe does not hold the room that a TLS handshake needs.
            let asking = probe.ask(Attempt { name, check, shared, queue: &mut queue });
            caught(asking).await.unwrap_or_else(|panic| Err(format!("the probe panicked: {panic}")))
        };
        let took = clock::now() - queue.began;
        let passed = answer.is_ok();
        if !passed {
            self.probe.failed();
        }
        let detail = match answer {
            Ok(text) | Err(text) => words::one_line(text),
        };
        self.started = Some(queue.began);
        Outcome { passed, detail, took }
    }

    /// When the last probe began: it had its permit.
    pub(super) fn started(&self) -> Option<Instant> {
        self.started
    }

    /// Whether a probe waits for its permit, also while it does.
    pub(super) fn waiting(&self) -> Waiting {
        self.waiting.clone()
    }

    /// Ends when something has happened that may have changed the answer: an event never decides, it is a reason to ask
    /// now. Never for the kinds that have to be polled.
    ///
    /// Cancel-safe: an event between two waits ends the next wait at once. A caller stops waiting to probe.
    pub(super) async fn changed(&mut self) {
        self.probe.changed().await;
        let not_before = self.asked + LEAST_PAUSE;
        // A timer is late by up to a millisecond, even when its time has come already.
        if clock::now() < not_before {
            Box::pin(clock::sleep_until(not_before)).await;
        }
    }
}

/// Runs `work`; a panic inside is its error, in the words of the panic.
async fn caught<T>(mut work: Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Result<T, String> {
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => {
            Poll::Ready(Err(match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
                (Some(text), _) => (*text).into(),
                (None, Some(text)) => text.clone(),
                (None, None) => "without a message".into(),
            }))
        }
    })
    .await
}
