use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use proptest::prelude::*;
use vipcast_node::model::Question;

use super::message::{MORE, SWITCH_OR_END};
use super::*;
use crate::check::password::{Password, PasswordSource};
use crate::check::probe::tests::{asked, closed_port, fail, pass, server, target, time_out, wait_for_close};
use crate::check::target::Dial;
use crate::check::tls::TlsOptions;

fn mysql(address: SocketAddr) -> MysqlCheck {
    MysqlCheck {
        target: target(address),
        dial: Dial::PLAIN,
        host: "web.example".into(),
        user: None,
        password: None,
        read_only: None,
        tls: None,
    }
}

/// With a user, and what is wanted.
fn user(address: SocketAddr, read_only: Option<bool>) -> MysqlCheck {
    let password = PasswordSource::Written(Password::new(b"hush").unwrap());
    MysqlCheck { user: Some("probe".into()), password: Some(password), read_only, ..mysql(address) }
}

/// HandshakeV10, without TLS; the scramble is 1 to 20.
pub(super) fn greeting(version: &str, plugin: &[u8]) -> Vec<u8> {
    let (first, second): (Vec<u8>, Vec<u8>) = ((1..=8).collect(), (9..=20).collect());
    let parts: [&[u8]; 12] = [
        &[10],
        version.as_bytes(),
        &[0, 7, 0, 0, 0],
        &first,
        &[0, 0, 0x82, 45, 2, 0],
        &[0x08, 0, 21],
        &[0; 10],
        &second,
        &[0],
        plugin,
        &[0],
        &[],
    ];
    parts.concat()
}

pub(super) fn error(code: u16, text: &str) -> Vec<u8> {
    [&[0xff], &code.to_le_bytes()[..], text.as_bytes()].concat()
}

const NATIVE: &[u8] = b"mysql_native_password";
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

fn send(stream: &mut TcpStream, number: u8, message: &[u8]) {
    let length = u32::try_from(message.len()).unwrap().to_le_bytes();
    stream.write_all(&[&length[..3], &[number], message].concat()).unwrap();
}

/// The number of a message, and the message; `None` where the client has closed.
fn receive(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let mut message = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    stream.read_exact(&mut message).ok()?;
    Some((head[3], message))
}

/// A server that greets, and then answers each message with the next of these, of which each may be several.
fn answering(first: Vec<u8>, answers: Vec<Vec<Vec<u8>>>) -> SocketAddr {
    server(move |mut stream| {
        send(&mut stream, 0, &first);
        for answer in &answers {
            let Some((mut number, _)) = receive(&mut stream) else { return };
            for message in answer {
                number += 1;
                send(&mut stream, number, message);
            }
        }
        wait_for_close(stream);
    })
}

fn greets(answers: Vec<Vec<Vec<u8>>>) -> SocketAddr {
    answering(greeting("5.5.5-10.11.19-MariaDB", NATIVE), answers)
}

fn denied() -> Vec<u8> {
    error(1045, "#28000Access denied for user 'probe'@'localhost'")
}

