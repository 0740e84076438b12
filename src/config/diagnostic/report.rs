//! The findings of the loader while it reads, without the secrets that they quote.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use vipcast_bgp::net::words::io_error;

use super::source::Source;
use super::{Diagnostic, Diagnostics, FileId, Severity, Span, render, secret_words};
use crate::config::host::Need;
use crate::config::variables::{Filled, Unfilled};

/// Collects the findings of the loader.
#[derive(Debug, Default)]
pub(crate) struct Report {
    sources: Vec<Source>,
    list: Vec<Diagnostic>,
    needs: Vec<(Span, Need)>,
    /// Errors that [`Self::unread`] has made.
    unread: usize,
    /// Values in which variables were filled in.
    filled: Vec<(Span, Filled)>,
    /// Values with a variable that cannot be filled in, and their errors; whatever else is wrong with them follows.
    unfilled: Vec<(Span, Diagnostic)>,
}

impl Report {
    /// Makes a file known; its text must be what spans are offsets into.
    pub(crate) fn add_file(&mut self, name: &str, text: &str) -> FileId {
        self.sources.push(Source::new(name, text));
        FileId(u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX))
    }

    /// The text of a file.
    pub(crate) fn text(&self, file: FileId) -> &str {
        &self.sources[file.0 as usize].text
    }

    /// Every user of this host may read or write the file; how bad it is if there is a secret in it.
    pub(crate) fn set_exposed(&mut self, file: FileId, severity: Severity) {
        self.sources[file.0 as usize].exposed = Some(severity);
    }

    pub(crate) fn exposed(&self, file: FileId) -> Option<Severity> {
        self.sources[file.0 as usize].exposed
    }

    /// Hides this text: stars are shown in its place.
    pub(crate) fn redact(&mut self, span: Span) {
        self.sources[span.file.0 as usize].note_secret(span.start..span.end);
    }

    /// Hides possible secrets in a file that could not be parsed: any line of it may be shown.
    pub(crate) fn redact_unparsed(&mut self, file: FileId) {
        let source = &mut self.sources[file.0 as usize];
        for secret in secret_words::in_lines(&source.text) {
            source.note_secret(secret);
        }
    }

    /// Variables were filled in.
    pub(crate) fn filled(&mut self, value: Span, filled: Filled) {
        self.filled.push((value, filled));
    }

    /// A variable in a value cannot be filled in.
    pub(crate) fn unfilled(&mut self, value: Span, unfilled: &Unfilled) {
        let text = &self.sources[value.file.0 as usize].text[value.start..value.end];
        let at = text.find(&unfilled.written).map(|at| value.start + at);
        let span = at.map_or(value, |start| Span { start, end: start + unfilled.written.len(), ..value });
        self.error(span, unfilled.message()).hint(unfilled.hint());
        self.unfilled.extend(self.list.pop().map(|error| (value, error)));
    }

    /// Whether variables were filled in in a value.
    pub(crate) fn is_filled(&self, value: Span) -> bool {
        self.filled.iter().any(|(span, filled)| *span == value && filled.has_variables)
    }

    /// Whether a value, or a part of it, is from the environment, and not in the file.
    pub(crate) fn is_from_environment(&self, value: Span) -> bool {
        self.filled.iter().any(|(span, filled)| *span == value && filled.is_from_environment)
    }

    /// Something is wrong at `span`.
    pub(crate) fn error(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, span.file, Some(span), message.into())
    }

    /// Something is wrong with the file as a whole.
    pub(crate) fn file_error(&mut self, file: FileId, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, file, None, message.into())
    }

    /// The file, or the directory, cannot be read.
    pub(crate) fn unread(&mut self, file: FileId, cause: &io::Error) -> &mut Diagnostic {
        // An error of the kernel may pass, unless it is about the path itself, such as a directory in place of the
        // file.
        let lasts =
            matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory);
        self.unread += usize::from(cause.raw_os_error().is_some() && !lasts);
        let name = Arc::clone(&self.sources[file.0 as usize].name);
        self.file_error(file, format!("cannot read `{name}`: {}", io_error(cause)))
    }

    /// Text at `span` is probably not what the operator meant.
    pub(crate) fn warning(&mut self, span: Span, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, span.file, Some(span), message.into())
    }

    /// The file as a whole is probably not what the operator meant.
    pub(crate) fn file_warning(&mut self, file: FileId, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, file, None, message.into())
    }

    /// Reads again without reporting: the findings were reported by the first reading.
    pub(crate) fn quietly<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let (found, needed) = (self.list.len(), self.needs.len());
        let value = read(self);
        self.list.truncate(found);
        self.needs.truncate(needed);
        value
    }

    /// Notes a requirement on the host, which is verified when everything is read.
    pub(crate) fn needs(&mut self, span: Span, need: Need) {
        self.needs.push((span, need));
    }

    /// The requirements on the host, each once for each place.
    pub(crate) fn take_needs(&mut self) -> Vec<(Span, Need)> {
        let mut needs = std::mem::take(&mut self.needs);
        needs.sort_by_key(|(span, _)| *span);
        // A check with `host: vip` is read once for each VIP.
        needs.dedup();
        needs
    }

    /// Whether there are errors, so that there is no configuration.
    pub(crate) fn has_errors(&self) -> bool {
        !self.unfilled.is_empty() || self.list.iter().any(|d| d.severity == Severity::Error)
    }

    /// Whether there are so many findings that costly hints can be left out.
    pub(crate) fn is_crowded(&self) -> bool {
        self.list.len() >= render::SHOWN
    }

    /// The findings, sorted by file and place; those about a whole file come first. Possible secrets are hidden from
    /// now on.
    pub(crate) fn finish(self) -> Diagnostics {
        let Self { mut sources, mut list, needs: _, unread, filled, mut unfilled } = self;
        unfilled.sort_by_key(|(value, _)| *value);
        list.retain(|diagnostic| !diagnostic.span.is_some_and(|span| is_within(span, &unfilled)));
        list.extend(unfilled.into_iter().map(|(_, error)| error));
        for diagnostic in list.iter_mut() {
            let Some(span) = diagnostic.span else { continue };
            let Some(text) = sources[span.file.0 as usize].text.get(span.start..span.end) else { continue };
            if diagnostic.severity == Severity::Error && has_variable(text) {
                diagnostic.hint(VARIABLES);
            }
        }
        for (value, _) in filled.iter().filter(|(_, filled)| filled.is_secret) {
            sources[value.file.0 as usize].note_secret(value.start..value.end);
        }
        let before: Vec<Source> = sources.clone();
        sources.iter_mut().for_each(Source::hide);
        let filled = filled_secrets(&filled, &sources);
        for diagnostic in list.iter_mut() {
            let mut secrets: Vec<&str> = Vec::new();
            if let Some(span) = diagnostic.span {
                let file = span.file.0 as usize;
                let here = sources[file].secrets_at(span.start..span.end);
                secrets.extend(here.filter_map(|secret| before[file].text.get(secret)));
                let here = filled.iter().filter(|(value, _)| shares_a_byte(*value, span));
                secrets.extend(here.map(|(_, secret)| *secret));
            }
            let texts = [Some(&mut diagnostic.message), diagnostic.label.as_mut(), diagnostic.hint.as_mut()];
            for text in texts.into_iter().flatten() {
                if !secrets.is_empty() {
                    *text = without(text, &secrets);
                }
                // A value may be quoted elsewhere as well.
                for (_, secret) in &filled {
                    if text.contains(secret) {
                        *text = text.replace(secret, "***");
                    }
                }
            }
        }
        list.sort_by_key(|d| (d.file, d.span.map(|span| (span.start, span.end)), d.severity));
        list.dedup();
        Diagnostics { sources, list, unread }
    }

    fn push(
        &mut self,
        severity: Severity,
        file: FileId,
        span: Option<Span>,
        message: String,
    ) -> &mut Diagnostic {
        self.list.push(Diagnostic {
            severity,
            file,
            span,
            message,
            label: None,
            hint: None,
            secondary: Vec::new(),
        });
        let last = self.list.len() - 1;
        &mut self.list[last]
    }
}

