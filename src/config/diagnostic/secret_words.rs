//! Finds possible secrets by the words around them: no diagnostic quotes them.
//!
//! The configuration has its own keys for secrets, and whoever mistypes one of them, or writes one where there is none, still
//! wrote a secret. So this looks at words and not at the keys that we know, in a tree ([`in_entry`], [`in_text`]) and, where
//! a file could not be parsed, line by line ([`in_lines`]).

use std::ops::Range;

use crate::config::read::tree::{Node, Value};

/// Words that announce a secret wherever they stand in a key.
const WORDS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "secret",
    "token",
    "credential",
    "credentials",
    "key",
    "apikey",
    "psk",
    "bearer",
    "authorization",
    "cookie",
    "auth",
    "md5",
];

/// Those of them that announce one in running text, too, and that are recognised when they are mistyped.
const PLAIN: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "bearer", "authorization", "credential"];

/// A key that ends so names a file or a credential, and no secret.
const NAMES_A_PLACE: [&str; 6] = ["_file", "_credential", "_path", "_id", "_dir", "_type"];

/// Whether the value of a key with this name may be a secret.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let folded = fold(key);
    if NAMES_A_PLACE.iter().any(|place| folded.ends_with(place)) {
        return false;
    }
    folded.split('_').any(|word| WORDS.contains(&word) || is_mistyped(word)) || is_mistyped(&folded)
}

/// A word that is nearly one of [`PLAIN`].
fn is_mistyped(word: &str) -> bool {
    /// Of shorter words too many are alike.
    const LEAST: usize = 5;
    const ALLOWED: usize = 2;
    (LEAST..=16).contains(&word.len())
        && PLAIN.iter().any(|plain| {
            let allowed = if plain.len() > 6 { ALLOWED } else { 1 };
            // Nearly every word differs in its beginning or its length, and to see that costs nothing.
            word.as_bytes()[0] == plain.as_bytes()[0]
                && word.len().abs_diff(plain.len()) <= allowed
                && strsim::osa_distance(word, plain) <= allowed
        })
}

/// `peerPassword`, `peer-password` and `peer.password` are `peer_password`.
fn fold(key: &str) -> String {
    let mut folded = String::with_capacity(key.len());
    let mut lower = false;
    for c in key.trim().chars() {
        if c.is_uppercase() && lower {
            folded.push('_');
        }
        lower = c.is_lowercase();
        if matches!(c, '-' | '.' | ' ') { folded.push('_') } else { folded.extend(c.to_lowercase()) }
    }
    folded
}

/// Adds the stretches of an entry's value that may be secrets.
pub(crate) fn in_entry(key: &str, value: &Node, found: &mut Vec<Range<usize>>) {
    let is_secret = is_secret_key(key);
    match &value.value {
        Value::Null => {}
        Value::Scalar(_) if is_secret => found.push(value.span.start..value.span.end),
        // Of a list of words, each. What is in a map has keys of its own, and names of peers and checks are keys, too.
        Value::List(list) if is_secret => {
            let scalars = list.iter().filter(|node| matches!(node.value, Value::Scalar(_)));
            found.extend(scalars.map(|node| node.span.start..node.span.end));
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => {}
    }
}

/// Adds what may be a secret in a text that is none as a whole: `http://user:password@host`, `Authorization: Bearer …`,
/// `--password=…`. `at` is the offset of the text.
pub(crate) fn in_text(text: &str, at: usize, found: &mut Vec<Range<usize>>) {
    for (scheme, _) in text.match_indices("://") {
        let start = scheme + "://".len();
        let rest = &text[start..];
        let end =
            rest.find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'')).unwrap_or(rest.len());
        if let Some(user) = rest[..end].rfind('@') {
            found.push(at + start..at + start + user);
        }
    }
    for word in words(text) {
        let folded = fold(&text[word.clone()]);
        let announces = |part: &str| PLAIN.contains(&part) || is_mistyped(part);
        if !folded.split('_').any(announces) || NAMES_A_PLACE.iter().any(|place| folded.ends_with(place)) {
            continue;
        }
        let rest = &text[word.end..];
        let rest = &rest[..rest.find('\n').unwrap_or(rest.len())];
        let value = rest.trim_start_matches([' ', '=', ':', '"', '\'']);
        let separator = &rest[..rest.len() - value.len()];
        // Behind a quotation mark, to the next; else to the end of the line.
        let quote = separator.chars().next_back().filter(|c| matches!(c, '"' | '\''));
        let end = quote.and_then(|quote| value.find(quote)).unwrap_or(value.trim_end().len());
        // The text itself of a block stands below it.
        let is_block = value.starts_with(['|', '>']);
        if separator.contains([' ', '=', ':']) && end > 0 && !is_block {
            let start = at + word.end + separator.len();
            found.push(start..start + end);
        }
    }
}

