//! Which addresses are ours on a kernel that cannot mark them (before Linux 5.18): a note in the state directory.
//!
//! ```text
//!  requester ── add, remove ─► addresses ◄─ owned ── requester, listener
//!      ▲                           │ the newest
//!      └── saved, or why not ── thread "note" ─► addresses.json
//! ```
//!
//! It is written before an address is added, so that a crash between the two leaves a name too many, never an address
//! too many. It names the boot it belongs to: after a reboot none of its addresses is ours any more.
//!
//! It helps after a crash and is no condition (`docs/adr/0008`): where it cannot be read or written, addresses are bound all the
//! same, and what a crash leaves then is taken for somebody else's. It is tried again until it is written.
//!
//! **A disk that hangs** stops the thread of the note and nothing else: the start and each change wait for it for a moment
//! ([`PATIENCE`]), and while it is known to hang nobody waits. What it says later is added to what is ours; the next listing
//! of addresses (`listener`) tells of it. The mutex is held for moments only, never while the disk is asked.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use vipcast_node::engine::{Binding, Kind, Owner};

use super::message::Notice;
use crate::log::{note, trouble};
use crate::state::{file, understand};

/// The first kernel that keeps IFA_PROTO.
const MARKS_SINCE: (u32, u32) = (5, 18);
/// How long the disk is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// Until a file that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// The file.
const NAME: &str = "addresses.json";
/// What follows where there is no note.
const UNKNOWN: &str = "addresses that a crash leaves are taken for somebody else's";

/// The note, if the kernel needs one, shared by those who ask the kernel and hear it.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Option<Arc<Note>>);

/// Dropping it ends the thread when it has written what it was given.
#[derive(Debug)]
struct Note {
    shared: Arc<Shared>,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Addresses that we have added since boot, and those that we are about to add.
    addresses: BTreeSet<Binding>,
    /// Changes are numbered. Reading what there is is the first.
    wanted: u64,
    /// The last that was tried, and why in vain.
    tried: u64,
    failed: Option<String>,
    /// Since when the disk has been at work.
    busy: Option<Instant>,
    over: bool,
}

#[derive(Serialize, Deserialize)]
struct Written {
    boot: String,
    addresses: BTreeSet<Binding>,
}

impl Notes {
    /// The note of this host, if the kernel needs one.
    pub(super) async fn of_host(state_dir: &Path) -> Self {
        if marks_addresses(&rustix::system::uname().release().to_string_lossy()) {
            return Self(None);
        }
        // Of /proc, which never waits.
        let boot = match std::fs::read_to_string("/proc/sys/kernel/random/boot_id") {
            Ok(boot) => boot.trim().to_owned(),
            Err(error) => {
                trouble!(%error, "cannot tell this boot from others: {UNKNOWN}");
                return Self(None);
            }
        };
        let disk = Disk { directory: state_dir.to_owned(), boot };
        Self(Some(Arc::new(Note::start(disk, PATIENCE).await)))
    }

    /// Notes addresses as ours, and waits a moment until that is written.
    pub(super) fn add(&self, bindings: impl Iterator<Item = Binding>) {
        if let Some(note) = &self.0 {
            // Every kernel keeps the protocol of a route.
            let addresses = bindings.filter(|binding| matches!(binding.kind, Kind::Address { .. }));
            note.change(|ours| ours.extend(addresses));
        }
    }

    /// Notes addresses as ours no more.
    pub(super) fn remove(&self, addresses: impl Iterator<Item = Binding>) {
        if let Some(note) = &self.0 {
            note.change(|ours| {
                ours.retain({
                    let gone: BTreeSet<Binding> = addresses.collect();
                    move |address| !gone.contains(address)
                })
            });
        }
    }

    /// Has it written what could not be written before.
    pub(super) fn save_again(&self) {
        if let Some(note) = &self.0 {
            note.save_again();
        }
    }

    /// What the kernel says, with our addresses known as ours.
    pub(super) fn owned(&self, notice: Notice) -> Notice {
        match (notice, &self.0) {
            (Notice::Added(address, mut fact), Some(note)) if note.has(&address) => {
                fact.owner = Owner::Us;
                Notice::Added(address, fact)
            }
            (notice, _) => notice,
        }
    }
}