#[tokio::test]
async fn without_a_user_the_greeting_is_enough_and_the_handshake_is_ended() {
    let words = "greeting of 10.11.19-MariaDB";
    for end in [denied(), OK.to_vec(), error(3159, "#HY000TLS"), error(4151, "#HY000locked")] {
        assert_eq!(pass(asked(mysql(greets(vec![vec![end]])))).await, words);
    }
    let unknown = [&[SWITCH_OR_END], &b"auth_gssapi_client"[..], &[0]].concat();
    assert_eq!(pass(asked(mysql(greets(vec![vec![unknown], vec![denied()]])))).await, words);
    let hostile = answering(greeting("8\u{1b}[31m", NATIVE), vec![vec![denied()]]);
    assert_eq!(pass(asked(mysql(hostile))).await, r#"greeting of "8\u{1b}[31m""#);
    let full = greets(vec![vec![error(1040, "#08004Too many connections")]]);
    let words = r#"the server has too many connections (1040): "Too many connections""#;
    assert_eq!(fail(asked(mysql(full))).await, words);
}

#[tokio::test]
async fn an_error_in_place_of_the_greeting_is_told() {
    let instead = |code, text: &str| fail(asked(mysql(answering(error(code, text), vec![]))));
    assert_eq!(
        instead(1040, "Too many connections").await,
        r#"the server has too many connections (1040): "Too many connections""#
    );
    assert_eq!(
        instead(1129, "Host 'a' is blocked because of many connection errors").await,
        "the server has blocked this host after broken handshakes, until FLUSH HOSTS (1129): \"Host 'a' is blocked because of \
         many connection errors\""
    );
    assert_eq!(
        instead(1130, "Host 'a' is not allowed").await,
        "the server has no account for this host (1130): \"Host 'a' is not allowed\""
    );
    assert_eq!(instead(1053, "").await, r#"the server is shutting down (1053): """#);
    assert_eq!(instead(9999, "\u{1b}[31m").await, r#"the server says (9999): "\u{1b}[31m""#);
}

#[tokio::test]
async fn a_user_logs_in() {
    let logged_in = "logged in to 10.11.19-MariaDB";
    assert_eq!(pass(asked(user(greets(vec![vec![OK.to_vec()]]), None))).await, logged_in);
    let switch = [&[SWITCH_OR_END], &b"caching_sha2_password"[..], &[0], &[7; 20], &[0]].concat();
    let remembered = vec![vec![MORE, 3], OK.to_vec()];
    assert_eq!(pass(asked(user(greets(vec![vec![switch.clone()], remembered]), None))).await, logged_in);
    assert_eq!(
        fail(asked(user(greets(vec![vec![denied()]]), None))).await,
        r#"the server refuses user or password (1045): "Access denied for user 'probe'@'localhost'""#
    );
    let in_full = vec![vec![switch], vec![vec![MORE, 4]], vec![denied()]];
    assert_eq!(
        fail(asked(user(greets(in_full), None))).await,
        "the server wants the password itself (caching_sha2_password), which is sent over TLS or a socket only"
    );
    let ed25519 = [&[SWITCH_OR_END], &b"client_ed25519"[..], &[0], &[7; 32]].concat();
    assert_eq!(
        fail(asked(user(greets(vec![vec![ed25519], vec![denied()]]), None))).await,
        r#"the account logs in with "client_ed25519", which is not supported"#
    );
    let strange = vec![vec![vec![0x42]]];
    assert_eq!(
        fail(asked(user(greets(strange), None))).await,
        "the answer to the login is none that is known"
    );
    let endless = vec![vec![vec![MORE, 3]]];
    let switch = [&[SWITCH_OR_END], NATIVE, &[0], &[7; 20]].concat();
    let endless = [vec![vec![switch]; 9], endless].concat();
    assert_eq!(fail(asked(user(greets(endless), None))).await, "the login has no end");
}

/// A server that logs in and answers the question so.
fn with_answer(answer: Vec<Vec<u8>>, wanted: bool) -> Question {
    asked(user(greets(vec![vec![OK.to_vec()], answer]), Some(wanted)))
}

fn value(row: &[u8]) -> Vec<Vec<u8>> {
    let end = vec![SWITCH_OR_END, 0, 0, 2, 0];
    vec![vec![1], b"\x03def".to_vec(), end.clone(), row.to_vec(), end]
}

#[tokio::test]
async fn a_server_must_be_writable_or_not_as_is_wanted() {
    assert_eq!(
        pass(with_answer(value(b"\x010"), false)).await,
        "logged in to 10.11.19-MariaDB, read_only is off"
    );
    assert_eq!(
        pass(with_answer(value(b"\x011"), true)).await,
        "logged in to 10.11.19-MariaDB, read_only is on"
    );
    assert_eq!(fail(with_answer(value(b"\x011"), false)).await, "read_only is on, wanted off");
    assert_eq!(fail(with_answer(value(b"\x03OFF"), true)).await, "read_only is off, wanted on");
    assert_eq!(fail(with_answer(value(b"\x07NO_LOCK"), false)).await, "read_only is on, wanted off");
    let strange = "the answer to SELECT @@global.read_only is none that is known";
    for row in [&b"\xfb"[..], b"", b"\x051"] {
        assert_eq!(fail(with_answer(value(row), false)).await, strange);
    }
    assert_eq!(fail(with_answer(vec![vec![2]], false)).await, strange);
    assert_eq!(fail(with_answer(vec![vec![1], vec![], vec![0]], false)).await, strange);
    assert_eq!(
        fail(with_answer(vec![error(1227, "#42000Access denied")], false)).await,
        r#"the server says (1227): "Access denied""#
    );
}

#[tokio::test]
async fn what_is_no_server_of_mysql_is_told() {
    assert_eq!(fail(asked(mysql(closed_port()))).await, "connection refused");
    assert_eq!(time_out(asked(mysql(server(wait_for_close)))).await, "no greeting within 200 ms");
    assert_eq!(fail(asked(mysql(server(drop)))).await, "connection closed before the greeting");
    let ssh = server(|mut stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
        wait_for_close(stream);
    });
    let strange = "the server does not speak MySQL on this port";
    assert_eq!(fail(asked(mysql(ssh))).await, strange);
    for first in [&b""[..], b"\x09", b"\x0a8.0", &greeting("8", NATIVE)[..20]] {
        assert_eq!(fail(asked(mysql(answering(first.into(), vec![])))).await, strange);
    }
    let mut old = greeting("4.0", NATIVE);
    // CLIENT_PROTOCOL_41 and CLIENT_SECURE_CONNECTION.
    old[1 + 4 + 4 + 8 + 2] = 0;
    assert_eq!(fail(asked(mysql(answering(old, vec![])))).await, strange);
    assert_eq!(time_out(asked(mysql(greets(vec![vec![]])))).await, "no answer to the login within 200 ms");
    let gone = server(|mut stream| send(&mut stream, 0, &greeting("8.0.36", NATIVE)));
    assert!(fail(asked(mysql(gone))).await.starts_with("connection "));
    let tls = Some(TlsOptions { insecure: true, ..TlsOptions::default() });
    let plain = MysqlCheck { tls, ..user(greets(vec![vec![denied()]]), None) };
    assert_eq!(fail(asked(plain)).await, "the server offers no TLS");
}

proptest! {
    #[test]
    fn whatever_is_sent_is_read_without_a_panic(bytes: Vec<u8>, cut in 0_usize..80) {
        let whole = greeting("8.0.36", NATIVE);
        for bytes in [&bytes[..], &whole[..cut.min(whole.len())], &[&whole[..cut.min(whole.len())], &bytes[..]].concat()] {
            if let Some(greeting) = Greeting::read(bytes) {
                prop_assert!(!greeting.version().chars().any(char::is_control));
            }
            if let Some(error) = ServerError::read(&[&[0xff], bytes].concat()) {
                prop_assert!(!error.in_words().chars().any(char::is_control));
            }
            let _some = (message::column(bytes), message::is_end(bytes));
        }
    }
}
