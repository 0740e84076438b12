use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::thread;

use vipcast_node::model::Question;

use super::*;
use crate::check::pattern::{Pattern, Regex};
use crate::check::probe::tests::{SHORT, asked, fail, outcome, pass, target, time_out};
use crate::check::target::Target;

/// A server that answers every datagram with `answers` of it, for as long as the tests run.
fn server(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 65_535];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            for answer in answers(&buffer[..length]) {
                // The probe may have gone.
                socket.send_to(&answer, from).ok();
            }
        }
    });
    address
}

fn udp(to: SocketAddr, send: &[u8], expect: Option<Pattern>) -> Question {
    asked(UdpCheck { target: target(to), send: send.into(), expect })
}

fn text(text: &str) -> Option<Pattern> {
    Some(Pattern::Text(text.into()))
}

#[tokio::test]
async fn an_answer_that_matches_passes() {
    let echo = server(|question| vec![question.to_vec()]);
    assert_eq!(pass(udp(echo, b"PING\r\n", text("PING"))).await, r#"answered "PING\r\n""#);
    let regex = Regex::new("^P.NG\r\n$").unwrap();
    pass(udp(echo, b"PING\r\n", Some(Pattern::Regex(regex)))).await;
    assert_eq!(pass(udp(echo, b"\x1b\x00\xff", None)).await, r#"answered "\x1b\x00\xff""#);
    // An empty datagram is an answer, too.
    assert_eq!(pass(udp(server(|_| vec![vec![]]), b"x", None)).await, r#"answered """#);
}

#[tokio::test]
async fn nobody_there_is_said_at_once_and_silence_never_passes() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(fail(udp(closed, b"x", None)).await, "port unreachable");
    assert_eq!(time_out(udp(server(|_| vec![]), b"x", None)).await, "no answer within 200 ms");
}

#[tokio::test]
async fn wrong_answers_are_read_on_and_the_last_is_quoted() {
    let late = server(|_| vec![b"stale".to_vec(), b"OK".to_vec()]);
    assert_eq!(pass(udp(late, b"x", text("OK"))).await, r#"answered "OK""#);
    let wrong = server(|_| vec![b"first".to_vec(), b"LOADING\x07".to_vec()]);
    assert_eq!(
        time_out(udp(wrong, b"x", text("OK"))).await,
        r#"no answer that matches within 200 ms; the last one was "LOADING\u{7}""#
    );
}

#[tokio::test]
async fn a_flood_of_wrong_answers_is_not_read_for_ever() {
    let flood = server(|_| vec![vec![b'!'; 100]; 2 * ANSWERS]);
    let cause = fail(udp(flood, b"x", text("OK"))).await;
    assert!(cause.starts_with("64 answers and none that matches; the last one was \"!!!!"), "{cause}");
    assert!(cause.chars().count() < crate::check::words::LINE, "{cause}");
}

#[tokio::test]
async fn answers_from_elsewhere_are_not_seen() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).unwrap();
        other.send_to(&buffer[..length], from).unwrap();
    });
    assert_eq!(time_out(udp(address, b"x", None)).await, "no answer within 200 ms");
}

#[tokio::test]
async fn the_next_address_of_a_name_is_asked_when_one_is_silent() {
    let echo = server(|question| vec![question.to_vec()]);
    let localhost = |port| Target { host: "localhost".into(), port };
    let kind = |port| asked(UdpCheck { target: localhost(port), send: b"x".into(), expect: None });
    assert_eq!(pass(kind(echo.port())).await, "answered \"x\"");
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cause = fail(kind(closed.port())).await;
    assert!(cause.ends_with(": port unreachable"), "{cause}");
}

#[tokio::test]
async fn the_source_address_of_the_check_is_that_of_the_datagram() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let kind = udp(socket.local_addr().unwrap(), b"x", None);
    let answering = thread::spawn(move || {
        let (_, from) = socket.recv_from(&mut [0; 16]).unwrap();
        socket.send_to(b"y", from).unwrap();
        from.ip()
    });
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    assert_eq!(crate::check::probe::tests::pass_from(source, kind).await, "answered \"y\"");
    assert_eq!(answering.join().unwrap(), source);
    let elsewhere = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
    let (shared, _) = crate::check::shared::Shared::new();
    let mut check = crate::check::probe::tests::check(udp(server(|_| vec![]), b"x", None), SHORT);
    check.via.source = Some(elsewhere);
    let cause = crate::check::probe::Prober::new("up".into(), check.into(), shared).probe().await.detail;
    assert_eq!(cause, "192.0.2.77, where it is to come from, is not on this host");
    assert!(!outcome(udp(server(|_| vec![]), b"x", None), SHORT).await.passed);
}
