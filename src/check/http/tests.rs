use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::*;
use crate::check::probe::tests::{
    PATIENT, answer, closed_port, fail, http, pass, request, server, time_out, wait_for_close,
};
use crate::config::model::{CheckKind, Target, TlsOptions};

fn plain(address: SocketAddr) -> CheckKind {
    http(address, "web.example", None)
}

fn answering(text: &'static str) -> CheckKind {
    plain(server(move |stream| answer(stream, text)))
}

fn wanting(kind: CheckKind, status: &[(u16, u16)]) -> CheckKind {
    let CheckKind::Http(check) = kind else { unreachable!() };
    CheckKind::Http(HttpCheck { status: status.into(), ..check })
}

/// Writes until the client closes.
fn endlessly(mut stream: TcpStream, head: &str, chunk: &[u8]) {
    request(&mut stream);
    let mut written = stream.write_all(head.as_bytes());
    while written.is_ok() {
        written = stream.write_all(chunk);
    }
}

#[tokio::test]
async fn a_200_passes_and_the_request_is_as_documented() {
    let (seen, requests) = mpsc::channel();
    let address = server(move |mut stream| {
        seen.send(request(&mut stream)).unwrap();
        stream.write_all(b"HTTP/1.1 200 Fine by me\r\nContent-Length: 2\r\n\r\nok").unwrap();
        wait_for_close(stream);
    });
    assert_eq!(pass(plain(address)).await, "200 OK");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        requests.recv_timeout(PATIENT).unwrap(),
        format!(
            "GET /healthz?full=1 HTTP/1.1\r\nhost: web.example\r\nuser-agent: vipcast/{version}\r\n\
             accept: */*\r\nconnection: close\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn the_status_decides() {
    let unavailable = "HTTP/1.1 503 Whatever\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(answering(unavailable)).await, "503 Service Unavailable, wanted 200");
    let redirect = "HTTP/1.1 301 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(answering(redirect)).await, "301 Moved Permanently, wanted 200");
    let odd = "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(wanting(answering(odd), &[(200, 299), (404, 404)])).await, "599, wanted 200-299 or 404");
    let missing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(pass(wanting(answering(missing), &[(200, 299), (404, 404)])).await, "404 Not Found");
    let old = "HTTP/1.0 200 OK\r\n\r\nbody until the end";
    assert_eq!(pass(answering(old)).await, "200 OK");
    let early = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(fail(answering(early)).await, "500 Internal Server Error, wanted 200");
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    assert_eq!(fail(plain(closed_port())).await, "connection refused");
}

#[tokio::test]
async fn a_server_that_closes_without_an_answer() {
    let silent = server(|mut stream| drop(request(&mut stream)));
    assert_eq!(fail(plain(silent)).await, "connection closed before the answer");
    let half_way = server(|mut stream| {
        request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nServer: h").unwrap();
    });
    assert_eq!(fail(plain(half_way)).await, "connection closed before the answer");
}

#[tokio::test]
async fn a_server_that_resets_half_way() {
    // Closing with unread data in the socket sends a reset.
    let address = server(|mut stream| {
        let mut first = [0];
        std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    });
    assert_eq!(fail(plain(address)).await, "connection reset by peer");
}

#[tokio::test]
async fn garbage_is_not_http() {
    let ssh = "SSH-2.0-OpenSSH_9.9\r\n";
    assert_eq!(fail(answering(ssh)).await, "the answer is not HTTP: invalid HTTP version parsed");
    let nonsense = "HTTP/1.1 two hundred\r\n\r\n";
    assert_eq!(fail(answering(nonsense)).await, "the answer is not HTTP: invalid HTTP status-code parsed");
    let binary = "\x16\x03\x01\x02\x00\x01\r\n\r\n";
    assert_eq!(fail(answering(binary)).await, "the answer is not HTTP: invalid HTTP version parsed");
}

#[tokio::test]
async fn i5_a_server_that_never_answers_ends_in_the_time_out() {
    assert_eq!(time_out(plain(server(wait_for_close))).await, "no answer within 200 ms");
}

#[tokio::test]
async fn i5_a_head_that_drips_ends_in_the_time_out() {
    let address = server(|mut stream| {
        request(&mut stream);
        let mut dripped = stream.write_all(b"HTTP/1.1 200 OK\r\nX: ");
        while dripped.is_ok() {
            dripped = stream.write_all(b"x");
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!(time_out(plain(address)).await, "no answer within 200 ms");
}

#[tokio::test]
async fn i5_an_endless_head_is_cut_off() {
    const CUT_OFF: &str = "the head of the answer is longer than 32 KiB or 100 fields";
    let one = server(|stream| endlessly(stream, "HTTP/1.1 200 OK\r\nX: ", &[b'x'; 1024]));
    assert_eq!(fail(plain(one)).await, CUT_OFF);
    let many = server(|stream| endlessly(stream, "HTTP/1.1 200 OK\r\n", b"X: y\r\n"));
    assert_eq!(fail(plain(many)).await, CUT_OFF);
}

#[tokio::test]
async fn an_endless_body_is_not_read() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (closed, was_closed) = mpsc::channel();
    let address = server(move |stream| {
        endlessly(stream, chunked, b"4\r\nbody\r\n");
        closed.send(()).unwrap();
    });
    assert_eq!(pass(plain(address)).await, "200 OK");
    was_closed.recv_timeout(PATIENT).unwrap();
}

#[tokio::test]
async fn a_request_that_cannot_be_made_fails_in_words() {
    let kind = http(server(wait_for_close), "bad\nhost", None);
    assert_eq!(fail(kind).await, "cannot ask for \"/healthz?full=1\": failed to parse header value");
}

#[test]
fn the_host_header_has_brackets_and_a_port_where_it_needs_them() {
    let header = |target: &str, port, host: &str, tls: bool| {
        let target = Target { host: target.into(), port };
        let tls = tls.then(TlsOptions::default);
        host_header(&HttpCheck { target, path: "/".into(), host: host.into(), tls, status: vec![] })
    };
    assert_eq!(header("web", 80, "web", false), "web");
    assert_eq!(header("web", 8080, "web", false), "web:8080");
    assert_eq!(header("web", 80, "web", true), "web:80");
    assert_eq!(header("web", 443, "web", true), "web");
    assert_eq!(header("::1", 8080, "::1", false), "[::1]:8080");
    assert_eq!(header("127.0.0.1", 8080, "web.example", false), "web.example");
    assert_eq!(header("127.0.0.1", 8080, "2001:db8::1", false), "[2001:db8::1]");
}
