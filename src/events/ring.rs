//! The latest events, in memory. A reader has a place in it and misses the events that were dropped before it read them: no
//! writer waits for a reader, and no reader costs memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::control::api::{EventKind, Events};

/// The memory of the events, in bytes of JSON.
const MEMORY: usize = 2 << 20;
/// The most events that a reader takes at once.
const BATCH: usize = 128;

/// The latest events. Clones share them.
#[derive(Debug, Clone)]
pub struct Ring(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// The run of the daemon: when it started, in milliseconds.
    run: String,
    /// The name of this host, as JSON.
    node: String,
    kept: Mutex<Kept>,
    /// The position behind the newest event.
    end: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The position of the oldest entry. Positions count events from 0, without gaps.
    begin: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
    limit: usize,
}

/// One event, as JSON on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) kind: EventKind,
    pub(crate) json: Bytes,
}

/// The fields of an event that the ring needs.
#[derive(serde::Deserialize)]
struct Head {
    seq: u64,
    event: EventKind,
}

/// A reader's place.
#[derive(Debug)]
pub(crate) struct Reader {
    ring: Ring,
    position: u64,
    end: watch::Receiver<u64>,
}

/// The next events of a reader.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    /// The number of events before them that the reader has missed.
    pub(crate) missed: u64,
    pub(crate) entries: Vec<Entry>,
}

impl Ring {
    /// Without events.
    pub(crate) fn new() -> Self {
        Self::with(Timestamp::now(), MEMORY)
    }

    pub(crate) fn with(started: Timestamp, limit: usize) -> Self {
        Self::of(started.as_millisecond().to_string(), Kept { limit, ..Kept::default() })
    }

    fn of(run: String, kept: Kept) -> Self {
        let end = watch::Sender::new(kept.end());
        Self(Arc::new(Shared { run, node: node(), kept: Mutex::new(kept), end }))
    }

    /// Everything for the next program: the run, the position of the oldest event, and the events, one on a line.
    pub(crate) fn freeze(&self) -> (String, u64, Vec<u8>) {
        let kept = self.lock();
        let mut lines = Vec::with_capacity(kept.bytes + kept.entries.len());
        for entry in &kept.entries {
            lines.extend_from_slice(&entry.json);
            lines.push(b'\n');
        }
        (self.run().to_owned(), kept.begin, lines)
    }

    /// The ring of the program before: readers go on behind the event that they have seen last.
    ///
    /// # Errors
    /// A line is no event, or the position cannot be that of an event.
    pub(crate) fn thaw(run: String, begin: u64, lines: &[u8]) -> serde_json::Result<Self> {
        if begin > u64::MAX / 2 {
            return Err(serde::de::Error::custom("the position of the oldest event is out of range"));
        }
        let mut kept = Kept { begin, limit: MEMORY, ..Kept::default() };
        for line in lines.split(|octet| *octet == b'\n').filter(|line| !line.is_empty()) {
            let Head { seq, event } = serde_json::from_slice(line)?;
            kept.bytes += line.len();
            kept.entries.push_back(Entry { seq, kind: event, json: Bytes::copy_from_slice(line) });
        }
        Ok(Self::of(run, kept))
    }

    /// The run of the daemon.
    pub(crate) fn run(&self) -> &str {
        &self.0.run
    }

    /// Adds an event, as JSON.
    pub(crate) fn push(&self, seq: u64, kind: EventKind, json: Vec<u8>) {
        let entry = Entry { seq, kind, json: json.into() };
        let mut kept = self.lock();
        kept.bytes += entry.json.len();
        kept.entries.push_back(entry);
        while kept.bytes > kept.limit {
            let Some(oldest) = kept.entries.pop_front() else { break };
            kept.bytes -= oldest.json.len();
            kept.begin += 1;
        }
        let end = kept.end();
        drop(kept);
        self.0.end.send_replace(end);
    }

    /// The position behind the newest event.
    pub(crate) fn end(&self) -> u64 {
        *self.0.end.borrow()
    }

    /// A reader that begins at this position.
    pub(crate) fn read_at(&self, position: u64) -> Reader {
        Reader { ring: self.clone(), position, end: self.0.end.subscribe() }
    }