/// Whether a place is in one of these values, which are sorted.
fn is_within(span: Span, values: &[(Span, Diagnostic)]) -> bool {
    let behind = values.partition_point(|(value, _)| (value.file, value.start) <= (span.file, span.start));
    behind.checked_sub(1).is_some_and(|at| {
        let (value, _) = &values[at];
        value.file == span.file && span.end <= value.end
    })
}

fn shares_a_byte(one: Span, other: Span) -> bool {
    one.file == other.file && one.start < other.end.max(other.start + 1) && other.start < one.end
}

/// The secrets among values that were filled in: those where the file has a secret, and what else looks like one.
fn filled_secrets<'a>(filled: &'a [(Span, Filled)], sources: &[Source]) -> Vec<(Span, &'a str)> {
    /// A shorter text is in too many others.
    const LEAST: usize = 3;
    let mut secrets = Vec::new();
    for (value, Filled { text, .. }) in filled {
        let source = &sources[value.file.0 as usize];
        if source.secrets_at(value.start..value.end).next().is_some() {
            secrets.push((*value, text.as_str()));
        }
        let mut found = Vec::new();
        secret_words::in_text(text, 0, &mut found);
        secrets.extend(found.into_iter().filter_map(|secret| Some((*value, text.get(secret)?))));
    }
    secrets.retain(|(_, secret)| secret.len() >= LEAST);
    secrets
}

