//! The events in a file of the state directory, for a look back over a restart.
//!
//! ```text
//!  main thread                  │  thread "events"
//!  EventFile::set(…) ── watch ──┼─► Ring ─► Reader ─► pending ─► Rotated ─► events.jsonl, events.jsonl.1, …
//!  status, metrics ◄── Progress ┼────────────────────────┘ again every 5 s until written
//! ```
//!
//! **A disk that hangs, is full or read-only** stops only this thread. The events wait in the ring; those that leave it
//! before they are written are counted, and a line in the file stands for them. The thread starts when the file is first
//! turned on, and is never joined: it may be stuck in the kernel.
//!
//! **Cancel safety.** The thread awaits a reader and a watch, both cancel-safe; everything else blocks.

mod rotated;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use vipcast_bgp::net::words::io_error;
use vipcast_node::model;

use self::rotated::{Opens, Rotated};
use super::ring::{Batch, Reader, Ring};
use crate::log::{note, trouble};

/// The name of the file.
const NAME: &str = "events.jsonl";
/// The pause before a failed write is repeated.
const RETRY: Duration = Duration::from_secs(5);
/// The longest wait at the end for the last events.
const PATIENCE: Duration = Duration::from_secs(1);
/// A write that takes longer is a fault of the disk.
const HANGS: Duration = Duration::from_secs(10);
/// The thread does little.
const STACK: usize = 256 << 10;

/// The port. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct EventFile {
    ring: Ring,
    path: PathBuf,
    retry: Duration,
    opens: Opens,
    progress: Progress,
    /// `None`: the thread was never needed, or has been told to end.
    wishes: Option<watch::Sender<Wish>>,
    /// Closed when the thread has ended.
    ended: Option<mpsc::Receiver<()>>,
    /// The position of the first event, until the first call of [`Self::set`].
    begin: Option<u64>,
}

/// The file as it is wanted, and the position of the first event for it.
type Wish = Option<(model::EventFile, u64)>;

/// The progress of the file. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<Written>>);

/// The progress at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Events that were written.
    pub(crate) written: u64,
    /// Events that left the memory before they could be written.
    pub(crate) lost: u64,
    /// Whether the file is on.
    is_on: bool,
    /// The position of the first event that is not done.
    position: u64,
    /// The last error, until a write succeeds.
    failed: Option<String>,
    /// The begin of a write that is under way.
    busy: Option<Instant>,
}

impl EventFile {
    /// Without a file yet. It begins with the event at this position.
    pub(crate) fn new(ring: Ring, state_dir: &Path, begin: u64) -> Self {
        let path = state_dir.join(NAME);
        Self {
            ring,
            path,
            retry: RETRY,
            opens: rotated::open,
            progress: Progress::default(),
            wishes: None,
            ended: None,
            begin: Some(begin),
        }
    }

    /// Turns the file on or off, or changes its limits. Returns at once. The first call includes the events since the
    /// start, or those that the program before has not written.
    pub(crate) fn set(&mut self, wanted: Option<model::EventFile>) {
        let begin = self.begin.take().unwrap_or_else(|| self.ring.end());
        if wanted.is_some() && self.wishes.is_none() {
            self.start();
        }
        let Some(wishes) = &self.wishes else { return };
        wishes.send_modify(|wish| {
            let begin = wish.map_or(begin, |(_, since)| since);
            *wish = wanted.map(|wanted| (wanted, begin));
        });
    }

    fn start(&mut self) {
        let (wishes, wished) = watch::channel(None);
        let (alive, ended) = mpsc::channel(1);
        let writer = Writer {
            ring: self.ring.clone(),
            path: self.path.clone(),
            retry: self.retry,
            opens: self.opens,
            progress: self.progress.clone(),
            pending: VecDeque::new(),
        };
        let thread = thread::Builder::new().name("events".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            let _alive = alive;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            match runtime {
                Ok(runtime) => runtime.block_on(writer.run(wished)),
                Err(error) => trouble!(%error, "no file of events: its thread cannot wait"),
            }
        });
        match started {
            Ok(_) => (self.wishes, self.ended) = (Some(wishes), Some(ended)),
            Err(error) => trouble!(%error, "no thread for the file of events"),
        }
    }

    /// The progress, for metrics and the status.
    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// The fault of the disk, in words.
    pub(crate) fn warning(&self) -> Option<String> {
        let Written { is_on, failed, busy, .. } = self.progress.now();
        let path = self.path.display();
        let hangs = || {
            busy.is_some_and(|since| since.elapsed() > HANGS).then(|| "the disk does not answer".to_owned())
        };
        let cause = failed.or_else(hangs).filter(|_| is_on)?;
        Some(format!("events are not written to {path}: {cause}"))
    }

    /// Ends the thread after the events so far, and returns the position of the first event for the next program. The
    /// boolean is false if the thread hangs.
    pub(crate) fn freeze(&mut self) -> impl Future<Output = (u64, bool)> + use<> {
        let (progress, ring) = (self.progress.clone(), self.ring.clone());
        let (is_on, finished) = (progress.now().is_on, self.end());
        async move {
            let has_ended = finished.await;
            (if is_on { progress.now().position } else { ring.end() }, has_ended)
        }
    }

    /// Waits for the last events, at most a second.
    pub(crate) async fn finish(&mut self) {
        if !self.end().await {
            let left = self.progress.now().behind(&self.ring);
            trouble!(left, path = %self.path.display(), "the daemon stops before these events were written");
        }
    }

    /// Ends the thread. False: it hangs, and is left behind.
    fn end(&mut self) -> impl Future<Output = bool> + use<> {
        self.wishes = None;
        let ended = self.ended.take();
        async move {
            let Some(mut ended) = ended else { return true };
            tokio::time::timeout(PATIENCE, ended.recv()).await.is_ok()
        }
    }
}

