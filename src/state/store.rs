//! The state directory as a port of the loop: the loop hands over new contents without waiting, and a thread writes the
//! newest of each file.
//!
//! ```text
//!   main thread                    │  thread "state"
//!   Store::save(…) ─ newest ───────┼─► open (lock, read) ─► write, fsync, rename ─┐
//!   Store::progress  ◄─ watch ─────┼──── the saved number, or the error ◄─────────┘ again every 10 s until saved
//!   Store::late      ◄─ mpsc ──────┼──── the state found, if it came too late for the start
//! ```
//!
//! **A disk that hangs** stops only this thread. The start waits a moment for it ([`PATIENCE`]) and then goes on
//! without its content; the thread hands it over later ([`Late`]). Until the daemon has answered that, nothing is
//! written, so that the content is merged and not replaced.
//!
//! **Another directory** under the same path (mounted over it, or made anew) is noticed before each write, and
//! periodically ([`LOOK`]): it is locked, read and merged like one that answers late.
//!
//! **The thread** is never joined: it may be stuck in the kernel. [`Store::finish`] waits for the last writes, but not
//! for ever. The mutex is held only for moments, never during disk access.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;
use vipcast_bgp::net::words::io_error;
use vipcast_node::engine::{HeldBack, Left, Overrides};
use vipcast_node::jobs::Unsaved;
use vipcast_node::vip::Vip;

use super::disk::Disk;
use super::{StateDir, StateError};
use crate::log::{failure, note, trouble};

/// The longest wait of a start for the state directory.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest wait at the end for the last writes.
const FINISH: Duration = Duration::from_secs(5);
/// The pause before a failed open or write is repeated.
const RETRY: Duration = Duration::from_secs(10);

/// The interval between looks for another directory under the path.
const LOOK: Duration = Duration::from_secs(30);

/// The result of a start.
#[derive(Debug)]
pub struct Opened {
    /// The port.
    pub store: Store,
    /// The state of a predecessor; empty if the directory cannot be used (yet).
    pub left: Left,
}

/// The content of a state directory that answered after the start.
#[derive(Debug)]
pub struct Late(pub Left);

/// The port. Dropping it ends the thread after the last writes.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    shared: Arc<Shared>,
    progress: watch::Receiver<Progress>,
    late: mpsc::UnboundedReceiver<Late>,
    lock: Held,
}

/// Another descriptor of the lock, for the next program.
type Held = Arc<Mutex<Option<File>>>;

/// The progress of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Progress {
    overrides: Written,
    held: Written,
}

/// The progress of a file; its contents are numbered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Written {
    /// The last content on the disk.
    saved: u64,
    /// The last failed write, with its error.
    failed: Option<(u64, String)>,
}

#[derive(Debug, Default)]
struct Shared {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wishes {
    overrides: Wish<Arc<Overrides>>,
    held: Wish<Arc<HeldBack>>,
    announced: Option<Note>,
    /// Whether a late content is not merged yet.
    merging: bool,
    over: bool,
}

/// A request about the note of a graceful restart.
#[derive(Debug)]
enum Note {
    /// Write the note, and answer.
    Leave(BTreeSet<Vip>, oneshot::Sender<Result<(), String>>),
    /// Remove the note.
    Withdraw,
}

/// The newest content of a file.
#[derive(Debug)]
struct Wish<T> {
    number: u64,
    content: Option<T>,
}

impl<T> Default for Wish<T> {
    fn default() -> Self {
        Self { number: 0, content: None }
    }
}

impl<T> Wish<T> {
    fn set(&mut self, content: T) -> u64 {
        self.number += 1;
        self.content = Some(content);
        self.number
    }
}

impl Shared {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        // Plain data: it is consistent even after a panic.
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Wishes) -> T) -> T {
        let changed = change(&mut self.wishes());
        self.changed.notify_all();
        changed
    }
}

impl Store {
    /// Opens the directory, makes it with `mode` if it is missing, and reads it.
    ///
    /// # Errors
    /// Another daemon uses it. Any other fault is a warning.
    pub fn open(path: &Path, mode: u32) -> Result<Opened, StateError> {
        Self::open_with(path, mode, None, Before::Stopped)
    }

    /// The same after a hand-over, with the lock of the program before. What was left is for a node that has not read
    /// the directory yet.
    ///
    /// # Errors
    /// Another daemon uses it. Any other fault is a warning.
    pub(crate) fn thaw(path: &Path, mode: u32, lock: Option<OwnedFd>) -> Result<Opened, StateError> {
        Self::open_with(path, mode, lock, Before::Running)
    }

