//! Hold, keepalive and send hold timers.

use std::time::Duration;

use super::support::{Bench, encode, routes, show, their_open_with_hold, update};
use crate::fsm::{ConnectMode, Input, Output, State};
use crate::wire::Message;

const SECOND: Duration = Duration::from_secs(1);

/// Ticks until the connection ends; how long that took, and the last outputs.
fn silence(bench: &mut Bench) -> (Duration, String) {
    let begin = bench.now;
    loop {
        let outputs = bench.tick();
        if outputs.iter().any(|output| matches!(output, Output::Close(_))) {
            return (bench.now - begin, show(&outputs));
        }
        let outputs = bench.acknowledge(outputs);
        assert!(outputs.len() <= 1, "{}", show(&outputs));
    }
}

#[test]
fn a_silent_peer_is_given_up_after_the_hold_time() {
    let cases =
        [(State::OpenSent, 240, "Down"), (State::OpenConfirm, 9, "Down"), (State::Established, 9, "Down!")];
    for (state, seconds, down) in cases {
        let (mut bench, _) = Bench::at(state, ConnectMode::Passive);
        let last = format!("send 1 4/0, close 1, {down} (we sent Hold Timer Expired)");
        assert_eq!(silence(&mut bench), (seconds * SECOND, last), "{state}");
        assert_eq!((bench.state(), bench.peer.deadline()), (State::Active, None));
    }
}

#[test]
fn keepalives_and_updates_hold_the_session() {
    for message in [Message::Keepalive, update(1, 1)] {
        let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
        for _ in 0..100 {
            let sent = bench.advance(Duration::from_millis(8_999)).into_iter().map(|(_, output)| output);
            bench.acknowledge(sent.collect());
            assert_eq!(bench.receive(conn, &message), []);
        }
        assert_eq!(bench.state(), State::Established);
        bench.advance(9 * SECOND);
        assert_ne!(bench.state(), State::Established);
    }
}

#[test]
fn half_a_message_is_no_sign_of_life() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Passive);
    let keepalive = encode(&Message::Keepalive);
    let begin = bench.now;
    for n in 0..9 {
        bench.input(Input::Received(conn, keepalive.slice(n..=n)));
        bench.advance(SECOND);
    }
    assert_eq!((bench.state(), bench.now - begin), (State::Active, 9 * SECOND));
}

#[test]
fn keepalives_are_spaced_by_three_quarters_to_the_whole_of_a_third() {
    for hold in [3, 9, 90] {
        let (mut bench, conn) = Bench::at(State::OpenSent, ConnectMode::Both);
        let third = SECOND * u32::from(hold.min(9)) / 3;
        bench.input(Input::Sent(conn, 1000));
        let mut outputs = bench.receive(conn, &Message::Open(their_open_with_hold(hold)));
        outputs.extend(bench.receive(conn, &Message::Keepalive));
        bench.acknowledge(outputs);
        let mut spaces = Vec::new();
        let mut last = bench.now;
        for _ in 0..500 {
            let outputs = bench.tick();
            assert_eq!(show(&outputs), "send 1 KEEPALIVE");
            bench.acknowledge(outputs);
            bench.receive(conn, &Message::Keepalive);
            spaces.push(bench.now - last);
            last = bench.now;
        }
        let (least, most) = (*spaces.iter().min().unwrap(), *spaces.iter().max().unwrap());
        assert!(least >= third * 3 / 4 && most <= third, "{least:?} to {most:?} of {third:?}");
        assert!(least < third * 77 / 100 && most > third * 98 / 100, "no jitter: {least:?} to {most:?}");
    }
}

/// RFC 4271 §4.4: an UPDATE does for a KEEPALIVE.
#[test]
fn an_update_puts_the_next_keepalive_off() {
    let (mut bench, conn) = Bench::at(State::OpenConfirm, ConnectMode::Both);
    // Our OPEN and KEEPALIVE, which the kernel has not taken yet, stand before it.
    bench.input(Input::Sent(conn, 1000));
    let outputs = bench.receive(conn, &Message::Keepalive);
    bench.acknowledge(outputs);
    for n in 1..100 {
        let outputs = bench.advertise(n, routes(u32::try_from(n % 2).unwrap(), 0));
        bench.acknowledge(outputs);
        let sent = bench.advance(Duration::from_millis(2_249));
        assert_eq!(sent, [], "round {n}");
        bench.receive(conn, &Message::Keepalive);
    }
}

/// RFC 9687: twice the hold time, although the peer itself goes on talking.
#[test]
fn a_peer_that_reads_nothing_is_given_up_by_the_send_hold_timer() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Passive);
    // OPEN and KEEPALIVE are sent, and not taken by the kernel.
    let begin = bench.now;
    let last = loop {
        let outputs = bench.tick();
        if bench.state() != State::Established {
            break show(&outputs);
        }
        bench.receive(conn, &Message::Keepalive);
    };
    assert_eq!(bench.now - begin, 18 * SECOND);
    assert_eq!(last, "close 1, Down! (the peer reads nothing: Send Hold Timer expired)");
}

#[test]
fn any_progress_starts_the_send_hold_timer_over() {
    let (mut bench, conn) = Bench::at(State::Established, ConnectMode::Both);
    bench.advertise(1, routes(100, 0));
    for _ in 0..50 {
        for _ in 0..17 {
            bench.advance(SECOND);
            bench.receive(conn, &Message::Keepalive);
        }
        bench.input(Input::Sent(conn, 1));
    }
    assert_eq!(bench.state(), State::Established);
}
