//! The reports of a check: news goes to the engine at once, the rest is kept until it is asked for.
//!
//! An unchanged result does not wake the engine: only the duration and time of its probe are new, and those are kept
//! here. Everything else goes to the engine at once, in full: a state, a limit, other words, and every result of a
//! check that is not settled.
//!
//! **A new set begins a new round** (`begin_round`), in which each check reports its next result in full: a reload may
//! have dropped the engine's facts about a check that has run on.
//!
//! **Cancel safety.** `tell` either hands a report over or keeps nothing of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use vipcast_bgp::Instant;
use vipcast_bgp::frozen::nanos;
use vipcast_node::health::report::{CheckNews, CheckReport};
use vipcast_node::names::CheckName;
use vipcast_node::table::Table;

use super::tally::Tally;

/// Where results go. Clones are handles to the same.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    reports: mpsc::Sender<CheckNews>,
    latest: Latest,
    tally: Tally,
    round: Arc<AtomicU64>,
}

/// What one check has told last, and in which round.
#[derive(Debug, Default)]
pub(super) struct Told(Option<(Box<CheckReport>, u64)>);

/// The numbers of results that were not told. Clones are handles to the same.
#[derive(Debug, Clone, Default)]
pub struct Latest(Arc<Mutex<Table<CheckName, Numbers>>>);

/// What is new in the result of a check that goes on as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// How long the probe took.
    pub took: Duration,
    /// When the result came.
    pub at: Instant,
}

/// Nobody takes reports any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl Teller {
    pub(super) fn new(reports: mpsc::Sender<CheckNews>, latest: Latest, tally: Tally) -> Self {
        Self { reports, latest, tally, round: Arc::default() }
    }

    /// From now on each check tells its next result in full. What is known of those that do not run on is forgotten.
    pub(super) fn begin_round(&self, runs_on: impl Fn(&CheckName) -> bool) {
        self.round.fetch_add(1, Ordering::Relaxed);
        self.latest.map().retain(|check, _| runs_on(check));
        self.tally.retain(runs_on);
    }

    /// Reports the news of a result. Waits while the engine has no room for it.
    pub(super) async fn tell(&self, told: &mut Told, report: CheckReport) -> Result<(), Gone> {
        self.tally.count(&report.check, &report.outcome);
        let round = self.round.load(Ordering::Relaxed);
        if told.0.as_ref().is_some_and(|(last, of)| *of == round && !report.is_news(last)) {
            self.latest.note(&report);
            return Ok(());
        }
        // In a box, because most results are no news.
        Box::pin(self.tell_in_full(told, report, round)).await
    }

    async fn tell_in_full(&self, told: &mut Told, report: CheckReport, round: u64) -> Result<(), Gone> {
        let kept = Box::new(report.clone());
        self.reports.send(CheckNews::Report(report)).await.map_err(|_| Gone)?;
        told.0 = Some((kept, round));
        Ok(())
    }

    /// The channel, for what is not a result.
    pub(super) fn news(&self) -> &mpsc::Sender<CheckNews> {
        &self.reports
    }
}

impl Latest {
    /// Those of the program before. One of the future is none.
    pub(crate) fn thaw(frozen: BTreeMap<String, (u64, Instant)>, now: Instant) -> Self {
        let of = |(check, (took, at)): (String, (u64, Instant))| {
            (CheckName::from(check.as_str()), Numbers { took: Duration::from_nanos(took), at })
        };
        let past = frozen.into_iter().filter(|(_, (_, at))| *at <= now);
        Self(Arc::new(Mutex::new(past.map(of).collect())))
    }

    /// For the next program, by name: how long the probe took, in nanoseconds, and when the result came.
    pub(crate) fn freeze(&self) -> BTreeMap<String, (u64, Instant)> {
        let of =
            |(check, Numbers { took, at }): (&CheckName, &Numbers)| (check.to_string(), (nanos(*took), *at));
        self.map().iter().map(of).collect()
    }

    /// The numbers of the last result of `check`, unless that was told in full.
    pub fn of(&self, check: &CheckName) -> Option<Numbers> {
        self.map().get(check).copied()
    }

    fn note(&self, report: &CheckReport) {
        let numbers = Numbers { took: report.outcome.took, at: report.at };
        let mut map = self.map();
        match map.get_mut(&report.check) {
            Some(latest) => *latest = numbers,
            None => drop(map.insert(report.check.clone(), numbers)),
        }
    }

    fn map(&self) -> MutexGuard<'_, Table<CheckName, Numbers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
