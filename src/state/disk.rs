//! The disk of the store's thread: the state directory, or in tests a disk that hangs, is full or late.

use std::collections::BTreeSet;

use vipcast_node::engine::{Drains, HeldBack};
use vipcast_node::vip::Vip;

use super::{StateDir, StateError};

/// See the [module](self).
pub(super) trait Disk {
    /// Whether the path leads to another directory now.
    fn is_elsewhere(&self) -> bool;
    fn save_drains(&self, drains: &Drains) -> Result<(), StateError>;
    fn save_held_back(&self, held: &HeldBack) -> Result<(), StateError>;
    fn leave_announced(&self, vips: &BTreeSet<Vip>) -> Result<(), StateError>;
    fn withdraw_announced(&self) -> Result<(), StateError>;
}

impl Disk for StateDir {
    fn is_elsewhere(&self) -> bool {
        self.is_elsewhere()
    }

    fn save_drains(&self, drains: &Drains) -> Result<(), StateError> {
        self.save_drains(drains)
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
