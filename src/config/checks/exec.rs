//! The `exec` kind: a program, and as whom it runs.

use std::os::unix::fs::PermissionsExt;

use super::{Around, io_cause};
use crate::config::diagnostic::{Report, Span};
use crate::config::model::{CheckKind, ExecCheck, User};
use crate::config::places::Place;
use crate::config::read::{Field, Placed, Table, expected, list_of, short};
use crate::config::tree::{Node, Value};
use crate::config::value;

/// `exec: {command: [program, argument, …]}` or `exec: {shell: "…"}`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<CheckKind> {
    if let Value::Scalar(line) = &node.value {
        expected(node, key, "`exec` as a map of keys and values", report)
            .hint(format!("write `exec: {{shell: \"{}\"}}`", short(line)));
        return None;
    }
    let mut table = Table::open(node, Place::Exec, "`exec`", key, report)?;
    let command = table.field("command", report, command);
    let shell = table.field("shell", report, shell);
    let user = table.field("user", report, user).optional();
    table.finish(report);
    let command = match (command, shell) {
        (Field::Absent, Field::Absent) => {
            report
                .error(key, "`exec` does not say what to run")
                .hint("write `command: [/path/to/program, argument]` or `shell: \"…\"`");
            None
        }
        (Field::Set(command), Field::Set(shell)) => {
            report
                .error(shell.span, "`command` and `shell` cannot be given together")
                .also(command.span, "the command")
                .hint("keep one of them");
            None
        }
        (Field::Broken, _) | (_, Field::Broken) => None,
        (Field::Set(command), Field::Absent) | (Field::Absent, Field::Set(command)) => Some(command.value),
    };
    Some(CheckKind::Exec(ExecCheck { command: command?, user: user? }))
}

fn command(node: &Node, key: Span, report: &mut Report) -> Option<Vec<String>> {
    const WHAT: &str = "a list of a program and its arguments";
    if let Value::Scalar(line) = &node.value {
        let words = line.split_whitespace().collect::<Vec<_>>().join(", ");
        expected(node, key, WHAT, report).hint(format!(
            "write `command: [{}]`, or use `shell:` to run a line with /bin/sh",
            short(&words)
        ));
        return None;
    }
    let list = list_of(node, key, WHAT, report, |node, key, report| {
        let word = value::text(node, key, "a word of the command", report)?;
        without_nul(word, node.span, report)
    })?;
    let Some(program) = list.first() else {
        report.error(node.span, "the command is empty").hint("write `command: [/path/to/program, argument]`");
        return None;
    };
    look_at_program(program, report)?;
    Some(list.into_iter().map(|word| word.value).collect())
}

/// A program is named by its whole path, and it should be there.
fn look_at_program(program: &Placed<String>, report: &mut Report) -> Option<()> {
    let name = short(&program.value);
    if !program.value.starts_with('/') {
        if program.value.contains('/') || program.value.is_empty() {
            report
                .error(program.span, format!("`{name}` is not an absolute path"))
                .hint("a path begins with `/`: the daemon has no directory of its own");
            return None;
        }
        report
            .warning(program.span, format!("which `{name}` is run depends on the daemon's PATH"))
            .hint(format!("write its whole path, as `command -v {name}` prints it"));
        return Some(());
    }
    let trouble = match std::fs::metadata(&program.value) {
        Ok(found) if !found.is_file() => String::from("it is not a file"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => String::from("it is not executable"),
        Ok(_) => return Some(()),
        Err(error) => io_cause(&error),
    };
    report
        .warning(program.span, format!("`{name}` cannot be run: {trouble}"))
        .hint("the check fails until it can");
    Some(())
}

fn shell(node: &Node, key: Span, report: &mut Report) -> Option<Vec<String>> {
    let line = value::text(node, key, "a line for /bin/sh", report)?;
    let line = without_nul(line, node.span, report)?;
    if line.trim().is_empty() {
        report.error(node.span, "the shell line is empty").hint("a check that runs nothing always passes");
        return None;
    }
    Some(vec![String::from("/bin/sh"), String::from("-c"), line])
}

/// Arguments end at a NUL, so none can hold one.
fn without_nul(text: &str, span: Span, report: &mut Report) -> Option<String> {
    if text.contains('\0') {
        report.error(span, "a command cannot contain a NUL character").hint("remove `\\0`");
        return None;
    }
    Some(text.to_owned())
}

fn user(node: &Node, key: Span, report: &mut Report) -> Option<User> {
    let name = value::text(node, key, "the name of a user", report)?;
    match nix::unistd::User::from_name(name) {
        Ok(Some(user)) => Some(User { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
        Ok(None) => {
            report
                .error(node.span, format!("there is no user `{}` on this host", short(name)))
                .hint("`getent passwd` lists the users; leave `user` out to run as the daemon");
            None
        }
        Err(errno) => {
            report.error(node.span, format!("cannot look up the user `{}`: {}", short(name), errno.desc()));
            None
        }
    }
}
