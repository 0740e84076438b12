//! The queue of lines for stderr: bounded, in order, with a count of the lines that did not fit.
//!
//! After a line that did not fit, no line is accepted until all waiting lines and the count are written: so the count
//! stands in the place of the missing lines.

use std::collections::VecDeque;

/// The most bytes that wait, including the line that is being written.
const MOST: usize = 1 << 20;
/// The memory of a line besides its text.
const OVERHEAD: usize = 32;
/// The capacity that is kept while no line waits.
const KEPT: usize = 64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: VecDeque<Box<[u8]>>,
    /// The bytes of the waiting lines, and of the one that is being written.
    bytes: usize,
    /// The bytes of the line that is being written.
    taken: usize,
    /// The number of lines that did not fit behind the waiting ones.
    missing: u64,
}

/// The next thing to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This line.
    Line(Box<[u8]>),
    /// This number of lines is missing here.
    Gap(u64),
}

impl Queue {
    /// Takes a line, if it fits. Never waits.
    pub(super) fn push(&mut self, line: Box<[u8]>) {
        let size = line.len() + OVERHEAD;
        if self.missing > 0 || self.bytes + size > MOST {
            self.missing += 1;
            return;
        }
        self.bytes += size;
        self.lines.push_back(line);
    }

    /// The next thing to write; the last one counts as written.
    pub(super) fn next(&mut self) -> Option<Next> {
        self.bytes -= std::mem::take(&mut self.taken);
        if let Some(line) = self.lines.pop_front() {
            self.taken = line.len() + OVERHEAD;
            return Some(Next::Line(line));
        }
        self.lines.shrink_to(KEPT);
        match std::mem::take(&mut self.missing) {
            0 => None,
            missing => Some(Next::Gap(missing)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: usize) -> Box<[u8]> {
        format!("line {number:095}\n").into_bytes().into()
    }

    #[test]
    fn lines_come_out_in_their_order() {
        let mut queue = Queue::default();
        for number in 0..3 {
            queue.push(line(number));
        }
        let out: Vec<Next> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(out, [Next::Line(line(0)), Next::Line(line(1)), Next::Line(line(2))]);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_of_where_it_is_missing() {
        let mut queue = Queue::default();
        let fit = MOST / (line(0).len() + OVERHEAD);
        for number in 0..fit + 10 {
            queue.push(line(number));
        }
        for number in 0..fit {
            assert_eq!(queue.next(), Some(Next::Line(line(number))));
            // There is room again, but the gap comes first.
            queue.push(line(99));
        }
        assert_eq!(queue.next(), Some(Next::Gap(10 + u64::try_from(fit).unwrap())));
        queue.push(line(7));
        assert_eq!(queue.next(), Some(Next::Line(line(7))));
        assert_eq!(queue.next(), None);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn the_line_that_is_being_written_counts_until_the_next_is_asked_for() {
        let mut queue = Queue::default();
        let large = vec![b'x'; MOST - OVERHEAD].into_boxed_slice();
        queue.push(large.clone());
        assert_eq!(queue.next(), Some(Next::Line(large)));
        queue.push(line(1));
        assert_eq!(queue.next(), Some(Next::Gap(1)));
    }

    #[test]
    fn a_line_that_never_fits_is_counted_and_blocks_no_other() {
        let mut queue = Queue::default();
        queue.push(vec![b'x'; MOST].into());
        assert_eq!(queue.next(), Some(Next::Gap(1)));
        queue.push(line(1));
        assert_eq!(queue.next(), Some(Next::Line(line(1))));
    }
}
