//! The tables of the reference.

use std::fmt::Write as _;

use super::{Key, Shape, all};
use crate::check::kind::Kind;
use crate::check::kinds::KINDS;

/// The table of the section of this name, in Markdown: of all its keys, or of those that are named. `None` when there is no such
/// section, or no such key.
pub fn of(id: &str, names: &[&str]) -> Option<String> {
    let section = all().find(|section| section.id == id)?;
    let keys: Vec<&Key> = match names {
        [] => section.keys().collect(),
        names => {
            let named = names.iter().map(|name| section.keys().find(|key| key.name == *name));
            named.collect::<Option<_>>()?
        }
    };
    Some(rows(&keys))
}

/// The list of the kinds of check, in Markdown.
pub fn kinds() -> String {
    let mut table = String::from("| kind | passes when | |\n| --- | --- | --- |\n");
    for Kind { key, told_by, .. } in KINDS {
        let doc = key.doc();
        let (name, passes) = doc.split_once(": ").unwrap_or((key.name, &doc));
        let told = told_by.map_or_else(|| "polled".to_owned(), |teller| format!("told by {teller}"));
        // Writing to a string cannot fail.
        let _never_fails = writeln!(table, "| {name} | {passes} | {told} |");
    }
    table
}

/// The names of the kinds of check, in the order of the reference.
pub fn names_of_kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.key.name)
}

/// Every key that the reference has to explain: the name of its section, and its own.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    let explained = all().filter(|section| !section.is_copy);
    explained.flat_map(|section| section.keys().map(|key| (section.id, key.name)))
}

fn rows(keys: &[&Key]) -> String {
    let mut table = String::from("| key | type | default | |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let mark = if key.is_required { " *" } else { "" };
        let cells = [&key.holds(), key.default.unwrap_or_default(), &key.explained()];
        let cells: String = cells.iter().map(|cell| format!(" {cell} |").replace("  |", " |")).collect();
        // Writing to a string cannot fail.
        let _never_fails = writeln!(table, "| `{}`{mark} |{cells}", key.name);
    }
    table
}

impl Key {
    /// What it holds, in words.
    pub(super) fn holds(&self) -> String {
        self.written.map_or_else(|| self.shape.in_words(), str::to_owned)
    }

    fn explained(&self) -> String {
        match self.aliases {
            [] => self.doc(),
            aliases => format!("{}; alias `{}`", self.doc(), aliases.join("`, `")),
        }
    }
}

impl Shape {
    fn in_words(&self) -> String {
        match self {
            Self::Switch => "true or false".into(),
            Self::Text | Self::Said => "text".into(),
            Self::Asn => "AS number".into(),
            Self::Form(words, _) | Self::Made(words, _) => (*words).into(),
            Self::Number(least, most) => format!("{least} to {most}"),
            Self::Word(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Self::List(..) => "list".into(),
            Self::Map(_) => "map by name".into(),
            Self::Section(_) => "map".into(),
            Self::Either(shapes) => shapes.iter().map(Self::in_words).collect::<Vec<_>>().join(", or "),
        }
    }
}
