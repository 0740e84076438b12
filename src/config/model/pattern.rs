//! What must be in an answer: a text, or a regular expression.

use std::fmt;

use regex_lite::{Regex, RegexBuilder};

/// Largest regular expression once it is compiled, in bytes. Matching takes time in proportion to this and to the text
/// (regex-lite never backtracks): a hundredth of a second for 64 KiB, a third of one where expression and text are made
/// to be slow.
const LARGEST: usize = 16 * 1024;

/// `body:` and `expect:`.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// These very bytes; never none.
    Text(String),
    /// A match of the expression, in the answer read as UTF-8 with U+FFFD for what is none.
    Regex(Regex),
}

impl Pattern {
    /// An expression in the syntax of the crate `regex-lite`.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn regex(expression: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(expression).size_limit(LARGEST).build();
        built.map(Self::Regex).map_err(|error| error.to_string())
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

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            (Self::Text(_), Self::Regex(_)) | (Self::Regex(_), Self::Text(_)) => false,
        }
    }
}

impl Eq for Pattern {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_shown_on_one_line() {
        assert_eq!(Pattern::Text("PONG\r\n".into()).to_string(), r#""PONG\r\n""#);
        assert_eq!(Pattern::regex("^a.b$").unwrap().to_string(), "/^a.b$/");
        assert_eq!(Pattern::Text("é".repeat(61)).to_string(), format!("\"{}…\"", "é".repeat(60)));
    }

    #[test]
    fn an_expression_that_would_take_long_is_refused() {
        assert!(Pattern::regex("(a?){50}a{50}b").is_ok());
        let refused = Pattern::regex("(a{100}){100}").unwrap_err();
        assert_eq!(refused, "compiled regex exceeded size limit");
    }
}
