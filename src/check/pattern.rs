//! The pattern of an expected answer.

use std::fmt;

/// `expect:` and its like: a text, or `{regex: "…"}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// It is somewhere in the answer; never empty.
    Text(String),
    /// It matches somewhere in the answer.
    Regex(Regex),
}

impl Pattern {
    /// Whether the answer holds it. An expression is compared with the answer as text, where what is not UTF-8 is
    /// U+FFFD.
    pub(crate) fn is_in(&self, answer: &[u8]) -> bool {
        match self {
            Self::Text(text) => answer.windows(text.len()).any(|window| window == text.as_bytes()),
            Self::Regex(regex) => regex.is_match(&String::from_utf8_lossy(answer)),
        }
    }
}

/// As it is shown in the outcome of a probe: `"text"`, `/expression/`.
impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Characters of it.
        const SHOWN: usize = 60;
        let (text, ends) = match self {
            Self::Text(text) => (text.as_str(), '"'),
            Self::Regex(regex) => (regex.as_str(), '/'),
        };
        write!(f, "{ends}")?;
        for c in text.chars().take(SHOWN) {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        let cut = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
        write!(f, "{cut}{ends}")
    }
}

/// A regular expression; two are equal that are written alike.
#[derive(Debug, Clone)]
pub(crate) struct Regex(regex_lite::Regex);

impl Regex {
    /// Compiles an expression that stays small: matching takes time in proportion to its size.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn new(written: &str) -> Result<Self, String> {
        /// Of the compiled expression, in bytes; a page of text makes a few kilobytes, counted repetitions multiply.
        /// 64 KiB of text are matched in a hundredth of a second, and in a third of one where both are made to be slow.
        const LARGEST: usize = 16 * 1024;
        regex_lite::RegexBuilder::new(written)
            .size_limit(LARGEST)
            .build()
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// As it was written.
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches somewhere in `text`.
    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Regex {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_shown_on_one_line() {
        assert_eq!(Pattern::Text("PONG\r\n".into()).to_string(), r#""PONG\r\n""#);
        assert_eq!(Pattern::Regex(Regex::new("^a.b$").unwrap()).to_string(), "/^a.b$/");
        assert_eq!(Pattern::Text("é".repeat(61)).to_string(), format!("\"{}…\"", "é".repeat(60)));
    }

    #[test]
    fn an_expression_that_would_take_long_is_refused() {
        assert!(Regex::new("(a?){50}a{50}b").is_ok());
        assert_eq!(Regex::new("(a{100}){100}").unwrap_err(), "compiled regex exceeded size limit");
    }

    #[test]
    fn a_text_is_looked_for_in_bytes_and_an_expression_in_text() {
        let text = Pattern::Text("PONG".into());
        assert!(text.is_in(b"+PONG\r\n") && text.is_in(b"\xff\x00PONG"));
        assert!(!text.is_in(b"PON") && !text.is_in(b"") && !text.is_in(b"pong"));
        let regex = Pattern::Regex(Regex::new(r"^\+(PONG|OK)\r\n$").unwrap());
        assert!(regex.is_in(b"+OK\r\n"));
        assert!(!regex.is_in(b"-ERR\r\n") && !regex.is_in(b"\xff+OK\r\n"));
    }

    #[test]
    fn an_expression_that_grows_without_bound_is_refused() {
        assert!(Regex::new("((a{100}){100}){100}").is_err());
        assert_eq!(Regex::new("a|b").unwrap(), Regex::new("a|b").unwrap());
        assert_ne!(Regex::new("a|b").unwrap(), Regex::new("b|a").unwrap());
    }
}
