use super::*;
use crate::check::password::{Password, PasswordSource};
use crate::check::target::{ProxyProtocol, Target};
use crate::check::tls::TlsOptions;
use crate::config::parse;
use crate::config::tests::asked;

fn plain() -> MysqlCheck {
    MysqlCheck {
        target: Target { host: "::1".into(), port: 3306 },
        dial: Dial::PLAIN,
        host: "::1".into(),
        user: None,
        password: None,
        read_only: None,
        tls: None,
    }
}

#[test]
fn what_is_asked_is_read() {
    assert_eq!(asked::<MysqlCheck>("mysql: \"[::1]:3306\""), plain());
    let with = |keys: &str| asked::<MysqlCheck>(&format!("mysql: {{address: \"[::1]:3306\", {keys}}}"));
    assert_eq!(with("tls: false"), plain());
    let user = MysqlCheck { user: Some("probe".into()), ..plain() };
    assert_eq!(with("user: probe"), user);
    let hush = PasswordSource::Written(Password::new(b"hush").expect("a password"));
    assert_eq!(
        with("user: probe, password: hush, read_only: false, tls: {insecure: true}"),
        MysqlCheck {
            password: Some(hush),
            read_only: Some(false),
            tls: Some(TlsOptions { insecure: true, ..TlsOptions::default() }),
            ..user
        }
    );
    let found = asked::<MysqlCheck>("mysql: {address: \"unix:/run/mysqld/mysqld.sock\", proxy_protocol: 1}");
    let dial = Dial { unix: Some("/run/mysqld/mysqld.sock".into()), proxy: Some(ProxyProtocol::V1) };
    assert_eq!(found.dial, dial);
    let shown = format!("{:?}", with("user: probe, password: hush"));
    assert!(!shown.contains("hush"), "{shown}");
}

/// The first thing that is said of a check that is written so, and its hint.
fn said(written: &str) -> (String, String) {
    let text = format!(
        "local_as: 65001\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nchecks: {{up: {{mysql: {written}}}}}\nservices: \
         {{web: {{vips: [198.51.100.1], checks: [up]}}}}\n"
    );
    let found = match parse("test.yaml", &text) {
        Ok(loaded) => loaded.warnings,
        Err(found) => found,
    };
    assert!(!found.to_string().contains("hush"), "{found}");
    let first = found.iter().next().expect("there is one");
    (first.message.clone(), first.hint.clone().unwrap_or_default())
}

#[test]
fn mistakes_have_a_fix() {
    let needs_user = "add `user: vipcast`; a user without any privilege will do";
    let cases = [
        ("localhost", "expected a host and port, found `localhost`", "add the port: `\"localhost:8080\"`"),
        ("{user: a}", "`address` is missing", "whom to connect to: `address: \"127.0.0.1:3306\"`"),
        (
            "{address: \"a:1\", port: 3306}",
            "unknown key `port`",
            "host and port go together: `address: \"127.0.0.1:3306\"`",
        ),
        (
            "{address: \"a:1\", database: shop}",
            "unknown key `database`",
            "the check logs in to the server, not to a database",
        ),
        ("{address: \"a:1\", username: a}", "unknown key `username`", "did you mean `user`?"),
        ("{address: \"a:1\", read_only: true}", "`read_only` needs a user to log in", needs_user),
        ("{address: \"a:1\", password: hush}", "a password needs a user to log in", needs_user),
        (
            "{address: \"a:1\", user: a, read_only: off}",
            "expected `true` or `false`, found `off`",
            "write `false`",
        ),
        (
            "{address: \"a:1\", user: \"\"}",
            "expected the name of a user, 1 to 128 characters, found an empty text",
            "",
        ),
        (
            "{address: \"a:1\", user: \"vipcast@localhost\"}",
            "the host of an account is where we come from, and no part of the name",
            "write `vipcast`; the server looks for `'vipcast'@'localhost'` by itself",
        ),
        (
            "{address: \"a:1\", user: a, password: hush, password_file: /etc/key}",
            "`password` and `password_file` exclude each other",
            "a check has one password",
        ),
    ];
    for (written, message, hint) in cases {
        assert_eq!(said(written), (message.into(), hint.into()), "{written}");
    }
}
