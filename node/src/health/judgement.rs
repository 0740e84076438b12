//! What the results of a check are judged by beyond passed and failed: latency and error rate, against their limits. Pure.
//!
//! Each limit trips when `results` results in a row are over it, and resets when as many are within it again. A limit
//! over a window is silent while there are fewer than [`Measure::LEAST_RESULTS`] results in it. Latency is that of passed probes: one
//! that failed says nothing of how fast the service is.

use std::collections::VecDeque;
use std::time::Duration;

use vipcast_bgp::Instant;

use super::report::Outcome;
use crate::model::{Check, Consequence, Limit, Measure};
use crate::words;

#[cfg(test)]
mod tests;

/// The results of a check so far, as far as its limits need them. Plain data.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    limits: Vec<Tripwire>,
    /// How far back the longest window looks; `None`: nothing needs to be kept.
    window: Option<Duration>,
    results: VecDeque<Seen>,
}

/// One limit and where it stands.
#[derive(Debug, Clone, PartialEq)]
struct Tripwire {
    limit: Limit,
    average: Option<Average>,
    tripped: bool,
    /// How many results in a row disagree with `tripped`.
    streak: u32,
    /// What was measured last, in words.
    measured: String,
}

/// An exponentially weighted moving average, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Average {
    seconds: f64,
    results: usize,
    at: Instant,
}

/// One result.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    at: Instant,
    passed: bool,
    took: Duration,
}

impl Judgement {
    pub(super) fn new(check: &Check) -> Self {
        let tripwire = |limit: &Limit| Tripwire {
            limit: *limit,
            average: None,
            tripped: false,
            streak: 0,
            measured: String::new(),
        };
        let kept = |limit: &Limit| match limit.measure {
            Measure::Latency { .. } | Measure::AverageLatency { .. } => None,
            Measure::LatencyPercentile { window, .. } | Measure::Errors { window, .. } => Some(window),
        };
        Self {
            limits: check.limits.iter().map(tripwire).collect(),
            window: check.limits.iter().filter_map(kept).max(),
            results: VecDeque::new(),
        }
    }

    /// Takes one result.
    pub(super) fn take(&mut self, outcome: &Outcome, now: Instant) {
        if self.limits.is_empty() {
            return;
        }
        let seen = Seen { at: now, passed: outcome.passed, took: outcome.took };
        if let Some(window) = self.window {
            if self.results.len() == Measure::MOST_RESULTS {
                self.results.pop_front();
            }
            self.results.push_back(seen);
            while self.results.front().is_some_and(|oldest| now - oldest.at > window) {
                self.results.pop_front();
            }
        }
        for tripwire in &mut self.limits {
            tripwire.take(seen, &self.results);
        }
    }

    /// The first limit with this consequence that is exceeded, in words.
    pub(super) fn exceeded(&self, then: Consequence) -> Option<&str> {
        let tripwire = self.limits.iter().find(|tripwire| tripwire.tripped && tripwire.limit.then == then)?;
        Some(&tripwire.measured)
    }
}

impl Tripwire {
    fn take(&mut self, seen: Seen, results: &VecDeque<Seen>) {
        match self.measure(seen, results) {
            Measured::Nothing => {}
            // What was measured before is too long ago to say anything of now.
            Measured::TooLittle => (self.tripped, self.streak) = (false, 0),
            Measured::Some { is_over, words } => {
                self.streak = if is_over == self.tripped { 0 } else { self.streak + 1 };
                if self.streak >= self.limit.results.get() {
                    (self.tripped, self.streak) = (is_over, 0);
                }
                // While it lasts, what has brought it about is what is told.
                if is_over {
                    self.measured = words;
                }
            }
        }
    }

    /// Whether the limit is exceeded now, and by what.
    fn measure(&mut self, seen: Seen, results: &VecDeque<Seen>) -> Measured {
        match self.limit.measure {
            Measure::Latency { .. } | Measure::AverageLatency { .. } if !seen.passed => Measured::Nothing,
            Measure::Latency { over } => Measured::latency("", seen.took, over),
            Measure::AverageLatency { over, window } => {
                let average = Average::after(self.average, seen, window);
                self.average = Some(average);
                if average.results < Measure::LEAST_RESULTS {
                    return Measured::TooLittle;
                }
                Measured::latency("average ", Duration::from_secs_f64(average.seconds), over)
            }
            Measure::LatencyPercentile { over, percentile, window } => {
                let within = within(results, seen.at, window).filter(|seen| seen.passed);
                let mut took: Vec<Duration> = within.map(|seen| seen.took).collect();
                if took.len() < Measure::LEAST_RESULTS {
                    return Measured::TooLittle;
                }
                // The nearest rank: the smallest that so many per cent are not above.
                let rank = (took.len() * usize::from(percentile)).div_ceil(100).max(1) - 1;
                let (_, value, _) = took.select_nth_unstable(rank);
                Measured::latency(&format!("p{percentile} "), *value, over)
            }
            Measure::Errors { over, window } => {
                let (mut all, mut failed) = (0_usize, 0_usize);
                for seen in within(results, seen.at, window) {
                    all += 1;
                    failed += usize::from(!seen.passed);
                }
                if all < Measure::LEAST_RESULTS {
                    return Measured::TooLittle;
                }
                let window = words::duration(window);
                Measured::Some {
                    is_over: failed * 1000 > all * usize::from(over.0),
                    words: format!("{failed} of {all} probes failed in {window}, limit {over}"),
                }
            }
        }
    }
}

/// What one result says of a limit.
enum Measured {
    /// Nothing.
    Nothing,
    /// There are too few results to say anything.
    TooLittle,
    Some {
        is_over: bool,
        words: String,
    },
}

impl Measured {
    /// `p95 latency 312 ms, limit 200 ms`.
    fn latency(which: &str, took: Duration, over: Duration) -> Self {
        let words = format!("{which}latency {}, limit {}", words::duration(took), words::duration(over));
        Self::Some { is_over: took > over, words }
    }
}

impl Average {
    /// The weight of what was before falls with the time that has passed since, not with the number of results: the pace
    /// of a check changes.
    fn after(before: Option<Self>, seen: Seen, window: Duration) -> Self {
        let took = seen.took.as_secs_f64();
        let Some(Self { seconds, results, at }) = before else {
            return Self { seconds: took, results: 1, at: seen.at };
        };
        let kept = (-(seen.at - at).as_secs_f64() / window.as_secs_f64()).exp();
        Self { seconds: seconds * kept + took * (1.0 - kept), results: results + 1, at: seen.at }
    }
}

fn within(results: &VecDeque<Seen>, now: Instant, window: Duration) -> impl Iterator<Item = &Seen> {
    results.iter().filter(move |seen| now - seen.at <= window)
}
