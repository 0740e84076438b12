//! The deliveries of each hook since the start, for metrics and the status.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vipcast_node::names::HookName;

use crate::events::ring::Ring;
use crate::log::{note, trouble};
use crate::metrics::histogram::{self, Histogram};

/// Upper bounds of the duration of a delivery, in seconds.
const BOUNDS: &[f64] = &[0.01, 0.05, 0.25, 1.0, 5.0, 30.0];

/// The deliveries of all hooks. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries(Arc<Mutex<BTreeMap<HookName, OfHook>>>);

/// The deliveries of a hook.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OfHook {
    /// Delivered events.
    pub(crate) delivered: u64,
    /// Events that were given up.
    pub(crate) failed: u64,
    /// Failed attempts that were repeated.
    pub(crate) retried: u64,
    /// Events that left the memory before the hook came to them.
    pub(crate) missed: u64,
    /// The durations of deliveries, with their repetitions.
    pub(crate) took: Histogram,
    /// The position of the next event.
    place: u64,
    /// The number of failures since the last success, and the last one in words.
    failing: Option<(u64, String)>,
}

/// The frozen form of the deliveries of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frozen {
    delivered: u64,
    failed: u64,
    retried: u64,
    missed: u64,
    took: histogram::Frozen,
    place: u64,
    failing: Option<(u64, String)>,
}

impl Deliveries {
    /// The deliveries of the program before.
    pub(crate) fn thaw(frozen: BTreeMap<String, Frozen>) -> Self {
        let of = |(name, frozen): (String, Frozen)| {
            let Frozen { delivered, failed, retried, missed, took, place, failing } = frozen;
            let took = Histogram::thaw(BOUNDS, took);
            (
                HookName::from(name.as_str()),
                OfHook { delivered, failed, retried, missed, took, place, failing },
            )
        };
        Self(Arc::new(Mutex::new(frozen.into_iter().map(of).collect())))
    }

    /// For the next program, by name.
    pub(crate) fn freeze(&self) -> BTreeMap<String, Frozen> {
        let of = |(name, of): (&HookName, &OfHook)| {
            let OfHook { delivered, failed, retried, missed, took, place, failing } = of.clone();
            (
                name.to_string(),
                Frozen { delivered, failed, retried, missed, took: took.freeze(), place, failing },
            )
        };
        self.map().iter().map(of).collect()
    }

    /// Forgets other hooks.
    pub(super) fn retain(&self, stays: impl Fn(&HookName) -> bool) {
        self.map().retain(|name, _| stays(name));
    }

    /// A hook is at this position.
    pub(super) fn place(&self, name: &HookName, position: u64) {
        self.change(name, |of| of.place = position);
    }

    /// A hook has missed events.
    pub(super) fn miss(&self, name: &HookName, missed: u64) {
        self.change(name, |of| of.missed += missed);
        trouble!(hook = %name, missed, "the hook is too slow, and has missed events");
    }

    /// The stop has left events undelivered.
    pub(super) fn leave(&self, name: &HookName, left: u64) {
        if left > 0 {
            trouble!(hook = %name, left, "the daemon stops before the hook was told these events");
        }
    }

    /// An attempt is repeated.
    pub(super) fn retry(&self, name: &HookName) {
        self.change(name, |of| of.retried += 1);
    }

    /// A delivery has ended. The first of several failures is told, and the end of them.
    pub(super) fn end(&self, name: &HookName, took: Duration, result: Result<(), String>) {
        let (before, error) = self.change(name, |of| {
            of.took.observe(took);
            let before = of.failing.as_ref().map_or(0, |(count, _)| *count);
            match result {
                Ok(()) => {
                    of.delivered += 1;
                    of.failing = None;
                    (before, None)
                }
                Err(error) => {
                    of.failed += 1;
                    of.failing = Some((before + 1, error.clone()));
                    (before, Some(error))
                }
            }
        });
        match error {
            Some(error) if before == 0 => trouble!(hook = %name, error, "an event was not delivered"),
            None if before > 0 => note!(hook = %name, failed = before, "the hook works again"),
            Some(_) | None => {}
        }
    }

    /// The deliveries by name, and the number of events that wait for each hook.
    pub(crate) fn all(&self, ring: &Ring) -> Vec<(String, OfHook, u64)> {
        let end = ring.end();
        let map = self.map();
        let waiting = |of: &OfHook| end.saturating_sub(of.place);
        map.iter().map(|(name, of)| (name.to_string(), of.clone(), waiting(of))).collect()
    }

    /// The hooks that fail, in words.
    pub(super) fn warnings(&self) -> Vec<String> {
        let map = self.map();
        let failing = map.iter().filter_map(|(name, of)| Some((name, of.failing.as_ref()?)));
        failing
            .map(|(name, (count, error))| match count {
                1 => format!("hook {name}: the last event was not delivered: {error}"),
                count => format!("hook {name}: the last {count} events were not delivered: {error}"),
            })
            .collect()
    }

    fn change<T>(&self, name: &HookName, change: impl FnOnce(&mut OfHook) -> T) -> T {
        let mut map = self.map();
        change(map.entry(name.clone()).or_insert_with(OfHook::new))
    }

    fn map(&self) -> MutexGuard<'_, BTreeMap<HookName, OfHook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OfHook {
    fn new() -> Self {
        Self {
            delivered: 0,
            failed: 0,
            retried: 0,
            missed: 0,
            took: Histogram::new(BOUNDS),
            place: 0,
            failing: None,
        }
    }
}
