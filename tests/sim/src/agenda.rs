//! The agenda of the world. Items that are due at the same moment keep the order in which they were scheduled.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use vipcast_bgp::Instant;

/// Things to come, in their order.
#[derive(Debug)]
pub struct Agenda<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    sequence: u64,
    due: T,
}

impl<T> Default for Agenda<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }
}

impl<T> Agenda<T> {
    /// Schedules something.
    pub fn add(&mut self, at: Instant, due: T) {
        self.sequence += 1;
        self.heap.push(Entry { at, sequence: self.sequence, due });
    }

    /// Forgets what is not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.heap.retain(|entry| keep(&entry.due));
    }

    /// When the next thing is due.
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// The next thing, if it is due by `end` and is `wanted`.
    pub fn pop_if(&mut self, end: Instant, wanted: impl Fn(&T) -> bool) -> Option<(Instant, T)> {
        let next = self.heap.peek()?;
        if next.at <= end && wanted(&next.due) { self.pop() } else { None }
    }

    /// The next thing.
    pub fn pop(&mut self) -> Option<(Instant, T)> {
        self.heap.pop().map(|entry| (entry.at, entry.due))
    }
}

impl<T> Ord for Entry<T> {
    /// The heap has its greatest on top, and that is to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}
