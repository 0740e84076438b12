//! The format of Python's `configparser`: sections, keys, values that go on in indented lines, and `%(key)s` in values.

use std::collections::BTreeMap;

use super::imported::{Imported, Place};

/// The section whose keys every other section has.
pub(super) const DEFAULT: &str = "DEFAULT";

/// A value, and the line of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) value: String,
    pub(super) place: Place,
}

/// The keys of a section, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) entries: BTreeMap<String, Entry>,
}

/// The sections of a file. A line that belongs nowhere is lost.
pub(super) fn parse(file: usize, text: &str, imported: &mut Imported) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // The key whose value may go on, and the indentation of its line.
    let mut open: Option<(String, usize)> = None;
    for (at, line) in text.lines().enumerate() {
        let place = Place { file, line: at + 1 };
        let trimmed = line.trim();
        let indent = line.len() - line.trim_start().len();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some((key, of_key)) = &open
            && indent > *of_key
            && let Some(entry) = sections.last_mut().and_then(|section| section.entries.get_mut(key))
        {
            entry.value.push('\n');
            entry.value.push_str(trimmed);
            continue;
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            sections.push(Section { name: name.to_owned(), place, entries: BTreeMap::new() });
            open = None;
            continue;
        }
        let (Some(section), Some((key, value))) = (sections.last_mut(), trimmed.split_once(['=', ':']))
        else {
            imported.lose(place, trimmed, "this is no section and no key with a value");
            open = None;
            continue;
        };
        let key = key.trim().to_lowercase();
        let entry = Entry { value: value.trim().to_owned(), place };
        if let Some(before) = section.entries.insert(key.clone(), entry) {
            imported.lose(before.place, format!("{key} = {}", before.value), "the key is given again below");
        }
        open = Some((key, indent));
    }
    sections
}

/// The value with `%(key)s` filled in, and `%%` as a percent sign; `None` if a key is not there.
pub(super) fn filled(value: &str, keys: &BTreeMap<String, Entry>) -> Option<String> {
    /// As in Python.
    const DEEPEST: usize = 10;
    fill(value, keys, DEEPEST)
}

fn fill(value: &str, keys: &BTreeMap<String, Entry>, depth: usize) -> Option<String> {
    const LONGEST: usize = 1 << 16;
    let mut filled = String::new();
    let mut rest = value;
    while let Some((before, behind)) = rest.split_once('%') {
        filled += before;
        if let Some(behind) = behind.strip_prefix('%') {
            filled.push('%');
            rest = behind;
        } else {
            let (key, behind) = behind.strip_prefix('(')?.split_once(")s")?;
            filled += &fill(&keys.get(&key.to_lowercase())?.value, keys, depth.checked_sub(1)?)?;
            rest = behind;
        }
        if filled.len() > LONGEST {
            return None;
        }
    }
    filled += rest;
    Some(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_on_in_indented_lines_and_refer_to_each_other() {
        let text = "[DEFAULT]\nhost = a\n[web]\n# comment\nURL: http://%(host)s/\ncmd = curl\n   -sf\n  %(url)s 100%%\nodd\n";
        let mut imported = Imported::new(&[]);
        let sections = parse(0, text, &mut imported);
        let mut keys = sections[0].entries.clone();
        keys.extend(sections[1].entries.clone());
        assert_eq!(keys["cmd"].value, "curl\n-sf\n%(url)s 100%%");
        assert_eq!(filled(&keys["cmd"].value, &keys).as_deref(), Some("curl\n-sf\nhttp://a/ 100%"));
        assert_eq!(imported.lost.len(), 1);
        assert_eq!(filled("%(none)s", &keys), None);
        keys.insert(
            "loop".into(),
            Entry { value: "%(loop)s%(loop)s".into(), place: Place { file: 0, line: 1 } },
        );
        assert_eq!(filled("%(loop)s", &keys), None);
    }
}
