//! The board of clients that wait for an answer from a snapshot.
//!
//! ```text
//!  clients ─► waiting ─► one snapshot ─► one answer for all equal queries ─► clients
//!                ▲          │
//!                └── a query after the snapshot waits for the next
//! ```
//!
//! An answer shows the state after its query. The loop makes one snapshot at a time for all waiting clients, with a
//! bounded share of its time ([`SHARE`]); an answer is rendered and kept in memory once for all equal queries. No new
//! answer is made while clients have too many unread ones ([`MEMORY`]).

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

/// The memory of unread answers, in bytes; one answer may exceed it.
const MEMORY: usize = 8 << 20;
/// The interval between looks whether clients have read.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The loop spends at most one part in this many of its time on snapshots, for any number of clients.
const SHARE: u32 = 20;

/// The board.
#[derive(Debug, Default)]
pub(super) struct Board {
    waiting: Mutex<Vec<Asker>>,
    wake: Notify,
    unread: Arc<AtomicUsize>,
}

/// A waiting client.
struct Asker {
    /// The path of its query; equal paths share an answer.
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
    /// The answer to a query of this path, from a snapshot after now.
    pub(super) async fn read(&self, path: String, reading: Reading) -> Answer {
        let (answer, receiver) = oneshot::channel();
        self.waiting().push(Asker { path, reading, since: clock::now(), answer });
        self.wake.notify_one();
        receiver.await.unwrap_or_else(|_dropped| Err(Refused::stopping()))
    }

    /// Whether the unread answers of clients exceed the memory.
    pub(super) fn is_memory_short(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > MEMORY
    }

    /// Requests snapshots from the loop while clients wait.
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
            // An error means that the daemon is stopping; the waiting clients are told.
            drop(requests.send(Request::Snapshot(sender)).await);
            let Ok(snapshot) = receiver.await else { continue };
            // These came before the loop took the snapshot, so it is new enough for them.
            askers.extend(self.waiting().extract_if(.., |asker| asker.since < snapshot.at));
            rests = snapshot.at + snapshot.took * SHARE;
            self.tell(askers, snapshot).await;
        }
    }

    /// Answers these clients from a snapshot.
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

    /// Renders in a separate task, so that a panic fails only this answer.
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

/// An answer that counts until the clients have read it.
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