/// The hint for a text with a variable of a shell or template.
const VARIABLES: &str =
    "only `${NAME}` and `${hostname}` are filled in here: no `$NAME`, no commands, no templates";

/// Whether a text has a variable that a shell or a template engine would replace, and we do not.
fn has_variable(text: &str) -> bool {
    let is_name = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '(';
    text.contains("{{")
        || text.contains("<%")
        || text.split('$').skip(1).any(|behind| behind.starts_with(is_name))
}

/// A message in which every quotation of a secret is replaced by stars.
fn without(message: &str, secrets: &[&str]) -> String {
    let is_secret = |quoted: &str| {
        let quoted = quoted.trim_matches(['…', '"', '\'']);
        let shares = |secret: &&str| {
            let secret = secret.trim_matches(['"', '\'']);
            !secret.is_empty() && (quoted.contains(secret) || secret.contains(quoted))
        };
        !quoted.is_empty() && secrets.iter().any(shares)
    };
    // Whatever is quoted stands between backticks.
    let parts = message.split('`').enumerate();
    let parts = parts.map(|(at, part)| if at % 2 == 1 && is_secret(part) { "***" } else { part });
    parts.collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_known_by_their_dollar_or_braces() {
        for variable in ["$HOST", "$(hostname)", "a{{ b }}", "<%= b %>"] {
            assert!(has_variable(variable), "{variable}");
        }
        for text in ["^a$", "$", "a$1", "{a}", "costs 5 $", "${HOST}"] {
            assert!(!has_variable(text), "{text}");
        }
    }

    #[test]
    fn a_message_quotes_no_secret() {
        assert_eq!(without("expected a port, found `SECRET`", &["SECRET"]), "expected a port, found `***`");
        assert_eq!(without("`a` is not `SECR…`", &["\"SECRET\""]), "`a` is not `***`");
        assert_eq!(without("`http://u:X@h` is no URL", &["u:X"]), "`***` is no URL");
        assert_eq!(without("unknown key `password`", &["SECRET"]), "unknown key `password`");
    }
}
