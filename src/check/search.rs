//! Searches a pattern in an answer that arrives in pieces, within bounds of memory and time.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{self, AsyncRead, ReadBuf};

use crate::check::pattern::{Pattern, Regex};

/// Looked at of an answer, in bytes.
pub(super) const MOST: usize = 64 * 1024;
/// How much more is read at a time, in bytes.
pub(super) const PIECE: usize = 4 * 1024;
/// Up to here a regular expression is matched at once, in bytes: it takes a millisecond or less. Longer texts are matched
/// on the pool of blocking threads, so that no other probe is late for it.
const AT_ONCE: usize = 4 * 1024;

/// What has arrived, and how much of it was looked at.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pattern: &'a Pattern,
    arrived: Vec<u8>,
    seen: usize,
}

impl<'a> Search<'a> {
    pub(super) fn new(pattern: &'a Pattern) -> Self {
        Self { pattern, arrived: Vec::new(), seen: 0 }
    }

    /// What has arrived, [`MOST`] bytes of it.
    pub(super) fn arrived(&self) -> &[u8] {
        &self.arrived
    }

    /// Whether no more is looked at.
    pub(super) fn is_full(&self) -> bool {
        self.arrived.len() >= MOST
    }

    /// Whether something has arrived since the last look.
    pub(super) fn has_unseen(&self) -> bool {
        self.seen < self.arrived.len()
    }

    /// Whether to look now although more may be on its way. A text is found in what is new; an expression is matched from
    /// the beginning each time, so it waits until an eighth is new: an answer that drips must not cost a match a byte.
    pub(super) fn is_due(&self) -> bool {
        let unseen = self.arrived.len() - self.seen;
        match self.pattern {
            Pattern::Text(_) => unseen > 0,
            Pattern::Regex(_) => unseen > self.seen / 8 || (unseen > 0 && self.is_full()),
        }
    }

    /// Takes what has arrived; what is over [`MOST`] is dropped.
    pub(super) fn take(&mut self, piece: &[u8]) {
        let room = MOST - self.arrived.len();
        self.arrived.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// Reads what is there, at least a byte; none at the end. Cancel-safe.
    pub(super) async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<usize> {
        let room = PIECE.min(MOST - self.arrived.len());
        take_more(stream, &mut self.arrived, room).await
    }

    /// FileReader, and says whether the pattern has arrived.
    pub(super) async fn is_found(&mut self) -> bool {
        let seen = std::mem::replace(&mut self.seen, self.arrived.len());
        match self.pattern {
            Pattern::Text(text) => {
                let text = text.as_bytes();
                // It may begin in what was seen before.
                let from = seen.saturating_sub(text.len().saturating_sub(1));
                self.arrived[from..].windows(text.len()).any(|window| window == text)
            }
            Pattern::Regex(regex) => matches(regex, &self.arrived).await,
        }
    }
}

/// Reads at most so much behind what has arrived, by way of the stack: what waits has no buffer. At most [`PIECE`]; none at the
/// end. Cancel-safe.
pub(super) async fn take_more(
    stream: &mut (impl AsyncRead + Unpin),
    arrived: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    poll_fn(|cx| {
        let mut room = [const { MaybeUninit::uninit() }; PIECE];
        let mut piece = ReadBuf::uninit(&mut room[..most.min(PIECE)]);
        ready!(Pin::new(&mut *stream).poll_read(cx, &mut piece))?;
        arrived.extend_from_slice(piece.filled());
        Poll::Ready(Ok(piece.filled().len()))
    })
    .await
}

async fn matches(regex: &Regex, bytes: &[u8]) -> bool {
    // A clone has its own working memory, which goes with it: a thousand checks that wait would keep theirs.
    let regex = regex.clone();
    if bytes.len() <= AT_ONCE {
        return regex.is_match(&String::from_utf8_lossy(bytes));
    }
    let bytes = bytes.to_vec();
    let matching = tokio::task::spawn_blocking(move || regex.is_match(&String::from_utf8_lossy(&bytes)));
    matching.await.is_ok_and(|found| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_text_is_found_wherever_it_is_cut() {
        let pattern = Pattern::Text("ready".into());
        for cut in 0..=12 {
            let mut search = Search::new(&pattern);
            let (first, second) = b"all is ready".split_at(cut);
            search.take(first);
            assert_eq!(search.is_found().await, cut == 12, "cut at {cut}");
            search.take(second);
            assert!(search.is_found().await || cut == 12, "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn an_expression_is_matched_in_short_and_long_texts_that_need_not_be_utf_8() {
        let pattern = Pattern::Regex(Regex::new(r"up: \d+$").unwrap());
        let mut search = Search::new(&pattern);
        search.take(b"\xff\xfe for long, up: ");
        assert!(search.is_due());
        assert!(!search.is_found().await);
        assert!(!search.has_unseen());
        search.take(b"5");
        assert!(search.has_unseen() && !search.is_due(), "an eighth is needed");
        assert!(search.is_found().await);
        search.take(&[b'x'; AT_ONCE]);
        assert!(!search.is_found().await);
        search.take(b"\nup: 77");
        assert!(search.is_found().await);
    }

    #[tokio::test]
    async fn no_more_than_64_kib_are_kept() {
        let pattern = Pattern::Text("end".into());
        let mut search = Search::new(&pattern);
        let mut endless = io::repeat(b'x');
        while !search.is_full() {
            assert!(search.read(&mut endless).await.unwrap() > 0);
        }
        search.take(b"end");
        assert_eq!(search.arrived().len(), MOST);
        assert!(!search.is_found().await);
    }
}
