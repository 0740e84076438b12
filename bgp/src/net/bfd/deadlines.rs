//! The deadlines of all sessions: a binary heap that knows the place of each slot, so that moving a deadline, which
//! every packet does, needs no allocation and leaves no stale entry.

use crate::time::Instant;

/// At most one deadline for each slot.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Each no earlier than its parent, at half its index.
    heap: Vec<(Instant, usize)>,
    /// The place of each slot in the heap.
    places: Vec<Option<usize>>,
}

impl Deadlines {
    /// The earliest deadline and its slot.
    pub(super) fn first(&self) -> Option<(Instant, usize)> {
        self.heap.first().copied()
    }

    /// Sets, moves or removes the deadline of `slot`. Allocates only for a new highest slot.
    pub(super) fn set(&mut self, slot: usize, deadline: Option<Instant>) {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, None);

            self.heap.reserve(self.places.len() - self.heap.len());
        }
        match (self.places[slot], deadline) {
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                self.settle(place);
            }
            (None, Some(at)) => {
                self.heap.push((at, slot));
                self.places[slot] = Some(self.heap.len() - 1);
                self.settle(self.heap.len() - 1);
            }
            (Some(place), None) => {
                self.places[slot] = None;
                self.heap.swap_remove(place);
                if place < self.heap.len() {
                    self.places[self.heap[place].1] = Some(place);
                    self.settle(place);
                }
            }
            (None, None) => {}
        }
    }

    /// Moves an entry up or down to its place.
    fn settle(&mut self, mut place: usize) {
        while place > 0 && self.heap[place].0 < self.heap[(place - 1) / 2].0 {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
        loop {
            let children =
                [2 * place + 1, 2 * place + 2].into_iter().filter(|child| *child < self.heap.len());
            let Some(least) = children.min_by_key(|child| self.heap[*child].0) else { return };
            if self.heap[place].0 <= self.heap[least].0 {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        for place in [one, other] {
            self.places[self.heap[place].1] = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::super::clock;
    use super::*;

    proptest! {
        #[test]
        fn the_first_is_always_the_earliest(changes in proptest::collection::vec((0..20_usize, prop::option::of(0..50_u64)), 0..200)) {
            let begin = clock::now();
            let mut deadlines = Deadlines::default();
            let mut model = [None; 20];
            for (slot, after) in changes {
                let deadline = after.map(|after| begin + Duration::from_millis(after));
                deadlines.set(slot, deadline);
                model[slot] = deadline;
                prop_assert_eq!(deadlines.first().map(|(at, _)| at), model.iter().flatten().min().copied());
                if let Some((at, slot)) = deadlines.first() {
                    prop_assert_eq!(model[slot], Some(at));
                }
            }
        }
    }
}
