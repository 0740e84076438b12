//! Words, braces, brackets and semicolons. A comment begins with `#`; what `run` runs ends with its line's semicolon.

use crate::import::imported::{Imported, Place};
use crate::import::nested::{Statement, Token, statements};

pub(super) fn parse(file: usize, source: &str, imported: &mut Imported) -> Vec<Statement> {
    let mut tokens: Vec<(Token, Place)> = Vec::new();
    for (at, line) in source.lines().enumerate() {
        let place = Place { file, line: at + 1 };
        tokenize(line, place, &mut tokens, imported);
    }
    statements(tokens, imported)
}

fn tokenize(line: &str, place: Place, tokens: &mut Vec<(Token, Place)>, imported: &mut Imported) {
    let begins_statement = |tokens: &[(Token, Place)]| !matches!(tokens.last(), Some((Token::Word(_), _)));
    let mut rest = line.trim_start();
    while let Some(c) = rest.chars().next() {
        let behind = &rest[c.len_utf8()..];
        rest = match c {
            '#' => return,
            '{' => {
                tokens.push((Token::Open, place));
                behind
            }
            '}' => {
                tokens.push((Token::Close, place));
                behind
            }
            ';' => {
                tokens.push((Token::End, place));
                behind
            }
            '[' | ']' | '(' | ')' | ',' => {
                tokens.push((Token::Word(c.to_string()), place));
                behind
            }
            '"' | '\'' => {
                let Some((quoted, behind)) = behind.split_once(c) else {
                    imported.lose(place, rest, "this quote has no end");
                    return;
                };
                tokens.push((Token::Word(quoted.to_owned()), place));
                behind
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "{};[](),#\"".contains(c);
                let end = rest.find(ends).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                let is_run = word == "run" && begins_statement(tokens);
                tokens.push((Token::Word(word.to_owned()), place));
                if is_run {
                    // The command line as it is, up to the last semicolon of the line.
                    let command = behind.rfind(';').map_or(behind, |end| &behind[..end]);
                    tokens.push((Token::Word(command.trim().to_owned()), place));
                    tokens.push((Token::End, place));
                    &behind[(command.len() + 1).min(behind.len())..]
                } else {
                    behind
                }
            }
        }
        .trim_start();
    }
}