/// Runs of letters, digits, `_` and `-`.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + text[at..].find(is_part)?;
        let end = text[start..].find(|c| !is_part(c)).map_or(text.len(), |length| start + length);
        at = end;
        Some(start..end)
    })
}

/// What may be a secret in a file that could not be parsed: to the end of the line, or of the quotes, behind each key that
/// announces one; the lines below it that are indented more where it stands alone; and what [`in_text`] finds.
pub(crate) fn in_lines(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // The indentation of a key whose value stands below it.
    let mut below: Option<usize> = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let content = line.trim_end();
        let indent = content.len() - content.trim_start().len();
        if below.is_some_and(|key| indent > key && !content.is_empty()) {
            found.push(at + indent..at + content.len());
        } else {
            if !content.is_empty() {
                below = None;
            }
            in_text(content, at, &mut found);
            for word in words(content) {
                let rest = &content[word.end..];
                let separator = rest.trim_start_matches(['"', '\'', ' ']);
                if !is_secret_key(&content[word.clone()]) || !separator.starts_with([':', '=']) {
                    continue;
                }
                let value = separator[1..].trim_start();
                let start = content.len() - value.len();
                match value.chars().next() {
                    None | Some('|' | '>') => below = Some(indent),
                    Some(quote @ ('"' | '\'')) => {
                        let end = value[1..].find(quote).map_or(content.len(), |end| start + 1 + end + 1);
                        found.push(at + start..at + end);
                    }
                    Some(_) => found.push(at + start..at + content.len()),
                }
            }
        }
        at += line.len();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_secrets_are_known_by_their_words_mistyped_or_not() {
        for secret in [
            "password",
            "pasword",
            "passwrod",
            "Password",
            "peerPassword",
            "md5-password",
            "secret",
            "tokens",
            "api_key",
            "apikey",
            "X-Api-Key",
            "key",
            "Authorization",
            "autorization",
            "Cookie",
            "passphrase",
            "secert",
        ] {
            assert!(is_secret_key(secret), "{secret}");
        }
        for other in [
            "password_file",
            "password_credential",
            "client_key_file",
            "authenticated",
            "authority",
            "passive",
            "address",
            "checks",
            "communities",
            "send_id",
            "pattern",
            "fast_interval",
            "take",
            "host",
            "keep_addresses",
            "server",
        ] {
            assert!(!is_secret_key(other), "{other}");
        }
    }

    fn masked(text: &str, found: &[Range<usize>]) -> String {
        let hidden = |at: usize| found.iter().any(|range| range.contains(&at));
        text.char_indices().map(|(at, c)| if hidden(at) && c != '\n' { '*' } else { c }).collect()
    }

    #[test]
    fn a_text_is_hidden_behind_what_announces_a_secret() {
        let table = [
            ("http://u:X@127.0.0.1/", "http://***@127.0.0.1/"),
            ("http://127.0.0.1/a@b", "http://127.0.0.1/a@b"),
            ("Authorization: Bearer X", "Authorization: ********"),
            ("mysql --password=X -e 1", "mysql --password=******"),
            ("password X", "password *"),
            ("password_file /x", "password_file /x"),
            ("/usr/bin/check-token", "/usr/bin/check-token"),
            ("[a, b]", "[a, b]"),
        ];
        for (text, expected) in table {
            let mut found = Vec::new();
            in_text(text, 0, &mut found);
            assert_eq!(masked(text, &found), expected);
        }
    }

    #[test]
    fn lines_that_could_not_be_parsed_show_no_secret() {
        let table = [
            ("tor: {pasword: X, a: [}", "tor: {pasword: ********"),
            ("tor: {\"password\": \"X\", a: [}", "tor: {\"password\": ***, a: [}"),
            ("password:\n  X\nb: [", "password:\n  *\nb: ["),
            ("secret: |\n  X\n\n  Y\nb: [", "secret: |\n  *\n\n  *\nb: ["),
            ("token = X", "token = *"),
            ("password_file: /x", "password_file: /x"),
            ("a: b", "a: b"),
        ];
        for (text, expected) in table {
            assert_eq!(masked(text, &in_lines(text)), expected, "{text}");
        }
    }
}
