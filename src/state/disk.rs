//! The disk of the store's thread: the state directory, or in tests a disk that hangs, is full or late.

use std::collections::BTreeSet;

use vipcast_node::engine::{HeldBack, Overrides};
use vipcast_node::vip::Vip;

use super::{StateDir, StateError};

/// See the [module](self).
pub(super) trait Disk {
    /// Whether the path leads to another directory now.
    fn is_elsewhere(&self) -> bool;
    fn save_overrides(&self, overrides: &Overrides) -> Result<(), StateError>;
    fn save_held_back(&self, held: &HeldBack) -> Result<(), StateError>;
    fn leave_announced(&self, vips: &BTreeSet<Vip>) -> Result<(), StateError>;
    fn withdraw_announced(&self) -> Result<(), StateError>;
}

impl Disk for StateDir {
    fn is_elsewhere(&self) -> bool {
        self.is_elsewhere()
    }

    fn save_overrides(&self, overrides: &Overrides) -> Result<(), StateError> {
        self.save_overrides(overrides)
    }

    fn save_held_back(&self, held: &HeldBack) -> Result<(), StateError> {
        self.save_held_back(held)
    }

    fn leave_announced(&self, vips: &BTreeSet<Vip>) -> Result<(), StateError> {
        self.leave_announced(vips)
    }

    fn withdraw_announced(&self) -> Result<(), StateError> {
        self.withdraw_announced()
    }
}
