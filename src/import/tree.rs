//! YAML of other programs, read with the reader of our own configuration: keys are taken one by one, and what nobody took
//! is lost.

use super::Source;
use super::imported::{Imported, Place};
use crate::config::Variables;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::tree::{self, Entry, Node, Value};

/// A file of YAML.
pub(super) struct Document {
    text: String,
    file: usize,
    root: Node,
}

/// Reads a file; `None` after a syntax error, which is then what was lost.
pub(super) fn parse(file: usize, source: &Source, imported: &mut Imported) -> Option<Document> {
    let mut report = Report::default();
    // A variable of the other program is text here.
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text).replace("${", "$${");
    let id = report.add_file(&source.name, &text);
    let root = tree::parse(id, &Variables::default(), &mut report);
    let found = report.finish();
    let lines: Vec<&str> = text.lines().collect();
    for diagnostic in &found {
        let line = diagnostic.span.map_or(1, |span| found.position(span).0);
        let what = lines.get(line - 1).map_or("", |line| line.trim());
        imported.lose(Place { file, line }, what, diagnostic.message.clone());
    }
    root.map(|root| Document { text, file, root })
}

impl Document {
    pub(super) fn place(&self, span: Span) -> Place {
        let before = self.text.get(..span.start).unwrap_or_default();
        Place { file: self.file, line: before.matches('\n').count() + 1 }
    }

    pub(super) fn root(&self) -> Map<'_> {
        self.map(&self.root)
    }

    pub(super) fn map<'d>(&'d self, node: &'d Node) -> Map<'d> {
        Map { document: self, place: self.place(node.span), left: node.entries().iter().collect() }
    }
}

/// A map whose keys are taken one by one.
pub(super) struct Map<'d> {
    document: &'d Document,
    pub(super) place: Place,
    left: Vec<&'d Entry>,
}

impl<'d> Map<'d> {
    pub(super) fn take(&mut self, key: &str) -> Option<&'d Entry> {
        let at = self.left.iter().position(|entry| entry.key == key)?;
        Some(self.left.remove(at))
    }

    /// The text of a key, unless there is none.
    pub(super) fn text(&mut self, key: &str) -> Option<&'d str> {
        self.written(key).map(|(text, _)| text)
    }

    /// The same, with its place.
    pub(super) fn written(&mut self, key: &str) -> Option<(&'d str, Place)> {
        let at = self.left.iter().position(|entry| entry.key == key)?;
        let entry = self.left[at];
        let text = scalar(&entry.value).filter(|text| !text.is_empty())?;
        self.left.remove(at);
        Some((text, self.document.place(entry.key_span)))
    }

    pub(super) fn switch(&mut self, key: &str) -> Option<bool> {
        self.text(key).map(|text| text.eq_ignore_ascii_case("true"))
    }

    /// The map of a key; empty if it is not there.
    pub(super) fn map(&mut self, key: &str) -> Self {
        let is_map = |value: &Value| matches!(value, Value::Map(_) | Value::Null);
        match self.take_if(key, is_map) {
            Some(entry) => {
                Self { place: self.document.place(entry.key_span), ..self.document.map(&entry.value) }
            }
            None => Self { document: self.document, place: self.place, left: Vec::new() },
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// The elements of a list.
    pub(super) fn list(&mut self, key: &str) -> &'d [Node] {
        let entry = self.take_if(key, |value| matches!(value, Value::List(_) | Value::Null));
        entry.map_or(&[], |entry| match &entry.value.value {
            Value::List(list) => list,
            Value::Null | Value::Scalar(_) | Value::Map(_) => &[],
        })
    }

    /// The texts of a list that holds nothing else.
    pub(super) fn texts(&mut self, key: &str) -> Vec<&'d str> {
        let is_texts = |value: &Value| match value {
            Value::List(list) => list.iter().all(|node| scalar(node).is_some()),
            Value::Null | Value::Scalar(_) | Value::Map(_) => false,
        };
        let entry = self.take_if(key, is_texts);
        match entry.map(|entry| &entry.value.value) {
            Some(Value::List(list)) => list.iter().filter_map(scalar).collect(),
            Some(Value::Null | Value::Scalar(_) | Value::Map(_)) | None => Vec::new(),
        }
    }

    /// The keys and texts of a map that holds nothing else.
    pub(super) fn pairs(&mut self, key: &str) -> Vec<(&'d str, &'d str)> {
        let is_pairs = |value: &Value| match value {
            Value::Map(entries) => entries.iter().all(|entry| scalar(&entry.value).is_some()),
            Value::Null | Value::Scalar(_) | Value::List(_) => false,
        };
        let entries = self.take_if(key, is_pairs).map_or(&[][..], |entry| entry.value.entries());
        entries.iter().filter_map(|entry| Some((entry.key.as_str(), scalar(&entry.value)?))).collect()
    }

    /// Takes a key if its value has this form; else it is lost in the end.
    fn take_if(&mut self, key: &str, is_so: impl Fn(&Value) -> bool) -> Option<&'d Entry> {
        let at = self.left.iter().position(|entry| entry.key == key && is_so(&entry.value.value))?;
        Some(self.left.remove(at))
    }

    /// Loses a key, if it is there.
    pub(super) fn lose(&mut self, key: &str, why: &str, imported: &mut Imported) {
        if let Some(entry) = self.take(key) {
            imported.lose(self.document.place(entry.key_span), shown(entry), why);
        }
    }

    /// Loses everything that nobody took.
    pub(super) fn finish(self, why: impl Fn(&str) -> &'static str, imported: &mut Imported) {
        for entry in self.left {
            imported.lose(self.document.place(entry.key_span), shown(entry), why(&entry.key));
        }
    }
}

pub(super) fn scalar(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(text) => Some(text),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn shown(entry: &Entry) -> String {
    if crate::config::diagnostic::secret_words::is_secret_key(&entry.key) {
        return format!("{}: ***", entry.key);
    }
    format!("{}: {}", entry.key, in_short(&entry.value))
}

fn in_short(node: &Node) -> String {
    match &node.value {
        Value::Null => String::new(),
        Value::Scalar(text) => text.clone(),
        Value::List(list) => {
            format!("[{}]", list.iter().map(in_short).collect::<Vec<_>>().join(", "))
        }
        Value::Map(entries) => format!("{{{}}}", entries.iter().map(shown).collect::<Vec<_>>().join(", ")),
    }
}
