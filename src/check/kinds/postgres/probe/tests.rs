use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;

use vipcast_node::model::Question;

use super::*;
use crate::check::kinds::postgres::{md5, scram};
use crate::check::password::{Password, PasswordSource};
use crate::check::probe::tests::{asked, closed_port, fail, pass, server, target, time_out, wait_for_close};
use crate::check::target::Dial;
use crate::check::tls::TlsOptions;

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const READY: &[u8] = b"Z\0\0\0\x05I";
const PRIMARY: &[u8] = b"T\0\0\0\x04D\0\0\0\x0b\0\x01\0\0\0\x01fC\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
const REPLICA: &[u8] = b"D\0\0\0\x0b\0\x01\0\0\0\x01tZ\0\0\0\x05I";
const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04";

fn error(code: &str, text: &str) -> Vec<u8> {
    let content = format!("SFATAL\0VFATAL\0C{code}\0M{text}\0\0");
    [&b"E"[..], &u32::try_from(content.len() + 4).unwrap().to_be_bytes(), content.as_bytes()].concat()
}

fn check(to: SocketAddr) -> PostgresCheck {
    PostgresCheck { target: target(to), dial: Dial::PLAIN, host: "db.example".into(), login: None, tls: None }
}

fn ready(to: SocketAddr) -> Question {
    asked(check(to))
}

fn logging_in(to: SocketAddr, password: Option<&str>, role: Option<PostgresRole>) -> Question {
    let password = password.map(|text| PasswordSource::Written(Password::new(text.as_bytes()).unwrap()));
    let login = PostgresLogin { user: "health".into(), database: "shop".into(), password, role };
    asked(PostgresCheck { login: Some(login), ..check(to) })
}

/// Reads the startup packet, without its length.
fn read_startup(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut content = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut content).unwrap();
    content
}

/// Reads a message: its type and its content. `None` when the client has gone.
fn read_message(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut kind = [0];
    stream.read_exact(&mut kind).ok()?;
    Some((kind[0], read_startup(stream)))
}

/// A server that says these, the first to the startup packet, and the next to each message; then it waits for the end.
fn saying(said: &[&[u8]]) -> SocketAddr {
    let said: Vec<Vec<u8>> = said.iter().map(|said| said.to_vec()).collect();
    server(move |mut stream| {
        read_startup(&mut stream);
        for (at, said) in said.iter().enumerate() {
            if at > 0 && read_message(&mut stream).is_none() {
                return;
            }
            stream.write_all(said).unwrap();
        }
        wait_for_close(stream);
    })
}

fn cat(pieces: &[&[u8]]) -> Vec<u8> {
    pieces.concat()
}

#[tokio::test]
async fn without_a_user_it_asks_what_pg_isready_asks() {
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    assert_eq!(
        pass(ready(saying(&[sasl]))).await,
        "accepts connections, and asks for a password (SCRAM-SHA-256)"
    );
    assert_eq!(
        pass(ready(saying(&[CLEARTEXT]))).await,
        "accepts connections, and asks for a password (clear text)"
    );
    assert_eq!(pass(ready(saying(&[OK]))).await, "accepts connections without a password");
    assert_eq!(pass(ready(saying(&[b"R\0\0\0\x08\0\0\0\x07"]))).await, "accepts connections");
    let refused = error("28000", "role \"vipcast\" does not exist");
    assert_eq!(
        pass(ready(saying(&[&refused]))).await,
        r#"accepts connections, and refuses the user vipcast: FATAL 28000: "role \"vipcast\" does not exist""#
    );
}

#[tokio::test]
async fn a_server_that_takes_no_clients_fails_with_what_it_says() {
    for (code, text) in [
        ("57P03", "the database system is starting up"),
        ("57P01", "terminating connection due to administrator command"),
        ("53300", "sorry, too many clients already"),
    ] {
        let said = error(code, text);
        assert_eq!(fail(ready(saying(&[&said]))).await, format!("FATAL {code}: \"{text}\""));
        assert_eq!(fail(logging_in(saying(&[&said]), None, None)).await, format!("FATAL {code}: \"{text}\""));
    }
}

