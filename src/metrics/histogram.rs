//! A histogram with fixed bounds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Observations, counted by upper bound.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one beyond.
    counts: Vec<u64>,
    sum: Duration,
}

/// The frozen form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frozen {
    /// One for each bound, and one beyond.
    counts: Vec<u64>,
    /// In nanoseconds.
    sum: u64,
}

impl Histogram {
    /// An empty one; `bounds` in seconds, ascending.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: Duration::ZERO }
    }

    /// The histogram of the program before. With other bounds it begins anew.
    pub(crate) fn thaw(bounds: &'static [f64], frozen: Frozen) -> Self {
        let Frozen { counts, sum } = frozen;
        if counts.len() != bounds.len() + 1 {
            return Self::new(bounds);
        }
        Self { bounds, counts, sum: Duration::from_nanos(sum) }
    }

    /// For the next program.
    pub(crate) fn freeze(&self) -> Frozen {
        Frozen { counts: self.counts.clone(), sum: u64::try_from(self.sum.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// Counts an observation.
    pub(crate) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.counts[self.bounds.partition_point(|bound| *bound < seconds)] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// The sum of all observations, in seconds.
    pub(crate) fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// The number of observations.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each upper bound in seconds, the last one infinite, with the number of observations between it and the one before.
    pub(crate) fn buckets(&self) -> Vec<(f64, u64)> {
        self.bounds.iter().copied().chain([f64::INFINITY]).zip(self.counts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_for_the_first_bound_that_is_not_below_it() {
        let mut histogram = Histogram::new(&[0.001, 0.1]);
        for micros in [0, 1000, 1001, 100_000, 100_001, 5_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        assert_eq!(histogram.buckets(), [(0.001, 2), (0.1, 2), (f64::INFINITY, 2)]);
        assert_eq!((histogram.count(), histogram.sum()), (6, 5.202_002));
    }
}