    /// The id of an event, which no other event of this host has.
    pub(crate) fn id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.run())
    }

    /// An event for a reader elsewhere, on one line: with its id, the name of this host, and the number of events before
    /// it that the reader has missed.
    pub(crate) fn signed(&self, entry: &Entry, missed: u64) -> Vec<u8> {
        let (id, node) = (self.id(entry.seq), &self.0.node);
        let missed = if missed > 0 { format!(r#""missed":{missed},"#) } else { String::new() };
        let head = format!(r#"{{"id":"{id}","node":{node},{missed}"#);
        [head.as_bytes(), entry.json.get(1..).unwrap_or_default()].concat()
    }

    /// All that are kept.
    pub(crate) fn all(&self) -> Events {
        let (begin, entries) = {
            let kept = self.lock();
            (kept.begin, kept.entries.iter().map(|entry| entry.json.clone()).collect::<Vec<_>>())
        };
        // Our own JSON is readable.
        let events = entries.iter().filter_map(|json| serde_json::from_slice(json).ok()).collect();
        Events { run: self.run().to_owned(), forgotten: begin, events }
    }

    /// A reader that begins behind the event with this number, or with what comes next.
    pub(crate) fn read(&self, after: Option<u64>) -> Reader {
        let end = self.0.end.subscribe();
        let kept = self.lock();
        let position = match after {
            None => kept.end(),
            Some(seq) => {
                let older = kept.entries.partition_point(|entry| entry.seq <= seq);
                kept.begin + u64::try_from(older).unwrap_or(u64::MAX)
            }
        };
        drop(kept);
        Reader { ring: self.clone(), position, end }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The name of this host, as JSON.
fn node() -> String {
    Value::from(rustix::system::uname().nodename().to_string_lossy()).to_string()
}

impl Kept {
    fn end(&self) -> u64 {
        self.begin + u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }
}

impl Reader {
    /// The position behind the last event that it gave out.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// The next events, at least one. Pending until there is one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Batch {
        let position = self.position;
        // The sender lives in the ring, which this reader has.
        let _open = self.end.wait_for(|end| *end > position).await;
        let kept = self.ring.lock();
        let missed = kept.begin.saturating_sub(self.position);
        let at = usize::try_from((self.position + missed) - kept.begin).unwrap_or(usize::MAX);
        let entries: Vec<Entry> = kept.entries.iter().skip(at).take(BATCH).cloned().collect();
        self.position += missed + u64::try_from(entries.len()).unwrap_or(u64::MAX);
        Batch { missed, entries }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::control::api::{Event, Level};

    fn push(ring: &Ring, seq: u64) {
        ring.push(seq, EventKind::Announced, serde_json::to_vec(&event(seq)).unwrap());
    }

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: "2026-01-01T00:00:00.000Z".into(),
            event: EventKind::Announced,
            level: Level::Info,
            message: "VIP announced".into(),
            vip: None,
            service: None,
            check: None,
            peer: None,
            by: None,
            reason: None,
            details: [].into(),
        }
    }

    fn numbers(batch: &Batch) -> (u64, Vec<u64>) {
        (batch.missed, batch.entries.iter().map(|entry| entry.seq).collect())
    }

    #[tokio::test]
    async fn a_reader_gets_each_event_once_and_a_slow_one_learns_what_it_missed() {
        let length = serde_json::to_vec(&event(1)).unwrap().len();
        let ring = Ring::with(Timestamp::UNIX_EPOCH, length * 4);
        let (mut quick, mut slow) = (ring.read(None), ring.read(None));
        for seq in [1, 2, 5] {
            push(&ring, seq);
        }
        assert_eq!(numbers(&quick.next().await), (0, vec![1, 2, 5]));
        assert!(quick.next().now_or_never().is_none());
        for seq in 6..9 {
            push(&ring, seq);
        }
        assert_eq!(numbers(&quick.next().await), (0, vec![6, 7, 8]));
        assert_eq!(numbers(&slow.next().await), (2, vec![5, 6, 7, 8]), "only four fit");
        let all = ring.all();
        assert_eq!((all.run.as_str(), all.forgotten, all.events.len()), ("0", 2, 4));
        assert_eq!(all.events[0], event(5));
    }

    #[tokio::test]
    async fn a_reader_goes_on_behind_a_number_also_if_that_event_never_was() {
        let ring = Ring::with(Timestamp::UNIX_EPOCH, 1 << 20);
        for seq in [2, 4, 6] {
            push(&ring, seq);
        }
        for (after, then) in [(0, vec![2, 4, 6]), (2, vec![4, 6]), (3, vec![4, 6])] {
            assert_eq!(numbers(&ring.read(Some(after)).next().await), (0, then));
        }
        assert!(ring.read(Some(6)).next().now_or_never().is_none());
        assert!(ring.read(Some(99)).next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_reader_of_the_next_program_goes_on_behind_what_it_has_seen() {
        let length = serde_json::to_vec(&event(1)).unwrap().len();
        let ring = Ring::with(Timestamp::UNIX_EPOCH, length * 3);
        (1..=5).for_each(|seq| push(&ring, seq));
        let (run, begin, lines) = ring.freeze();
        let next = Ring::thaw(run, begin, &lines).unwrap();
        assert_eq!((next.id(7), next.end(), next.all().forgotten), (ring.id(7), ring.end(), 2));
        let mut reader = next.read(Some(4));
        push(&next, 6);
        assert_eq!(numbers(&reader.next().await), (0, vec![5, 6]));
        assert_eq!(
            numbers(&next.read_at(0).next().await),
            (2, vec![3, 4, 5, 6]),
            "as many as fitted, and one"
        );
        assert!(Ring::thaw("0".to_owned(), 0, b"{\"seq\":1}\n").is_err());
        assert!(Ring::thaw("0".to_owned(), u64::MAX, b"").is_err(), "the next event would have no position");
    }

    #[tokio::test]
    async fn many_events_come_in_batches() {
        let ring = Ring::with(Timestamp::UNIX_EPOCH, 1 << 20);
        (1..=300).for_each(|seq| push(&ring, seq));
        let mut reader = ring.read(Some(0));
        let mut lengths = Vec::new();
        while let Some(batch) = reader.next().now_or_never() {
            lengths.push(batch.entries.len());
        }
        assert_eq!(lengths, [BATCH, BATCH, 300 - 2 * BATCH]);
    }
}
