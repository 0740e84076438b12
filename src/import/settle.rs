//! Writes a translation down, and moves what the daemon would refuse to the lost directives.

use std::fmt::Write as _;

use super::Program;
use super::imported::{Imported, Item, Section};
use super::yaml::{Yaml, quoted};
use crate::config::{self, Diagnostics, Loaded, Severity};

/// A configuration for vipcast, with comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The text, as YAML.
    pub text: String,
    /// The number of directives that were not carried over.
    pub lost: usize,
    /// The number of places that the operator has to fill in.
    pub to_edit: usize,
    /// Why the daemon refuses the text; never seen.
    pub refused: Option<Diagnostics>,
}

/// The part of the configuration on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Slot {
    None,
    Top(usize),
    Item(Section, usize),
    Key(Section, usize, usize),
    Element(Section, usize, usize, usize),
}

pub(super) fn settle(program: Program, mut imported: Imported) -> Translation {
    imported.share_local_as();
    imported.withdraw_behind_failing_checks();
    // A round takes away at least one line.
    loop {
        imported.ensure_peer("vipcast refuses those of the files");
        imported.ensure_router_id();
        let (text, slots) = written(program, &imported);
        let found = match config::parse_offline("vipcast.yaml", &text) {
            Ok(Loaded { .. }) => return translation(text, &imported, None),
            Err(found) => found,
        };
        let mut refused: Vec<(Slot, String)> = Vec::new();
        for diagnostic in found.iter().filter(|found| found.severity == Severity::Error) {
            let line = diagnostic.span.map_or(0, |span| found.position(span).0);
            let slot = line.checked_sub(1).and_then(|at| slots.get(at)).copied().unwrap_or(Slot::None);
            if slot != Slot::None && refused.iter().all(|(other, _)| *other != slot) {
                refused.push((slot, diagnostic.message.clone()));
            }
        }
        if refused.is_empty() {
            return translation(text, &imported, Some(found));
        }
        // From the back, so that the numbers in front stay.
        refused.sort_by_key(|(slot, _)| std::cmp::Reverse(*slot));
        for (slot, why) in refused {
            take_away(slot, &format!("vipcast refuses it: {why}"), &mut imported);
        }
    }
}

fn translation(text: String, imported: &Imported, refused: Option<Diagnostics>) -> Translation {
    let notes = Section::ALL
        .iter()
        .flat_map(|section| imported.section(*section))
        .flat_map(|item| &item.notes)
        .chain(&imported.top.notes);
    let to_edit = notes.filter(|note| note.starts_with("EDIT")).count();
    Translation { text, lost: imported.lost.len(), to_edit, refused }
}

fn take_away(slot: Slot, why: &str, imported: &mut Imported) {
    match slot {
        Slot::None => {}
        Slot::Top(key) if key < imported.top.keys.len() => {
            let (key, value) = imported.top.keys.remove(key);
            let place = imported.top.place;
            imported.lose(place, shown(&key, &value), why);
        }
        Slot::Top(_) => {}
        Slot::Item(section, at) => {
            let items = imported.section_mut(section);
            if at < items.len() {
                let item = items.remove(at);
                let keys: Vec<String> = item.keys.iter().map(|(key, value)| shown(key, value)).collect();
                let what = format!("{} of {}, {{{}}}", item.name, section.key(), keys.join(", "));
                imported.lose(item.place, what, why);
            }
        }
        Slot::Key(section, at, key) => {
            let Some(item) = imported.section_mut(section).get_mut(at) else { return };
            if key < item.keys.len() {
                let (key, value) = item.keys.remove(key);
                let (place, what) = (item.place, format!("{} of {}", shown(&key, &value), item.name));
                imported.lose(place, what, why);
            }
        }
        Slot::Element(section, at, key, element) => {
            let Some(item) = imported.section_mut(section).get_mut(at) else { return };
            let Some((key, Yaml::List(values))) = item.keys.get_mut(key) else { return };
            if element < values.len() {
                let value = values.remove(element);
                let (place, what) = (item.place, format!("{} of the {key} of {}", value.flow(), item.name));
                imported.lose(place, what, why);
            }
        }
    }
}

