//! The results of each check since the start, for metrics.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vipcast_node::health::report::Outcome;
use vipcast_node::names::CheckName;
use vipcast_node::table::Table;

use crate::metrics::histogram::Histogram;

/// Upper bounds of the duration of a probe, in seconds.
const BOUNDS: &[f64] = &[0.001, 0.005, 0.025, 0.1, 0.5, 2.5];

/// The results of all checks. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Tally(Arc<Mutex<Table<CheckName, Tallied>>>);

/// The results of a check.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tallied {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    /// The durations of its probes.
    pub(crate) took: Histogram,
}

impl Tally {
    /// Counts a result.
    pub(super) fn count(&self, check: &CheckName, outcome: &Outcome) {
        let mut map = self.map();
        if !map.contains_key(check) {
            map.insert(check.clone(), Tallied { passed: 0, failed: 0, took: Histogram::new(BOUNDS) });
        }
        if let Some(tallied) = map.get_mut(check) {
            let results = if outcome.passed { &mut tallied.passed } else { &mut tallied.failed };
            *results += 1;
            tallied.took.observe(outcome.took);
        }
    }

    /// Forgets checks that do not run on.
    pub(super) fn retain(&self, runs_on: impl Fn(&CheckName) -> bool) {
        self.map().retain(|check, _| runs_on(check));
    }

    /// The results by name.
    pub(crate) fn all(&self) -> Vec<(String, Tallied)> {
        self.map().iter().map(|(check, tallied)| (check.to_string(), tallied.clone())).collect()
    }

    fn map(&self) -> MutexGuard<'_, Table<CheckName, Tallied>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