    fn open_with(
        path: &Path,
        mode: u32,
        handed: Option<OwnedFd>,
        before: Before,
    ) -> Result<Opened, StateError> {
        let (path_of_disk, handed) = (path.to_owned(), Mutex::new(handed.map(File::from)));
        let held = Held::default();
        let keep = Arc::clone(&held);
        let open = move || {
            // Kept until a directory has it: a disk that fails at first is tried again.
            let mut handed = handed.lock().unwrap_or_else(PoisonError::into_inner);
            let lock = handed.as_ref().and_then(|lock| lock.try_clone().ok());
            let directory = StateDir::open_with(&path_of_disk, mode, lock)?;
            *handed = None;
            *keep.lock().unwrap_or_else(PoisonError::into_inner) = directory.lock_for_next();
            Ok((directory.left()?, directory))
        };
        let mut opened = Self::start(path, before, open)?;
        opened.store.lock = held;
        Ok(opened)
    }

    /// Another descriptor of the lock, for the next program, if there is a lock.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub(crate) fn lock(&self) -> std::io::Result<Option<OwnedFd>> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        lock.as_ref().map(|lock| Ok(lock.try_clone()?.into())).transpose()
    }

    /// A port without a directory: nothing was left, and nothing is saved.
    pub fn none() -> Opened {
        let (_, progress) = watch::channel(Progress::default());
        let (_, late) = mpsc::unbounded_channel();
        let (path, shared, lock) = (PathBuf::new(), Arc::default(), Held::default());
        let store = Self { path, shared, progress, late, lock };
        Opened { store, left: Left::default() }
    }

    fn start<D: Disk + Send + 'static>(
        path: &Path,
        before: Before,
        open: impl Fn() -> Result<(Left, D), StateError> + Send + 'static,
    ) -> Result<Opened, StateError> {
        let shared = Arc::new(Shared::default());
        let (progress, watched) = watch::channel(Progress::default());
        let (late, late_receiver) = mpsc::unbounded_channel();
        let (first, found) = std::sync::mpsc::sync_channel(0);
        let writer =
            Writer { path: path.to_owned(), shared: Arc::clone(&shared), progress, late, disk: None };
        let work = move || writer.run(&open, &first, before);
        let thread = thread::Builder::new().name("state".into()).spawn(work);
        if let Err(error) = thread {
            trouble!(%error, "no thread for the state directory: nothing will survive a restart");
        }
        let unread = Left { unread: true, ..Left::default() };
        let left = match found.recv_timeout(PATIENCE) {
            Ok(Ok(left)) => left,
            Ok(Err(error @ StateError::Taken { .. })) => return Err(error),
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                trouble!(
                    error,
                    "running without state: drains and what is held back do not survive a restart"
                );
                unread
            }
            Err(_) => {
                let path = path.display();
                trouble!(%path, "the state directory does not answer: running without what is in it until it does");
                unread
            }
        };
        drop(found);
        let (late, lock) = (late_receiver, Held::default());
        let store = Self { path: path.to_owned(), shared, progress: watched, late, lock };
        Ok(Opened { store, left })
    }

    /// Hands over the overrides to write. Returns the number of this content at once.
    pub fn save_overrides(&self, overrides: Arc<Overrides>) -> u64 {
        self.shared.change(|wishes| wishes.overrides.set(overrides))
    }

    /// Hands over the held-back VIPs to write. Returns at once.
    pub fn save_held_back(&self, held: Arc<HeldBack>) {
        self.shared.change(|wishes| wishes.held.set(held));
    }

    /// Leaves a note of the announced VIPs for the next process; the receiver gets the result of the write.
    pub fn leave_announced(&self, vips: BTreeSet<Vip>) -> oneshot::Receiver<Result<(), String>> {
        let (sender, receiver) = oneshot::channel();
        self.shared.change(|wishes| wishes.announced = Some(Note::Leave(vips, sender)));
        receiver
    }

    /// Removes that note, written or not: no process follows. Returns at once.
    pub fn withdraw_announced(&self) {
        self.shared.change(|wishes| wishes.announced = Some(Note::Withdraw));
    }

    /// The late content. Cancel-safe. [`Self::merged`] answers it.
    pub async fn late(&mut self) -> Late {
        match self.late.recv().await {
            Some(late) => late,
            None => std::future::pending().await,
        }
    }

    /// Answers a late content: it is merged, and these are the overrides now.
    pub fn merged(&self, overrides: Arc<Overrides>) {
        self.shared.change(|wishes| {
            wishes.merging = false;
            wishes.overrides.set(overrides);
            // The directory just read does not have the earlier saves.
            if let Some(held) = wishes.held.content.clone() {
                wishes.held.set(held);
            }
        });
    }

    /// Waits until the last overrides are saved, could not be saved, or `patience` is over.
    pub fn overrides_saved(
        &self,
        patience: Duration,
    ) -> impl Future<Output = Result<(), Unsaved>> + Send + use<> {
        let number = self.shared.wishes().overrides.number;
        let mut progress = self.progress.clone();
        async move {
            let told = |progress: &Progress| progress.overrides.says(number).is_some();
            let told = tokio::time::timeout(patience, progress.wait_for(told)).await;
            match told {
                Ok(Ok(progress)) => progress.overrides.says(number).unwrap_or(Err(Unsaved::NotYet)),
                Ok(Err(_)) | Err(_) => Err(Unsaved::NotYet),
            }
        }
    }

    /// The file that is not saved at present, with the reason.
    pub fn unsaved(&self) -> Option<(PathBuf, Unsaved)> {
        let (overrides, held) = {
            let wishes = self.shared.wishes();
            (wishes.overrides.number, wishes.held.number)
        };
        let progress = self.progress.borrow();
        let files = [(super::DRAINS, &progress.overrides, overrides), (super::HELD, &progress.held, held)];
        files.into_iter().find_map(|(name, written, number)| match written.says(number) {
            Some(Ok(())) => None,
            Some(Err(unsaved)) => Some((self.path.join(name), unsaved)),
            None => Some((self.path.join(name), Unsaved::NotYet)),
        })
    }

    /// Waits for the last writes, at most a few seconds.
    pub async fn finish(&mut self) {
        self.shared.change(|wishes| wishes.over = true);
        let over = async { while self.progress.changed().await.is_ok() {} };
        if tokio::time::timeout(FINISH, over).await.is_err() {
            failure!(path = %self.path.display(), "the state directory does not answer: the last change may be lost");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.shared.change(|wishes| wishes.over = true);
    }
}

