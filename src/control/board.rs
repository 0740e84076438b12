//! Where clients wait for an answer that is made from a snapshot.
//!
//! ```text
//!  clients ─► waiting ─► one snapshot ─► one answer for all who ask the same ─► clients
//!                ▲          │
//!                └── whoever asks after it was taken waits for the next
//! ```
//!
//! Whoever asks is told what is so after the question. The loop is asked for one snapshot at a time, for all who wait, and at most
//! as often as it can bear ([`SHARE`]); an answer is rendered and kept in memory once for all who ask the same. No new one is made
//! while clients have not read what they were given ([`MEMORY`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};
use vipcast_bgp::Instant;
use vipcast_bgp::net::clock;

use super::answer::{Answer, Refused, Why};
use super::request::Request;
use super::routes::Reading;
use super::snapshot::Snapshot;

/// Answers that nobody has read yet may take this much memory, in bytes, and one answer more.
const MEMORY: usize = 8 << 20;
/// Until it is looked whether clients have read.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The loop spends at most this part of its time on snapshots, however many clients ask: one of twenty.
const SHARE: u32 = 20;

/// Where clients wait.
#[derive(Debug, Default)]
pub(super) struct Board {
    waiting: Mutex<Vec<Asker>>,
    wake: Notify,
    unread: Arc<AtomicUsize>,
}

/// A client that waits.
struct Asker {
    /// What it has asked for: whoever asks for the same path is told the same.
    path: String,
    reading: Reading,
    since: Instant,
    answer: oneshot::Sender<Answer>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Board {
    /// The answer to a request for this path, as things are now.
    pub(super) async fn read(&self, path: String, reading: Reading) -> Answer {
        let (answer, receiver) = oneshot::channel();
        self.waiting().push(Asker { path, reading, since: clock::now(), answer });
        self.wake.notify_one();
        receiver.await.unwrap_or_else(|_dropped| Err(Refused::stopping()))
    }

    /// Whether clients have been given more than they read.
    pub(super) fn is_memory_short(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > MEMORY
    }

    /// Asks the loop as often as a client wants to know.
    pub(super) async fn serve(&self, requests: mpsc::Sender<Request>) {
        let mut rests = clock::now();
        loop {
            self.wake.notified().await;
            while self.is_memory_short() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            clock::sleep_until(rests).await;
            let mut askers = std::mem::take(&mut *self.waiting());
            askers.retain(|asker| !asker.answer.is_closed());
            if askers.is_empty() {
                continue;
            }
            let (sender, receiver) = oneshot::channel();
            // An error says that the daemon is stopping, and whoever waits learns it.
            drop(requests.send(Request::Snapshot(sender)).await);
            let Ok(snapshot) = receiver.await else { continue };
            // These came while the loop did something else, and what it has done since is in the snapshot.
            askers.extend(self.waiting().extract_if(.., |asker| asker.since < snapshot.at));
            rests = snapshot.at + snapshot.took * SHARE;
            self.tell(askers, snapshot).await;
        }
    }

    /// Tells them all what is so.
    async fn tell(&self, askers: Vec<Asker>, snapshot: Box<Snapshot>) {
        let snapshot: Arc<Snapshot> = snapshot.into();
        let mut by_path: BTreeMap<String, Vec<Asker>> = BTreeMap::new();
        for asker in askers {
            by_path.entry(asker.path.clone()).or_default().push(asker);
        }
        for askers in by_path.into_values() {
            let (mut answers, mut readings) = (Vec::new(), Vec::new());
            for Asker { reading, answer, .. } in askers {
                answers.push(answer);
                readings.push(reading);
            }
            let Some(reading) = readings.pop() else { continue };
            let answer = self.rendered(reading, Arc::clone(&snapshot)).await;
            for asker in answers {
                drop(asker.send(answer.clone()));
            }
        }
    }

    /// A task of its own: one that panics has failed, and nothing else has.
    async fn rendered(&self, reading: Reading, snapshot: Arc<Snapshot>) -> Answer {
        let failed = |error| Err(Refused::plain(Why::Broken, format!("cannot render the answer: {error}")));
        let mut json = tokio::spawn(async move { reading(&snapshot) }).await.unwrap_or_else(failed)?;
        json.shrink_to_fit();
        Ok(Bytes::from_owner(Unread::new(json, &self.unread)))
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Asker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An answer that counts as long as a client has not read it.
struct Unread {
    json: Vec<u8>,
    total: Arc<AtomicUsize>,
}

impl Unread {
    fn new(json: Vec<u8>, total: &Arc<AtomicUsize>) -> Self {
        total.fetch_add(json.len(), Ordering::Relaxed);
        Self { json, total: Arc::clone(total) }
    }
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.json
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        self.total.fetch_sub(self.json.len(), Ordering::Relaxed);
    }
}
