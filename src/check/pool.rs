//! Blocking work on the runtime's pool of threads.
//!
//! A host may be out of threads for a while (a limit of the container, programs that multiply). Tokio then panics when
//! the pool is empty, keeps the work, and does it when there is a thread again. Both would make a moment's shortage
//! permanent: the caller is dead, and the resources of the work are held for ever. So here a shortage is an answer, the
//! resources are returned, and late work does nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{JoinHandle, spawn_blocking};

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoResult {
    /// The host has no thread for it at present.
    NoThread,
    /// It panicked.
    Panicked,
}

/// The result of `work`. `held` is what others wait for meanwhile; it is free again when the work is done, whoever still wants
/// the result.
///
/// Cancel-safe: work that has been handed over goes on by itself.
pub(super) async fn run<H: Send + 'static, T: Send + 'static>(
    held: H,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoResult> {
    run_by(held, work, |job| spawn_blocking(job)).await
}

type PoolJob<T> = Box<dyn FnOnce() -> Option<T> + Send>;

async fn run_by<H: Send + 'static, T: Send + 'static>(
    held: H,
    work: impl FnOnce() -> T + Send + 'static,
    spawn: impl FnOnce(PoolJob<T>) -> JoinHandle<Option<T>>,
) -> Result<T, NoResult> {
    let ours = Arc::new(Mutex::new(Some(held)));
    let take = |held: &Mutex<Option<H>>| held.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&ours);
    let job = Box::new(move || {
        let _held_while_the_thread_is_busy = take(&theirs)?;
        Some(work())
    });
    match catch_unwind(AssertUnwindSafe(|| spawn(job))) {
        Ok(running) => running.await.ok().flatten().ok_or(NoResult::Panicked),
        Err(_) => {
            drop(take(&ours));
            Err(NoResult::NoThread)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_without_a_thread_gives_back_what_it_holds_and_is_never_done() {
        let held = Arc::new(());
        let mut queued = None;
        let refused = run_by(
            Arc::clone(&held),
            || panic!("too late"),
            |job: PoolJob<()>| {
                queued = Some(job);
                panic!("no thread, as the test wants")
            },
        );
        assert_eq!(refused.await, Err(NoResult::NoThread));
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(queued.expect("tokio keeps it")(), None);
    }

    #[tokio::test]
    async fn work_that_panics_gives_back_what_it_holds() {
        let held = Arc::new(());
        let panicked = run(Arc::clone(&held), || panic!("as the test wants")).await;
        assert_eq!(panicked.map(|()| "done"), Err(NoResult::Panicked));
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(run(held, || "done").await, Ok("done"));
    }
}
