//! The limits of a check beyond passed and failed: latency and error rate. Pure.
//!
//! A limit trips when `results` results in a row exceed it, and resets when that number of results is within it again.
//! A limit over a window is not exceeded while the window has fewer than [`Measure::LEAST_RESULTS`] results. Only
//! passed probes count for latency: a failed one does not measure the speed of the service.

use std::collections::VecDeque;
use std::time::Duration;

use vipcast_bgp::Instant;

use super::report::Outcome;
use crate::frozen::{Error, agree, count, health as frozen, nanos, past};
use crate::model::{Check, Consequence, Limit, Measure};
use crate::words;

#[cfg(test)]
mod tests;

/// The results of a check that its limits need. Plain data.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    limits: Vec<Tripwire>,
    /// The longest window; `None`: no results are kept.
    window: Option<Duration>,
    results: VecDeque<Seen>,
}

/// One limit and its state.
#[derive(Debug, Clone, PartialEq)]
struct Tripwire {
    limit: Limit,
    average: Option<Average>,
    tripped: bool,
    /// The number of results in a row that disagree with `tripped`.
    streak: u32,
    /// The last measurement, in words.
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

    /// The frozen forms of the limits, and of the results.
    pub(super) fn freeze(&self) -> (Vec<frozen::Limit>, Vec<frozen::Seen>) {
        // The window follows from the definition.
        let Self { limits, window: _, results } = self;
        let seen = |Seen { at, passed, took }: &Seen| frozen::Seen(*at, *passed, nanos(*took));
        (limits.iter().map(Tripwire::freeze).collect(), results.iter().map(seen).collect())
    }

    /// What was frozen of a check with this definition.
    pub(super) fn thaw(
        check: &Check,
        limits: &[frozen::Limit],
        results: &[frozen::Seen],
        now: Instant,
    ) -> Result<Self, Error> {
        let mut judgement = Self::new(check);
        agree(judgement.limits.len() == limits.len(), "limits")?;
        agree(judgement.window.is_some() || results.is_empty(), "results")?;
        agree(results.is_sorted_by_key(|frozen::Seen(at, ..)| *at), "results")?;
        if results.len() > Measure::MOST_RESULTS {
            return Err(Error::Range("results"));
        }
        for (tripwire, frozen) in judgement.limits.iter_mut().zip(limits) {
            tripwire.average = frozen.average.map(|average| Average::thaw(average, now)).transpose()?;
            tripwire.tripped = frozen.tripped;
            tripwire.streak = count(frozen.streak, "streak")?;
            tripwire.measured.clone_from(&frozen.measured);
        }
        for frozen::Seen(at, passed, took) in results {
            let (at, took) = (past(*at, now, "results")?, Duration::from_nanos(*took));
            judgement.results.push_back(Seen { at, passed: *passed, took });
        }
        Ok(judgement)
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
    fn freeze(&self) -> frozen::Limit {
        // The limit is in the definition.
        let Self { limit: _, average, tripped, streak, measured } = self;
        let average = average.map(|Average { seconds, results, at }| frozen::Average {
            seconds: seconds.to_bits(),
            results: u32::try_from(results).unwrap_or(u32::MAX),
            at,
        });
        frozen::Limit { average, tripped: *tripped, streak: *streak, measured: measured.clone() }
    }

    fn take(&mut self, seen: Seen, results: &VecDeque<Seen>) {
        match self.measure(seen, results) {
            Measured::Nothing => {}
            // The earlier measurement is too old.
            Measured::TooLittle => (self.tripped, self.streak) = (false, 0),
            Measured::Some { is_over, words } => {
                self.streak = if is_over == self.tripped { 0 } else { self.streak + 1 };
                if self.streak >= self.limit.results.get() {
                    (self.tripped, self.streak) = (is_over, 0);
                }
                // While the limit is exceeded, the words are those of the last result over it.
                if is_over {
                    self.measured = words;
                }
            }
        }
    }

    /// Measures a result against the limit.
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
                // The nearest rank: the smallest value that `percentile` per cent of the values do not exceed.
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

/// The measurement of a limit after one result.
enum Measured {
    /// The result does not count for this limit.
    Nothing,
    /// There are too few results.
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
    fn thaw(frozen: frozen::Average, now: Instant) -> Result<Self, Error> {
        /// The longest duration of a probe that makes sense: 365 days, the longest interval of a check.
        const LONGEST: f64 = 365.0 * 86_400.0;
        let seconds = f64::from_bits(frozen.seconds);
        if !(0.0..=LONGEST).contains(&seconds) {
            return Err(Error::Range("average"));
        }
        let results = usize::try_from(frozen.results).map_err(|_| Error::Range("average"))?;
        Ok(Self { seconds, results, at: past(frozen.at, now, "average")? })
    }

    /// The weight of the earlier average falls with time, not with the number of results, because the interval of a
    /// check changes.
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
