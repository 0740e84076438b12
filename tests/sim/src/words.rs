//! The lines of words in scenarios and traces.

use std::iter::Peekable;
use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

/// The words of a line, one after the other.
pub struct Words<'a> {
    line: &'a str,
    words: Peekable<SplitWhitespace<'a>>,
    kept: Option<&'a str>,
}

impl<'a> Words<'a> {
    /// The words of `line`.
    pub fn of(line: &'a str) -> Self {
        Self { line, words: line.split_whitespace().peekable(), kept: None }
    }

    /// The next one.
    pub fn take(&mut self) -> Result<&'a str, String> {
        self.words.next().ok_or_else(|| format!("a word is missing at the end of {:?}", self.line))
    }

    /// The next one, left in place.
    pub fn peek(&mut self) -> Option<&'a str> {
        self.words.peek().copied()
    }

    /// The next one, which has to be this.
    pub fn expect(&mut self, word: &str) -> Result<(), String> {
        let next = self.take()?;
        if next == word { Ok(()) } else { Err(format!("{word:?} is missing before {next:?}")) }
    }

    /// The word behind this one.
    pub fn word_after(&mut self, word: &str) -> Result<&'a str, String> {
        self.expect(word)?;
        self.take()
    }

    /// What the next word names.
    pub fn parse<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.take()?;
        word.parse().map_err(|_| format!("cannot understand {word:?}"))
    }

    /// What the word behind this one names.
    pub fn after<T: FromStr>(&mut self, word: &str) -> Result<T, String> {
        self.expect(word)?;
        self.parse()
    }

    /// What the word behind the next one and this one names; the next one is [kept](Self::kept).
    pub fn swap<T: FromStr>(&mut self, word: &str) -> Result<T, String> {
        self.kept = Some(self.take()?);
        self.after(word)
    }

    /// What was kept.
    pub fn kept<T: FromStr>(&mut self) -> Result<T, String> {
        let word = self.kept.take().unwrap_or_default();
        word.parse().map_err(|_| format!("cannot understand {word:?}"))
    }

    /// Which of two words is next: true for the first.
    pub fn either(&mut self, first: &str, second: &str) -> Result<bool, String> {
        match self.take()? {
            word if word == first => Ok(true),
            word if word == second => Ok(false),
            word => Err(format!("{word:?} is neither {first:?} nor {second:?}")),
        }
    }

    /// Nothing may be left.
    pub fn end(&mut self) -> Result<(), String> {
        match self.words.next() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is too much")),
        }
    }
}

/// A duration as it is written: `1.5s`, `20ms`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let error = || format!("no duration: {text:?}");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or_else(error)?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| error())?;
    // To the microsecond: the fraction of a second is no binary fraction.
    let micros = (number * unit * 1e6).round();
    if (0.0..1e15).contains(&micros) { Ok(Duration::from_micros(micros as u64)) } else { Err(error()) }
}

/// A duration to the millisecond.
pub fn shown(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    if millis == 0 { format!("{seconds}s") } else { format!("{seconds}.{millis:03}s") }
}
