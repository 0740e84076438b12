//! `checks:`, and the `tcp` and `exec` kinds.

mod http;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::diagnostic::{Report, Span};
use super::model::{Check, CheckKind, ExecCheck, Target, TcpCheck, User};
use super::places::Place;
use super::read::{Field, Placed, Table, expected, list_of, short};
use super::tree::{Entry, Node, Value};
use super::{defaults, value};
use crate::names::CheckName;

/// Faster than this, probing is a load test.
const LEAST_INTERVAL: Duration = Duration::from_millis(10);
/// More results in a row than this are a mistake.
const MOST_IN_A_ROW: u32 = 1000;

/// Reads every check. `None` when one of them is wrong.
pub(super) fn read(entries: &[&Entry], report: &mut Report) -> Option<BTreeMap<CheckName, Check>> {
    let checks: Vec<Option<(CheckName, Check)>> = entries
        .iter()
        .map(|entry| {
            let named = value::name(entry, "check", report);
            let check = check(entry, report)?;
            named.then(|| (CheckName::from(entry.key.as_str()), check))
        })
        .collect();
    checks.into_iter().collect()
}

fn check(entry: &Entry, report: &mut Report) -> Option<Check> {
    let mut table = Table::open(&entry.value, Place::Check, "a check", entry.key_span, report)?;
    let kind = kind(&mut table, report);
    let pace = Pace::read(&mut table, report);
    let rise = in_a_row(&mut table, "rise", report);
    let fall = in_a_row(&mut table, "fall", report);
    table.finish(report);
    let pace = pace?;
    Some(Check {
        kind: kind?,
        interval: pace.interval,
        fast_interval: pace.fast_interval,
        timeout: pace.timeout,
        rise: rise?,
        fall: fall?,
    })
}

/// Exactly one of the kinds.
fn kind(table: &mut Table<'_>, report: &mut Report) -> Option<CheckKind> {
    let http = table.field("http", report, http::read);
    let tcp = table.field("tcp", report, tcp);
    let exec = table.field("exec", report, exec);
    let given = usize::from(http.is_given()) + usize::from(tcp.is_given()) + usize::from(exec.is_given());
    match given {
        // Then it is probably one of those.
        0 if table.has_unknown() => None,
        0 => {
            report
                .error(table.span, "the check has no kind")
                .hint("say what to ask: `http: {url: …}`, `tcp: \"host:port\"` or `exec: {command: […]}`");
            None
        }
        1 => {
            let kind = |field: Field<CheckKind>| field.optional().flatten();
            kind(http).or_else(|| kind(tcp)).or_else(|| kind(exec))
        }
        _ => {
            report
                .error(table.span, "the check has more than one kind")
                .hint("make one check of each and list them all in the `checks` of the service");
            None
        }
    }
}

/// How often, and how long.
struct Pace {
    interval: Duration,
    fast_interval: Duration,
    timeout: Duration,
}

impl Pace {
    /// `timeout` and `fast_interval` follow a short `interval` unless they are written.
    fn read(table: &mut Table<'_>, report: &mut Report) -> Option<Self> {
        let least =
            |node: &Node, key, report: &mut Report| value::duration(node, key, LEAST_INTERVAL, report);
        let interval = table.field("interval", report, least);
        let fast_interval = table.field("fast_interval", report, least);
        let timeout = table.field("timeout", report, least);
        let written = interval.set().copied();
        let interval = interval.or(defaults::INTERVAL)?;
        let mut bounded = |field: Field<Duration>, name: &str, default: Duration| match field {
            Field::Set(Placed { value, span }) if value > interval => {
                let shown = value::show_duration(interval);
                let diagnostic =
                    report.error(span, format!("`{name}` is longer than `interval`, which is {shown}"));
                match written {
                    Some(interval) => diagnostic.also(interval.span, "the interval"),
                    None => diagnostic.label("the default interval is shorter"),
                };
                diagnostic.hint(format!(
                    "lower it to {shown} or less, or raise `interval` to {} or more",
                    value::show_duration(value)
                ));
                None
            }
            field @ (Field::Set(_) | Field::Absent | Field::Broken) => field.or(default.min(interval)),
        };
        let fast_interval = bounded(fast_interval, "fast_interval", defaults::FAST_INTERVAL);
        let timeout = bounded(timeout, "timeout", defaults::TIMEOUT);
        Some(Self { interval, fast_interval: fast_interval?, timeout: timeout? })
    }
}

/// `rise` or `fall`.
fn in_a_row(table: &mut Table<'_>, key: &'static str, report: &mut Report) -> Option<NonZeroU32> {
    let what = format!("a number of results, 1 to {MOST_IN_A_ROW}");
    let count = table
        .field(key, report, |node, key, report| value::integer(node, key, 1..=MOST_IN_A_ROW, &what, report));
    NonZeroU32::new(count.or(defaults::RISE_FALL)?)
}

/// `tcp: "host:port"`, or `tcp: {address: "host:port"}`.
fn tcp(node: &Node, key: Span, report: &mut Report) -> Option<CheckKind> {
    let target = match &node.value {
        Value::Map(_) => {
            let mut table = Table::open(node, Place::Tcp, "`tcp`", key, report)?;
            let target = table.required(
                "address",
                "whom to connect to: `address: \"127.0.0.1:8080\"`",
                report,
                target,
            );
            table.finish(report);
            target?.value
        }
        Value::Scalar(_) | Value::Null | Value::List(_) => target(node, key, report)?,
    };
    Some(CheckKind::Tcp(TcpCheck { target }))
}

/// `host:port`, `192.0.2.1:80` or `[2001:db8::1]:80`.
fn target(node: &Node, key: Span, report: &mut Report) -> Option<Target> {
    const WHAT: &str = "a host and port";
    let written = value::text(node, key, WHAT, report)?;
    if let Some((host, port)) = written.rsplit_once(':')
        && let Ok(port) = port.parse::<u16>()
        && port != 0
    {
        if let Some(host) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            if host.parse::<std::net::Ipv6Addr>().is_ok() {
                return Some(Target { host: host.to_owned(), port });
            }
        } else if is_host(host) {
            return Some(Target { host: host.to_owned(), port });
        }
    }
    let hint = if written.parse::<std::net::Ipv6Addr>().is_ok() {
        format!("an IPv6 address goes in brackets: `\"[{written}]:8080\"`")
    } else if is_host(written) {
        format!("add the port: `\"{}:8080\"`", short(written))
    } else {
        String::from("write it like `127.0.0.1:8080`, `\"[::1]:8080\"` or `localhost:8080`")
    };
    expected(node, key, WHAT, report).hint(hint);
    None
}

/// Whether a text can be an IPv4 address or a host name.
fn is_host(text: &str) -> bool {
    /// RFC 1035 §2.3.4.
    const LONGEST_NAME: usize = 253;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric {
        return text.parse::<std::net::Ipv4Addr>().is_ok();
    }
    name.len() <= LONGEST_NAME && name.split('.').all(label)
}

/// `exec: {command: [program, argument, …]}` or `exec: {shell: "…"}`.
fn exec(node: &Node, key: Span, report: &mut Report) -> Option<CheckKind> {
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

/// An I/O error in words, without the number that Rust adds.
pub(super) fn io_cause(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((cause, _)) => cause.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_ipv4_addresses() {
        for good in ["localhost", "a.example.", "10.0.0.1", "my_host", "x1"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "10.0.0", "10.0.0.256", "a b", "a..b", "::1", "a/b", "é"] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
