//! Untrusted text, made harmless for a terminal and for a line of a log.

use std::fmt::Write as _;

/// Escapes hidden characters: control characters, line ends, and bidirectional formatting.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a string cannot fail.
            let _cannot_fail = write!(plain, "{}", c.escape_unicode());
        } else {
            plain.push(c);
        }
    }
    plain
}

/// Whether a character moves the cursor, changes the direction, or has no width.
pub fn is_hidden(c: char) -> bool {
    let is_format = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    c.is_control() || is_format
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_would_act_on_a_terminal_is_written_out_and_words_of_any_language_are_not() {
        let cases = [
            ("kernel update, Zürich 東京 🚧", "kernel update, Zürich 東京 🚧"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("two\nlines\r", "two\\u{a}lines\\u{d}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("evil\u{202e}txt.exe", "evil\\u{202e}txt.exe"),
            ("\u{200b}\u{feff}", "\\u{200b}\\u{feff}"),
        ];
        for (text, harmless) in cases {
            assert_eq!(plain(text), harmless);
        }
    }
}
