//! Subscriptions: delivers kernel and systemd events to the checks that depend on them.
//!
//! ```text
//!   a monitor receives an event ── ring(topic) ──► every Subscription of that topic ──► Prober::changed ends
//! ```
//!
//! Events between two waits end the next wait, once for any number of events. A subscription keeps its monitor alive: a
//! monitor is started for the first check that needs it and ends with the last one.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::check::target::Transport;

#[cfg(test)]
mod tests;

/// What may change.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// The listeners of a port.
    Port(Transport, u16),
    /// An interface, by its name.
    Interface(String),
    /// A unit of the systemd that this socket leads to.
    Unit(PathBuf, String),
}

/// Everybody who wants to know of something.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Mutex<BTreeMap<Topic, Vec<Arc<Notify>>>>);

/// One who wants to know. Dropping it is enough to be forgotten.
#[derive(Debug)]
pub(super) struct Subscription {
    subscriptions: Arc<Subscriptions>,
    topic: Topic,
    notify: Arc<Notify>,
    _monitor: Arc<dyn Monitor>,
}

/// The monitor of the subscriptions.
pub(super) trait Monitor: Any + Send + Sync + std::fmt::Debug {}

impl Subscriptions {
    /// A bell for `topic`, which `hub` rings.
    pub(super) fn subscribe(self: &Arc<Self>, topic: Topic, monitor: Arc<dyn Monitor>) -> Subscription {
        let notify = Arc::new(Notify::new());
        self.lock().entry(topic.clone()).or_default().push(Arc::clone(&notify));
        Subscription { subscriptions: Arc::clone(self), topic, notify, _monitor: monitor }
    }

    /// Something of this topic has changed.
    pub(super) fn notify(&self, topic: &Topic) {
        for notify in self.lock().get(topic).into_iter().flatten() {
            notify.notify_one();
        }
    }

    /// Anything may have changed of all topics that `these` picks.
    pub(super) fn notify_all(&self, these: impl Fn(&Topic) -> bool) {
        for (_, notifies) in self.lock().iter().filter(|(topic, _)| these(topic)) {
            notifies.iter().for_each(|notify| notify.notify_one());
        }
    }

    /// Whether anybody wants to know.
    pub(super) fn has(&self, topic: &Topic) -> bool {
        self.lock().contains_key(topic)
    }

    /// Nothing that holds the lock can panic half-way.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Topic, Vec<Arc<Notify>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Ends when it rings, or at once when it has rung since it was last waited for.
    pub(super) async fn notified(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut subscriptions = self.subscriptions.lock();
        if let Some(notifies) = subscriptions.get_mut(&self.topic) {
            notifies.retain(|notify| !Arc::ptr_eq(notify, &self.notify));
            if notifies.is_empty() {
                subscriptions.remove(&self.topic);
            }
        }
    }
}

/// What several share for as long as one of them has it.
#[derive(Debug)]
pub(super) struct WhileUsed<T>(Mutex<Weak<T>>);

impl<T> Default for WhileUsed<T> {
    fn default() -> Self {
        Self(Mutex::new(Weak::new()))
    }
}

impl<T> WhileUsed<T> {
    /// The existing monitor, or a new one.
    pub(super) fn get(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut weak = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        weak.upgrade().unwrap_or_else(|| {
            let made = Arc::new(make());
            *weak = Arc::downgrade(&made);
            made
        })
    }
}
