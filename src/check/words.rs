//! Causes in the words that an operator reads in the log, in `explain` and in the API.

use std::borrow::Cow;

pub(super) use vipcast_bgp::net::words::io_error;
pub(super) use vipcast_node::words::duration;

/// Longest [`one_line`], in characters.
pub(super) const LINE: usize = 200;

/// The first line of `text` that says something, without control characters and at most [`LINE`] characters long. What a
/// server or a program wrote ends up on terminals, so it must not bring escape sequences along.
pub(super) fn one_line<'a>(text: impl Into<Cow<'a, str>>) -> String {
    let text = text.into();
    // Most of what we say ourselves.
    if text.len() <= LINE && text.trim() == text && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.into_owned();
    }
    let blank = |c: char| c.is_whitespace() || c.is_control();
    let line =
        text.lines().map(|line| line.trim_matches(blank)).find(|line| !line.is_empty()).unwrap_or_default();
    let mut printable = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut result: String = printable.by_ref().take(LINE).collect();
    if printable.next().is_some() {
        result.pop();
        result.push('…');
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_is_short_and_printable() {
        assert_eq!(one_line("\n  \r\n  all well \r\nmore"), "all well");
        assert_eq!(one_line("\x1b[31mred\x1b[0m\ttab"), "[31mred [0m tab");
        assert_eq!(one_line(""), "");
        let long = one_line("é".repeat(10_000));
        assert_eq!(long.chars().count(), LINE);
        assert!(long.ends_with("é…"));
    }
}