impl Note {
    /// Starts the thread, and waits a moment for what is written already.
    async fn start(disk: impl Keep + Send + 'static, patience: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.state();
            (state.wanted, state.busy) = (1, Some(Instant::now()));
        }
        let note = Self { shared: Arc::clone(&shared), patience };
        let (read, is_read) = oneshot::channel();
        let thread = thread::Builder::new().name("note".to_owned()).stack_size(256 << 10);
        match thread.spawn(move || run(&disk, &shared, read)) {
            Ok(_) if tokio::time::timeout(patience, is_read).await.is_ok() => {}
            Ok(_) => trouble!("the state directory does not answer: until it does, {UNKNOWN}"),
            Err(error) => trouble!(%error, "no thread for the note of our addresses: {UNKNOWN}"),
        }
        note
    }

    fn has(&self, address: &Binding) -> bool {
        self.shared.state().addresses.contains(address)
    }

    /// Whoever finds the disk hanging does not wait again.
    fn change(&self, change: impl FnOnce(&mut BTreeSet<Binding>)) {
        let mut state = self.shared.state();
        let before = state.addresses.clone();
        change(&mut state.addresses);
        if state.addresses == before {
            return;
        }
        state.wanted += 1;
        let (number, hangs_for) = (state.wanted, state.busy.map_or(Duration::ZERO, |since| since.elapsed()));
        self.shared.changed.notify_all();
        let open = |state: &mut State| state.tried < number;
        let patience = self.patience.saturating_sub(hangs_for);
        // Whether it is written by then or not: the note is no condition.
        drop(self.shared.changed.wait_timeout_while(state, patience, open));
    }

    fn save_again(&self) {
        let mut state = self.shared.state();
        if state.failed.is_some() && state.tried == state.wanted {
            state.wanted += 1;
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Plain data: whoever panicked has left it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, number: u64, result: io::Result<()>) {
        let mut state = self.state();
        let failed = result.err().map(|error| error.to_string());
        match (&failed, &state.failed) {
            (Some(error), before) if before.as_ref() != Some(error) => {
                trouble!(error, "cannot note which addresses are ours: {UNKNOWN}");
            }
            (None, Some(_)) => note!("which addresses are ours is noted again"),
            (Some(_) | None, _) => {}
        }
        (state.busy, state.tried, state.failed) = (None, number, failed);
        self.changed.notify_all();
    }
}

/// What the thread reads and writes.
trait Keep {
    fn read(&self) -> io::Result<BTreeSet<Binding>>;
    fn write(&self, addresses: BTreeSet<Binding>) -> io::Result<()>;
}

fn run(disk: &impl Keep, shared: &Shared, read: oneshot::Sender<()>) {
    // Nothing is replaced before it was read.
    let found = loop {
        match disk.read() {
            Ok(found) => break found,
            Err(error) => trouble!(%error, "cannot read which addresses are ours; trying again: {UNKNOWN}"),
        }
        let over = shared.changed.wait_timeout_while(shared.state(), RETRY, |state| !state.over);
        if over.unwrap_or_else(PoisonError::into_inner).0.over {
            return;
        }
    };
    shared.state().addresses.extend(found);
    shared.written(1, Ok(()));
    // The start may have gone on.
    read.send(()).ok();
    loop {
        let idle = |state: &mut State| state.tried == state.wanted && !state.over;
        let waited = shared.changed.wait_while(shared.state(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.tried == state.wanted {
            return;
        }
        let (number, addresses) = (state.wanted, state.addresses.clone());
        state.busy = Some(Instant::now());
        drop(state);
        shared.written(number, disk.write(addresses));
    }
}

struct Disk {
    directory: PathBuf,
    boot: String,
}

impl Keep for Disk {
    fn read(&self) -> io::Result<BTreeSet<Binding>> {
        let lost = "addresses that a predecessor has added count as somebody else's, and stay";
        Ok(match understand::<Written>(&self.directory.join(NAME), lost)? {
            Some((_, written)) if written.boot == self.boot => written.addresses,
            Some(_) | None => BTreeSet::new(),
        })
    }

    fn write(&self, addresses: BTreeSet<Binding>) -> io::Result<()> {
        file::replace(&self.directory, NAME, &Written { boot: self.boot.clone(), addresses })
    }
}

/// Whether a kernel of this release keeps the protocol of an address. One whose release says nothing we can read is
/// taken for an old one: the note is right on every kernel, only slower.
fn marks_addresses(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MARKS_SINCE,
        _unreadable => false,
    }
}

#[cfg(test)]
mod tests;
