use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use vipcast_node::model::KeyPlace;

use super::*;
use crate::check::password::{Password, PasswordSource};
use crate::check::target::{ProxyProtocol, Target};
use crate::check::tls::TlsOptions;
use crate::config::parse;
use crate::config::tests::asked;

fn plain() -> RedisCheck {
    RedisCheck {
        target: Target { host: "::1".into(), port: 6379 },
        dial: Dial::PLAIN,
        host: "::1".into(),
        role: None,
        replication: false,
        max_lag: None,
        username: None,
        password: None,
        tls: None,
    }
}

#[test]
fn what_is_asked_is_read() {
    assert_eq!(asked::<RedisCheck>("redis: \"[::1]:6379\""), plain());
    let with = |keys: &str| asked::<RedisCheck>(&format!("redis: {{address: \"[::1]:6379\", {keys}}}"));
    assert_eq!(with("role: any, replication: false, tls: false"), plain());
    assert_eq!(with("role: master"), RedisCheck { role: Some(WantedRole::Master), ..plain() });
    assert_eq!(
        with("role: replica, replication: true"),
        RedisCheck { role: Some(WantedRole::Replica), replication: true, ..plain() }
    );
    assert_eq!(
        with("max_lag: 15s"),
        RedisCheck { replication: true, max_lag: Some(Duration::from_secs(15)), ..plain() }
    );
    let hush = PasswordSource::Written(Password::new(b"hush").expect("a password"));
    assert_eq!(
        with("username: probe, password: hush, tls: {insecure: true}"),
        RedisCheck {
            username: Some("probe".into()),
            password: Some(hush),
            tls: Some(TlsOptions { insecure: true, ..TlsOptions::default() }),
            ..plain()
        }
    );
    let path = std::env::temp_dir().join(format!("vipcast-redis-read-{}", std::process::id()));
    fs::write(&path, "hush\n").expect("a temporary file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
    let found = asked::<RedisCheck>(&format!(
        "redis: {{address: \"unix:/run/redis.sock\", password_file: {}, proxy_protocol: 2}}",
        path.display()
    ));
    fs::remove_file(&path).expect("our own file");
    assert_eq!(found.password, Some(PasswordSource::At(KeyPlace::File(path))));
    assert_eq!(found.dial, Dial { unix: Some("/run/redis.sock".into()), proxy: Some(ProxyProtocol::V2) });
    let shown = format!("{:?}", with("password: hush"));
    assert!(!shown.contains("hush"), "{shown}");
}

/// The first error for a check that is written so, and its hint.
fn mistake(written: &str) -> (String, String) {
    let text = format!(
        "local_as: 65001\npeers: {{tor: {{address: 192.0.2.1, peer_as: 65000}}}}\nchecks: {{up: {{redis: {written}}}}}\nservices: \
         {{web: {{vips: [198.51.100.1], checks: [up]}}}}\n"
    );
    let found = parse("test.yaml", &text).expect_err("it is a mistake");
    assert!(!found.to_string().contains("hush"), "{found}");
    let first = found.iter().next().expect("there is one");
    (first.message.clone(), first.hint.clone().unwrap_or_default())
}

#[test]
fn mistakes_have_a_fix() {
    let cases = [
        ("localhost", "expected a host and port, found `localhost`", "add the port: `\"localhost:8080\"`"),
        ("{}", "`address` is missing", "whom to connect to: `address: \"127.0.0.1:6379\"`"),
        (
            "{address: \"a:1\", port: 6379}",
            "unknown key `port`",
            "host and port go together: `address: \"127.0.0.1:6379\"`",
        ),
        ("{address: \"a:1\", db: 3}", "unknown key `db`", "PING and ROLE do not depend on a database"),
        ("{address: \"a:1\", auth: hush}", "unknown key `auth`", "it is called `password` here"),
        (
            "{address: \"a:1\", role: slave}",
            "expected `any`, `master` or `replica`, found `slave`",
            "write `replica`",
        ),
        (
            "{address: \"a:1\", role: primary}",
            "expected `any`, `master` or `replica`, found `primary`",
            "write `master`",
        ),
        (
            "{address: \"a:1\", role: mastr}",
            "expected `any`, `master` or `replica`, found `mastr`",
            "did you mean `master`?",
        ),
        ("{address: \"a:1\", max_lag: 500ms}", "`500ms` is too short", "the least is 1s"),
        (
            "{address: \"a:1\", max_lag: 15s, replication: false}",
            "`max_lag` needs a link to the master",
            "remove one of them",
        ),
        (
            "{address: \"a:1\", role: master, replication: true}",
            "`replication` is about replicas",
            "remove one of them",
        ),
        (
            "{address: \"a:1\", role: master, max_lag: 15s}",
            "`max_lag` is about replicas",
            "remove one of them",
        ),
        (
            "{address: \"a:1\", username: probe}",
            "`username` is nothing without a password",
            "add `password_file: /path`; a user with `nopass` takes any password",
        ),
        (
            "{address: \"a:1\", username: \"a b\", password: hush}",
            "expected the name of a user, found `a b`",
            "",
        ),
        (
            "{address: \"a:1\", password: \"\"}",
            "the password cannot be used: it is empty",
            "leave the key out where the server wants no password",
        ),
        (
            "{address: \"a:1\", password: hush, password_file: /etc/key}",
            "`password` and `password_file` exclude each other",
            "a check has one password",
        ),
        ("{address: \"a:1\", password: [hush]}", "expected a password, found a list", ""),
    ];
    for (written, message, hint) in cases {
        assert_eq!(mistake(written), (message.into(), hint.into()), "{written}");
    }
}
