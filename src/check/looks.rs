//! Looks at files, which may hang: to look at one blocks, and on the mount of a dead NFS server it does so for ever and
//! cannot be interrupted.
//!
//! So it is done on the runtime's pool of blocking threads, by at most [`LOOKS`] at a time, and the thread, not the probe, holds the
//! place. A look that hangs fails its own check until it comes back, and never takes a second thread for it.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::limit::Limit;
use super::pool::{self, NoResult};

#[cfg(test)]
mod tests;

/// Looks at the same time.
pub(super) const LOOKS: usize = 8;

/// Bounds how many looks there are at a time. Clones share the bound.
#[derive(Debug, Clone)]
pub(super) struct Looks(Arc<Semaphore>);

impl Default for Looks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKS)))
    }
}

/// Free while no look of this check hangs.
#[derive(Debug)]
pub(super) struct LastLook(Arc<Semaphore>);

impl Default for LastLook {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Looks {
    /// What `look`, which blocks, sees at `path`.
    ///
    /// Cancel-safe: the look goes on by itself, and frees its place when it comes back.
    ///
    /// # Errors
    /// In words, when it does not come back within the limit.
    pub(super) async fn at<T: Send + 'static>(
        &self,
        path: &Path,
        last: &LastLook,
        limit: Limit,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let Ok(alone) = Arc::clone(&last.0).try_acquire_owned() else {
            let path = path.display();
            return Err(format!("the last look at {path} has not come back: the file system hangs"));
        };
        let turn = limit.within(Arc::clone(&self.0).acquire_owned()).await;
        let Some(Ok(turn)) = turn else {
            return Err(limit.exceeded(&format!("{LOOKS} other files hang, and none came back")));
        };
        match limit.within(pool::run((alone, turn), look)).await {
            Some(Ok(seen)) => Ok(seen),
            Some(Err(NoResult::Panicked)) => Err(format!("looking at {} panicked", path.display())),
            Some(Err(NoResult::NoThread)) => Err("this host has no thread left to look at files".to_owned()),
            None => Err(limit.exceeded("the file system did not answer")),
        }
    }
}
