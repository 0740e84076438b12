//! Compares an answer with its pattern, and quotes it after a mismatch.

/// Longest quotation, in characters.
const QUOTED: usize = 60;

/// The beginning of received data, in quotes and on one line: text unchanged, other bytes as `\x00`.
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

    proptest! {
        #[test]
        fn whatever_is_quoted_is_one_printable_line(answer: Vec<u8>) {
            let quoted = quoted(&answer);
            prop_assert!(quoted.chars().count() <= QUOTED + 3);
            prop_assert!(!quoted.chars().any(char::is_control), "{quoted:?}");
        }
    }
}