impl Progress {
    pub(crate) fn now(&self) -> Written {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Written {
    /// The number of events that wait for the disk.
    pub(crate) fn behind(&self, ring: &Ring) -> u64 {
        if self.is_on { ring.end().saturating_sub(self.position) } else { 0 }
    }
}

struct Writer {
    ring: Ring,
    path: PathBuf,
    retry: Duration,
    opens: Opens,
    progress: Progress,
    /// Lines to write, each with the number of events that it stands for.
    pending: VecDeque<Line>,
}

/// A line of the file.
#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// It is about lost events, and is none itself.
    is_gap: bool,
}

impl Writer {
    async fn run(mut self, mut wished: watch::Receiver<Wish>) {
        while let Some((rules, begin)) = self.on(&mut wished).await {
            {
                let mut progress = self.progress.lock();
                (progress.is_on, progress.position) = (true, begin);
            }
            let mut reader = self.ring.read_at(begin);
            let mut files = Rotated::new(self.path.clone(), rules, self.opens);
            let is_over = self.write_while_on(&mut wished, &mut reader, &mut files).await;
            self.give_up();
            {
                let mut progress = self.progress.lock();
                (progress.is_on, progress.failed) = (false, None);
            }
            if is_over {
                return;
            }
        }
    }

    /// Drops the events that the disk does not take.
    fn give_up(&mut self) {
        if !self.pending.is_empty() {
            let left = self.progress.now().behind(&self.ring);
            trouble!(left, path = %self.path.display(), "the file of events ends before these were written");
            self.pending.clear();
        }
    }

    /// Waits until the file is on; `None` at the end.
    async fn on(&self, wished: &mut watch::Receiver<Wish>) -> Option<(model::EventFile, u64)> {
        // An error means the end.
        wished.wait_for(Option::is_some).await.ok().and_then(|wish| *wish)
    }

    /// Whether it was the end that turned the file off.
    async fn write_while_on(
        &mut self,
        wished: &mut watch::Receiver<Wish>,
        reader: &mut Reader,
        files: &mut Rotated,
    ) -> bool {
        loop {
            let wish = *wished.borrow_and_update();
            match wish {
                Some((rules, _)) => files.set(rules),
                None => return false,
            }
            let changed = if self.pending.is_empty() {
                tokio::select! {
                    biased;
                    changed = wished.changed() => Some(changed),
                    batch = reader.next() => { self.take(batch); None }
                }
            } else {
                tokio::time::timeout(self.retry, wished.changed()).await.ok()
            };
            match changed {
                // The rest, while the disk takes it.
                Some(Err(_)) => {
                    self.write(files, reader.position());
                    while self.pending.is_empty()
                        && let Some(batch) = reader.next().now_or_never()
                    {
                        self.take(batch);
                        self.write(files, reader.position());
                    }
                    return true;
                }
                Some(Ok(())) => {}
                None => self.write(files, reader.position()),
            }
        }
    }

    fn take(&mut self, Batch { missed, entries }: Batch) {
        if missed > 0 {
            self.lose(missed);
        }
        self.pending.extend(entries.iter().map(|entry| {
            let mut text = self.ring.signed(entry, 0);
            text.push(b'\n');
            Line { text, is_gap: false }
        }));
    }

    /// Counts lost events, and puts a line in their place.
    fn lose(&mut self, missed: u64) {
        self.progress.lock().lost += missed;
        let at = Timestamp::now();
        let text = format!("{{\"at\":\"{at:.3}\",\"event\":\"missed\",\"missed\":{missed}}}\n").into_bytes();
        self.pending.push_back(Line { text, is_gap: true });
    }

    /// Writes what is pending; `position` is behind it. A fault is told once.
    fn write(&mut self, files: &mut Rotated, position: u64) {
        // The ring never has one that is longer than itself, but a small file may be shorter.
        let too_long = self.pending.iter().filter(|line| !files.fits(&line.text)).count();
        if too_long > 0 {
            self.pending.retain(|line| files.fits(&line.text));
            self.lose(u64::try_from(too_long).unwrap_or(u64::MAX));
        }
        self.progress.lock().busy = Some(Instant::now());
        let mut written = 0;
        let result =
            files.append(&mut self.pending, |line| &line.text, |line| written += u64::from(!line.is_gap));
        let waiting = self.pending.iter().filter(|line| !line.is_gap).count();
        let failed = result.err().map(|error| io_error(&error));
        let mut progress = self.progress.lock();
        progress.busy = None;
        progress.written += written;
        progress.position = position.saturating_sub(u64::try_from(waiting).unwrap_or(u64::MAX));
        let before = std::mem::replace(&mut progress.failed, failed.clone());
        drop(progress);
        let path = self.path.display();
        match (&failed, before) {
            (Some(error), before) if before.as_ref() != Some(error) => {
                trouble!(error, %path, "events are not written; vipcast tries again until they are");
            }
            (None, Some(_)) => note!(%path, "events are written again"),
            (Some(_) | None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests;
