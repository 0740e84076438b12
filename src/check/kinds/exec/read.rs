//! Reads the `exec` kind: a program, its user, its directory and its environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::KEYS;
use crate::check::kinds::exec::{Environment, ExecCheck};
use crate::config::diagnostic::{Report, Span};
use crate::config::host::{GroupUse, Need};
use crate::config::read::target::Around;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Placed, Table, expected, list_of, map_of, short, value};

/// `exec: {command: [program, argument, …]}` or `exec: {shell: "…"}`.
pub(super) fn read(node: &Node, key: Span, _: &Around, report: &mut Report) -> Option<ExecCheck> {
    if let Value::Scalar(line) = &node.value {
        expected(node, key, "`exec` as a map of keys and values", report)
            .hint(format!("write `exec: {{shell: \"{}\"}}`", short(line)));
        return None;
    }
    let mut table = Table::open(node, &KEYS, "`exec`", key, report)?;
    let command = table.field("command", report, command);
    let shell = table.field("shell", report, shell);
    let user = table.field("user", report, user).optional();
    let group = table.field("group", report, group).optional();
    let directory = table.field("directory", report, directory).optional();
    let environment = table.field("environment", report, environment).or_else(Environment::default);
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
    Some(ExecCheck {
        command: command?,
        user: user?,
        group: group?,
        directory: directory?,
        environment: environment?,
        // Known when the services are read: `tell`.
        services: BTreeSet::new(),
        vips: BTreeSet::new(),
    })
}

pub(crate) fn command(node: &Node, key: Span, report: &mut Report) -> Option<Vec<String>> {
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
    if let Some([_, script]) = list.windows(2).find(|pair| pair[0].value == "-c") {
        look_at_variables(script.span, report);
    }
    Some(list.into_iter().map(|word| word.value).collect())
}

/// A program is named by its whole path.
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
    report.needs(program.span, Need::Program(program.value.clone().into()));
    Some(())
}

pub(crate) fn shell(node: &Node, key: Span, report: &mut Report) -> Option<Vec<String>> {
    let line = value::text(node, key, "a line for /bin/sh", report)?;
    let line = without_nul(line, node.span, report)?;
    if line.trim().is_empty() {
        report.error(node.span, "the shell line is empty").hint("write a line for /bin/sh");
        return None;
    }
    look_at_variables(node.span, report);
    Some(vec![String::from("/bin/sh"), String::from("-c"), line])
}

/// A shell has variables of its own, with the same sign.
fn look_at_variables(script: Span, report: &mut Report) {
    if report.is_filled(script) {
        report
            .warning(script, "vipcast fills in the `${…}` of this script, not the shell")
            .hint("write `$${…}` for the shell's; pass others to it in `environment`");
    }
}

/// Arguments end at a NUL, so none can hold one.
fn without_nul(text: &str, span: Span, report: &mut Report) -> Option<String> {
    if text.contains('\0') {
        report.error(span, "a command cannot contain a NUL character").hint("remove `\\0`");
        return None;
    }
    Some(text.to_owned())
}

pub(crate) fn user(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    let name = value::text(node, key, "the name of a user", report)?;
    report.needs(node.span, Need::User(name.to_owned()));
    Some(name.to_owned())
}

pub(crate) fn group(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    let name = value::text(node, key, "the name of a group", report)?;
    report.needs(node.span, Need::Group(name.to_owned(), GroupUse::Exec));
    Some(name.to_owned())
}

pub(crate) fn directory(node: &Node, key: Span, report: &mut Report) -> Option<PathBuf> {
    let path = value::absolute_path(node, key, report)?;
    report.needs(node.span, Need::Directory(path.clone()));
    Some(path)
}

/// Names and values; the values may be secrets, and are not shown.
pub(crate) fn environment(node: &Node, key: Span, report: &mut Report) -> Option<Environment> {
    /// The prefix of the variables that vipcast sets.
    const OURS: &str = "VIPCAST_";
    if !matches!(node.value, Value::Map(_)) {
        report.redact(node.span);
    }
    let entries = map_of(node, key, "a map of names and values", report)?;
    let mut environment = BTreeMap::new();
    let mut right = true;
    for entry in entries {
        report.redact(entry.value.span);
        let name = entry.key.as_str();
        let mut characters = name.chars();
        let begins = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !begins || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            report
                .error(entry.key_span, format!("`{}` cannot be the name of a variable", short(name)))
                .hint("a name has letters, digits and `_`, and does not begin with a digit");
            right = false;
        } else if name.starts_with(OURS) {
            report
                .error(entry.key_span, format!("`{}` is for vipcast to set", short(name)))
                .hint("use a name that does not begin with `VIPCAST_`");
            right = false;
        }
        let value = match &entry.value.value {
            Value::Scalar(value) => value,
            Value::Null | Value::List(_) | Value::Map(_) => {
                report
                    .error(entry.key_span, format!("the value of `{}` is not a text", short(name)))
                    .hint("an empty one is written `\"\"`");
                right = false;
                continue;
            }
        };
        if value.contains('\0') {
            report
                .error(entry.key_span, format!("the value of `{}` has a NUL character in it", short(name)))
                .hint("remove `\\0`");
            right = false;
        }
        environment.insert(name.to_owned(), value.clone());
    }
    right.then_some(Environment(environment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::probe::tests::definition_of;
    use crate::config::tests::{asked, config};

    #[test]
    fn what_is_run_is_read() {
        let exec = |command: &[&str], user| ExecCheck {
            command: command.iter().map(|word| String::from(*word)).collect(),
            user,
            services: ["web".into()].into(),
            vips: ["198.51.100.1".parse::<std::net::IpAddr>().unwrap().into()].into(),
            ..ExecCheck::default()
        };
        let words = exec(&["/bin/sh", "-c", "1", "true"], None);
        assert_eq!(asked::<ExecCheck>("exec: {command: [/bin/sh, -c, 1, true]}"), words);
        let line = exec(&["/bin/sh", "-c", "a | b"], Some("root".to_owned()));
        assert_eq!(asked::<ExecCheck>("exec: {shell: \"a | b\", user: root}"), line);
    }

    #[test]
    fn a_program_is_told_of_every_service_that_names_its_check_and_of_their_vips() {
        let config = config(
            "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
checks:
  up: {exec: {command: [/bin/true], environment: {A: 1, B: \"\"}, directory: /, group: root}}
  alone: {exec: {shell: \"true\"}}
services:
  web: {vips: [198.51.100.1, \"2001:db8::1\"], checks: [{any: [up, alone]}]}
  db: {vips: [198.51.100.2/32, 198.18.0.0/24], checks: [up]}
",
        );
        let exec = |name: &str| definition_of::<ExecCheck>(&config.checks[name].question);
        let vips = |vips: &[&str]| vips.iter().map(|vip| vip.parse().expect("a prefix")).collect();
        let up = exec("up");
        assert_eq!(up.services, ["db".into(), "web".into()].into());
        let all: BTreeSet<vipcast_node::vip::Vip> =
            vips(&["198.51.100.1/32", "2001:db8::1/128", "198.51.100.2/32", "198.18.0.0/24"]);
        assert_eq!(up.vips, all);
        assert_eq!(up.environment.0, [("A".into(), "1".into()), ("B".into(), String::new())].into());
        assert_eq!(up.directory, Some("/".into()));
        assert_eq!(up.group.as_deref(), Some("root"));
        assert_eq!(exec("alone").services, ["web".into()].into());
        assert_eq!(exec("alone").vips, vips(&["198.51.100.1/32", "2001:db8::1/128"]));
    }
}
