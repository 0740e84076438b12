//! The `postgres` kind: the server, a login, and the role that the server must have.

use super::{KEYS, PostgresCheck, PostgresLogin, ROLES};
use crate::check::kinds::tls::read as tls;
use crate::check::target::Dial;
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::{Around, NamedTarget, address};
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Table, expected, short, value};
use crate::config::secret;

/// The database that every server has.
const DATABASE: &str = "postgres";
/// NAMEDATALEN of PostgreSQL, the NUL at the end not counted.
const LONGEST_NAME: usize = 63;

/// `postgres: "host:port"`, or `postgres: {address: "host:port"}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<PostgresCheck> {
    if let Value::Scalar(url) = &node.value
        && (url.starts_with("postgres://") || url.starts_with("postgresql://"))
    {
        // It may have a password in it.
        report.redact(node.span);
        report
            .error(node.span, "expected a host and port, found a connection URI")
            .hint("write its parts as keys: `postgres: {address: \"host:port\", user: …, database: …}`");
        return None;
    }
    let Value::Map(_) = &node.value else {
        let (NamedTarget { target, host }, unix) = address(node, key, around, report)?;
        let dial = Dial { unix, proxy: None };
        return Some(PostgresCheck { target, dial, host, login: None, tls: None });
    };
    let mut table = Table::open(node, &KEYS, "`postgres`", key, report)?;
    let place = table.required(
        "address",
        "the server: `address: \"127.0.0.1:5432\"`",
        report,
        |node, key, report| address(node, key, around, report),
    );
    let user = table.field("user", report, name);
    let login = login(&mut table, user, report);
    let tls = table.field("tls", report, |node, key, report| {
        const WHAT: &str = "`true`, `false` or a map of TLS options";
        value::switch(node, key, WHAT, report, |report| tls::options(node, key, report))
    });
    table.finish(report);
    let (NamedTarget { target, host }, unix) = place?.value;
    if let (Some(_), Field::Set(tls)) = (&unix, &tls)
        && tls.value.is_some()
    {
        report
            .error(tls.span, "PostgreSQL has no TLS on a unix socket")
            .hint("remove `tls`: what is said on a socket does not leave this host");
        return None;
    }
    Some(PostgresCheck { target, dial: Dial { unix, proxy: None }, host, login: login?, tls: tls.or(None)? })
}

/// All that needs a user.
fn login(table: &mut Table<'_>, user: Field<String>, report: &mut Report) -> Option<Option<PostgresLogin>> {
    let database = table.field("database", report, name);
    let password = secret::of_check(table, report);
    let role = table.field("role", report, |node, key, report| value::choice(node, key, &ROLES, report));
    let unused = [
        ("database", database.set().map(|field| field.span)),
        ("password", password.set().map(|field| field.span)),
        ("role", role.set().map(|field| field.span)),
    ];
    if user == Field::Absent {
        let mut right = Some(None);
        for (key, span) in unused {
            let Some(span) = span else { continue };
            report
                .error(span, format!("`{key}` is of no use without a `user`"))
                .hint("add `user: …`, to log in as");
            right = None;
        }
        // What is broken was reported.
        database.optional()?;
        password.optional()?;
        role.optional()?;
        return right;
    }
    Some(Some(PostgresLogin {
        database: database.or_else(|| DATABASE.to_owned())?,
        password: password.optional()?,
        role: role.or(None)?,
        user: user.optional()??,
    }))
}

