//! Statements with blocks: `name words;` and `name words { … }` (ExaBGP), or the same with line ends in place of
//! semicolons (keepalived).

use super::imported::{Imported, Place};

/// A statement: its words, and what stands in its braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    pub(super) place: Place,
    pub(super) words: Vec<String>,
    pub(super) block: Option<Vec<Self>>,
}

impl Statement {
    pub(super) fn name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The word behind the name.
    pub(super) fn value(&self) -> &str {
        self.word(1)
    }

    pub(super) fn word(&self, at: usize) -> &str {
        self.words.get(at).map_or("", String::as_str)
    }

    /// The words behind the name.
    pub(super) fn values(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    pub(super) fn statements(&self) -> &[Self] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it is written, with the braces only hinted at.
    pub(super) fn shown(&self) -> String {
        let secret = |name: &str| name.contains("password") || name.contains("auth_pass");
        let words = match secret(self.name()) {
            true => format!("{} ***", self.name()),
            false => self.words.join(" "),
        };
        if self.block.is_some() { format!("{words} {{ … }}") } else { words }
    }

    /// Loses this and everything in it.
    pub(super) fn lose(&self, why: &str, imported: &mut Imported) {
        imported.lose(self.place, self.shown(), why);
    }

    /// Loses this, and each statement in it by name.
    pub(super) fn lose_each(&self, why: &str, imported: &mut Imported) {
        self.lose(why, imported);
        for statement in self.statements() {
            statement.lose_each("it belongs to the above", imported);
        }
    }
}

/// A word of the text, or a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// Statements may be nested this deep.
const DEEPEST: usize = 32;

/// Builds the statements from tokens. Braces that do not fit are reported as lost.
pub(super) fn statements(tokens: Vec<(Token, Place)>, imported: &mut Imported) -> Vec<Statement> {
    let mut open: Vec<Vec<Statement>> = vec![Vec::new()];
    // Of each open block, the words before it.
    let mut heads: Vec<(Vec<String>, Place)> = Vec::new();
    let mut words: Vec<String> = Vec::new();
    let mut begin: Option<Place> = None;
    let mut last = Place { file: 0, line: 1 };
    for (token, place) in tokens {
        last = place;
        match token {
            Token::Word(word) => {
                begin.get_or_insert(place);
                words.push(word);
            }
            Token::End => end(&mut words, &mut begin, &mut open),
            Token::Open if heads.len() >= DEEPEST => {
                imported.lose(place, "{", "blocks are nested too deep");
                words.clear();
                begin = None;
            }
            Token::Open => {
                heads.push((std::mem::take(&mut words), begin.take().unwrap_or(place)));
                open.push(Vec::new());
            }
            Token::Close => {
                end(&mut words, &mut begin, &mut open);
                match heads.pop() {
                    Some(head) => close(head, &mut open),
                    None => imported.lose(place, "}", "no block is open here"),
                }
            }
        }
    }
    end(&mut words, &mut begin, &mut open);
    while let Some(head) = heads.pop() {
        imported.lose(last, head.0.join(" "), "this block has no end, and is read as if the file ended it");
        close(head, &mut open);
    }
    open.pop().unwrap_or_default()
}

fn end(words: &mut Vec<String>, begin: &mut Option<Place>, open: &mut [Vec<Statement>]) {
    if let (Some(place), Some(block)) = (begin.take(), open.last_mut()) {
        block.push(Statement { place, words: std::mem::take(words), block: None });
    }
}

fn close((words, place): (Vec<String>, Place), open: &mut Vec<Vec<Statement>>) {
    let block = open.pop().unwrap_or_default();
    if let Some(outer) = open.last_mut() {
        outer.push(Statement { place, words, block: Some(block) });
    }
}
