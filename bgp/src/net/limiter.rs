//! Keeps one cause from filling the log: a burst of lines of a kind, then one line per interval, with the number of
//! lines left out.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Instant;

/// The burst: lines of a kind that are written without a pause.
const BURST: u32 = 10;
/// The interval between lines after the burst.
const EVERY: Duration = Duration::from_secs(10);
/// The number of kinds that are kept. Beyond it the kind that was silent longest is dropped.
const KINDS: usize = 1024;

/// Decides which lines are written, by a key of subject and event: `(peer, "down")`.
#[derive(Debug, Clone)]
pub struct Limiter<K> {
    kinds: BTreeMap<K, Kind>,
}

#[derive(Debug, Clone, Copy)]
struct Kind {
    /// Lines that may be written before `full_at`.
    left: u32,
    /// When the whole burst is available again.
    last: Instant,
    left_out: u64,
}

impl<K> Default for Limiter<K> {
    fn default() -> Self {
        Self { kinds: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Limiter<K> {
    /// Whether a line of this kind is written now: `Some` with the number of lines left out before it.
    pub fn ask(&mut self, key: K, now: Instant) -> Option<u64> {
        if !self.kinds.contains_key(&key) && self.kinds.len() >= KINDS {
            let oldest = self.kinds.iter().min_by_key(|(_, kind)| kind.last).map(|(key, _)| key.clone());
            oldest.map(|key| self.kinds.remove(&key));
        }
        let kind = self.kinds.entry(key).or_insert(Kind { left: BURST, last: now, left_out: 0 });
        let whole = now.saturating_duration_since(kind.last).as_secs() / EVERY.as_secs();
        if whole > 0 {
            kind.left = kind.left.saturating_add(u32::try_from(whole).unwrap_or(BURST)).min(BURST);
            kind.last = now;
        }
        let Some(left) = kind.left.checked_sub(1) else {
            kind.left_out += 1;
            return None;
        };
        if kind.left == BURST {
            kind.last = now;
        }
        kind.left = left;
        Some(std::mem::take(&mut kind.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    #[test]
    fn a_thousand_lines_a_second_are_ten_and_then_six_a_minute_with_the_number_of_the_others() {
        let mut limiter = Limiter::default();
        let begin = clock::now();
        let mut written = Vec::new();
        for millisecond in 0..60_000 {
            let now = begin + Duration::from_millis(millisecond);
            written.extend(limiter.ask(("tor-a", "down"), now));
        }
        assert_eq!(written, [[0; 10].as_slice(), &[9_990, 9_999, 9_999, 9_999, 9_999]].concat());
        let later = begin + Duration::from_secs(69);
        assert_eq!(limiter.ask(("tor-b", "down"), later), Some(0), "another peer is another matter");
        assert_eq!(limiter.ask(("tor-a", "up"), later), Some(0), "and so is another kind");
    }

    #[test]
    fn what_happens_now_and_then_is_always_written() {
        let mut limiter = Limiter::default();
        let begin = clock::now();
        for n in 0..1_000 {
            assert_eq!(limiter.ask("down", begin + EVERY * n), Some(0));
        }
    }

    #[test]
    fn whoever_makes_up_names_does_not_make_it_grow() {
        let mut limiter = Limiter::default();
        let begin = clock::now();
        for n in 0..10_000_u64 {
            limiter.ask(n, begin + Duration::from_micros(n));
        }
        assert_eq!(limiter.kinds.len(), KINDS);
        assert!(limiter.kinds.contains_key(&9_999) && !limiter.kinds.contains_key(&0));
    }
}
