//! What must be in an answer: `expect: "PONG"`, or `expect: {regex: "^PONG"}`.

use crate::config::diagnostic::{Report, Span};
use crate::config::model::Pattern;
use crate::config::places::Place;
use crate::config::read::{Table, expected};
use crate::config::tree::{Node, Value};
use crate::config::value;

/// A text, or a map with a regular expression.
pub(super) fn pattern(node: &Node, key: Span, report: &mut Report) -> Option<Pattern> {
    match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, Place::Pattern, "what is expected", key, report)?;
            let regex = table.required("regex", "an expression: `{regex: \"^ok\"}`", report, regex);
            table.finish(report);
            Some(regex?.value)
        }
        Value::Scalar(text) if !text.is_empty() => Some(Pattern::Text(text.clone())),
        Value::Scalar(_) | Value::Null | Value::List(_) => {
            expected(node, key, "a text, or `{regex: \"…\"}`", report);
            None
        }
    }
}

fn regex(node: &Node, key: Span, report: &mut Report) -> Option<Pattern> {
    const WHAT: &str = "a regular expression";
    let written = value::text(node, key, WHAT, report)?;
    if written.is_empty() {
        expected(node, key, WHAT, report);
        return None;
    }
    match Pattern::regex(written) {
        Ok(pattern) => Some(pattern),
        Err(cause) => {
            let diagnostic = report.error(node.span, format!("bad expression: {cause}"));
            diagnostic.hint(match cause.contains("size limit") {
                true => "use fewer or smaller repetitions like `{100}`",
                false => "in single quotes a `\\` is what it is; the syntax is that of the crate regex-lite",
            });
            None
        }
    }
}
