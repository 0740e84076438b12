//! One run of a world from its beginning to its end, and the reduction of a failing one.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use vipcast_bgp::Instant;

use crate::action::Timed;
use crate::rules::Violation;
use crate::schedule::schedule;
use crate::world::{Setup, World};

/// How long faults go on.
pub const FAULTS: Duration = Duration::from_secs(30);
/// How long everything may take to be as it should be when faults have stopped: a hold time, a restart time, and the longest
/// pause between two attempts to connect.
pub const SETTLE: Duration = Duration::from_secs(95);

/// A world and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// The world.
    pub setup: Setup,
    /// What happens to it.
    pub actions: Vec<Timed>,
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// Inputs that were handled.
    pub steps: u64,
    /// The rule that was broken.
    pub violation: Option<Violation>,
    /// What happened, if it was written down.
    pub trace: Vec<String>,
}

impl Case {
    /// The case of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let setup = Setup::of_seed(seed);
        Self { actions: schedule(setup, FAULTS), setup }
    }

    /// Runs it: the faults, calm, and then a look at everything.
    pub fn run(&self, traced: bool) -> Outcome {
        self.run_for(u64::MAX, traced)
    }

    /// The same, for so many steps at most.
    pub fn run_for(&self, steps: u64, traced: bool) -> Outcome {
        let mut world = World::new(self.setup);
        world.trace.on = traced;
        world.last_step = steps;
        world.schedule(&self.actions);
        let end = self.actions.last().map_or(Instant::BOOT + Duration::from_secs(5), |timed| timed.at);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            world.run_until(end + Duration::from_millis(100));
            if world.violation.is_none() {
                world.calm();
                world.run_until(end + SETTLE);
            }
            if world.violation.is_none() && world.steps < steps {
                world.everything_is_so();
            }
        }));
        let mut violation = world.violation.take();
        if let Err(panic) = panicked {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = text.unwrap_or_else(|| "a panic without words".to_owned());
            violation = Some(Violation { at: world.now, ..Violation::new("panic", what) });
        }
        Outcome { steps: world.steps, violation, trace: std::mem::take(&mut world.trace.lines) }
    }

    /// The least of it that breaks the same rule: actions are left out for as long as it does (ddmin).
    pub fn shrunk(&self, rule: &str) -> Self {
        let breaks = |actions: &[Timed]| {
            let case = Self { actions: actions.to_vec(), ..self.clone() };
            case.run(false).violation.is_some_and(|violation| violation.rule == rule)
        };
        let mut actions = self.actions.clone();
        let mut parts = 2_usize;
        while actions.len() > 1 && parts <= actions.len() {
            let size = actions.len().div_ceil(parts);
            let without = (0..parts).find_map(|part| {
                let (from, to) = (part * size, ((part + 1) * size).min(actions.len()));
                let rest: Vec<Timed> =
                    actions.iter().take(from).chain(actions.iter().skip(to)).cloned().collect();
                (from < to && breaks(&rest)).then_some(rest)
            });
            match without {
                Some(rest) => {
                    actions = rest;
                    parts = (parts - 1).max(2);
                }
                None if size == 1 => break,
                None => parts = (parts * 2).min(actions.len()),
            }
        }
        if actions.len() == 1 && breaks(&[]) {
            actions.clear();
        }
        Self { actions, ..self.clone() }
    }

    /// What was broken, the least that breaks it, and what happens then: as a scenario that replays.
    pub fn report(&self, violation: &Violation) -> String {
        let least = self.shrunk(violation.rule);
        let outcome = least.run(true);
        let violation = outcome.violation.as_ref().unwrap_or(violation);
        let mut text = String::new();
        let (seed, at) = (self.setup.seed, crate::words::shown(violation.at - Instant::BOOT));
        let _infallible = write!(
            text,
            "seed {seed}: {} at {at}: {}\n\n{least}\nwhat happens:\n{}\n",
            violation.rule,
            violation.what,
            outcome.trace.join("\n")
        );
        text
    }
}
