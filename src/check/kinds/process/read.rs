//! Reads the `process` kind: a process by its id, or by a file with its id.

use super::KEYS;
use crate::check::kinds::process::{ProcessCheck, WhichProcess};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, short, value};

/// `process: {pid_file: /run/x.pid}` or `process: {pid: 1234}`, and an optional `name`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<ProcessCheck> {
    if let Value::Scalar(written) = &node.value {
        let written = short(written);
        let hint = if written.starts_with('/') {
            format!("write `process: {{pid_file: \"{written}\"}}`")
        } else {
            String::from("write `process: {pid_file: /run/….pid}`")
        };
        expected(node, key, "`process` as a map of keys and values", report).hint(hint);
        return None;
    }
    let mut table = Table::open(node, &KEYS, "`process`", key, report)?;
    let file = table.field("pid_file", report, value::absolute_path);
    let pid = table.number("pid", "the id of a process", report);
    let name = table.field("name", report, name).optional();
    table.finish(report);
    let process = match (file, pid) {
        (Field::Absent, Field::Absent) => {
            report
                .error(key, "`process` does not say which process")
                .hint("write `pid_file: /run/….pid`, or `pid: 1234`");
            return None;
        }
        (Field::Set(file), Field::Set(pid)) => {
            report
                .error(pid.span, "`pid_file` and `pid` cannot be given together")
                .also(file.span, "the file")
                .hint("keep `pid_file`: it stays valid after a restart of the service");
            return None;
        }
        (Field::Broken, _) | (_, Field::Broken) => return None,
        (Field::Set(file), Field::Absent) => WhichProcess::File(file.value),
        (Field::Absent, Field::Set(pid)) => WhichProcess::Pid(pid.value),
    };
    Some(ProcessCheck { process, name: name? })
}

/// The name of a command or of a program's file, not a path.
fn name(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "the name of a program";
    let name = value::text(node, key, WHAT, report)?;
    if let Some((_, last)) = name.rsplit_once('/')
        && !last.is_empty()
    {
        expected(node, key, WHAT, report).hint(format!("write it without the directory: `{}`", short(last)));
        return None;
    }
    if name.is_empty() || name.contains(char::is_control) || name.contains('/') {
        expected(node, key, WHAT, report).hint("`ps -o comm` shows the names of processes");
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::config::tests::asked;

    #[test]
    fn what_is_asked_is_read() {
        let nginx =
            ProcessCheck { process: WhichProcess::File("/run/x.pid".into()), name: Some("nginx".into()) };
        assert_eq!(asked::<ProcessCheck>("process: {pid_file: /run/x.pid, name: nginx}"), nginx);
        let any = ProcessCheck { process: WhichProcess::Pid(NonZeroU32::new(1234).unwrap()), name: None };
        assert_eq!(asked::<ProcessCheck>("process: {pid: 1234}"), any);
    }
}
