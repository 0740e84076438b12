//! The `redis` kind: whom to ask, as whom, and what the server must be.

use std::time::Duration;

use super::{KEYS, ROLES};
use crate::check::kinds::redis::{RedisCheck, WantedRole};
use crate::check::kinds::tls::read as tls;
use crate::check::target::Dial;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::target::{NamedTarget, address, proxy_protocol};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, value};
use crate::config::secret;

/// The least `max_lag`: the server counts in seconds.
const LEAST_LAG: Duration = Duration::from_secs(1);

/// `redis: "host:port"`, or `redis: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<RedisCheck> {
    let Value::Map(_) = &node.value else {
        let (NamedTarget { target, host }, unix) = address(node, key, around, report)?;
        return Some(RedisCheck {
            target,
            dial: Dial { unix, proxy: None },
            host,
            role: None,
            replication: false,
            max_lag: None,
            username: None,
            password: None,
            tls: None,
        });
    };
    let mut table = Table::open(node, &KEYS, "`redis`", key, report)?;
    let place = table.required(
        "address",
        "whom to connect to: `address: \"127.0.0.1:6379\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let role = table.field("role", report, role);
    let replication = table.field("replication", report, value::boolean);
    let max_lag =
        table.field("max_lag", report, |node, key, report| value::duration(node, key, LEAST_LAG, report));
    let username = table.field("username", report, username);
    let password = secret::of_check(&mut table, report);
    let tls = table.field("tls", report, |node, key, report| {
        const WHAT: &str = "`true`, `false` or a map of TLS options";
        value::switch(node, key, WHAT, report, |report| tls::options(node, key, report))
    });
    let proxy = table.field("proxy_protocol", report, proxy_protocol).optional();
    table.finish(report);
    let replication = replication_of(replication, &max_lag, &role, report);
    if let (Field::Set(username), Field::Absent) = (&username, &password) {
        report
            .error(username.span, "`username` is nothing without a password")
            .hint("add `password_file: /path`; a user with `nopass` takes any password");
        return None;
    }
    let (NamedTarget { target, host }, unix) = place?.value;
    Some(RedisCheck {
        target,
        dial: Dial { unix, proxy: proxy? },
        host,
        role: role.or(None)?,
        replication: replication?,
        max_lag: max_lag.optional()?,
        username: username.optional()?,
        password: password.optional()?,
        tls: tls.or(None)?,
    })
}

/// Whether the link to the master matters. A lag of a link that may be down, or of a master, is a mistake.
fn replication_of(
    replication: Field<bool>,
    max_lag: &Field<Duration>,
    role: &Field<Option<WantedRole>>,
    report: &mut Report,
) -> Option<bool> {
    if let (Field::Set(replication), Field::Set(max_lag)) = (&replication, max_lag)
        && !replication.value
    {
        report
            .error(max_lag.span, "`max_lag` needs a link to the master")
            .also(replication.span, "which may be down")
            .hint("remove one of them");
        return None;
    }
    if let Field::Set(role) = role
        && role.value == Some(WantedRole::Master)
    {
        let given = [
            ("replication", replication.set().filter(|field| field.value).map(|field| field.span)),
            ("max_lag", max_lag.set().map(|field| field.span)),
        ];
        let mut right = Some(());
        for (key, span) in given {
            let Some(span) = span else { continue };
            report
                .error(span, format!("`{key}` is about replicas"))
                .also(role.span, "a replica fails here")
                .hint("remove one of them");
            right = None;
        }
        right?;
    }
    replication.or(max_lag.is_given())
}

/// `any` is `None`. The words of older servers get a hint.
fn role(node: &Node, key: Span, report: &mut Report) -> Option<Option<WantedRole>> {
    let meant = match &node.value {
        Value::Scalar(text) => match text.as_str() {
            "slave" | "secondary" | "standby" => Some("replica"),
            "primary" | "leader" => Some("master"),
            _ => None,
        },
        Value::Null | Value::List(_) | Value::Map(_) => None,
    };
    let Some(meant) = meant else { return value::choice(node, key, &ROLES, report) };
    expected(node, key, "`any`, `master` or `replica`", report).hint(format!("write `{meant}`"));
    None
}

fn username(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "the name of a user";
    let name = value::text(node, key, WHAT, report)?;
    if name.is_empty() || name.contains(char::is_whitespace) {
        expected(node, key, WHAT, report);
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests;