/// The name of a user or a database, as it is: PostgreSQL does not fold it.
fn name(node: &Node, key: Span, report: &mut Report) -> Option<String> {
    const WHAT: &str = "a name";
    let name = value::text(node, key, WHAT, report)?;
    if name.is_empty() || name.contains('\0') {
        expected(node, key, WHAT, report);
        return None;
    }
    if name.len() > LONGEST_NAME {
        report
            .error(node.span, format!("`{}` is too long for a name", short(name)))
            .hint(format!("PostgreSQL allows {LONGEST_NAME} bytes"));
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::kinds::postgres::PostgresRole;
    use crate::check::password::{Password, PasswordSource};
    use crate::check::target::Target;
    use crate::check::tls::TlsOptions;
    use crate::config::parse;
    use crate::config::tests::asked;

    fn postgres() -> PostgresCheck {
        PostgresCheck {
            target: Target { host: "db.example".into(), port: 5432 },
            dial: Dial::PLAIN,
            host: "db.example".into(),
            login: None,
            tls: None,
        }
    }

    fn login() -> PostgresLogin {
        PostgresLogin { user: "health".into(), database: "postgres".into(), password: None, role: None }
    }

    #[test]
    fn what_is_asked_is_read() {
        let read = asked::<PostgresCheck>;
        assert_eq!(read("postgres: \"db.example:5432\""), postgres());
        assert_eq!(
            read("postgres: {address: \"db.example:5432\", tls: true}"),
            PostgresCheck { tls: Some(TlsOptions::default()), ..postgres() }
        );
        let unix = read("postgres: \"unix:/run/postgresql/.s.PGSQL.5432\"").dial.unix;
        assert_eq!(unix.as_deref(), Some("/run/postgresql/.s.PGSQL.5432"));
        let login_of = |more: &str| {
            read(&format!("postgres: {{address: \"db.example:5432\", user: health{more}}}")).login
        };
        assert_eq!(login_of(""), Some(login()));
        assert_eq!(login_of(", role: any"), Some(login()));
        let password = PasswordSource::Written(Password::new(b"hunter2").unwrap());
        assert_eq!(
            login_of(", database: shop, password: hunter2, role: primary"),
            Some(PostgresLogin {
                database: "shop".into(),
                password: Some(password),
                role: Some(PostgresRole::Primary),
                ..login()
            })
        );
        assert_eq!(
            login_of(", role: replica"),
            Some(PostgresLogin { role: Some(PostgresRole::Replica), ..login() })
        );
    }

    /// ServerMessage and hint of the first error.
    fn mistake(written: &str) -> (String, String) {
        let text = format!(
            "local_as: 65001\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nchecks: {{up: {{{written}}}}}\n\
             services: {{web: {{vips: [198.51.100.1], checks: [up]}}}}\n"
        );
        let found = parse("test.yaml", &text).expect_err("it is a mistake");
        assert!(!found.to_string().contains("hunter2"), "{found}");
        assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        let first = found.iter().next().expect("it says which");
        (first.message.clone(), first.hint.clone().unwrap_or_default())
    }

    #[test]
    fn each_mistake_is_answered_with_what_to_write() {
        let long = "x".repeat(64);
        let table = [
            ("postgres: {}", "`address` is missing", "the server: `address: \"127.0.0.1:5432\"`"),
            (
                "postgres: db.example",
                "expected a host and port, found `db.example`",
                "add the port: `\"db.example:8080\"`",
            ),
            (
                "postgres: \"postgresql://u:hunter2@db.example/shop\"",
                "expected a host and port, found a connection URI",
                "write its parts as keys: `postgres: {address: \"host:port\", user: …, database: …}`",
            ),
            (
                "postgres: {address: \"a:1\", role: primary}",
                "`role` is of no use without a `user`",
                "add `user: …`, to log in as",
            ),
            (
                "postgres: {address: \"a:1\", database: shop}",
                "`database` is of no use without a `user`",
                "add `user: …`, to log in as",
            ),
            (
                "postgres: {address: \"a:1\", password: hunter2}",
                "`password` is of no use without a `user`",
                "add `user: …`, to log in as",
            ),
            (
                "postgres: {address: \"a:1\", user: u, role: master}",
                "expected `any`, `primary` or `replica`, found `master`",
                "",
            ),
            ("postgres: {address: \"a:1\", user: \"\"}", "expected a name, found an empty text", ""),
            ("postgres: {address: \"a:1\", username: u}", "unknown key `username`", "did you mean `user`?"),
            (
                "postgres: {address: \"a:1\", dbname: u}",
                "unknown key `dbname`",
                "it is called `database` here",
            ),
            (
                "postgres: {address: \"a:1\", user: u, password: hunter2, password_credential: pg}",
                "`password` and `password_credential` exclude each other",
                "a check has one password",
            ),
            (
                "postgres: {address: \"unix:/run/pg\", tls: true}",
                "PostgreSQL has no TLS on a unix socket",
                "remove `tls`: what is said on a socket does not leave this host",
            ),
        ];
        for (written, message, hint) in table {
            assert_eq!(mistake(written), (message.to_owned(), hint.to_owned()), "{written}");
        }
        let (message, hint) = mistake(&format!("postgres: {{address: \"a:1\", user: {long}}}"));
        assert_eq!(
            (&*message, &*hint),
            (&*format!("`{}…` is too long for a name", &long[..40]), "PostgreSQL allows 63 bytes")
        );
    }
}
