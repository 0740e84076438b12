//! The model of a state directory: slow, full or silent, and its content at the start of a process.
//!
//! ```text
//!  SaveDrains, SaveHeldBack ─► wishes ─► (some milliseconds) ─► on the disk
//!                                │ full: again after ten seconds      │
//!                                └ silent: when it answers again      └► left() for the next process
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::{Drain, Drains, Ends, HeldBack, Left};
use vipcast_node::jobs::Ticket;
use vipcast_node::now::Now;
use vipcast_node::vip::Vip;

use crate::orders::Orders;

/// How long the start of a process waits for a silent disk.
pub const PATIENCE: Duration = Duration::from_secs(3);
/// Until what could not be written is tried again.
pub const RETRY: Duration = Duration::from_secs(10);

/// A state directory.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Nothing can be written.
    pub full: bool,
    /// It does not answer.
    pub hangs: bool,
    /// What is on it.
    pub file: File,
    /// What the process wants on it.
    pub wish: Option<File>,
    /// A write is under way, or will be tried again.
    pub writing: bool,
    /// The process has begun without what is in here, and nothing is written until it has.
    pub unread: bool,
    /// Commands that wait for a write.
    pub waiting: Vec<Ticket>,
    /// What was last read of it ends when the wall clock says so.
    pub by_wall: bool,
}

/// What is written down.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// The drains.
    pub drains: Drains,
    /// The boot in which they were written.
    pub boot: u64,
    /// VIPs that are held back.
    pub held: HeldBack,
    /// What operators had ordered then, as the world knows it.
    pub orders: Orders,
    /// The note for the next process.
    pub note: Option<BTreeSet<Vip>>,
}

impl Disk {
    /// What a process that begins now is told; the note only where it is the next of a restart.
    pub fn left(&mut self, boot: u64, now: Now, restarted: bool) -> Left {
        let note = self.file.note.take();
        self.by_wall = self.file.ends_by_wall(boot);
        let drains = self.file.restored(boot, now);
        if drains != self.file.drains && !self.full {
            // What has ended must not be in force again when the clock goes back.
            self.file.orders.expire(now.mono);
            self.file = File { drains: drains.clone(), boot, ..self.file.clone() };
        }
        Left {
            drains,
            held: self.file.held.clone(),
            announced: note.filter(|_| restarted),
            ..Left::default()
        }
    }

    /// What the process wants on the disk, to be changed.
    pub fn wish(&mut self) -> &mut File {
        self.wish.get_or_insert_with(|| self.file.clone())
    }

    /// What the process wants is on the disk.
    pub fn grant(&mut self) {
        if let Some(wish) = self.wish.take() {
            let note = self.file.note.take();
            self.file = File { note, ..wish };
        }
    }

    /// The process has ended: what it wanted and what it waited for is gone.
    pub fn forget(&mut self) {
        self.wish = None;
        self.writing = false;
        self.unread = false;
        self.waiting.clear();
    }
}

impl File {
    /// The drains in another process, and perhaps after a reboot, when the wall clock decides.
    fn restored(&self, boot: u64, now: Now) -> Drains {
        let restore = |drain: &Arc<Drain>| -> Option<Arc<Drain>> {
            let Some(ends) = drain.ends else { return Some(Arc::clone(drain)) };
            let same_boot = boot == self.boot;
            let ends = if same_boot && ends.at_most.is_none() {
                ends
            } else {
                let length = Duration::try_from(ends.wall.duration_since(drain.since)).unwrap_or_default();
                let at_most = ends.at_most.filter(|_| same_boot).unwrap_or(now.mono + length);
                Ends { at: ends.wall_at(now.wall, now.mono).min(at_most), at_most: Some(at_most), ..ends }
            };
            (ends.at > now.mono).then(|| Arc::new(Drain { ends: Some(ends), ..(**drain).clone() }))
        };
        let mut drains = Drains::default();
        if let Some(everything) = &self.drains.everything {
            drains.everything = restore(&everything.drain).map(|drain| {
                let mut restored = everything.clone();
                restored.drain = drain;
                restored
            });
        }
        let services = self.drains.services.iter();
        drains.services =
            services.filter_map(|(service, drain)| Some((service.clone(), restore(drain)?))).collect();
        drains
    }

    /// When a drain could end at another time than it says, because the host has booted since.
    fn ends_by_wall(&self, boot: u64) -> bool {
        boot != self.boot && self.orders.any_ends()
    }
}

/// The latest time, for sorting what never ends to the end.
pub const NEVER: Instant = Instant::from_nanos(u64::MAX);
