//! The output of a node at one wake-up.

use crate::effect::Effect;
use crate::now::Now;
use crate::record::{Record, What};

/// Effects and records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// For the ports, in this order.
    pub effects: Vec<Effect>,
    /// The records, in their order.
    pub records: Vec<Record>,
    now: Now,
    next: u64,
}

impl Outbox {
    /// An empty outbox for a wake-up at `now`; its first record gets the number `next`.
    pub fn new(now: Now, next: u64) -> Self {
        Self { effects: Vec::new(), records: Vec::new(), now, next }
    }

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Appends an effect.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Appends a record.
    pub fn tell(&mut self, what: What) {
        self.records.push(Record { seq: self.next, at: self.now, what });
        self.next += 1;
    }
}
