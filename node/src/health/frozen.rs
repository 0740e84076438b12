//! Freeze and thaw of the health of a check.

use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_bgp::jitter::Jitter;

use super::judgement::Judgement;
use super::{Damping, Health, Random, Schedule, Streak};
use crate::frozen::{Error, ahead, count, health as frozen, past};
use crate::model::Check;

impl Health {
    /// The frozen form of the health of a check with this definition, the one of [`Self::new`]. A probe that is under
    /// way is lost.
    pub fn freeze(&self, definition: &Check) -> frozen::Health {
        let Self {
            // These follow from the definition.
            interval: _,
            fast_interval: _,
            rise: _,
            fall: _,
            hold_down: _,
            state,
            since,
            streak: Streak { passed, length },
            judgement,
            damping: Damping { flaps, up_since, held_until },
            schedule,
            random: Random(jitter),
        } = self;
        let (limits, results) = judgement.freeze();
        frozen::Health::V1(frozen::V1 {
            definition: definition.digest(),
            state: (*state).into(),
            since: *since,
            passed: *passed,
            streak: *length,
            limits,
            results,
            flaps: *flaps,
            up_since: *up_since,
            held_until: *held_until,
            schedule: match schedule {
                Schedule::Due(due) => frozen::Schedule::Due(*due),
                Schedule::Probing(since) => frozen::Schedule::Probing(*since),
            },
            jitter: jitter.state(),
        })
    }

    /// The health that was frozen, at `now` of the same boot.
    ///
    /// # Errors
    /// [`Error::Setting`]: the definition is not the one of the freeze, so the check begins anew ([`Self::new`]). Any
    /// other: the frozen form cannot be that of a check.
    pub fn thaw(definition: &Check, frozen: &frozen::Health, now: Instant) -> Result<Self, Error> {
        let frozen::Health::V1(frozen) = frozen;
        if frozen.definition != definition.digest() {
            return Err(Error::Setting("definition of the check"));
        }
        let fresh = Self::new(definition, Duration::ZERO, frozen.jitter, now);
        let longest = definition.interval + definition.interval / 10;
        let most = fresh.hold_down.map(|hold_down| hold_down.most).unwrap_or_default();
        Ok(Self {
            state: frozen.state.into(),
            since: past(frozen.since, now, "since")?,
            streak: Streak { passed: frozen.passed, length: frozen.streak },
            judgement: Judgement::thaw(definition, &frozen.limits, &frozen.results, now)?,
            damping: Damping {
                flaps: count(frozen.flaps, "flaps")?,
                up_since: frozen.up_since.map(|at| past(at, now, "up_since")).transpose()?,
                held_until: frozen.held_until.map(|at| ahead(at, now, most, "held_until")).transpose()?,
            },
            schedule: Schedule::Due(match frozen.schedule {
                frozen::Schedule::Due(due) => ahead(due, now, longest, "schedule")?,
                frozen::Schedule::Probing(since) => past(since, now, "schedule")?,
            }),
            random: Random(Jitter::new(frozen.jitter)),
            ..fresh
        })
    }
}
