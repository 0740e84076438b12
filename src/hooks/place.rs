//! How far a hook has come: its worker writes it, and whoever aborts the worker reads it, to record what is cut off.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The place of a hook. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<Mutex<Spot>>);

/// A place at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spot {
    /// The position of the next event. That of a program is behind the event of its delivery, which is never repeated.
    pub(super) position: u64,
    /// Events that left the ring too early, and that no successful delivery has told of yet.
    pub(super) missed: u64,
    /// The begin of a delivery that has not ended.
    pub(super) under_way: Option<Instant>,
}

impl Place {
    /// Where a predecessor was. Its delivery is not ours.
    pub(super) fn new(spot: Spot) -> Self {
        Self(Arc::new(Mutex::new(Spot { under_way: None, ..spot })))
    }

    pub(super) fn now(&self) -> Spot {
        *self.lock()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Spot)) {
        change(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Spot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
