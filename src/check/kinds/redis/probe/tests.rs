use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use vipcast_node::model::{KeyPlace, Question};

use super::*;
use crate::check::kinds::redis::WantedRole;
use crate::check::password::PasswordSource;
use crate::check::probe::tests::{
    PATIENT, asked, closed_port, fail, pass, prober, server, target, time_out, wait_for_close,
};
use crate::check::target::Dial;
use crate::check::tls::TlsOptions;

fn redis(address: SocketAddr) -> RedisCheck {
    RedisCheck {
        target: target(address),
        dial: Dial::PLAIN,
        host: "web.example".into(),
        role: None,
        replication: false,
        max_lag: None,
        username: None,
        password: None,
        tls: None,
    }
}

const PING: &str = "*1\r\n$4\r\nPING\r\n";
const ROLE: &str = "*1\r\n$4\r\nROLE\r\n";
const PING_AND_ROLE: &str = "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nROLE\r\n";
const INFO: &str = "*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";

/// A server that is asked exactly this, and answers it so.
fn answering(questions: &'static str, answers: &'static str) -> SocketAddr {
    server(move |mut stream| {
        let mut found = vec![0; questions.len()];
        stream.read_exact(&mut found).unwrap();
        assert_eq!(String::from_utf8(found).unwrap(), questions);
        for piece in answers.as_bytes().chunks(7) {
            stream.write_all(piece).unwrap();
        }
        wait_for_close(stream);
    })
}

/// One whose answer to PING is this.
fn saying(answer: &'static str) -> Question {
    asked(redis(answering(PING, answer)))
}

/// One with a role.
fn with_role(answer: &'static str, role: Option<WantedRole>) -> Question {
    let address = answering(PING_AND_ROLE, Box::leak(format!("+PONG\r\n{answer}").into_boxed_str()));
    asked(RedisCheck { role, replication: true, ..redis(address) })
}

const MASTER: &str = "*3\r\n$6\r\nmaster\r\n:42\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n6380\r\n$2\r\n42\r\n";
const REPLICA: &str = "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:42\r\n";

#[tokio::test]
async fn a_server_that_answers_passes_and_is_asked_no_more_than_is_needed() {
    assert_eq!(pass(saying("+PONG\r\n")).await, "PONG");
    assert_eq!(pass(saying("$4\r\nPONG\r\n")).await, "PONG");
}

#[tokio::test]
async fn the_role_is_told_and_must_be_the_one_that_is_wanted() {
    let (master, replica) = (Some(WantedRole::Master), Some(WantedRole::Replica));
    assert_eq!(pass(with_role(MASTER, master)).await, "PONG, master with 1 replica");
    assert_eq!(
        pass(with_role("*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n", None)).await,
        "PONG, master without replicas"
    );
    assert_eq!(pass(with_role(REPLICA, replica)).await, "PONG, replica of 127.0.0.1:6379, link up");
    assert_eq!(fail(with_role(MASTER, replica)).await, "master with 1 replica, wanted a replica");
    assert_eq!(fail(with_role(REPLICA, master)).await, "replica of 127.0.0.1:6379, link up, wanted a master");
    assert_eq!(fail(with_role("*2\r\n$8\r\nsentinel\r\n*0\r\n", master)).await, "sentinel, wanted a master");
    for strange in ["*0\r\n", ":1\r\n", "*2\r\n$6\r\nmaster\r\n:0\r\n", "*1\r\n$4\r\nking\r\n"] {
        assert_eq!(fail(with_role(strange, None)).await, "the answer to ROLE is of no kind that is known");
    }
}