/// A key with its value, unless that is a secret.
fn shown(key: &str, value: &Yaml) -> String {
    let value = if key == "password" { "***".to_owned() } else { value.flow() };
    format!("{key}: {value}")
}

/// The text, and the part of the configuration on each of its lines.
fn written(program: Program, imported: &Imported) -> (String, Vec<Slot>) {
    let mut lines: Vec<(String, Slot)> =
        head(program, imported).into_iter().map(|line| (line, Slot::None)).collect();
    lines.extend(imported.top.notes.iter().map(|note| (format!("# {}", comment(note)), Slot::None)));
    for (at, (key, value)) in imported.top.keys.iter().enumerate() {
        lines.push((format!("{}: {}", quoted(key), value.flow()), Slot::Top(at)));
    }
    for section in Section::ALL {
        let items = imported.section(section);
        if !items.is_empty() {
            lines.push((String::new(), Slot::None));
            lines.push((format!("{}:", section.key()), Slot::None));
        }
        for (at, item) in items.iter().enumerate() {
            write_item(section, at, item, &mut lines);
        }
    }
    let mut text = String::new();
    for (line, _) in &lines {
        // Writing to a string cannot fail.
        let _never_fails = writeln!(text, "{line}");
    }
    (text, lines.into_iter().map(|(_, slot)| slot).collect())
}

fn write_item(section: Section, at: usize, item: &Item, lines: &mut Vec<(String, Slot)>) {
    for note in &item.notes {
        lines.push((format!("  # {}", comment(note)), Slot::None));
    }
    lines.push((format!("  {}:", quoted(&item.name)), Slot::Item(section, at)));
    for (number, (key, value)) in item.keys.iter().enumerate() {
        match value {
            Yaml::List(values) if key == "vips" && !values.is_empty() => {
                lines.push((format!("    {key}:"), Slot::Key(section, at, number)));
                for (element, value) in values.iter().enumerate() {
                    let slot = Slot::Element(section, at, number, element);
                    lines.push((format!("      - {}", value.flow()), slot));
                }
            }
            Yaml::Text(_) | Yaml::Number(_) | Yaml::Switch(_) | Yaml::List(_) | Yaml::Map(_) => {
                lines
                    .push((format!("    {}: {}", quoted(key), value.flow()), Slot::Key(section, at, number)));
            }
        }
    }
}

fn head(program: Program, imported: &Imported) -> Vec<String> {
    let mut files: Vec<String> = imported.files.iter().map(|file| comment(file)).collect();
    files.dedup();
    let mut head = vec![format!("# Made by `vipcast import {}` from {}.", program.name(), files.join(", "))];
    if imported.lost.is_empty() {
        head.push("# Everything was carried over.".to_owned());
    } else {
        head.push("#".to_owned());
        head.push("# Not carried over:".to_owned());
    }
    let mut lost = imported.lost.clone();
    lost.sort();
    lost.dedup();
    for lost in lost {
        let file = imported.files.get(lost.place.file).map(|file| comment(file)).unwrap_or_default();
        let line = lost.place.line;
        head.push(format!("#   {file}:{line}: `{}`: {}", comment(&lost.what), comment(&lost.why)));
    }
    head.push(String::new());
    head
}

/// A text on one line of a comment.
fn comment(text: &str) -> String {
    const LONGEST: usize = 300;
    let mut line: String = text
        .chars()
        .map(|c| {
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') {
                ' '
            } else {
                c
            }
        })
        .take(LONGEST + 1)
        .collect();
    if line.chars().count() > LONGEST {
        line.pop();
        line.push('…');
    }
    line
}
