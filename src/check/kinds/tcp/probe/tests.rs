use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use tokio::net::{TcpSocket, TcpStream};
use vipcast_node::model::Question;

use crate::check::kinds::tcp::TcpCheck;
use crate::check::pattern::{Pattern, Regex};
use crate::check::probe::tests::{
    PATIENT, SHORT, asked, closed_port, fail, http, outcome, pass, request, server, target, tcp, time_out,
    wait_for_close,
};

#[tokio::test]
async fn a_listener_passes() {
    assert_eq!(pass(tcp(server(wait_for_close))).await, "connected");
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    assert_eq!(fail(tcp(closed_port())).await, "connection refused");
}

#[tokio::test]
async fn packets_that_are_swallowed_end_in_the_time_out() {
    // A listener whose backlog is full drops the SYN.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut backlog = Vec::new();
    let full = loop {
        match tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
            Ok(stream) => backlog.push(stream.unwrap()),
            Err(_) => break true,
        }
    };
    assert!(full);
    assert_eq!(time_out(tcp(address)).await, "no connection within 200 ms");
}

fn expecting(address: SocketAddr, send: Option<&str>, expect: Pattern) -> Question {
    let send = send.map(Vec::from);
    asked(TcpCheck { send, expect: Some(expect), ..TcpCheck::connecting(target(address)) })
}

fn regex(expression: &str) -> Pattern {
    Pattern::Regex(Regex::new(expression).unwrap())
}

fn text(text: &str) -> Pattern {
    Pattern::Text(text.into())
}

/// Sends `pieces` one after the other, then waits for the client to close.
fn saying(pieces: &'static [&[u8]]) -> SocketAddr {
    server(move |mut stream| {
        for piece in pieces {
            stream.write_all(piece).unwrap();
            thread::sleep(std::time::Duration::from_millis(10));
        }
        wait_for_close(stream);
    })
}

#[tokio::test]
async fn what_is_sent_is_answered_as_expected() {
    let redis = server(|mut stream| {
        let mut asked = [0; 6];
        stream.read_exact(&mut asked).unwrap();
        assert_eq!(&asked, b"PING\r\n");
        stream.write_all(b"+PONG\r\n").unwrap();
        wait_for_close(stream);
    });
    assert_eq!(pass(expecting(redis, Some("PING\r\n"), text("+PONG"))).await, r#"received "+PONG\r\n""#);
    let expression = regex(r"^\+P[A-Z]+\r\n$");
    assert_eq!(pass(expecting(redis, Some("PING\r\n"), expression)).await, r#"received "+PONG\r\n""#);
    let only_sent = TcpCheck { send: Some(b"PING\r\n".to_vec()), ..TcpCheck::connecting(target(redis)) };
    assert_eq!(pass(asked(only_sent)).await, "connected");
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together() {
    let banner = saying(&[b"220 ma", b"il ESM", b"TP\r\n"]);
    assert_eq!(pass(expecting(banner, None, text("ESMTP"))).await, r#"received "220 mail ESMTP\r\n""#);
    // Its last piece is less than an eighth of it, so that only the silence behind it makes us look.
    let long = saying(&[b"a rather long banner of some server", b"ok"]);
    assert!(pass(expecting(long, None, regex("ok$"))).await.ends_with("serverok\""));
}

#[tokio::test]
async fn a_wrong_answer_is_quoted() {
    let denied = server(|mut stream| stream.write_all(b"-NOAUTH\r\n\x1b[2J").unwrap());
    assert_eq!(
        fail(expecting(denied, None, text("+PONG"))).await,
        r#"connection closed before "+PONG", received "-NOAUTH\r\n\u{1b}[2J""#
    );
    let open = saying(&[b"-LOADING\r\n"]);
    assert_eq!(
        time_out(expecting(open, None, regex("^.PONG"))).await,
        r#"no /^.PONG/ within 200 ms, received "-LOADING\r\n""#
    );
}

#[tokio::test]
async fn an_empty_answer() {
    assert_eq!(
        fail(expecting(server(drop), None, text("220 "))).await,
        r#"connection closed before "220 ", received nothing"#
    );
    assert_eq!(
        time_out(expecting(server(wait_for_close), None, text("220 "))).await,
        r#"no "220 " within 200 ms, received nothing"#
    );
}

#[tokio::test]
async fn a_reset_half_way() {
    // Closing with unread data in the socket sends a reset.
    let address = server(|mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
    });
    assert_eq!(
        fail(expecting(address, Some("HELLO"), text("WORLD"))).await,
        r#"connection reset by peer before "WORLD", received nothing"#
    );
}

#[tokio::test]
async fn i5_an_endless_answer_is_cut_off() {
    let endless = || {
        server(|mut stream| {
            request(&mut stream);
            while stream.write_all(&[b'x'; 1024]).is_ok() {}
        })
    };
    let send = Some("\r\n\r\n");
    assert_eq!(fail(expecting(endless(), send, text("y"))).await, r#""y" is not in the first 64 KiB"#);
    let expression = regex("y$");
    assert_eq!(fail(expecting(endless(), send, expression)).await, "/y$/ is not in the first 64 KiB");
}

#[tokio::test]
async fn i5_an_answer_that_drips_ends_in_the_time_out() {
    let drip = server(|mut stream| while stream.write_all(b"x").is_ok() {});
    let detail = time_out_or_full(expecting(drip, None, regex("y"))).await;
    assert!(detail.starts_with("no /y/ within") || detail.ends_with("64 KiB"), "{detail}");
}

/// A fast machine drips 64 KiB before the time is over.
async fn time_out_or_full(kind: Question) -> String {
    let outcome = outcome(kind, SHORT).await;
    assert!(!outcome.passed && outcome.took < PATIENT / 2, "{outcome:?}");
    outcome.detail
}

#[tokio::test]
async fn i5_a_server_that_reads_nothing_ends_in_the_time_out() {
    let (keep, kept) = std::sync::mpsc::channel();
    let deaf = server(move |stream| keep.send(stream).unwrap());
    let much = "x".repeat(64 << 20);
    assert_eq!(
        time_out(expecting(deaf, Some(&much), text("y"))).await,
        "not all could be sent within 200 ms"
    );
    drop(kept);
}

#[test]
fn i5_hanging_probe_fails_at_its_timeout_and_frees_its_socket() {
    let (closed, was_closed) = std::sync::mpsc::channel();
    let address = server(move |stream| {
        wait_for_close(stream);
        closed.send(()).unwrap();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let kind = http(address, "web", None);
        assert_eq!(time_out(kind).await, "no answer within 200 ms");
        // Nothing is left to the runtime: the socket went with the probe.
        was_closed.recv_timeout(PATIENT).unwrap();
    });
}