#[tokio::test]
async fn a_replica_needs_its_link() {
    let in_state = |state: &'static str| {
        let role =
            format!("*5\r\n$5\r\nslave\r\n$3\r\n::1\r\n:6379\r\n${}\r\n{state}\r\n:-1\r\n", state.len());
        fail(with_role(Box::leak(role.into_boxed_str()), None))
    };
    assert_eq!(in_state("connecting").await, "the link to the master [::1]:6379 is down (connecting)");
    assert_eq!(in_state("sync").await, "the data of the master [::1]:6379 is still being copied (sync)");
    assert_eq!(in_state("\u{1b}[31m").await, r#"the link to the master [::1]:6379 is down ("\u{1b}[31m")"#);
    let strange = "*5\r\n$5\r\nslave\r\n$6\r\n\u{1b}[31m!\r\n:-9\r\n$7\r\nconnect\r\n:0\r\n";
    assert_eq!(
        fail(with_role(strange, None)).await,
        r#"the link to the master "\u{1b}[31m!", port -9 is down (connect)"#
    );
    // Without `replication` it is told, and nothing more.
    let down =
        answering(PING_AND_ROLE, "+PONG\r\n*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$7\r\nconnect\r\n:0\r\n");
    let told = asked(RedisCheck { role: Some(WantedRole::Replica), ..redis(down) });
    assert_eq!(pass(told).await, "PONG, replica of a:1, link down");
}

#[tokio::test]
async fn a_replica_must_have_heard_from_its_master() {
    let heard = |info: &str| {
        let answers = format!("+PONG\r\n{REPLICA}${}\r\n{info}\r\n", info.len());
        let questions = Box::leak(format!("{PING}{ROLE}{INFO}").into_boxed_str());
        let address = answering(questions, Box::leak(answers.into_boxed_str()));
        let max_lag = Some(Duration::from_secs(15));
        asked(RedisCheck { replication: true, max_lag, ..redis(address) })
    };
    let ago =
        |seconds: i64| format!("# Replication\r\nrole:slave\r\nmaster_last_io_seconds_ago:{seconds}\r\n");
    let words = "PONG, replica of 127.0.0.1:6379, link up, heard from it 15 s ago";
    assert_eq!(pass(heard(&ago(15))).await, words);
    assert_eq!(
        fail(heard(&ago(16))).await,
        "nothing heard from the master 127.0.0.1:6379 for 16 s, wanted 15 s at most"
    );
    assert_eq!(fail(heard(&ago(-1))).await, "the link to the master 127.0.0.1:6379 is down");
    assert_eq!(fail(heard("role:slave")).await, "INFO does not say when the master was heard");
}

