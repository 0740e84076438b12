//! The results of each check since the start, for metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use vipcast_node::health::report::Outcome;
use vipcast_node::names::CheckName;
use vipcast_node::table::Table;

use crate::metrics::histogram::{self, Histogram};

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

/// The frozen form of the results of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frozen {
    passed: u64,
    failed: u64,
    took: histogram::Frozen,
}

impl Tally {
    /// The results of the program before.
    pub(crate) fn thaw(frozen: BTreeMap<String, Frozen>) -> Self {
        let of = |(check, Frozen { passed, failed, took }): (String, Frozen)| {
            let took = Histogram::thaw(BOUNDS, took);
            (CheckName::from(check.as_str()), Tallied { passed, failed, took })
        };
        Self(Arc::new(Mutex::new(frozen.into_iter().map(of).collect())))
    }

    /// For the next program, by name.
    pub(crate) fn freeze(&self) -> BTreeMap<String, Frozen> {
        let of = |(check, Tallied { passed, failed, took }): (&CheckName, &Tallied)| {
            (check.to_string(), Frozen { passed: *passed, failed: *failed, took: took.freeze() })
        };
        self.map().iter().map(of).collect()
    }

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
