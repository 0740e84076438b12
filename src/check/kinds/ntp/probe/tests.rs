use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use vipcast_node::model::Question;

use super::*;
use crate::check::probe::tests::{asked, fail, pass, target, time_out};

/// A server that answers every question with these packets, made from an answer without a mistake.
fn server(answers: impl Fn([u8; LENGTH]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut question = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut question).unwrap();
            assert_eq!((length, question[0]), (LENGTH, 0x23), "a client that speaks version 4");
            assert_eq!(question[1..40], [0; 39], "nothing is told of this host");
            let now = Timestamp::of(SystemTime::now()).0.to_be_bytes();
            let mut answer = [0; LENGTH];
            answer[..4].copy_from_slice(&[0x24, 2, 6, 0xe7]);
            answer[12..16].copy_from_slice(&[192, 0, 2, 1]);
            answer[24..32].copy_from_slice(&question[40..48]);
            answer[32..40].copy_from_slice(&now);
            answer[40..].copy_from_slice(&now);
            for answer in answers(answer) {
                // The probe may have gone.
                socket.send_to(&answer, from).ok();
            }
        }
    });
    address
}

fn ntp(to: SocketAddr) -> Question {
    asked(check(to))
}

fn check(to: SocketAddr) -> NtpCheck {
    NtpCheck { server: target(to), stratum: 15, offset: None, root_distance: None }
}

fn with(mut packet: [u8; LENGTH], at: usize, bytes: &[u8]) -> Vec<u8> {
    packet[at..at + bytes.len()].copy_from_slice(bytes);
    packet.to_vec()
}

#[tokio::test]
async fn a_server_with_the_time_passes() {
    let detail = pass(ntp(server(|good| vec![good.to_vec()]))).await;
    assert!(detail.starts_with("stratum 2, offset ") && detail.ends_with(", ref 192.0.2.1"), "{detail}");
    let close =
        NtpCheck { offset: Some(Duration::from_secs(5)), ..check(server(|good| vec![good.to_vec()])) };
    pass(asked(close)).await;
}

#[tokio::test]
async fn a_server_whose_clock_is_off_fails() {
    let ahead = server(|good| {
        let hour = |at: usize| {
            let now = u32::from_be_bytes([good[at], good[at + 1], good[at + 2], good[at + 3]]);
            now.wrapping_add(3600).to_be_bytes()
        };
        let (received, sent) = (hour(32), hour(40));
        let mut packet = good;
        packet[32..36].copy_from_slice(&received);
        packet[40..44].copy_from_slice(&sent);
        vec![packet.to_vec()]
    });
    let cause = fail(asked(NtpCheck { offset: Some(Duration::from_secs(60)), ..check(ahead) })).await;
    assert!(cause.starts_with("stratum 2, offset +3600.0 s, delay "), "{cause}");
    assert!(cause.ends_with("; wanted an offset of 60 s or less"), "{cause}");
}

#[tokio::test]
async fn a_server_without_the_time_fails_at_once() {
    let alarmed = server(|good| vec![with(good, 0, &[0xe4])]);
    assert_eq!(fail(ntp(alarmed)).await, "the server is not synchronised");
    let rate = server(|good| vec![with(with(good, 12, b"RATE").try_into().unwrap(), 0, &[0xe4, 0])]);
    assert_eq!(
        fail(ntp(rate)).await,
        "the server asks for fewer questions (RATE): a longer `interval` is needed"
    );
}

#[tokio::test]
async fn what_is_not_the_answer_is_passed_over() {
    let late = server(|good| vec![vec![], with(good, 0, &[0x23]), with(good, 24, &[0; 8]), good.to_vec()]);
    pass(ntp(late)).await;
    let forged = server(|good| vec![with(good, 24, &[0; 8])]);
    assert_eq!(
        time_out(ntp(forged)).await,
        "no answer within 200 ms; the last thing that came answers another question"
    );
    let flood = server(|_| vec![b"!".to_vec(); 2 * STRANGE]);
    assert_eq!(
        fail(ntp(flood)).await,
        "64 datagrams and none is the answer; the last thing that came is shorter than a packet of NTP (1 of 48 bytes)"
    );
}

#[tokio::test]
async fn nobody_there_is_said_at_once_and_silence_never_passes() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(fail(ntp(closed)).await, "port unreachable");
    assert_eq!(time_out(ntp(server(|_| vec![]))).await, "no answer within 200 ms");
}
