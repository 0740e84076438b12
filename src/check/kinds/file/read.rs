//! Reads the `file` kind: a file that exists, is absent, or changes regularly.

use std::path::PathBuf;
use std::time::Duration;

use super::KEYS;
use crate::check::kinds::file::{FileCheck, FileWanted};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::pattern::pattern;
use crate::config::read::target::Around;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, value};

/// A service that writes a file more often than this should have another kind of check.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// `file: /path`, or `file: {path: /path, …}`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<FileCheck> {
    let present = FileWanted::Present { max_age: None, contains: None };
    let (path, wanted) = match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, &KEYS, "`file`", key, report)?;
            let hint = "which file: `path: /run/service/heartbeat`";
            let path = table.required("path", hint, report, path);
            let wanted = wanted(&mut table, report);
            table.finish(report);
            (path?.value, wanted?)
        }
        Value::Scalar(_) | Value::Null | Value::List(_) => (path(node, key, report)?, present),
    };
    Some(FileCheck { path, wanted })
}

fn path(node: &Node, key: Span, report: &mut Report) -> Option<PathBuf> {
    value::absolute_path(node, key, report)
}

fn wanted(table: &mut Table<'_>, report: &mut Report) -> Option<FileWanted> {
    let present = table.field("present", report, value::boolean);
    let max_age =
        table.field("max_age", report, |node, key, report| value::duration(node, key, LEAST_AGE, report));
    let contains = table.field("contains", report, pattern);
    if let Field::Set(absent) = &present
        && !absent.value
    {
        let others = [
            ("max_age", max_age.set().map(|field| field.span)),
            ("contains", contains.set().map(|field| field.span)),
        ];
        let mut contradiction = false;
        for (key, span) in others {
            let Some(span) = span else { continue };
            contradiction = true;
            report
                .error(span, format!("`{key}` is for a file that is there"))
                .also(absent.span, "this one is not to be")
                .hint(format!("remove `{key}`, or `present: false`"));
        }
        return (!contradiction).then_some(FileWanted::Absent);
    }
    present.or(true)?;
    Some(FileWanted::Present { max_age: max_age.optional()?, contains: contains.optional()? })
}
