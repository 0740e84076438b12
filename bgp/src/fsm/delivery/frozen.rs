//! Freeze and thaw of a delivery.

use std::time::Duration;

use super::{Delivery, FIRST_LOOK, LAST_LOOK};
use crate::frozen::{Error, agree, ahead, count, nanos, past, peer as frozen, size};
use crate::time::Instant;

impl Delivery {
    pub(in crate::fsm) fn freeze(&self) -> frozen::Delivery {
        frozen::Delivery {
            given: self.given,
            acknowledged: self.acknowledged,
            marks: self.marks.iter().map(|(end, prefixes)| (*end, number(*prefixes))).collect(),
            prefixes: number(self.prefixes),
            look_at: self.look_at,
            look_after: nanos(self.look_after),
            stuck_since: self.stuck_since,
            heard_at: self.heard_at,
            stalled: self.stalled,
        }
    }

    pub(in crate::fsm) fn thaw(frozen: &frozen::Delivery, now: Instant) -> Result<Self, Error> {
        let given = count(frozen.given, "given")?;
        let mut delivery = Self {
            given,
            acknowledged: frozen.acknowledged,
            marks: Default::default(),
            prefixes: size(frozen.prefixes, "prefixes")?,
            look_at: frozen.look_at.map(|at| ahead(at, now, LAST_LOOK, "look_at")).transpose()?,
            look_after: Duration::from_nanos(frozen.look_after),
            stuck_since: frozen.stuck_since.map(|at| past(at, now, "stuck_since")).transpose()?,
            heard_at: frozen.heard_at.map(|at| past(at, now, "heard_at")).transpose()?,
            stalled: frozen.stalled,
        };
        if !(FIRST_LOOK..=LAST_LOOK).contains(&delivery.look_after) {
            return Err(Error::Range("look_after"));
        }
        agree(delivery.acknowledged <= given, "acknowledged")?;
        let mut last = delivery.acknowledged;
        for (end, prefixes) in &frozen.marks {
            agree(last < *end && *end <= given, "marks")?;
            last = *end;
            delivery.marks.push_back((*end, size(*prefixes, "marks")?));
        }
        Ok(delivery)
    }

    /// The number of bytes given to the driver that are not acknowledged.
    pub(in crate::fsm) fn outstanding(&self) -> u64 {
        self.given - self.acknowledged
    }
}

fn number(prefixes: usize) -> u64 {
    u64::try_from(prefixes).unwrap_or(u64::MAX)
}
