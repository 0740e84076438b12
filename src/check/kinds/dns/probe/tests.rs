use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use domain::base::Rtype;
use domain::base::iana::{OptRcode, Rcode};
use domain::rdata::{A, Cname, Mx, Txt};
use proptest::prelude::*;
use vipcast_node::model::Question;

use super::*;
use crate::check::probe::tests::{PATIENT, asked, fail, pass, prober, target, time_out, wait_for_close};

type Name = domain::base::Name<Bytes>;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn check(server: SocketAddr) -> DnsCheck {
    DnsCheck {
        server: target(server),
        name: name("www.example.com"),
        record_type: Rtype::A,
        transport: DnsTransport::Udp,
        rcodes: vec![OptRcode::NOERROR],
        answers: None,
        authenticated: false,
        recursion: true,
        edns: true,
    }
}

fn kind(check: DnsCheck) -> Question {
    asked(check)
}

fn wanting(server: SocketAddr, answers: &[&str]) -> Question {
    kind(DnsCheck { answers: Some(answers.iter().copied().map(String::from).collect()), ..check(server) })
}

/// Answers with these bytes, over UDP.
fn udp(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    serve_udp(socket, answers);
    address
}

fn serve_udp(socket: UdpSocket, answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) {
    thread::spawn(move || {
        let mut buffer = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            for answer in answers(&buffer[..length]) {
                // The probe may have gone.
                socket.send_to(&answer, from).ok();
            }
        }
    });
}

/// Cut over UDP, and whatever `serve` does over TCP on the same port.
fn cut(serve: impl Fn(TcpStream, Vec<u8>) + Send + 'static) -> SocketAddr {
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()) {
            break (listener, socket);
        }
    };
    let address = listener.local_addr().unwrap();
    serve_udp(socket, |query| vec![with_flags(reply(query, Rcode::NOERROR, &[]), 0x02, 0)]);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut query = vec![0; u16::from_be_bytes(length).into()];
            stream.read_exact(&mut query).unwrap();
            serve(stream, query);
        }
    });
    address
}

fn with_flags(mut message: Vec<u8>, third: u8, fourth: u8) -> Vec<u8> {
    message[2] |= third;
    message[3] |= fourth;
    message
}

/// An A record or an alias.
enum Record<'a> {
    A(&'a str, [u8; 4]),
    Alias(&'a str, &'a str),
}
use Record::{A as Address, Alias};

fn reply(query: &[u8], rcode: Rcode, records: &[Record<'_>]) -> Vec<u8> {
    let query = Message::from_octets(Bytes::copy_from_slice(query)).unwrap();
    let mut reply = MessageBuilder::new_bytes().start_answer(&query, rcode).unwrap();
    for record in records {
        match record {
            Record::A(owner, address) => reply.push((name(owner), 60, A::new((*address).into()))).unwrap(),
            Record::Alias(owner, to) => reply.push((name(owner), 60, Cname::new(name(to)))).unwrap(),
        }
    }
    reply.finish().to_vec()
}

fn answering(rcode: Rcode, records: &'static [Record<'static>]) -> SocketAddr {
    udp(move |query| vec![reply(query, rcode, records)])
}

