//! What is sent and what must be in the answer: `send`, `send_hex`, and a text or `{regex: "…"}`.

use crate::check::pattern::{Pattern, Regex};
use crate::config::diagnostic::{Report, Span};
use crate::config::keys::section::section;
use crate::config::keys::shape::SOME_TEXT;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Placed, Table, expected, short, value};

section! {
    PATTERN("pattern", "in an expression") {
        /// an expression that must match, instead of a text
        regex: SOME_TEXT => required() written("[expression](#expressions)") called(&["pattern", "regexp", "re"]);
    }
}

/// `"text"` or `{regex: "…"}`.
pub(crate) fn pattern(node: &Node, key: Span, report: &mut Report) -> Option<Pattern> {
    const WHAT: &str = "a text, or `{regex: \"…\"}`";
    match &node.value {
        Value::Scalar(text) if text.is_empty() => {
            every_answer(node.span, report);
            None
        }
        Value::Scalar(text) => Some(Pattern::Text(text.clone())),
        Value::Map(_) => {
            let mut table = Table::open(node, &PATTERN, WHAT, key, report)?;
            let hint = "what must be in the answer: `regex: \"^OK\"`, or a text instead of the map";
            let regex = table.required("regex", hint, report, regex);
            table.finish(report);
            regex.map(|regex| Pattern::Regex(regex.value))
        }
        Value::Null | Value::List(_) => {
            expected(node, key, WHAT, report);
            None
        }
    }
}

fn regex(node: &Node, key: Span, report: &mut Report) -> Option<Regex> {
    let written = value::text(node, key, "a regular expression", report)?;
    if written.is_empty() {
        every_answer(node.span, report);
        return None;
    }
    match Regex::new(written) {
        Ok(regex) => Some(regex),
        Err(cause) => {
            report
                .error(node.span, format!("`{}` is not a regular expression that we know", short(written)))
                .hint(match cause.contains("size limit") {
                    true => "it becomes too large: use fewer or smaller repetitions like `{100}`".into(),
                    false => cause,
                });
            None
        }
    }
}

fn every_answer(span: Span, report: &mut Report) {
    report
        .error(span, "an empty text is in every answer")
        .hint("say what must be in it, or leave the key out to take any answer");
}

/// `send` or `send_hex`, of at most `most` bytes; never empty.
pub(crate) fn payload(table: &mut Table<'_>, most: usize, report: &mut Report) -> Field<Vec<u8>> {
    let text = table.field("send", report, |node, key, report| {
        let text = value::text(node, key, "a text to send", report)?;
        // Plain and single-quoted scalars take a backslash for what it is.
        if text.ends_with("\\n") || text.ends_with("\\r") {
            report
                .warning(node.span, "this ends in a backslash and a letter, not in the end of a line")
                .hint("YAML knows `\\r\\n` in double quotes only");
        }
        bounded(text.as_bytes().to_vec(), most, node.span, report)
    });
    let hex = table.field("send_hex", report, |node, key, report| {
        let bytes = hex(node, key, report)?;
        bounded(bytes, most, node.span, report)
    });
    match (text, hex) {
        (Field::Set(text), Field::Set(hex)) => {
            report
                .error(hex.span, "`send` and `send_hex` cannot be given together")
                .also(text.span, "the text")
                .hint("keep one of them");
            Field::Broken
        }
        (Field::Broken, _) | (_, Field::Broken) => Field::Broken,
        (Field::Set(Placed { value, span }), Field::Absent)
        | (Field::Absent, Field::Set(Placed { value, span })) => Field::Set(Placed { value, span }),
        (Field::Absent, Field::Absent) => Field::Absent,
    }
}

fn bounded(bytes: Vec<u8>, most: usize, span: Span, report: &mut Report) -> Option<Vec<u8>> {
    if bytes.is_empty() {
        report.error(span, "there is nothing to send").hint("send what the service answers to");
        return None;
    }
    if bytes.len() > most {
        report
            .error(span, format!("{} bytes are too many to send", bytes.len()))
            .hint(format!("the most is {most}"));
        return None;
    }
    Some(bytes)
}

/// Bytes of two hexadecimal digits each, with blanks between them or not.
fn hex(node: &Node, key: Span, report: &mut Report) -> Option<Vec<u8>> {
    const WHAT: &str = "bytes of two hexadecimal digits each";
    let written = value::text(node, key, WHAT, report)?;
    let digits: Option<Vec<u8>> = written
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    match digits {
        Some(digits) if digits.len().is_multiple_of(2) => {
            Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
        }
        Some(_) | None => {
            expected(node, key, WHAT, report).hint("write them like `send_hex: \"1b 00 ff\"`");
            None
        }
    }
}
