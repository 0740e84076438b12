//! Findings as text for people, drawn by `annotate-snippets`.

use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Diagnostic, Diagnostics, Severity, Source, Span};

/// Findings beyond this many are only counted.
pub(super) const SHOWN: usize = 100;

/// The width of a line, in columns.
const WIDTH: usize = 80;

/// Two places at most this many lines, and bytes, apart are shown in one snippet.
const NEAR: usize = 8;
const NEAR_BYTES: usize = 4096;

/// Lines together longer than this, in bytes, are shown from so many before the place to as many behind it: what the
/// renderer does grows with what it is given, and a generated file may be a single line.
const LONG: usize = 2 * NEAR_BYTES;
const AROUND: usize = 120;

pub(super) fn render(all: &Diagnostics, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
    let mut text = String::new();
    for diagnostic in all.iter().take(SHOWN) {
        let (finding, cut) = finding(all, diagnostic);
        let mut report = vec![finding];
        if let Some(hint) = &diagnostic.hint {
            let hint = wrap(&normalize_untrusted_str(hint), WIDTH - "hint: ".len());
            report.push(Group::with_title(Level::HELP.with_name("hint").secondary_title(hint)));
        }
        let mut rendered = renderer.render(&report);
        for Cut { shown, right } in cut {
            rendered = rendered.replacen(&shown, &right, 1);
        }
        text.push_str(&rendered);
        text.push_str("\n\n");
    }
    if let Some(more) = all.list.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("… and {more} more\n\n"));
    }
    text.push_str(&all.summary());
    text.push('\n');
    text
}

/// A place as the renderer shows it where a line was cut, because it counts columns from the cut, and as it is.
struct Cut {
    shown: String,
    right: String,
}

/// The message and the lines that it is about.
fn finding<'a>(all: &'a Diagnostics, diagnostic: &'a Diagnostic) -> (Group<'a>, Vec<Cut>) {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    let Some(primary) = diagnostic.span else {
        return (group.element(Origin::path(all.file_name(diagnostic.file))), Vec::new());
    };
    let primary = Marked { kind: AnnotationKind::Primary, span: primary, label: diagnostic.label.as_deref() };
    let mut clusters = vec![vec![primary]];
    for (span, label) in &diagnostic.secondary {
        let marked = Marked { kind: AnnotationKind::Context, span: *span, label: Some(label) };
        if is_near(all, &clusters[0][0], &marked) {
            clusters[0].push(marked);
        } else {
            clusters.push(vec![marked]);
        }
    }
    let (snippets, cuts): (Vec<_>, Vec<_>) =
        clusters.iter().map(|cluster| snippet(all.source(cluster[0].span.file), cluster)).unzip();
    (group.elements(snippets), cuts.into_iter().flatten().collect())
}

/// A span to underline.
struct Marked<'a> {
    kind: AnnotationKind,
    span: Span,
    label: Option<&'a str>,
}

fn is_near(all: &Diagnostics, a: &Marked<'_>, b: &Marked<'_>) -> bool {
    a.span.file == b.span.file
        && a.span.start.abs_diff(b.span.start) <= NEAR_BYTES
        && all.position(a.span).0.abs_diff(all.position(b.span).0) <= NEAR
}

/// The lines from the first mark to the last. Only they are handed to the renderer, whose work grows with its input;
/// of very long ones, what is around the marks.
fn snippet<'a>(source: &'a Source, marks: &[Marked<'a>]) -> (Element<'a>, Option<Cut>) {
    let lines: Vec<usize> = marks.iter().map(|mark| source.position(mark.span.start).0).collect();
    let first = lines.iter().copied().min().unwrap_or(1);
    let last = lines.iter().copied().max().unwrap_or(first);
    let whole = source.line_starts[first - 1]..line_end(source, last);
    let is_long = whole.len() > LONG;
    let Range { start: from, end: to } = if is_long { around(source, marks, &whole) } else { whole };
    let annotations = marks.iter().zip(&lines).map(|(mark, line)| {
        let Range { start, end } = on_one_line(source, mark.span, *line);
        mark.kind.span(start - from..end.min(to) - from).label(mark.label)
    });
    let snippet = Snippet::source(&source.text[from..to])
        .path(&*source.name)
        .line_start(first)
        .annotations(annotations);
    let cut = is_long.then(|| {
        let ((line, column), (cut_line, cut_at)) =
            (source.position(marks[0].span.start), source.position(from));
        let shown = if line == cut_line { column - cut_at + 1 } else { column };
        let place = |column: usize| format!("{}:{line}:{column}", source.name);
        Cut { shown: place(shown), right: place(column) }
    });
    (snippet.into(), cut)
}

/// The part of very long lines that is around the marks.
fn around(source: &Source, marks: &[Marked<'_>], lines: &Range<usize>) -> Range<usize> {
    let starts = || marks.iter().map(|mark| mark.span.start.clamp(lines.start, lines.end));
    let first = starts().min().unwrap_or(lines.start).saturating_sub(AROUND).max(lines.start);
    let last = (starts().max().unwrap_or(lines.end) + AROUND).min(lines.end);
    let boundary = |at: &usize| source.text.is_char_boundary(*at);
    let from = (lines.start..=first).rev().find(boundary).unwrap_or(lines.start);
    from..(last..=lines.end).find(boundary).unwrap_or(lines.end)
}

/// A span that goes on over several lines is underlined on its first; an empty one at the end of the text is drawn there.
fn on_one_line(source: &Source, span: Span, line: usize) -> Range<usize> {
    let end_of_line = line_end(source, line);
    let start = span.start.min(end_of_line);
    let trimmed = source.text[start..span.end.clamp(start, end_of_line)].trim_end();
    start..start + trimmed.len()
}

/// Offset of the end of a line, its newline not included.
fn line_end(source: &Source, line: usize) -> usize {
    let next = source.line_starts.get(line).map_or(source.text.len(), |next| next - 1);
    let start = source.line_starts[line - 1];
    start + source.text[start..next].trim_end_matches('\r').len()
}

/// Breaks a text between words so that no line is longer than `width`, unless a word is.
fn wrap(text: &str, width: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}
