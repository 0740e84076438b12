//! I13: a hand-over, and a twin of the engine that goes on without it.

use super::super::handover::{are_alike, handed_over, is_allowed, outbox};
use super::*;

impl World {
    /// The engine is frozen, written, read and thawed, if nothing forbids that. Its twin is not.
    pub(in crate::engine::tests) fn hand_over(&mut self) {
        if !is_allowed(&self.engine) {
            return;
        }
        self.time_passes();
        self.look_who_holds_what();
        let (thawed, twin, effects) = handed_over(&self.engine, self.now);
        self.twin = Some(match self.twin.take() {
            None => twin,
            // Of several hand-overs each counts.
            Some(mut first) => {
                first.handle(Event::Tick, self.now, &mut outbox(self.now));
                first
            }
        });
        self.engine = thawed;
        self.perform(effects);
        self.i1_only_what_may_be_is_announced();
        self.a_drain_adds_and_improves_nothing();
    }

    /// The twin hears the same, and does the same.
    pub(super) fn twin_hears(&mut self, events: &[Event], out: &Outbox) {
        let Some(twin) = &mut self.twin else { return };
        let mut twins = outbox(self.now);
        twin.handle_all(events.to_vec(), self.now, &mut twins);
        assert_eq!(out, &twins, "I13: after {events:?}");
        are_alike(&self.engine, twin);
    }
}
