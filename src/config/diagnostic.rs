//! Diagnostics: the errors and warnings of a configuration, each with its place and a hint.
//!
//! A [`Diagnostics`] keeps the text of the files beside the findings, so that it can be rendered long after they were
//! read: `vipcast check` prints it, a refused reload sends it to its client, and both show the same text.

mod render;
mod report;
pub(crate) mod secret_words;
mod source;

use std::collections::BTreeSet;
use std::fmt;

use serde::ser::{Serialize, SerializeSeq, SerializeStruct, Serializer};

pub(crate) use self::report::Report;
use self::source::Source;

/// One of the files that were read, by the order of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId(u32);

/// A stretch of bytes in one of the files; empty where something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The file of the text.
    pub file: FileId,
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

/// Whether the configuration can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably does not do what was meant.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// The file that it is about.
    pub file: FileId,
    /// The offending text; `None` when it is about the file as a whole.
    pub span: Option<Span>,
    /// The error or warning itself: one line, no final period.
    pub message: String,
    /// A few words under the offending text.
    pub label: Option<String>,
    /// The remedy.
    pub hint: Option<String>,
    /// Related places, each with a few words.
    pub secondary: Vec<(Span, String)>,
}

impl Diagnostic {
    /// Puts a few words under the offending text.
    pub(crate) fn label(&mut self, label: impl Into<String>) -> &mut Self {
        self.label = Some(label.into());
        self
    }

    /// Adds the remedy.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds a related place, unless it is the same text (an alias used twice).
    pub(crate) fn also(&mut self, span: Span, label: impl Into<String>) -> &mut Self {
        if self.span != Some(span) {
            self.secondary.push((span, label.into()));
        }
        self
    }
}

/// The findings about a configuration, sorted by file and line, with the text they point into.
///
/// `Display` renders it without colour. It serialises as a list of objects with `severity`, `file`, `line`, `column`,
/// `message`, `label`, `hint` and `related`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    sources: Vec<Source>,
    list: Vec<Diagnostic>,
    unread: usize,
}

impl Diagnostics {
    /// Whether the only errors are files that cannot be read, which may pass: their mode, the disk, a file server. A
    /// file that does not exist is a mistake.
    pub fn may_pass(&self) -> bool {
        self.unread > 0 && self.unread == self.count(Severity::Error)
    }

    /// The findings in the order of the files.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there are no findings.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The number of findings with a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.list.iter().filter(|d| d.severity == severity).count()
    }

    /// The name of a file, as it was given to [`super::load`] or [`super::parse`].
    pub fn file_name(&self, file: FileId) -> &str {
        &self.source(file).name
    }

    /// The text of a file; empty if it could not be read.
    pub fn text(&self, file: FileId) -> &str {
        &self.source(file).text
    }

    /// Line and column where a span begins, both from 1, the column in characters.
    pub fn position(&self, span: Span) -> (usize, usize) {
        self.source(span.file).position(span.start)
    }

    /// The text for people, with the offending lines, ending in a line that counts (`5 errors in vipcast.yaml`).
    /// With `colour`, ANSI escape sequences are put in; nothing is said by colour alone.
    pub fn render(&self, colour: bool) -> String {
        render::render(self, colour)
    }

    /// The findings in one line, for the log: `FILE:LINE:COLUMN: message (hint); …`, the first few of them.
    pub fn in_line(&self) -> String {
        /// More belongs on a screen: `vipcast check`.
        const SHOWN: usize = 8;
        let finding = |diagnostic: &Diagnostic| {
            let file = self.file_name(diagnostic.file);
            let place = diagnostic.span.map(|span| self.position(span));
            let place = place.map(|(line, column)| format!(":{line}:{column}")).unwrap_or_default();
            let hint = diagnostic.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{file}{place}: {}{hint}", diagnostic.message)
        };
        let mut findings: Vec<String> = self.list.iter().take(SHOWN).map(finding).collect();
        if let Some(more) = self.list.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            findings.push(format!("and {more} more"));
        }
        findings.join("; ")
    }

    /// The last line of [`Self::render`]: the number of errors and warnings, and the file.
    pub fn summary(&self) -> String {
        let counted = [(Severity::Error, "error"), (Severity::Warning, "warning")]
            .into_iter()
            .filter_map(|(severity, word)| match self.count(severity) {
                0 => None,
                1 => Some(format!("1 {word}")),
                n => Some(format!("{n} {word}s")),
            })
            .collect::<Vec<_>>();
        if counted.is_empty() {
            return String::from("no errors");
        }
        let files: BTreeSet<FileId> = self.list.iter().map(|d| d.file).collect();
        let place = match files.first() {
            Some(only) if files.len() == 1 => file_part(self.file_name(*only)).to_owned(),
            _ => format!("{} files", files.len()),
        };
        format!("{} in {place}", counted.join(", "))
    }

    fn source(&self, file: FileId) -> &Source {
        &self.sources[file.0 as usize]
    }
}

/// `vipcast.yaml` of `/etc/vipcast/vipcast.yaml`.
fn file_part(path: &str) -> &str {
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(path)
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Diagnostics {}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Serialize for Diagnostics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.list.len()))?;
        for diagnostic in self {
            list.serialize_element(&Located(self, diagnostic))?;
        }
        list.end()
    }
}

/// A finding, with the files that its place refers to.
struct Located<'a>(&'a Diagnostics, &'a Diagnostic);

/// An element of `related`.
#[derive(serde::Serialize)]
struct Related<'a> {
    file: &'a str,
    line: usize,
    column: usize,
    message: &'a str,
}

impl Serialize for Located<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(all, diagnostic) = self;
        let position = diagnostic.span.map(|span| all.position(span));
        let related: Vec<Related<'_>> = diagnostic
            .secondary
            .iter()
            .map(|(span, message)| {
                let (line, column) = all.position(*span);
                Related { file: all.file_name(span.file), line, column, message }
            })
            .collect();
        let mut object = serializer.serialize_struct("Diagnostic", 8)?;
        object.serialize_field("severity", &diagnostic.severity)?;
        object.serialize_field("file", all.file_name(diagnostic.file))?;
        object.serialize_field("line", &position.map(|(line, _)| line))?;
        object.serialize_field("column", &position.map(|(_, column)| column))?;
        object.serialize_field("message", &diagnostic.message)?;
        object.serialize_field("label", &diagnostic.label)?;
        object.serialize_field("hint", &diagnostic.hint)?;
        object.serialize_field("related", &related)?;
        object.end()
    }
}
