//! Permits of probes: a probe may need one, which comes late if many programs run or descriptors are few. The time of
//! the probe does not run until then, and its caller can see that it waits.

use std::future::{Future, poll_fn};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::SemaphorePermit;
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_node::model::Check;
use vipcast_node::names::{CheckName, ServiceName};

use super::context::ProbeContext;
use super::file_reader::{FileAccess, LastRead};
use super::limit::{Answer, Limit};
use super::owners::Owner;
use super::shared::Shared;

/// One probe of a check, before it begins.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    /// The name of the check.
    pub(super) name: &'a CheckName,
    /// Its pace and its way.
    pub(super) check: &'a Check,
    /// What all checks share.
    pub(super) shared: &'a Shared,
    /// Where it waits for what it needs.
    pub(super) queue: &'a mut Queue,
}

impl<'a> Attempt<'a> {
    /// The permit of a question over the network. A probe that waits for it has not begun, so that a host with too few
    /// descriptors does not turn healthy services into failed ones.
    pub(super) async fn permit(self) -> Permit<'a> {
        let Self { name, check, shared, queue } = self;
        // Never closed, so there is always one in the end.
        let place = queue.take(shared.places.acquire()).await.ok();
        let limit = Limit::starting_now(check.timeout);
        let owner = shared.owners.of(name);
        Permit { limit, check, shared, owner, remark: OnceLock::new(), _place: place }
    }

    /// The time of a probe that needs no permit, from now on.
    pub(super) fn limit(&self) -> Limit {
        Limit::starting_now(self.check.timeout)
    }

    /// The service that it is asked for.
    pub(super) fn service(&self) -> ServiceName {
        self.shared.owners.of(self.name).service
    }

    /// FileReader at files for this service, in turn with the last look of this check.
    pub(super) fn reader<'b>(&'b self, service: &'b ServiceName, last: &'b LastRead) -> FileAccess<'b> {
        FileAccess { file_reader: &self.shared.file_reader, last, owner: service.as_str() }
    }
}

/// A question over the network that may begin.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    limit: Limit,
    check: &'a Check,
    shared: &'a Shared,
    owner: Owner,
    remark: OnceLock<String>,
    _place: Option<SemaphorePermit<'a>>,
}

impl Permit<'_> {
    /// What the probe is given.
    pub(super) fn context<'b>(&'b self, last_read: &'b LastRead) -> ProbeContext<'b> {
        ProbeContext {
            limit: self.limit.watched(),
            resolver: &self.shared.resolver,
            via: &self.check.via,
            owner: &self.owner,
            here: &self.shared.here,
            remark: &self.remark,
            file_reader: &self.shared.file_reader,
            last_read,
        }
    }

    /// Ends at the time-out in any case; before that its result names what it waited for.
    pub(super) async fn within(&self, answer: impl Future<Output = Answer>) -> Answer {
        let limit = self.limit;
        let answer = limit.within(answer).await.unwrap_or_else(|| Err(limit.exceeded("no answer")));
        let Some(remark) = self.remark.get() else { return answer };
        let remarked = |text: String| format!("{text} ({remark})");
        answer.map(remarked).map_err(remarked)
    }
}

/// Where the probes of one check wait.
#[derive(Debug)]
pub(crate) struct Queue {
    /// When the last one began.
    pub(super) began: Instant,
    waiting: Waiting,
}

/// Whether a probe waits for its permit. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Waiting(Arc<AtomicBool>);

impl Queue {
    pub(super) fn new(waiting: &Waiting) -> Self {
        Self { began: clock::now(), waiting: waiting.clone() }
    }

    /// Waits for `permit`, with which the probe begins. Not cancel-safe: who gives up does not ask again.
    pub(super) async fn take<T>(&mut self, permit: impl Future<Output = T>) -> T {
        self.waiting.0.store(true, Ordering::Relaxed);
        let taken = permit.await;
        self.waiting.0.store(false, Ordering::Relaxed);
        self.began = clock::now();
        taken
    }
}

impl Waiting {
    /// Ends when a probe has waited for its permit for `time`. To be awaited beside the probe, in one task.
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
