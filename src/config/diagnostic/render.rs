//! Findings as text for people, drawn by `annotate-snippets`.

use std::ops::Range;

use annotate_snippets::{
    AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use super::{Diagnostic, Diagnostics, Severity, Source, Span};

/// Findings beyond this many are only counted.
pub(super) const SHOWN: usize = 100;

/// What fits on a line.
const WIDTH: usize = 80;

/// Two places at most this many lines apart are shown in one snippet.
const NEAR: usize = 8;

pub(super) fn render(all: &Diagnostics, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() }.term_width(WIDTH);
    let mut text = String::new();
    for diagnostic in all.iter().take(SHOWN) {
        let mut report = vec![finding(all, diagnostic)];
        if let Some(hint) = &diagnostic.hint {
            let hint = wrap(&normalize_untrusted_str(hint), WIDTH - "hint: ".len());
            report.push(Group::with_title(Level::HELP.with_name("hint").secondary_title(hint)));
        }
        text.push_str(&renderer.render(&report));
        text.push_str("\n\n");
    }
    if let Some(more) = all.list.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("… and {more} more\n\n"));
    }
    text.push_str(&all.summary());
    text.push('\n');
    text
}

/// The message and the lines that it is about.
fn finding<'a>(all: &'a Diagnostics, diagnostic: &'a Diagnostic) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let group = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    let Some(primary) = diagnostic.span else {
        return group.element(Origin::path(all.file_name(diagnostic.file)));
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
    group.elements(clusters.iter().map(|cluster| snippet(all.source(cluster[0].span.file), cluster)))
}

/// A span to underline.
struct Marked<'a> {
    kind: AnnotationKind,
    span: Span,
    label: Option<&'a str>,
}

fn is_near(all: &Diagnostics, a: &Marked<'_>, b: &Marked<'_>) -> bool {
    a.span.file == b.span.file && all.position(a.span).0.abs_diff(all.position(b.span).0) <= NEAR
}

/// The lines from the first mark to the last. Only they are handed to the renderer, whose work grows with its input.
fn snippet<'a>(source: &'a Source, marks: &[Marked<'a>]) -> Element<'a> {
    let lines: Vec<usize> = marks.iter().map(|mark| source.position(mark.span.start).0).collect();
    let first = lines.iter().copied().min().unwrap_or(1);
    let last = lines.iter().copied().max().unwrap_or(first);
    let from = source.line_starts[first - 1];
    let to = line_end(source, last);
    let annotations = marks.iter().zip(&lines).map(|(mark, line)| {
        let Range { start, end } = on_one_line(source, mark.span, *line);
        mark.kind.span(start - from..end - from).label(mark.label)
    });
    Snippet::source(&source.text[from..to])
        .path(&*source.name)
        .line_start(first)
        .annotations(annotations)
        .into()
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