#[tokio::test]
async fn errors_are_told_in_words() {
    let cases = [
        ("-NOAUTH Authentication required.", "the server wants a password (NOAUTH)"),
        (
            "-NOPERM this user has no permissions to run the 'ping' command",
            "the user may not ask PING (NOPERM)",
        ),
        ("-LOADING Redis is loading the dataset in memory", "the server is loading its data (LOADING)"),
        (
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "the link to the master is down, and the data is old (MASTERDOWN)",
        ),
        ("-BUSY Redis is busy running a script.", "the server is busy with a script (BUSY)"),
        (
            "-MISCONF Redis is configured to save RDB snapshots",
            "the server cannot write its data to disk, and takes none (MISCONF)",
        ),
        (
            "-DENIED Redis is running in protected mode",
            "the server talks to its own host alone: protected mode (DENIED)",
        ),
        ("-ERR max number of clients reached", "the server has too many clients"),
        ("-ERR \u{1b}[31m", r#"PING is answered with the error "ERR \u{1b}[31m""#),
        ("-", r#"PING is answered with the error """#),
        ("+PING", r#"PING is answered with "PING", wanted PONG"#),
        (":1", "PING is answered with the number 1, wanted PONG"),
        ("$-1", "PING is answered with nothing, wanted PONG"),
        ("*0", "PING is answered with a list, wanted PONG"),
        ("220 mail ESMTP", r#"the answer to PING is not that of Redis: "220 mai"#),
        ("$99999", "the answer to PING is longer than 64 KiB"),
    ];
    for (answer, words) in cases {
        let found = fail(saying(Box::leak(format!("{answer}\r\n").into_boxed_str()))).await;
        // What is quoted of strange bytes is as much as had come.
        assert!(found == words || (answer.starts_with("220") && found.starts_with(words)), "{found}");
    }
    assert_eq!(fail(asked(redis(closed_port()))).await, "connection refused");
    assert_eq!(fail(asked(redis(server(drop)))).await, "connection reset by peer before the answer to PING");
    assert_eq!(time_out(asked(redis(server(wait_for_close)))).await, "no answer to PING within 200 ms");
    let half = server(|mut stream| {
        let _asked = stream.read(&mut [0; 64]);
        stream.write_all(b"+PON").unwrap();
    });
    assert_eq!(fail(asked(redis(half))).await, "connection closed before the answer to PING");
    let options = Some(TlsOptions { insecure: true, ..TlsOptions::default() });
    let plain = RedisCheck { tls: options, ..redis(answering("", "-ERR Protocol error\r\n")) };
    assert_eq!(fail(asked(plain)).await, "the server does not speak TLS on this port");
}

fn written(password: &str) -> Option<PasswordSource> {
    Some(PasswordSource::Written(Password::new(password.as_bytes()).unwrap()))
}

#[tokio::test]
async fn a_password_is_sent_first_and_its_refusal_is_told() {
    let auth = "*2\r\n$4\r\nAUTH\r\n$4\r\nhush\r\n*1\r\n$4\r\nPING\r\n";
    let alone = |answers| asked(RedisCheck { password: written("hush"), ..redis(answering(auth, answers)) });
    assert_eq!(pass(alone("+OK\r\n+PONG\r\n")).await, "PONG");
    assert_eq!(
        fail(alone("-WRONGPASS x\r\n-NOAUTH\r\n")).await,
        "the server refuses the password (WRONGPASS)"
    );
    assert_eq!(fail(alone("-ERR invalid password\r\n")).await, "the server refuses the password");
    assert_eq!(fail(alone("+PONG\r\n")).await, r#"AUTH is answered with "PONG", wanted OK"#);
    for none in [
        "-ERR AUTH <password> called without any password configured for the default user.\r\n",
        "-ERR Client sent AUTH, but no password is set\r\n",
    ] {
        assert_eq!(fail(alone(none)).await, "the server has no password, and was sent one");
    }
    let both = "*3\r\n$4\r\nAUTH\r\n$5\r\nprobe\r\n$4\r\nhush\r\n*1\r\n$4\r\nPING\r\n";
    let named = |answers| {
        let address = answering(both, answers);
        asked(RedisCheck { username: Some("probe".into()), password: written("hush"), ..redis(address) })
    };
    assert_eq!(pass(named("+OK\r\n+PONG\r\n")).await, "PONG");
    assert_eq!(fail(named("-WRONGPASS x\r\n")).await, "the server refuses the user or password (WRONGPASS)");
}

#[tokio::test]
async fn a_password_in_a_file_is_read_again_after_a_failure() {
    let path = std::env::temp_dir().join(format!("vipcast-redis-{}", std::process::id()));
    let write = |text: &str, mode: u32| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let address = server(|mut stream| {
        let mut asked = vec![0; 64];
        let length = stream.read(&mut asked).unwrap();
        let is_right = String::from_utf8_lossy(&asked[..length]).contains("\r\nnew\r\n");
        let answer: &[u8] = if is_right { b"+OK\r\n+PONG\r\n" } else { b"-WRONGPASS x\r\n-NOAUTH x\r\n" };
        stream.write_all(answer).unwrap();
        wait_for_close(stream);
    });
    let source = Some(PasswordSource::At(KeyPlace::File(path.clone())));
    let mut prober = prober(asked(RedisCheck { password: source, ..redis(address) }), PATIENT);
    let cannot = format!("cannot read `{}`: no such file or directory", path.display());
    assert_eq!(prober.probe().await.detail, cannot);
    write("old\n", 0o600);
    assert_eq!(prober.probe().await.detail, "the server refuses the password (WRONGPASS)");
    write("new\n", 0o644);
    assert_eq!(
        prober.probe().await.detail,
        "the server refuses the password (WRONGPASS)",
        "others may read it"
    );
    write("new\n", 0o600);
    assert_eq!(prober.probe().await.detail, "PONG");
    fs::remove_file(&path).unwrap();
    assert_eq!(prober.probe().await.detail, "PONG", "it is remembered");
}
