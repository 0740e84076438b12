//! Values that are read from the host now and then, where reading may hang: certificates on a file server, users of a
//! directory.
//!
//! ```text
//!   get ─► known and not old ─────────────────────────────────────────────► the known value
//!       └► else: one load at a time, on a thread ─► it comes ─────────────► the new one, known from now on
//!                                                └► silence, no answer ───► the last one, if there is one
//! ```
//!
//! All callers share a hanging load: it holds one thread, and no other one is started. Loads have the bounds of
//! [`FileReader`], so those of one service never delay another. The last value is used until a new one is loaded: a
//! host that does not answer breaks nothing that works.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::file_reader::FileReader;
use super::lanes::Slot;
use super::limit::Limit;
use super::pool::{self, NoResult};

#[cfg(test)]
mod tests;

/// How long a load may take before the last one is used, if there is one.
const PATIENCE: Duration = Duration::from_millis(250);

/// Something that is loaded when it is first asked for. Clones share it.
#[derive(Debug)]
pub(super) struct Remembered<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    /// The last one that was loaded, and when.
    last: Option<(Arc<T>, Instant)>,
    /// Whether a newer one is wanted.
    is_old: bool,
    /// The load that is under way.
    load: Option<Load<T>>,
}

#[derive(Debug)]
struct Load<T> {
    result: Coming<T>,
    since: Instant,
}

type Coming<T> = watch::Receiver<Option<Result<Arc<T>, LoadFailure>>>;

/// Why there is none, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoadFailure {
    /// The host says that there is none: what is known is wrong now.
    Gone(String),
    /// The host does not say.
    NoAnswer(String),
}

/// What is known.
#[derive(Debug)]
pub(super) struct Loaded<T> {
    pub(super) what: Arc<T>,
    /// Why it is not from now, although a newer one is wanted.
    pub(super) stale: Option<String>,
}

impl<T: Send + Sync + 'static> Remembered<T> {
    /// What is known, or else what `load`, which blocks, finds for a check of the service `owner`. Waits for as long as that takes
    /// where nothing is known at all.
    ///
    /// Cancel-safe: what has begun to load is loaded to the end, for the next one who asks.
    ///
    /// # Errors
    /// What the load says.
    pub(super) async fn get(
        &self,
        file_reader: &FileReader,
        owner: &str,
        limit: Limit,
        load: impl FnOnce() -> Result<T, LoadFailure> + Send + 'static,
    ) -> Result<Loaded<T>, String> {
        let (last, since) = {
            let state = self.state();
            let since = state.load.as_ref().map_or_else(Instant::now, |load| load.since);
            match &state.last {
                Some((what, _)) if !state.is_old => {
                    return Ok(Loaded { what: Arc::clone(what), stale: None });
                }
                last => (last.as_ref().map(|(what, _)| Arc::clone(what)), since),
            }
        };
        let loaded = self.load(file_reader, owner, load);
        let fresh = |what| Loaded { what, stale: None };
        let Some(last) = last else {
            return loaded.await.map(fresh).map_err(|failure| match failure {
                LoadFailure::Gone(cause) | LoadFailure::NoAnswer(cause) => cause,
            });
        };
        let old = |cause| Loaded { what: last, stale: Some(cause) };
        match tokio::time::timeout_at((since + PATIENCE.min(limit.length() / 2)).into(), loaded).await {
            Ok(Ok(what)) => Ok(fresh(what)),
            Ok(Err(LoadFailure::Gone(cause))) => Err(cause),
            Ok(Err(LoadFailure::NoAnswer(cause))) => Ok(old(cause)),
            Err(_silence) => Ok(old("the host does not answer".into())),
        }
    }

    /// Loads it anew next time, if it is at least of this age.
    pub(super) fn renew(&self, age: Duration) {
        let mut state = self.state();
        state.is_old |= state.last.as_ref().is_some_and(|(_, at)| at.elapsed() >= age);
    }

    async fn load(
        &self,
        file_reader: &FileReader,
        owner: &str,
        load: impl FnOnce() -> Result<T, LoadFailure> + Send + 'static,
    ) -> Result<Arc<T>, LoadFailure> {
        let coming = self.state().load.as_ref().map(|load| load.result.clone());
        let mut coming = match coming {
            Some(coming) => coming,
            None => {
                let slot = file_reader.turn(owner).await;
                self.begin(slot, load)
            }
        };
        match coming.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            Ok(None) | Err(_) => Err(LoadFailure::NoAnswer("it ended without an answer".into())),
        }
    }

    /// Begins to load, unless another caller has during our wait.
    fn begin(&self, slot: Slot, load: impl FnOnce() -> Result<T, LoadFailure> + Send + 'static) -> Coming<T> {
        let mut state = self.state();
        if let Some(load) = &state.load {
            return load.result.clone();
        }
        let (tell, result) = watch::channel(None);
        state.load = Some(Load { result: result.clone(), since: Instant::now() });
        drop(state);
        let this = self.clone();
        tokio::spawn(async move {
            let loaded = match pool::run(slot, load).await {
                Ok(loaded) => loaded.map(Arc::new),
                Err(NoResult::Panicked) => Err(LoadFailure::NoAnswer("reading it panicked".into())),
                Err(NoResult::NoThread) => {
                    Err(LoadFailure::NoAnswer("this host has no thread left to read it".into()))
                }
            };
            this.loaded(&loaded);
            tell.send_replace(Some(loaded));
        });
        result
    }

    fn loaded(&self, loaded: &Result<Arc<T>, LoadFailure>) {
        let mut state = self.state();
        state.load = None;
        match loaded {
            Ok(what) => (state.last, state.is_old) = (Some((Arc::clone(what), Instant::now())), false),
            Err(LoadFailure::Gone(_)) => state.last = None,
            Err(LoadFailure::NoAnswer(_)) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { last: None, is_old: false, load: None })))
    }
}
