//! What an answer must hold.

/// `expect:` and its like: a text, or `{regex: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// It is somewhere in the answer; never empty.
    Text(String),
    /// It matches somewhere in the answer.
    Regex(Regex),
}

/// A regular expression; two are equal that are written alike.
#[derive(Debug, Clone)]
pub struct Regex(regex_lite::Regex);

impl Regex {
    /// Compiles an expression that stays small: matching takes time in proportion to its size.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(written: &str) -> Result<Self, String> {
        /// Of the compiled expression, in bytes; a page of text makes a few kilobytes, counted repetitions multiply.
        const LARGEST: usize = 64 * 1024;
        regex_lite::RegexBuilder::new(written)
            .size_limit(LARGEST)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Whether it matches somewhere in `text`.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Regex {}
