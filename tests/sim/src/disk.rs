//! The model of a state directory: slow, full or silent, and its content at the start of a process.
//!
//! ```text
//!  SaveOverrides, SaveHeldBack ─► wishes ─► (some milliseconds) ─► on the disk
//!                                │ full: again after ten seconds      │
//!                                └ silent: when it answers again      └► left() for the next process
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::{Ends, Forces, HeldBack, Left, Override, Overrides, Scoped};
use vipcast_node::jobs::Ticket;
use vipcast_node::now::Now;
use vipcast_node::vip::Vip;

use crate::orders;

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
    /// The overrides.
    pub overrides: Overrides,
    /// The boot in which they were written.
    pub boot: u64,
    /// VIPs that are held back.
    pub held: HeldBack,
    /// What operators had ordered then, as the world knows it.
    pub orders: orders::Orders,
    /// What operators had forced then.
    pub forces: orders::Forces,
    /// The note for the next process.
    pub note: Option<BTreeSet<Vip>>,
}

impl Disk {
    /// What a process that begins now is told; the note only where it is the next of a restart.
    pub fn left(&mut self, boot: u64, now: Now, restarted: bool) -> Left {
        let note = self.file.note.take();
        self.by_wall = self.file.ends_by_wall(boot);
        let overrides = self.file.restored(boot, now);
        if overrides != self.file.overrides && !self.full {
            // What has ended must not be in force again when the clock goes back.
            self.file.orders.expire(now.mono);
            self.file.forces.expire(now.mono);
            self.file = File { overrides: overrides.clone(), boot, ..self.file.clone() };
        }
        Left {
            overrides,
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
    /// The overrides in another process, and perhaps after a reboot, when the wall clock decides.
    fn restored(&self, boot: u64, now: Now) -> Overrides {
        let Overrides { drains, forces: Forces { up, down }, peers, promotions } = &self.overrides;
        let peers = peers.iter().filter_map(|(peer, one)| Some((peer.clone(), self.one(one, boot, now)?)));
        Overrides {
            drains: self.scoped(drains, boot, now),
            forces: Forces { up: self.scoped(up, boot, now), down: self.scoped(down, boot, now) },
            peers: peers.collect(),
            promotions: promotions.clone(),
        }
    }

    fn one(&self, one: &Arc<Override>, boot: u64, now: Now) -> Option<Arc<Override>> {
        let Some(ends) = one.ends else { return Some(Arc::clone(one)) };
        let same_boot = boot == self.boot;
        let ends = if same_boot && ends.at_most.is_none() {
            ends
        } else {
            let length = Duration::try_from(ends.wall.duration_since(one.since)).unwrap_or_default();
            let at_most = ends.at_most.filter(|_| same_boot).unwrap_or(now.mono + length);
            Ends { at: ends.wall_at(now.wall, now.mono).min(at_most), at_most: Some(at_most), ..ends }
        };
        (ends.at > now.mono).then(|| Arc::new(Override { ends: Some(ends), ..(**one).clone() }))
    }

    fn scoped(&self, scoped: &Scoped, boot: u64, now: Now) -> Scoped {
        let everything = scoped.everything.as_ref().and_then(|everything| {
            let mut restored = everything.clone();
            restored.common = self.one(&everything.common, boot, now)?;
            Some(restored)
        });
        let services = scoped.services.iter();
        let services = services
            .filter_map(|(service, one)| Some((service.clone(), self.one(one, boot, now)?)))
            .collect();
        Scoped { everything, services }
    }

    /// When a drain could end at another time than it says, because the host has booted since.
    fn ends_by_wall(&self, boot: u64) -> bool {
        boot != self.boot && (self.orders.any_ends() || self.forces.any_ends())
    }
}

/// The latest time, for sorting what never ends to the end.
pub const NEVER: Instant = Instant::from_nanos(u64::MAX);