impl Written {
    /// The result of a write; `None`: none yet.
    fn says(&self, number: u64) -> Option<Result<(), Unsaved>> {
        match &self.failed {
            _ if self.saved >= number => Some(Ok(())),
            Some((tried, error)) if *tried >= number => Some(Err(Unsaved::Failed(error.clone()))),
            Some(_) | None => None,
        }
    }

    fn note(&mut self, number: u64, result: Result<(), StateError>) {
        match result {
            Ok(()) => {
                if self.failed.take().is_some() {
                    note!("the state directory can be written again");
                }
                self.saved = number;
            }
            Err(error) => {
                let words = cause(&error);
                if self.failed.as_ref().is_none_or(|(_, before)| *before != words) {
                    let error = &error as &dyn std::error::Error;
                    trouble!(
                        error,
                        "not saved: it will not survive a restart; vipcast tries again until it is saved"
                    );
                }
                self.failed = Some((number, words));
            }
        }
    }
}

/// The kernel's error.
fn cause(error: &StateError) -> String {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.map_or_else(|| error.to_string(), io_error)
}

/// The state of this daemon before a directory was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It did not run, or ran without a directory.
    Stopped,
    /// It ran with another directory under this path, or as the program before an upgrade.
    Running,
}

/// The first message to the start.
type First = std::sync::mpsc::SyncSender<Result<Left, StateError>>;

struct Writer<D> {
    path: PathBuf,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    late: mpsc::UnboundedSender<Late>,
    disk: Option<D>,
}

