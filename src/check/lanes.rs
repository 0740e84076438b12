//! Slots for work that may hang for ever, such as a lookup of a name or a look at a file: a number for each service, so
//! that hanging work of one service never delays another; and a total number, which waiting services share in turns.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The number of slots. As long as fewer than `most / of_one` services have all their slots hanging, no other service
/// waits
/// for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Of one service.
    pub(super) of_one: usize,
    /// Of all.
    pub(super) most: usize,
}

/// Clones share the places.
#[derive(Debug, Clone)]
pub(super) struct Lanes {
    bounds: Bounds,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    total: usize,
    lanes: BTreeMap<String, Lane>,
    /// The service that got the last slot after a wait.
    last: String,
}

/// Of one service; gone when it is empty.
#[derive(Debug, Default)]
struct Lane {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Slot>>,
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    lanes: Lanes,
    owner: String,
}

impl Lanes {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, state: Arc::default() }
    }

    /// Waits for a slot of `owner`. Cancel-safe: an untaken slot goes to the next.
    pub(super) async fn slot(&self, owner: &str) -> Slot {
        let (give, given) = oneshot::channel();
        self.state().lanes.entry(owner.into()).or_default().waiting.push_back(give);
        self.hand_out();
        match given.await {
            Ok(slot) => slot,
            // Never: who waits is kept until its turn comes.
            Err(_) => Slot { lanes: Self::new(self.bounds), owner: owner.into() },
        }
    }

    /// Gives slots to who waits, one service after the other.
    fn hand_out(&self) {
        loop {
            let Some((give, slot)) = self.next() else { return };
            // A waiter that has given up returns it at once, which hands it out again.
            drop(give.send(slot));
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Slot>, Slot)> {
        let mut state = self.state();
        if state.total >= self.bounds.most {
            return None;
        }
        let may =
            |(_, lane): &(&String, &Lane)| lane.running < self.bounds.of_one && !lane.waiting.is_empty();
        let after = (std::ops::Bound::Excluded(state.last.clone()), std::ops::Bound::Unbounded);
        let owner = state.lanes.range(after).find(may).or_else(|| state.lanes.iter().find(may))?.0.clone();
        let lane = state.lanes.get_mut(&owner)?;
        let give = lane.waiting.pop_front()?;
        lane.running += 1;
        state.total += 1;
        state.last.clone_from(&owner);
        Some((give, Slot { lanes: self.clone(), owner }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `owner` has as many as it may.
    pub(super) fn is_full(&self, owner: &str) -> bool {
        self.state().lanes.get(owner).is_some_and(|lane| lane.running >= self.bounds.of_one)
    }

    #[cfg(test)]
    pub(super) fn running(&self) -> usize {
        self.state().total
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.lanes.state();
        state.total = state.total.saturating_sub(1);
        if let Some(lane) = state.lanes.get_mut(&self.owner) {
            lane.running = lane.running.saturating_sub(1);
            if lane.running == 0 && lane.waiting.is_empty() {
                state.lanes.remove(&self.owner);
            }
        }
        drop(state);
        self.lanes.hand_out();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    const OF_ONE: usize = 8;
    const MOST: usize = 64;
    const BOUNDS: Bounds = Bounds { of_one: OF_ONE, most: MOST };

    fn now(lanes: &Lanes, owner: &str) -> Option<Slot> {
        lanes.slot(owner).now_or_never()
    }

    #[test]
    fn i4_a_service_that_takes_all_it_may_leaves_the_others_theirs() {
        let lanes = Lanes::new(BOUNDS);
        let bad: Vec<_> = (0..OF_ONE).map(|_| now(&lanes, "bad").unwrap()).collect();
        assert!(now(&lanes, "bad").is_none());
        assert!(lanes.is_full("bad") && !lanes.is_full("good"));
        let good = now(&lanes, "good");
        assert!(good.is_some());
        drop((bad, good));
        assert_eq!(lanes.running(), 0);
        assert!(now(&lanes, "bad").is_some(), "the one that waited in vain takes no slot");
        assert!(lanes.state().lanes.is_empty());
    }

    #[test]
    fn beyond_the_most_services_get_slots_in_turns() {
        let lanes = Lanes::new(BOUNDS);
        let mut held: VecDeque<_> =
            (0..MOST).map(|at| now(&lanes, &format!("many-{}", at % (MOST / OF_ONE))).unwrap()).collect();
        let mut queue: Vec<_> = (0..5).map(|_| Box::pin(lanes.slot("long"))).collect();
        for waiting in &mut queue {
            assert!(waiting.as_mut().now_or_never().is_none());
        }
        let mut other = pin!(lanes.slot("other"));
        assert!(other.as_mut().now_or_never().is_none());
        drop(held.pop_front());
        drop(held.pop_front());
        assert!(other.now_or_never().is_some(), "it did not wait for all that came before");
    }
}
