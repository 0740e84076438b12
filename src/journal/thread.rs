//! The thread that puts records into words: log lines and events. A flush of a thousand addresses makes five thousand
//! lines, and the next withdrawal does not wait for them.

use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use vipcast_node::record::Record;

use super::{Frozen, Lines};
use crate::events;
use crate::events::ring::Ring;
use crate::metrics::counts::Counts;

/// The most records that wait for the thread, a few MiB. Further ones are left out and counted.
const ROOM: usize = 16_384;
/// Formatting a record takes a few KiB.
const STACK: usize = 128 * 1024;
/// The longest wait at the end for records that are not logged yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// Takes records, and never waits.
#[derive(Debug)]
pub struct Journal {
    entries: mpsc::Sender<Entry>,
    left_out: u64,
    /// Without a thread the work is done here, with the same limits.
    teller: Teller,
}

/// The work of the thread.
#[derive(Debug)]
struct Teller {
    lines: Lines,
    events: Ring,
    counts: Counts,
}

/// What the thread does.
trait Tells: Send + 'static {
    fn tell(&mut self, record: &Record);
    fn freeze(&self) -> Frozen;
}

impl Tells for Teller {
    fn tell(&mut self, record: &Record) {
        self.counts.record(record);
        if let Some(told) = self.lines.tell(record) {
            self.counts.event(&told.kind);
            let json = events::json(record, &told);
            self.events.push(record.seq, told.kind, json);
        }
    }

    fn freeze(&self) -> Frozen {
        self.lines.freeze()
    }
}

#[derive(Debug)]
enum Entry {
    Record(Record),
    LeftOut(u64),
    /// Answered when everything before it is in the log, with what was told so far.
    Flush(oneshot::Sender<Frozen>),
}

impl Journal {
    /// Starts the thread, for a daemon that only observes or one that announces, after what the program `before` has told.
    /// If the system has no thread, the lines are written at once.
    pub(crate) fn start(events: Ring, counts: Counts, observes: bool, before: &Frozen) -> Self {
        let teller = || Teller {
            lines: Lines::thaw(observes, before),
            events: events.clone(),
            counts: counts.clone(),
        };
        Self::start_with(ROOM, teller(), teller())
    }

    fn start_with(room: usize, teller: Teller, mut of_thread: impl Tells) -> Self {
        let (entries, mut receiver) = mpsc::channel(room);
        let counts = teller.counts.clone();
        let thread = thread::Builder::new().name("journal".to_owned()).stack_size(STACK);
        drop(thread.spawn(move || {
            while let Some(entry) = receiver.blocking_recv() {
                match entry {
                    Entry::Record(record) => of_thread.tell(&record),
                    Entry::LeftOut(count) => {
                        counts.left_out(count);
                        warn!(count, "more happened than could be logged");
                    }
                    Entry::Flush(done) => drop(done.send(of_thread.freeze())),
                }
            }
        }));
        Self { entries, left_out: 0, teller }
    }

    /// Takes a record, or counts it.
    pub fn note(&mut self, record: Record) {
        if self.left_out > 0 && self.entries.try_send(Entry::LeftOut(self.left_out)).is_ok() {
            self.left_out = 0;
        }
        match self.entries.try_send(Entry::Record(record)) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.left_out = self.left_out.saturating_add(1),
            Err(mpsc::error::TrySendError::Closed(Entry::Record(record))) => self.teller.tell(&record),
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    /// Waits until everything is in the log, for at most a second.
    pub async fn finish(&mut self) {
        self.flushed(PATIENCE).await;
    }

    /// Waits until everything so far is in the log. False: it is not, after this time.
    pub(crate) fn flushed(&mut self, patience: Duration) -> impl Future<Output = bool> + use<> {
        let frozen = self.freeze(patience);
        async move { frozen.await.is_some() }
    }

    /// The same, and what was told, for the next program. `None`: it is not in the log after this time.
    pub(crate) fn freeze(&mut self, patience: Duration) -> impl Future<Output = Option<Frozen>> + use<> {
        let (done, is_done) = oneshot::channel();
        let (left_out, entries) = (std::mem::take(&mut self.left_out), self.entries.clone());
        let without_thread = self.teller.freeze();
        let flushed = async move {
            if left_out > 0 {
                entries.send(Entry::LeftOut(left_out)).await.ok();
            }
            if entries.send(Entry::Flush(done)).await.is_err() {
                return without_thread;
            }
            is_done.await.unwrap_or_default()
        };
        async move { tokio::time::timeout(patience, flushed).await.ok() }
    }

    /// The number of records that wait for the thread.
    pub(crate) fn waiting(&self) -> u64 {
        u64::try_from(self.entries.max_capacity() - self.entries.capacity()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc as std_mpsc};

    use jiff::Timestamp;
    use vipcast_bgp::Instant;
    use vipcast_node::now::Now;
    use vipcast_node::record::What;

    use super::*;

    fn teller() -> Teller {
        Teller { lines: Lines::default(), events: Ring::new(), counts: Counts::default() }
    }

    struct Closure<F>(F);

    impl<F: FnMut(&Record) + Send + 'static> Tells for Closure<F> {
        fn tell(&mut self, record: &Record) {
            self.0(record);
        }

        fn freeze(&self) -> Frozen {
            Frozen::new()
        }
    }

    fn record(number: usize) -> Record {
        let at = Now { mono: Instant::BOOT, wall: Timestamp::UNIX_EPOCH };
        Record { seq: 1, at, what: What::NoInterface(number.to_string()) }
    }

    #[tokio::test]
    async fn what_happens_while_nothing_can_be_written_is_counted_and_nobody_waits() {
        let (go, may_go) = std_mpsc::channel::<()>();
        let (written, seen) = std_mpsc::channel();
        let mut journal = Journal::start_with(
            4,
            teller(),
            Closure(move |record: &Record| {
                may_go.recv().ok();
                written.send(format!("{:?}", record.what)).unwrap();
            }),
        );
        for number in 0..100 {
            journal.note(record(number));
        }
        // The writer may hold one record.
        assert!((95..=96).contains(&journal.left_out), "{}", journal.left_out);
        drop(go);
        journal.finish().await;
        assert_eq!(journal.left_out, 0, "it was said");
        let before = seen.try_iter().count();
        assert_eq!(journal.teller.counts.now().left_out + u64::try_from(before).unwrap(), 100);
        assert!((4..=5).contains(&before), "{before}");
        journal.note(record(100));
        assert_eq!(journal.left_out, 0);
        journal.finish().await;
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), [r#"NoInterface("100")"#]);
    }

    #[tokio::test]
    async fn everything_is_written_in_its_order_before_the_end() {
        let written = std::sync::Arc::new(Mutex::new(Vec::new()));
        let copy = std::sync::Arc::clone(&written);
        let mut journal = Journal::start_with(
            ROOM,
            teller(),
            Closure(move |record: &Record| copy.lock().unwrap().push(format!("{:?}", record.what))),
        );
        let expected: Vec<String> = (0..5000).map(|number| format!("{:?}", record(number).what)).collect();
        (0..5000).for_each(|number| journal.note(record(number)));
        journal.finish().await;
        assert_eq!(*written.lock().unwrap(), expected);
    }
}
