//! Whether an answer holds what it must, and how it is quoted where it does not.

use crate::config::model::Pattern;

/// Longest quotation, in characters.
const QUOTED: usize = 60;

impl Pattern {
    /// Whether the answer holds it. An expression is compared with the answer as text, where what is not UTF-8 is
    /// U+FFFD.
    pub(super) fn is_in(&self, answer: &[u8]) -> bool {
        match self {
            Self::Text(text) => answer.windows(text.len()).any(|window| window == text.as_bytes()),
            Self::Regex(regex) => regex.is_match(&String::from_utf8_lossy(answer)),
        }
    }
}

/// The beginning of what somebody sent, in quotes and on one line: text as it is, anything else as `\x00`.
pub(super) fn quoted(answer: &[u8]) -> String {
    // One more than is shown, so that it is seen that there is more; a character has at most four bytes.
    let head = &answer[..answer.len().min(4 * (QUOTED + 1))];
    let escaped: String = match std::str::from_utf8(head) {
        Ok(text) => text.escape_debug().collect(),
        // Cut within a character.
        Err(error) if error.error_len().is_none() && head.len() < answer.len() => {
            String::from_utf8_lossy(&head[..error.valid_up_to()]).escape_debug().collect()
        }
        Err(_) => head.escape_ascii().to_string(),
    };
    // Between double quotes, the single ones need no escape.
    let escaped = escaped.replace(r"\'", "'");
    let shown: String = escaped.chars().take(QUOTED).collect();
    let cut = if shown.len() < escaped.len() { "…" } else { "" };
    format!("\"{shown}{cut}\"")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::model::Regex;

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
    fn what_is_quoted_is_printable_and_short() {
        assert_eq!(quoted(b"+PONG\r\n"), r#""+PONG\r\n""#);
        assert_eq!(quoted("né\u{1b}[31m".as_bytes()), r#""né\u{1b}[31m""#);
        assert_eq!(quoted(b"\x00\xff \"a"), r#""\x00\xff \"a""#);
        assert_eq!(quoted(br"isn't \'"), r#""isn't \\'""#);
        assert_eq!(quoted(b""), r#""""#);
        let long = quoted("é".repeat(1000).as_bytes());
        assert_eq!(long, format!("\"{}…\"", "é".repeat(QUOTED)));
    }

    #[test]
    fn an_expression_that_grows_without_bound_is_refused() {
        assert!(Regex::new("((a{100}){100}){100}").is_err());
        assert_eq!(Regex::new("a|b").unwrap(), Regex::new("a|b").unwrap());
        assert_ne!(Regex::new("a|b").unwrap(), Regex::new("b|a").unwrap());
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_one_printable_line(answer: Vec<u8>) {
            let quoted = quoted(&answer);
            prop_assert!(quoted.chars().count() <= QUOTED + 3);
            prop_assert!(!quoted.chars().any(char::is_control), "{quoted:?}");
        }
    }
}
