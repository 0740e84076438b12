//! The `mysql` kind: whom to ask, as whom, and whether the server takes writes.

use super::KEYS;
use crate::check::kinds::mysql::MysqlCheck;
use crate::check::kinds::tls::read as tls;
use crate::check::target::Dial;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::target::{NamedTarget, address, proxy_protocol};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, value};
use crate::config::secret;

/// `mysql: "host:port"`, or `mysql: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<MysqlCheck> {
    let Value::Map(_) = &node.value else {
        let (NamedTarget { target, host }, unix) = address(node, key, around, report)?;
        let dial = Dial { unix, proxy: None };
        return Some(MysqlCheck {
            target,
            dial,
            host,
            user: None,
            password: None,
            read_only: None,
            tls: None,
        });
    };
    let mut table = Table::open(node, &KEYS, "`mysql`", key, report)?;
    let place = table.required(
        "address",
        "whom to connect to: `address: \"127.0.0.1:3306\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let user = table.field("user", report, user);
    let password = secret::of_check(&mut table, report);
    let read_only = table.field("read_only", report, value::boolean);
    let tls = table.field("tls", report, |node, key, report| {
        const WHAT: &str = "`true`, `false` or a map of TLS options";
        value::switch(node, key, WHAT, report, |report| tls::options(node, key, report))
    });
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let needs_user = [
        ("a password", password.set().map(|field| field.span)),
        ("`read_only`", read_only.set().map(|field| field.span)),
    ];
    let needs_user = needs_user.into_iter().filter_map(|(what, span)| Some((what, span?)));
    let mut right = Some(());
    for (what, span) in needs_user.filter(|_| matches!(user, Field::Absent)) {
        report
            .error(span, format!("{what} needs a user to log in"))
            .hint("add `user: vipcast`; a user without any privilege will do");
        right = None;
    }
    right?;
    let (NamedTarget { target, host }, unix) = place?.value;
    Some(MysqlCheck {
        target,
        dial: Dial { unix, proxy: proxy? },
        host,
        user: user.optional()?,
        password: password.optional()?,
        read_only: read_only.optional()?,
        tls: tls.or(None)?,
    })
}

fn user(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    /// MariaDB has 128 characters, MySQL 32.
    const LONGEST: usize = 128;
    const WHAT: &str = "the name of a user, 1 to 128 characters";
    let name = value::text(node, key, WHAT, report)?;
    if !(1..=LONGEST).contains(&name.chars().count()) || name.contains('\0') {
        expected(node, key, WHAT, report);
        return None;
    }
    if let Some((name, host)) = name.split_once('@') {
        report
            .warning(node.span, "the host of an account is where we come from, and no part of the name")
            .hint(format!("write `{name}`; the server looks for `'{name}'@'{host}'` by itself"));
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
