//! The checks of a host: each is the real [`Health`], driven like in the daemon's runner, against a modelled service.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::health::report::{CheckReport, Outcome};
use vipcast_node::health::{Health, Judged};
use vipcast_node::model::Check;
use vipcast_node::names::CheckName;

use crate::action::Behaviour;
use crate::shape::PROBED;

/// How far apart the first probes of checks that begin together are.
const APART: Duration = Duration::from_millis(1);

/// A check that runs.
#[derive(Debug)]
pub struct Running {
    /// What it asks, and how often.
    pub definition: Arc<Check>,
    /// The machine.
    pub health: Health,
    /// Tells this run from an earlier check of the name.
    pub run: u64,
    /// When its timer goes off.
    pub armed: Option<Instant>,
    /// What its probes have seen.
    pub seen: Seen,
}

/// What a check has seen, counted a second time and in another way than [`Health`] does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Whether it is up; `None`: not settled.
    pub verdict: Option<bool>,
    passed: bool,
    in_a_row: u32,
}

impl Seen {
    /// A probe has ended.
    pub fn note(&mut self, passed: bool, check: &Check) {
        self.in_a_row = if self.passed == passed { self.in_a_row + 1 } else { 1 };
        self.passed = passed;
        let enough = if passed { check.rise } else { check.fall };
        if self.in_a_row >= enough.get() {
            self.verdict = Some(passed);
        }
    }
}

/// What can be probed on a host.
pub fn services() -> BTreeMap<String, Behaviour> {
    PROBED.map(|name| (name.to_owned(), Behaviour::Alive)).into()
}

/// What a check of the simulation asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// The service behind this port: polled.
    Service(u16),
    /// The kernel, whether a socket is on this port: it tells of every change at once.
    Kernel(u16),
}

/// What a probe that begins now will come to.
pub fn outcome(check: &Check, behaviour: Behaviour, now: Instant) -> Outcome {
    let outcome = |passed, detail: &str, took| Outcome { passed, detail: detail.to_owned(), took };
    let passed = || outcome(true, "connected", Duration::from_millis(1));
    let refused = || outcome(false, "connection refused", Duration::from_micros(200));
    match behaviour {
        Behaviour::Alive => passed(),
        Behaviour::Dead => refused(),
        // A socket that nobody serves is listened on all the same.
        Behaviour::Hangs if is_told(check) => passed(),
        Behaviour::Hangs => outcome(false, "no answer in time", check.timeout),
        Behaviour::Flaps(each) => {
            let turn = (now - Instant::BOOT).as_nanos() / each.as_nanos().max(1);
            if turn.is_multiple_of(2) { refused() } else { passed() }
        }
    }
}

/// Whether the kernel tells when the answer may have changed.
pub fn is_told(check: &Check) -> bool {
    matches!(check.question.downcast_ref(), Some(Asks::Kernel(_)))
}

/// The time within which the first probes of `count` checks begin.
pub fn spread(count: usize) -> Duration {
    APART * u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX)
}

/// What the node is told.
pub fn report(
    check: &CheckName,
    definition: &Arc<Check>,
    judged: Judged,
    outcome: Outcome,
    at: Instant,
) -> CheckReport {
    let Judged { state, since, degraded, failed, held_until } = judged;
    let outcome = match failed {
        Some(limit) => Outcome { passed: false, detail: limit, ..outcome },
        None => outcome,
    };
    CheckReport {
        check: check.clone(),
        definition: Arc::clone(definition),
        state,
        since,
        degraded,
        held_until,
        outcome,
        at,
    }
}