#[tokio::test]
async fn a_role_is_asked_for_and_the_session_ends_in_good_order() {
    let (tell, hear) = mpsc::channel();
    let primary = server(move |mut stream| {
        let startup = read_startup(&mut stream);
        stream.write_all(&[OK, b"S\0\0\0\x08a\0b\0", b"K\0\0\0\x0c12345678", READY].concat()).unwrap();
        let query = read_message(&mut stream);
        stream.write_all(PRIMARY).unwrap();
        tell.send((startup, query, read_message(&mut stream))).unwrap();
    });
    assert_eq!(pass(logging_in(primary, None, Some(PostgresRole::Primary))).await, "primary");
    let (startup, query, end) = hear.recv().unwrap();
    assert_eq!(
        startup,
        b"\0\x03\0\0user\0health\0database\0shop\0application_name\0vipcast\0client_encoding\0UTF8\0\0"
    );
    assert_eq!(query, Some((b'Q', b"select pg_catalog.pg_is_in_recovery()\0".to_vec())));
    assert_eq!(end, Some((b'X', vec![])));

    let begun = cat(&[OK, READY]);
    let role = |said: &[u8], role| logging_in(saying(&[&begun, said]), None, role);
    assert_eq!(pass(role(REPLICA, Some(PostgresRole::Replica))).await, "replica");
    assert_eq!(pass(role(REPLICA, None)).await, "replica");
    assert_eq!(fail(role(REPLICA, Some(PostgresRole::Primary))).await, "replica, wanted primary");
    assert_eq!(fail(role(PRIMARY, Some(PostgresRole::Replica))).await, "primary, wanted replica");
    let denied = error("42501", "permission denied");
    assert_eq!(fail(role(&denied, None)).await, r#"FATAL 42501: "permission denied""#);
    assert_eq!(
        fail(role(b"D\0\0\0\x0a\0\x01\xff\xff\xff\xff", None)).await,
        "the server answers the query with neither true nor false"
    );
    assert_eq!(fail(role(READY, None)).await, "the server does not answer the query");
}

#[tokio::test]
async fn a_password_is_given_as_it_is_asked_for() {
    let (tell, hear) = mpsc::channel();
    let asking = server(move |mut stream| {
        read_startup(&mut stream);
        stream.write_all(MD5).unwrap();
        tell.send(read_message(&mut stream)).unwrap();
        stream.write_all(&error("28P01", "password authentication failed for user \"health\"")).unwrap();
    });
    assert_eq!(
        fail(logging_in(asking, Some("hunter2"), None)).await,
        r#"FATAL 28P01: "password authentication failed for user \"health\"""#
    );
    let hash = md5::answer("health", b"hunter2", [1, 2, 3, 4]);
    assert_eq!(hear.recv().unwrap(), Some((b'p', format!("{hash}\0").into_bytes())));
    let welcome = cat(&[OK, READY]);
    assert_eq!(pass(logging_in(saying(&[MD5, &welcome, PRIMARY]), Some("hunter2"), None)).await, "primary");
    assert_eq!(
        fail(logging_in(saying(&[MD5]), None, None)).await,
        "the server asks for a password (MD5), and the check has none"
    );
    assert_eq!(
        fail(logging_in(saying(&[CLEARTEXT]), Some("hunter2"), None)).await,
        "the server asks for the password in clear text, and the connection has no TLS"
    );
    assert_eq!(
        fail(logging_in(saying(&[b"R\0\0\0\x08\0\0\0\x07"]), Some("hunter2"), None)).await,
        "the server asks for a login with GSSAPI, which vipcast does not know"
    );
}

#[tokio::test]
async fn a_server_that_does_not_know_the_password_is_found_out() {
    let sasl = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
    let impostor = |last: &'static [u8]| {
        server(move |mut stream| {
            read_startup(&mut stream);
            stream.write_all(sasl).unwrap();
            let (_, first) = read_message(&mut stream).unwrap();
            assert!(first.starts_with(b"SCRAM-SHA-256\0"), "{first:?}");
            let nonce = String::from_utf8(first).unwrap().split("r=").nth(1).unwrap().to_owned();
            let said = format!("r={nonce}more,s=QQ==,i=4096");
            let length = u32::try_from(said.len() + 8).unwrap().to_be_bytes();
            stream.write_all(&[b"R", &length[..], b"\0\0\0\x0b", said.as_bytes()].concat()).unwrap();
            let (_, last_of_client) = read_message(&mut stream).unwrap();
            assert!(last_of_client.starts_with(b"c=biws,r="));
            stream.write_all(last).unwrap();
            wait_for_close(stream);
        })
    };
    let signed = impostor(b"R\0\0\0\x0e\0\0\0\x0cv=QUJD");
    assert_eq!(
        fail(logging_in(signed, Some("hunter2"), None)).await,
        "the server does not know the password itself"
    );
    let silent = impostor(OK);
    assert_eq!(
        fail(logging_in(silent, Some("hunter2"), None)).await,
        "the server answers out of turn during the login: it asks for no password"
    );
    assert_eq!(scram::NAME, "SCRAM-SHA-256");
}

#[tokio::test]
async fn tls_is_asked_for_first() {
    let secured = |to| {
        asked(PostgresCheck {
            tls: Some(TlsOptions { insecure: true, ..TlsOptions::default() }),
            ..check(to)
        })
    };
    let answering = |byte: &'static [u8]| {
        server(move |mut stream| {
            assert_eq!(read_startup(&mut stream), [0x04, 0xd2, 0x16, 0x2f]);
            stream.write_all(byte).unwrap();
            if !byte.is_empty() {
                wait_for_close(stream);
            }
        })
    };
    assert_eq!(fail(secured(answering(b"N"))).await, "the server has no TLS");
    assert_eq!(
        fail(secured(answering(b"E"))).await,
        "the server answers the request for TLS with something else"
    );
    assert_eq!(
        fail(secured(answering(b""))).await,
        "connection closed before the answer to the request for TLS"
    );
    assert_eq!(time_out(secured(answering(b"S"))).await, "no TLS handshake within 200 ms");
    assert_eq!(
        time_out(secured(server(wait_for_close))).await,
        "no answer to the request for TLS within 200 ms"
    );
}

#[tokio::test]
async fn nobody_or_nothing_there() {
    assert_eq!(fail(ready(closed_port())).await, "connection refused");
    assert_eq!(
        time_out(ready(server(wait_for_close))).await,
        "no answer to the startup packet within 200 ms"
    );
    assert_eq!(
        fail(ready(server(|mut stream| drop(read_startup(&mut stream))))).await,
        "connection closed before the answer to the startup packet"
    );
    assert_eq!(
        fail(ready(saying(&[b"HTTP/1.1 400 Bad Request\r\n"]))).await,
        r#"the answer is not of PostgreSQL: "HTTP/1.1 400 Bad Request\r\n""#
    );
    assert_eq!(
        time_out(logging_in(saying(&[OK]), None, None)).await,
        "no end of the login or the query within 200 ms"
    );
    let chatty = b"S\0\0\0\x08a\0b\0".repeat(1001);
    assert_eq!(fail(ready(saying(&[&chatty]))).await, "1000 messages and no answer to the startup packet");
}