const ONE: &[Record<'static>] = &[Address("www.example.com", [192, 0, 2, 1])];

#[test]
fn the_question_is_as_short_as_it_can_be() {
    let check = check("127.0.0.1:53".parse().unwrap());
    let plain = query(&check, 0x1234, true).unwrap();
    let asked = b"\x03www\x07example\x03com\x00\x00\x01\x00\x01";
    // RD; one question and one additional record: OPT with 1232 bytes and no flags.
    let header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01";
    let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";
    assert_eq!(plain.as_slice(), [&header[..], asked, opt].concat());
    let verified = query(&DnsCheck { authenticated: true, recursion: false, ..check }, 0x1234, true).unwrap();
    let header = b"\x12\x34\x00\x20\x00\x01\x00\x00\x00\x00\x00\x01";
    let opt = b"\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
    assert_eq!(verified.as_slice(), [&header[..], asked, opt].concat());
}

#[test]
fn ids_are_not_in_a_row() {
    let ids: std::collections::BTreeSet<u16> = (0..100).map(|_| random()).collect();
    assert!(ids.len() > 90, "{ids:?}");
    assert!(ids.iter().zip(ids.iter().skip(1)).filter(|(a, b)| **a + 1 == **b).count() < 10, "{ids:?}");
}

#[tokio::test]
async fn an_answer_passes_whatever_it_is_and_wrong_codes_are_named() {
    assert_eq!(pass(kind(check(answering(Rcode::NOERROR, ONE)))).await, "NOERROR: 192.0.2.1");
    for (rcode, text) in [
        (Rcode::SERVFAIL, "SERVFAIL, wanted NOERROR"),
        (Rcode::NXDOMAIN, "NXDOMAIN, wanted NOERROR"),
        (Rcode::REFUSED, "REFUSED, wanted NOERROR"),
    ] {
        assert_eq!(fail(kind(check(answering(rcode, &[])))).await, text);
    }
    let rcodes = vec![OptRcode::NXDOMAIN, OptRcode::REFUSED];
    let missing = |server| kind(DnsCheck { rcodes: rcodes.clone(), ..check(server) });
    assert_eq!(pass(missing(answering(Rcode::NXDOMAIN, &[]))).await, "NXDOMAIN");
    let cause = fail(missing(answering(Rcode::NOERROR, ONE))).await;
    assert_eq!(cause, "NOERROR, wanted NXDOMAIN or REFUSED");
}

#[tokio::test]
async fn a_refusal_need_not_repeat_the_question() {
    let header = |query: &[u8], rcode| [&query[..2], &[0x80, rcode, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    let refusing = udp(move |query| vec![header(query, 1)]);
    assert_eq!(fail(kind(check(refusing))).await, "FORMERR, wanted NOERROR");
    let agreeing = udp(move |query| vec![header(query, 0)]);
    let cause = time_out(kind(check(agreeing))).await;
    assert_eq!(cause, "no answer within 200 ms; the last thing that came answers another question");
}

#[tokio::test]
async fn every_wanted_value_must_be_there_in_any_order() {
    const TWO: &[Record<'static>] =
        &[Address("www.example.com", [192, 0, 2, 2]), Address("WWW.example.COM", [192, 0, 2, 1])];
    let two = answering(Rcode::NOERROR, TWO);
    assert_eq!(pass(wanting(two, &["192.0.2.1"])).await, "NOERROR: 192.0.2.2, 192.0.2.1");
    pass(wanting(two, &["192.0.2.1", "192.0.2.2"])).await;
    let one = answering(Rcode::NOERROR, ONE);
    assert_eq!(fail(wanting(one, &["192.0.2.9"])).await, "answers 192.0.2.1, wanted 192.0.2.9");
    assert_eq!(fail(wanting(one, &["192.0.2.1", "192.0.2.2"])).await, "answers 192.0.2.1, wanted 192.0.2.2");
    assert_eq!(fail(wanting(one, &[])).await, "answers 192.0.2.1, wanted none");
}

#[tokio::test]
async fn an_empty_answer_passes_only_where_it_is_wanted() {
    const OTHER: &[Record<'static>] = &[Address("other.example.com", [192, 0, 2, 1])];
    for records in [&[], OTHER] {
        let empty = answering(Rcode::NOERROR, records);
        assert_eq!(fail(kind(check(empty))).await, "the answer is empty (NODATA)");
        assert_eq!(
            fail(wanting(empty, &["192.0.2.1"])).await,
            "the answer is empty (NODATA), wanted 192.0.2.1"
        );
        assert_eq!(pass(wanting(empty, &[])).await, "NOERROR, no answers");
    }
}

#[tokio::test]
async fn aliases_are_followed_within_the_answer() {
    const CHAIN: &[Record<'static>] = &[
        Address("c.example", [192, 0, 2, 1]),
        Alias("b.example", "C.example"),
        Alias("www.example.com", "b.example"),
    ];
    const CIRCLE: &[Record<'static>] =
        &[Alias("www.example.com", "b.example"), Alias("b.example", "www.example.com")];
    let chain = answering(Rcode::NOERROR, CHAIN);
    assert_eq!(pass(wanting(chain, &["192.0.2.1"])).await, "NOERROR: 192.0.2.1");
    assert_eq!(
        fail(kind(check(answering(Rcode::NOERROR, CIRCLE)))).await,
        "the CNAMEs of the answer lead round in circles"
    );
    let of_alias =
        DnsCheck { record_type: Rtype::CNAME, answers: Some(vec!["B.example.".into()]), ..check(chain) };
    assert_eq!(pass(kind(of_alias)).await, "NOERROR: b.example.");
}

#[tokio::test]
async fn values_are_written_as_in_a_zone_file() {
    let texts = udp(|query| {
        let query = Message::from_octets(Bytes::copy_from_slice(query)).unwrap();
        let mut reply = MessageBuilder::new_bytes().start_answer(&query, Rcode::NOERROR).unwrap();
        let text: Txt<Bytes> = Txt::build_from_slice(b"v=spf1 -ALL").unwrap();
        reply.push((name("www.example.com"), 60, text)).unwrap();
        reply.push((name("www.example.com"), 60, Mx::new(10, name("mail.example.com")))).unwrap();
        vec![reply.finish().to_vec()]
    });
    let of_type = |record_type, answer: &str| {
        kind(DnsCheck { record_type, answers: Some(vec![answer.into()]), ..check(texts) })
    };
    assert_eq!(pass(of_type(Rtype::TXT, "v=spf1 -ALL")).await, "NOERROR: v=spf1 -ALL");
    assert_eq!(fail(of_type(Rtype::TXT, "v=spf1 -all")).await, "answers v=spf1 -ALL, wanted v=spf1 -all");
    assert_eq!(pass(of_type(Rtype::MX, "10 Mail.example.com.")).await, "NOERROR: 10 mail.example.com.");
}

#[tokio::test]
async fn what_is_verified_has_the_ad_bit() {
    let verified = |server| kind(DnsCheck { authenticated: true, ..check(server) });
    let with = udp(|query| vec![with_flags(reply(query, Rcode::NOERROR, ONE), 0, 0x20)]);
    assert_eq!(pass(verified(with)).await, "NOERROR, authenticated: 192.0.2.1");
    assert_eq!(
        fail(verified(answering(Rcode::NOERROR, ONE))).await,
        "NOERROR, but not authenticated: the answer has no AD bit"
    );
}

#[tokio::test]
async fn what_is_not_our_answer_is_passed_over() {
    let strange = |query: &[u8]| {
        let other_id = [&[query[0] ^ 1], &query[1..]].concat();
        let other_name = [&query[..13], b"x", &query[14..]].concat();
        vec![
            reply(&other_id, Rcode::NOERROR, ONE),
            reply(&other_name, Rcode::NOERROR, ONE),
            query.to_vec(),
            b"garbage".to_vec(),
        ]
    };
    let before = udp(move |query| {
        let mut answers = strange(query);
        answers.push(reply(query, Rcode::NOERROR, ONE));
        answers
    });
    assert_eq!(pass(kind(check(before))).await, "NOERROR: 192.0.2.1");
    assert_eq!(
        time_out(kind(check(udp(strange)))).await,
        "no answer within 200 ms; the last thing that came has 7 bytes and is no DNS message"
    );
    let flood = udp(|query| vec![query.to_vec(); 2 * STRANGE]);
    assert_eq!(
        fail(kind(check(flood))).await,
        "64 datagrams and none is the answer; the last thing that came is a question"
    );
}

#[tokio::test]
async fn nobody_there_and_silence() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(fail(kind(check(closed))).await, "port unreachable");
    assert_eq!(time_out(kind(check(udp(|_| vec![])))).await, "no answer within 200 ms");
    let tcp = DnsCheck { transport: DnsTransport::Tcp, ..check(closed) };
    assert_eq!(fail(kind(tcp)).await, "over TCP: connection refused");
}

#[tokio::test]
async fn what_does_not_fit_comes_over_tcp() {
    let send = |mut stream: TcpStream, answer: &[u8]| {
        let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
        // Byte by byte, as a hostile network would.
        for byte in [&length, answer].concat() {
            stream.write_all(&[byte]).unwrap();
        }
        wait_for_close(stream);
    };
    let whole = cut(move |stream, query| send(stream, &reply(&query, Rcode::NOERROR, ONE)));
    assert_eq!(pass(kind(check(whole))).await, "NOERROR: 192.0.2.1");
    let at_once = DnsCheck { transport: DnsTransport::Tcp, ..check(whole) };
    assert_eq!(pass(kind(at_once)).await, "NOERROR: 192.0.2.1");

    let other = cut(move |stream, query| {
        send(stream, &reply(&[&[query[0] ^ 1], &query[1..]].concat(), Rcode::NOERROR, ONE));
    });
    assert_eq!(fail(kind(check(other))).await, "over TCP: what came has another id");
    let empty = cut(move |stream, _| send(stream, &[]));
    assert_eq!(fail(kind(check(empty))).await, "over TCP: what came has 0 bytes and is no DNS message");
    let short = cut(|mut stream, _| stream.write_all(b"\xff\xffshort").unwrap());
    assert_eq!(fail(kind(check(short))).await, "over TCP: connection closed before the whole answer");
    let silent = cut(|stream, _| wait_for_close(stream));
    assert_eq!(time_out(kind(check(silent))).await, "over TCP: no answer within 200 ms");
    let cut_only = udp(|query| vec![with_flags(reply(query, Rcode::NOERROR, &[]), 0x02, 0)]);
    assert_eq!(fail(kind(check(cut_only))).await, "over TCP: connection refused");
}

#[test]
fn thousands_of_answers_are_not_read() {
    let query = query(&check("127.0.0.1:53".parse().unwrap()), 1, true).unwrap();
    let mut answer = reply(query.as_slice(), Rcode::NOERROR, ONE);
    answer[6..8].copy_from_slice(&1001_u16.to_be_bytes());
    let answer = answer::to(&query, &answer).unwrap();
    let check = check("127.0.0.1:53".parse().unwrap());
    assert_eq!(answer::judge(&check, &answer).unwrap_err(), "there are more than 1000 answers");
}

fn read(check: &DnsCheck, query: &Message<Bytes>, received: &[u8]) -> Option<String> {
    let answer = answer::to(query, received).ok()?;
    Some(answer::judge(check, &answer).unwrap_or_else(|cause| cause))
}

proptest! {
    #[test]
    fn no_bytes_make_us_panic(
        rest: Vec<u8>,
        rtype in prop::sample::select(vec![Rtype::A, Rtype::ANY, Rtype::CNAME, Rtype::TXT]),
        counts: [u8; 3],
    ) {
        let check = DnsCheck { record_type: rtype, ..check("127.0.0.1:53".parse().unwrap()) };
        let query = query(&check, 7, true).unwrap();
        read(&check, &query, &rest);
        // What follows a header and a question that are right is read further.
        let mut received = query.as_slice()[..query.as_slice().len() - 11].to_vec();
        received[2] |= 0x80;
        for (at, count) in [7, 9, 11].into_iter().zip(counts) {
            received[at] = count;
        }
        received.extend_from_slice(&rest);
        prop_assert!(read(&check, &query, &received).is_some());
    }

    #[test]
    fn no_change_of_an_answer_makes_us_panic(changes: Vec<(prop::sample::Index, u8)>, cut: prop::sample::Index) {
        let check = DnsCheck { record_type: Rtype::ANY, ..check("127.0.0.1:53".parse().unwrap()) };
        let query = query(&check, 7, true).unwrap();
        let records = [Alias("www.example.com", "a.example"), Address("a.example", [192, 0, 2, 1])];
        let mut answer = reply(query.as_slice(), Rcode::NOERROR, &records);
        for (at, byte) in changes {
            *at.get_mut(&mut answer) = byte;
        }
        read(&check, &query, &answer);
        read(&check, &query, &answer[..cut.index(answer.len() + 1)]);
    }
}

/// Complains of EDNS with this code, or says nothing; without EDNS it answers well. Counts both kinds of question.
fn without_edns(code: Option<u8>) -> (SocketAddr, Arc<[AtomicUsize; 2]>) {
    let asked: Arc<[AtomicUsize; 2]> = Arc::default();
    let count = Arc::clone(&asked);
    let address = udp(move |query| {
        let has_edns = query[11] == 1;
        count[usize::from(has_edns)].fetch_add(1, Ordering::SeqCst);
        match (has_edns, code) {
            (true, None) => vec![],
            (true, Some(code)) => {
                let mut reply = reply(query, Rcode::NOERROR, &[]);
                // BADVERS has its upper bits in an OPT record of its own.
                reply[3] |= code & 0x0f;
                if code > 15 {
                    reply[11] = 1;
                    reply.extend([0, 0, 41, 4, 208, code >> 4, 0, 0, 0, 0, 0]);
                }
                vec![reply]
            }
            (false, _) => vec![reply(query, Rcode::NOERROR, &[Address("www.example.com", [192, 0, 2, 80])])],
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_server_that_does_not_know_edns_is_asked_without_and_remembered() {
    for code in [1, 4, 16] {
        let (server, asked) = without_edns(Some(code));
        let mut prober = prober(kind(check(server)), PATIENT);
        for _ in 0..3 {
            let outcome = prober.probe().await;
            assert!(outcome.passed, "{code}: {}", outcome.detail);
            assert_eq!(outcome.detail, "NOERROR: 192.0.2.80");
        }
        let [plain, edns] = asked.each_ref().map(|asked| asked.load(Ordering::SeqCst));
        assert_eq!((plain, edns), (3, 1), "{code}");
    }
    // An error that is wanted is an answer.
    let (server, _) = without_edns(Some(4));
    let wanted = DnsCheck { rcodes: vec![OptRcode::NOTIMP], ..check(server) };
    assert_eq!(pass(kind(wanted)).await, "NOTIMP");
    // Other errors are not about EDNS.
    let (server, _) = without_edns(Some(2));
    assert_eq!(fail(kind(check(server))).await, "SERVFAIL, wanted NOERROR");
    let (server, _) = without_edns(None);
    time_out(kind(check(server))).await;
    assert_eq!(pass(kind(DnsCheck { edns: false, ..check(server) })).await, "NOERROR: 192.0.2.80");
}