impl<D: Disk> Writer<D> {
    fn run(mut self, open: &dyn Fn() -> Result<(Left, D), StateError>, first: &First, mut before: Before) {
        let mut why_closed = None;
        match open() {
            Ok((left, disk)) => {
                self.disk = Some(disk);
                self.found(left, Some(first), before);
            }
            Err(error) => {
                why_closed = Some(cause(&error));
                if let Err(std::sync::mpsc::SendError(Err(error))) = first.send(Err(error)) {
                    let error = &error as &dyn std::error::Error;
                    trouble!(
                        error,
                        "running without state: drains and what is held back do not survive a restart"
                    );
                }
            }
        }
        let mut retry_at = clock::now() + RETRY;
        while let Some((overrides, held, announced)) = self.next(retry_at) {
            let is_elsewhere = self.disk.as_ref().is_some_and(D::is_elsewhere);
            if is_elsewhere {
                trouble!(path = %self.path.display(), "another directory is under this path now: it is read before it is written");
                (self.disk, before) = (None, Before::Running);
            }
            if self.disk.is_none() && (is_elsewhere || retry_at <= clock::now()) {
                match open() {
                    Ok((left, disk)) => {
                        note!(path = %self.path.display(), "the state directory can be used now");
                        self.disk = Some(disk);
                        self.found(left, None, before);
                        // The pending contents are merged first.
                        self.put_back(announced);
                        continue;
                    }
                    Err(error) => why_closed = Some(cause(&error)),
                }
            }
            let closed = || StateError::Directory {
                path: self.path.clone(),
                source: std::io::Error::other(why_closed.clone().unwrap_or_default()),
            };
            let disk = self.disk.as_ref();
            if let Some((number, overrides)) = overrides {
                let written = disk.ok_or_else(closed).and_then(|disk| disk.save_overrides(&overrides));
                self.progress.send_modify(|progress| progress.overrides.note(number, written));
            }
            if let Some((number, held)) = held {
                let written = disk.ok_or_else(closed).and_then(|disk| disk.save_held_back(&held));
                self.progress.send_modify(|progress| progress.held.note(number, written));
            }
            match (announced, disk) {
                (Some(Note::Leave(vips, waits)), disk) => {
                    let written = disk.ok_or_else(closed).and_then(|disk| disk.leave_announced(&vips));
                    // The caller may have given up.
                    drop(waits.send(written.map_err(|error| cause(&error))));
                }
                (Some(Note::Withdraw), Some(disk)) => {
                    if let Err(error) = disk.withdraw_announced() {
                        let error = &error as &dyn std::error::Error;
                        trouble!(error, "cannot remove the note of a graceful restart that failed");
                    }
                }
                // An existing note is removed when the directory can be read.
                (Some(Note::Withdraw), None) | (None, _) => {}
            }
            if retry_at <= clock::now() {
                retry_at = clock::now() + RETRY;
            }
        }
    }

    /// Hands the content to the start or, if that has gone on, to the daemon.
    fn found(&self, mut left: Left, first: Option<&First>, before: Before) {
        if before == Before::Running {
            // As after a graceful restart: we keep the traffic, except for held-back VIPs.
            left.announced.get_or_insert_default();
        }
        if first.is_some_and(|first| first.send(Ok(left.clone())).is_ok()) {
            return;
        }
        self.shared.wishes().merging = true;
        if self.late.send(Late(left)).is_err() {
            self.shared.wishes().merging = false;
        }
    }

    /// Puts back a note that was not written yet, unless there is a newer request.
    fn put_back(&self, note: Option<Note>) {
        let mut wishes = self.shared.wishes();
        wishes.announced = wishes.announced.take().or(note);
    }

    /// Waits for contents to write, or for the time to try again or to look; `None` at the end.
    fn next(&self, retry_at: Instant) -> Option<Work> {
        let mut wishes = self.shared.wishes();
        let look_at = clock::now() + LOOK;
        loop {
            let progress = self.progress.borrow();
            let failed = progress.overrides.failed.is_some() || progress.held.failed.is_some();
            let retries = retry_at <= clock::now();
            let wanted = |number: u64, written: &Written| {
                written.saved < number
                    && (retries || written.failed.as_ref().is_none_or(|(tried, _)| *tried < number))
            };
            let overrides = wanted(wishes.overrides.number, &progress.overrides) && !wishes.merging;
            let held = wanted(wishes.held.number, &progress.held) && !wishes.merging;
            drop(progress);
            let opens = self.disk.is_none() && retries;
            let looks = opens || look_at <= clock::now();
            if overrides || held || wishes.announced.is_some() || (looks && !wishes.over) {
                let overrides = overrides
                    .then(|| wishes.overrides.content.clone().map(|new| (wishes.overrides.number, new)));
                let held = held.then(|| wishes.held.content.clone().map(|new| (wishes.held.number, new)));
                return Some((overrides.flatten(), held.flatten(), wishes.announced.take()));
            }
            if wishes.over {
                return None;
            }
            let tries = failed || self.disk.is_none();
            let until = if tries { retry_at.min(look_at) } else { look_at };
            let time = until.saturating_duration_since(clock::now());
            let waited = self.shared.changed.wait_timeout(wishes, time);
            wishes = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The numbered contents to write.
type Work = (Option<(u64, Arc<Overrides>)>, Option<(u64, Arc<HeldBack>)>, Option<Note>);

#[cfg(test)]
mod tests;
