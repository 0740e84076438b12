//! What comes out of a node at one wake-up.

use crate::effect::Effect;
use crate::now::Now;
use crate::record::{Record, What};

/// What is to be done, and what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// To be done by the ports, in this order.
    pub effects: Vec<Effect>,
    /// What happened, in its order.
    pub records: Vec<Record>,
    now: Now,
    next: u64,
}

impl Outbox {
    /// An empty one for a wake-up at `now`, whose first record gets the number `next`.
    pub fn new(now: Now, next: u64) -> Self {
        Self { effects: Vec::new(), records: Vec::new(), now, next }
    }

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Has something done behind everything before it.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Tells what happened.
    pub fn tell(&mut self, what: What) {
        self.records.push(Record { seq: self.next, at: self.now, what });
        self.next += 1;
    }
}
