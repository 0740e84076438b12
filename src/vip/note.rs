//! The note of our addresses in the state directory, for kernels that cannot mark them (before Linux 5.18).
//!
//! ```text
//!  requester ── add, remove ─► addresses ◄─ owned ── requester, listener
//!      ▲                           │ the newest
//!      └── saved, or why not ── thread "note" ─► addresses.json
//! ```
//!
//! The note is written before an address is added, so that a crash between the two leaves a superfluous entry, never an
//! unknown address. It names its boot: after a reboot none of its addresses is ours any more.
//!
//! The note helps after a crash and is no condition (`docs/adr/0008`): if it cannot be read or written, addresses are
//! still bound, and addresses that a crash leaves are taken for those of another program. Writing is tried again until
//! it succeeds.
//!
//! **A disk that hangs** stops only the thread of the note: the start and each change wait a moment for it
//! ([`PATIENCE`]), and not at all while it is known to hang. Its late content is added to our addresses; the next
//! listing (`listener`) shows it. The mutex is held only for moments, never during disk access.

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
/// The longest wait for the disk.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause before an unreadable file is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// The file.
const NAME: &str = "addresses.json";
/// The consequence of a missing note.
const UNKNOWN: &str = "addresses that a crash leaves are taken for those of another program";

/// The note, if the kernel needs one, shared by requester and listener.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Option<Arc<Note>>);

/// Dropping it ends the thread after its last write.
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
    /// Addresses that we have added since the boot, and those that we are about to add.
    addresses: BTreeSet<Binding>,
    /// The number of the last change. The first read counts as a change.
    wanted: u64,
    /// The last attempt, and its error.
    tried: u64,
    failed: Option<String>,
    /// The begin of the running disk access.
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
        // /proc never blocks.
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

    /// Notes addresses as ours, and waits a moment for the write.
    pub(super) fn add(&self, bindings: impl Iterator<Item = Binding>) {
        if let Some(note) = &self.0 {
            // Every kernel keeps the protocol of a route.
            let addresses = bindings.filter(|binding| matches!(binding.kind, Kind::Address { .. }));
            note.change(|ours| ours.extend(addresses));
        }
    }

    /// Removes addresses from the note.
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

    /// Repeats a failed write.
    pub(super) fn save_again(&self) {
        if let Some(note) = &self.0 {
            note.save_again();
        }
    }

    /// A message of the kernel, with our addresses marked as ours.
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
    /// Starts the thread, and waits a moment for the existing note.
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

    /// Applies a change, and waits for the write unless the disk is known to hang.
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
        // The result does not matter: the note is no condition.
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
        // Plain data: it is consistent even after a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self, number: u64, result: io::Result<()>) {
        let mut state = self.state();
        let failed = result.err().map(|error| error.to_string());
        match (&failed, &state.failed) {
            (Some(error), before) if before.as_ref() != Some(error) => {
                trouble!(error, "cannot note which addresses are ours: {UNKNOWN}");
            }
            (None, Some(_)) => note!("the note of our addresses can be written again"),
            (Some(_) | None, _) => {}
        }
        (state.busy, state.tried, state.failed) = (None, number, failed);
        self.changed.notify_all();
    }
}

/// The storage of the note.
trait Keep {
    fn read(&self) -> io::Result<BTreeSet<Binding>>;
    fn write(&self, addresses: BTreeSet<Binding>) -> io::Result<()>;
}

fn run(disk: &impl Keep, shared: &Shared, read: oneshot::Sender<()>) {
    // The file is read before it is replaced.
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
        let lost = "addresses that a predecessor has added count as those of another program, and stay";
        Ok(match understand::<Written>(&self.directory.join(NAME), lost)? {
            Some((_, written)) if written.boot == self.boot => written.addresses,
            Some(_) | None => BTreeSet::new(),
        })
    }

    fn write(&self, addresses: BTreeSet<Binding>) -> io::Result<()> {
        file::replace(&self.directory, NAME, &Written { boot: self.boot.clone(), addresses })
    }
}

/// Whether a kernel of this release keeps the protocol of an address. An unreadable release counts as old: the note
/// works on every kernel, only slower.
fn marks_addresses(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= MARKS_SINCE,
        _unreadable => false,
    }
}

#[cfg(test)]
mod tests;
