//! A file as it was read, with its lines and columns, and the stretches that are hidden.

use std::ops::Range;
use std::sync::Arc;

use super::Severity;

/// Characters are counted from the nearest block of this many bytes, so that a column costs the same in a line of ten
/// megabytes as in one of ten bytes.
const BLOCK: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    pub(super) name: Arc<str>,
    pub(super) text: Arc<str>,
    /// Whether every user of this host may read or write the file, and how bad a secret in it is then.
    pub(super) exposed: Option<Severity>,
    /// Offsets of the line starts, so that a position costs a binary search.
    pub(super) line_starts: Arc<[usize]>,
    /// How many characters begin before each block.
    characters: Arc<[usize]>,
    /// The possible secrets: stretches of the text, sorted once [`Self::hide`] has put stars there.
    secrets: Vec<Range<usize>>,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut before = 0;
        let characters = text.as_bytes().chunks(BLOCK).map(|block| {
            let so_far = before;
            before += begun(block);
            so_far
        });
        Self {
            characters: characters.collect(),
            name: name.into(),
            text: text.into(),
            exposed: None,
            line_starts,
            secrets: Vec::new(),
        }
    }

    /// Line and column of an offset, both from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts[line - 1];
        (line, self.characters_before(offset).saturating_sub(self.characters_before(start)) + 1)
    }

    fn characters_before(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        let block = (offset / BLOCK).min(self.characters.len().saturating_sub(1));
        let before = self.characters.get(block).copied().unwrap_or_default();
        before + begun(&self.text.as_bytes()[block * BLOCK..offset])
    }

    /// Notes a stretch to hide.
    pub(super) fn note_secret(&mut self, secret: Range<usize>) {
        if secret.start < secret.end && self.text.get(secret.clone()).is_some() {
            self.secrets.push(secret);
        }
    }

    /// Puts stars in the place of every secret. Offsets and lines stay where they are, columns of what is not ASCII do not.
    pub(super) fn hide(&mut self) {
        if self.secrets.is_empty() {
            return;
        }
        self.secrets.sort_by_key(|secret| (secret.start, secret.end));
        self.secrets.dedup();
        let mut hidden = String::with_capacity(self.text.len());
        let mut at = 0;
        for secret in &self.secrets {
            let start = secret.start.max(at);
            if start >= secret.end {
                continue;
            }
            hidden.push_str(&self.text[at..start]);
            let stars = self.text[start..secret.end].bytes().map(|b| if b == b'\n' { '\n' } else { '*' });
            hidden.extend(stars);
            at = secret.end;
        }
        hidden.push_str(&self.text[at..]);
        let secrets = std::mem::take(&mut self.secrets);
        *self = Self { exposed: self.exposed, secrets, ..Self::new(&self.name, &hidden) };
    }

    /// The secrets that share a byte with `span`, or with the value that begins within a few bytes behind it.
    pub(super) fn secrets_at(&self, span: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        // Secrets may overlap, but none is longer than its value; those before the first that ends behind `span` do not.
        let from = self.secrets.partition_point(|secret| secret.end <= span.start);
        self.secrets[from..]
            .iter()
            .take_while(move |secret| secret.start < span.end.max(span.start + 1))
            .cloned()
    }
}

/// How many characters begin in these bytes of UTF-8.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_the_same_however_long_the_line_is() {
        let line = "é".repeat(3 * BLOCK);
        let source = Source::new("x", &format!("a\n{line}\nb"));
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (2, 1));
        assert_eq!(source.position(2 + 2 * 5000), (2, 5001));
        assert_eq!(source.position(2 + line.len() + 1), (3, 1));
        assert_eq!(source.position(2 + line.len() + 2), (3, 2));
        assert_eq!(Source::new("x", "").position(0), (1, 1));
    }

    #[test]
    fn secrets_are_hidden_wherever_they_overlap() {
        let mut source = Source::new("x", "ab SECRET\nSECRET cd");
        for secret in [3..16, 3..9, 5..7, 16..16, 10..16] {
            source.note_secret(secret);
        }
        source.hide();
        assert_eq!(&*source.text, "ab ******\n****** cd");
        assert_eq!(source.secrets_at(0..3).count(), 0);
        assert!(source.secrets_at(4..5).count() > 0);
    }
}
