//! Lines of words and braces. A comment begins with `#` or `!`; `$NAME=value` defines a macro; `@name` before a line makes
//! it one of that host.

use std::collections::BTreeMap;

use crate::import::imported::{Imported, Place};
use crate::import::nested::{Statement, Token, statements};

/// The value of a macro is put in at most this many times in a line, because values may hold macros.
const MOST_MACROS: usize = 64;

/// A line with its macros is at most this long.
const LONGEST: usize = 1 << 16;

pub(super) fn parse(
    file: usize,
    source: &str,
    macros: &mut BTreeMap<String, String>,
    imported: &mut Imported,
) -> Vec<Statement> {
    let mut tokens: Vec<(Token, Place)> = Vec::new();
    let mut lines = source.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let place = Place { file, line: at + 1 };
        let mut line = line.to_owned();
        while let Some(open) = line.trim_end().strip_suffix('\\') {
            let Some((_, next)) = lines.next() else { break };
            line = format!("{open} {}", next.trim_start());
        }
        let line = without_comment(&line).trim();
        if line.is_empty() {
            continue;
        }
        if let Some((name, value)) = definition(line) {
            macros.insert(name.to_owned(), value.to_owned());
            continue;
        }
        if line.starts_with('@') || line.starts_with("~SEQ") || line.starts_with('%') {
            imported.lose(
                place,
                line,
                "lines for some hosts only, and sequences, are not read: write them out",
            );
            // The braces count, so that the block ends where it does.
            let braces = line.chars().filter(|c| matches!(c, '{' | '}'));
            for brace in braces {
                if brace == '{' {
                    tokens.push((Token::Word("@".to_owned()), place));
                }
                tokens.push((if brace == '{' { Token::Open } else { Token::Close }, place));
            }
            continue;
        }
        let line = with_macros(line, macros, place, imported);
        tokenize(&line, place, &mut tokens, imported);
        tokens.push((Token::End, place));
    }
    // A brace on a line of its own belongs to the words before it.
    let mut joined: Vec<(Token, Place)> = Vec::with_capacity(tokens.len());
    for (token, place) in tokens {
        if token == Token::Open && matches!(joined.last(), Some((Token::End, _))) {
            joined.pop();
        }
        joined.push((token, place));
    }
    statements(joined, imported)
}

/// What is before a comment; a quoted sign begins none.
fn without_comment(line: &str) -> &str {
    let mut is_quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' | '!' if !is_quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let name = name.trim_end();
    is_name(name).then(|| (name, value.trim()))
}

fn with_macros(
    line: &str,
    macros: &BTreeMap<String, String>,
    place: Place,
    imported: &mut Imported,
) -> String {
    let mut done = String::new();
    let mut rest = line.to_owned();
    let mut put_in = 0;
    while let Some(at) = rest.find('$') {
        done.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (name, after) = match behind.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((name, after)) => (name, after),
            None => {
                let end =
                    behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(behind.len());
                behind.split_at(end)
            }
        };
        match macros.get(name).filter(|_| is_name(name)) {
            Some(value) if put_in < MOST_MACROS && value.len() + after.len() < LONGEST => {
                put_in += 1;
                rest = format!("{value}{after}");
            }
            Some(_) | None => {
                if is_name(name) {
                    imported.lose(place, format!("${name}"), "the macro is not defined, and stays as it is");
                }
                done.push('$');
                rest = behind.to_owned();
            }
        }
    }
    done + &rest
}

fn tokenize(line: &str, place: Place, tokens: &mut Vec<(Token, Place)>, imported: &mut Imported) {
    let mut rest = line.trim_start();
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        rest = match c {
            '{' => {
                tokens.push((Token::Open, place));
                behind
            }
            '}' => {
                tokens.push((Token::End, place));
                tokens.push((Token::Close, place));
                behind
            }
            '"' => {
                let mut word = String::new();
                let mut characters = behind.char_indices();
                let mut end = None;
                while let Some((at, c)) = characters.next() {
                    match c {
                        '"' => {
                            end = Some(at + 1);
                            break;
                        }
                        '\\' => word.extend(characters.next().map(|(_, c)| c)),
                        c => word.push(c),
                    }
                }
                let Some(end) = end else {
                    imported.lose(place, rest, "this quote has no end");
                    return;
                };
                tokens.push((Token::Word(word), place));
                &behind[end..]
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "{}\"".contains(c)).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                tokens.push((Token::Word(word.to_owned()), place));
                behind
            }
        }
        .trim_start();
    }
}
