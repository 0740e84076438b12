//! Work that may block for ever: a file on a dead server, a name that a directory service does not answer.
//!
//! Each piece of work has its own thread, so that only its caller waits for it, with a time-out. A thread that hangs in
//! the kernel cannot be ended: it is abandoned, a late result is dropped, and [`Threads`] bounds their number.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

/// The stack of a process's main thread: a configuration may nest deeply.
const STACK: usize = 8 << 20;

/// Threads for one kind of work.
#[derive(Debug, Clone)]
pub struct Threads {
    name: &'static str,
    most: usize,
    free: Arc<Semaphore>,
}

/// The reason why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// The time-out has passed.
    #[error("no answer after {after:?}")]
    Late {
        /// The time-out.
        after: Duration,
        /// The object that the work was looking at, from [`at`].
        at: Option<String>,
    },
    /// All allowed threads are at work, or hang.
    #[error("{most} earlier attempts have no answer yet")]
    Busy {
        /// The number of allowed threads.
        most: usize,
    },
    /// The system has no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The work panicked.
    #[error("it failed")]
    Died,
}

/// The object that a thread is looking at, for its caller.
type Sight = Arc<Mutex<Option<String>>>;

thread_local! {
    static SIGHT: RefCell<Option<Sight>> = const { RefCell::new(None) };
}

impl Threads {
    /// At most `most` at once; `ps -L` shows `name`.
    pub fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, free: Arc::new(Semaphore::new(most)) }
    }

    /// The result of `work`, if it comes within `patience`. Cancel-safe: dropping the future abandons the thread.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub async fn within<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NoAnswer> {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            return Err(NoAnswer::Busy { most: self.most });
        };
        let (sender, receiver) = oneshot::channel();
        let sight = Sight::default();
        let shown = Arc::clone(&sight);
        let thread = thread::Builder::new().name(self.name.to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            let _permit = permit;
            SIGHT.set(Some(shown));
            // The result of an abandoned thread is dropped.
            drop(sender.send(work()));
        });
        started.map_err(NoAnswer::Thread)?;
        match tokio::time::timeout(patience, receiver).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(NoAnswer::Died),
            Err(_) => Err(NoAnswer::Late { after: patience, at: seen(&sight).take() }),
        }
    }
}

/// Does `look`; if the caller's wait ends meanwhile, its error names `what`.
pub fn at<T>(what: impl FnOnce() -> String, look: impl FnOnce() -> T) -> T {
    let Some(sight) = SIGHT.with_borrow(Clone::clone) else { return look() };
    *seen(&sight) = Some(what());
    let result = look();
    *seen(&sight) = None;
    result
}

fn seen(sight: &Sight) -> std::sync::MutexGuard<'_, Option<String>> {
    sight.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    /// Longer than a busy machine takes to start a thread.
    const SHORT: Duration = Duration::from_millis(500);

    #[tokio::test]
    async fn what_hangs_is_named_and_abandoned_and_no_more_threads_hang_than_allowed() {
        let threads = Threads::new("test", 2);
        let (release, hold) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        for _ in 0..2 {
            let hold = Arc::clone(&hold);
            let hang = move || at(|| "/mnt/dead".to_owned(), || seen_by(&hold));
            let late = threads.within(SHORT, hang).await.unwrap_err();
            assert!(matches!(&late, NoAnswer::Late { at: Some(at), .. } if at == "/mnt/dead"), "{late:?}");
            assert_eq!(late.to_string(), "no answer after 500ms");
        }
        let busy = threads.within(LONG, || 1).await.unwrap_err();
        assert_eq!(busy.to_string(), "2 earlier attempts have no answer yet");
        release.send(()).unwrap();
        release.send(()).unwrap();
        let answer = async {
            loop {
                match threads.within(LONG, || 1).await {
                    Ok(answer) => return answer,
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
            }
        };
        assert_eq!(
            tokio::time::timeout(LONG, answer).await.unwrap(),
            1,
            "threads that came back count no more"
        );
    }

    fn seen_by(hold: &Mutex<mpsc::Receiver<()>>) {
        hold.lock().unwrap().recv().ok();
    }

    #[tokio::test]
    async fn work_that_panics_has_no_answer() {
        let died = Threads::new("test", 1).within(LONG, || assert_eq!(1, 2, "as the test wants")).await;
        assert!(matches!(died, Err(NoAnswer::Died)), "{died:?}");
    }
}
