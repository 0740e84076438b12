//! The status, which may be large, for everybody who wants it.
//!
//! Whoever asks is told what is so after the question. Those who ask while one status is made share the next: the loop is
//! asked once for all of them, and the JSON is rendered on another thread and kept in memory once. No new one is made while
//! clients have not read what they were given ([`MEMORY`]).

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

use super::api::{Refusal, Status};
use super::caller::Caller;
use super::request::{Answer, Body, Command, Reply, Request};
use crate::blocking::Threads;

/// Answers that nobody has read yet may take this much memory, in bytes, and one status more.
const MEMORY: usize = 8 << 20;
/// Until it is looked whether clients have read.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// A status with more VIPs is rendered on another thread.
const SMALL: usize = 50;
/// More than rendering takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where clients wait for a status.
#[derive(Debug, Default)]
pub(super) struct Board {
    waiting: Mutex<Vec<(Caller, oneshot::Sender<Answer>)>>,
    wake: Notify,
    unread: Arc<AtomicUsize>,
}

impl Board {
    /// The status as it is now.
    pub(super) async fn status(&self, caller: Caller) -> Option<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((caller, sender));
        self.wake.notify_one();
        receiver.await.ok()
    }

    /// Whether clients have been given more than they read.
    pub(super) fn is_memory_short(&self) -> bool {
        self.unread.load(Ordering::Relaxed) > MEMORY
    }

    /// Asks the loop as often as somebody wants to know.
    pub(super) async fn serve(&self, requests: mpsc::Sender<Request>) {
        let threads = Threads::new("render", 1);
        loop {
            self.wake.notified().await;
            while self.is_memory_short() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            let mut askers =
                std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            askers.retain(|(_, asker)| !asker.is_closed());
            let Some((caller, _)) = askers.first() else { continue };
            let (answer, receiver) = Reply::to(None);
            let request = Request { command: Command::Status, caller: caller.clone(), answer };
            if requests.send(request).await.is_err() {
                // The daemon is stopping, and whoever waits learns it.
                continue;
            }
            let Ok(Answer { code, body }) = receiver.await else { continue };
            let body = match body {
                Body::Status(status) => match self.rendered(status, &threads).await {
                    Ok(body) => body,
                    Err(refusal) => {
                        for (_, asker) in askers {
                            drop(asker.send(Answer::unavailable(&refusal)));
                        }
                        continue;
                    }
                },
                Body::Text(text) => text.into(),
                Body::Shared(bytes) => bytes,
            };
            for (_, asker) in askers {
                drop(asker.send(Answer { code, body: Body::Shared(body.clone()) }));
            }
        }
    }

    async fn rendered(&self, status: Box<Status>, threads: &Threads) -> Result<Bytes, Refusal> {
        let refuse = |error: &dyn fmt::Display| Refusal {
            error: format!("cannot render the status: {error}"),
            hint: None,
        };
        let is_small = status.vips.len() <= SMALL;
        let render = move || {
            let mut json = serde_json::to_vec_pretty(&status)?;
            json.push(b'\n');
            json.shrink_to_fit();
            Ok::<_, serde_json::Error>(json)
        };
        let rendered = if is_small { Ok(render()) } else { threads.within(PATIENCE, render).await };
        let json = rendered.map_err(|failed| refuse(&failed))?.map_err(|error| refuse(&error))?;
        Ok(Bytes::from_owner(Unread::new(json, &self.unread)))
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
