//! When packets leave, when a session expires, and how new timers come into force.

use std::time::Duration;

use super::support::{Bench, config, interval, ms, theirs};
use crate::bfd::{Diagnostic, Input, Packet, SessionConfig, State};

/// The gaps between packets within `time`, while the other sends every 100 ms.
fn gaps(bench: &mut Bench, time: Duration, say: Packet) -> Vec<Duration> {
    let mut sent = Vec::new();
    let end = bench.now + time;
    while bench.now < end {
        bench.receive(say);
        sent.extend(
            bench.advance(ms(100)).into_iter().filter(|(_, out)| out.transmit.is_some()).map(|(at, _)| at),
        );
    }
    sent.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_session_that_is_not_up_sends_once_a_second_at_most() {
    let mut bench = Bench::new(config(50, 50, 3));
    let first = bench.tick();
    assert_eq!(first.transmit.unwrap().desired_min_tx, Some(interval(1000)));
    assert_eq!(first.transmit.unwrap().your_discriminator, None);
    let sent: Vec<_> = bench.advance(ms(60_000)).into_iter().map(|(at, _)| at).collect();
    assert!((60..=80).contains(&sent.len()), "{}", sent.len());
    for pair in sent.windows(2) {
        assert!((ms(750)..=ms(1000)).contains(&(pair[1] - pair[0])));
    }
}

#[test]
fn periodic_packets_are_jittered_between_75_and_100_per_cent_of_the_slower_wish() {
    // Ours is 50 ms, the other can receive every 100 ms.
    let gaps = gaps(&mut Bench::up(config(50, 50, 3)), ms(30_000), theirs(State::Up));
    assert!(gaps.iter().all(|gap| (ms(75)..=ms(100)).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().min() < Some(&ms(77)) && gaps.iter().max() > Some(&ms(98)));
}

#[test]
fn a_multiplier_of_one_leaves_a_tenth_as_margin() {
    let gaps = gaps(&mut Bench::up(config(200, 50, 1)), ms(60_000), theirs(State::Up));
    assert!(gaps.iter().all(|gap| (ms(150)..=ms(180)).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max() > Some(&ms(177)));
}

#[test]
fn their_multiplier_and_the_slower_interval_make_the_detection_time() {
    // (our required rx, their desired tx, their multiplier, detection time)
    for (rx, tx, multiplier, expected) in
        [(50, 100, 3, 300), (200, 100, 3, 600), (100, 100, 1, 100), (100, 50, 7, 700)]
    {
        let mut bench = Bench::up(config(100, rx, 5));
        let multiplier = multiplier.try_into().unwrap();
        bench.receive(Packet { desired_min_tx: Some(interval(tx)), multiplier, ..theirs(State::Up) });
        let detection = ms(expected);
        assert_eq!(bench.session.status().detection_time, Some(detection));
        let heard = bench.now;
        let outputs = bench.advance(ms(3000));
        let (at, lost) = outputs.into_iter().find(|(_, output)| output.event.is_some()).unwrap();
        assert_eq!(at - heard, detection);
        let told = lost.transmit.unwrap();
        assert_eq!((told.state, told.diagnostic), (State::Down, Diagnostic::DETECTION_TIME_EXPIRED));
        // RFC 5880 §6.8.1: its discriminator is forgotten.
        assert_eq!(told.your_discriminator, None);
        assert_eq!(bench.session.status().remote, None);
    }
}

#[test]
fn the_kernels_stamp_counts_and_not_when_we_read_it() {
    let mut bench = Bench::up(config(100, 100, 3));
    let stamp = bench.now + ms(290);
    bench.now += ms(320);
    bench.input(Input::Received { packet: theirs(State::Up), at: stamp });
    bench.input(Input::Tick);
    assert_eq!(bench.state(), State::Up);
    // A packet that was overtaken does not turn the clock back, and one from the future is from now.
    bench.input(Input::Received { packet: theirs(State::Up), at: stamp - ms(200) });
    let outputs = bench.advance(ms(2000));
    let (at, _) = outputs.into_iter().find(|(_, output)| output.event.is_some()).unwrap();
    assert_eq!(at, stamp + ms(300));
}

#[test]
fn who_wakes_late_waits_one_more_interval_once_and_counts_it() {
    let mut bench = Bench::up(config(100, 100, 3));
    bench.now += ms(300) + ms(26);
    assert_eq!(bench.input(Input::Tick).event, None);
    assert_eq!(bench.session.status().counters.late_wakeups, 1);
    // A packet within that time, and all is as before.
    // One interval, a clock that is behind ours, and the way.
    bench.now += ms(100) + ms(24);
    assert_eq!(bench.input(Input::Tick).event, None);
    bench.receive(theirs(State::Up));
    bench.now += ms(300) + ms(400);
    assert_eq!(bench.input(Input::Tick).event, None);
    assert_eq!(bench.session.status().counters.late_wakeups, 2);
    // None, however late we are again.
    bench.now += ms(200);
    let lost = bench.input(Input::Tick).event.unwrap();
    assert_eq!(lost.diagnostic, Diagnostic::DETECTION_TIME_EXPIRED);
    assert_eq!(bench.session.status().counters.late_wakeups, 2);
}

#[test]
fn who_wakes_in_time_waits_no_longer() {
    let mut bench = Bench::up(config(100, 100, 3));
    bench.now += ms(300) + ms(25);
    assert!(bench.input(Input::Tick).event.is_some());
    assert_eq!(bench.session.status().counters.late_wakeups, 0);
}

#[test]
fn a_flood_of_packets_does_not_put_our_own_off() {
    let mut bench = Bench::up(config(100, 100, 3));
    let mut sent = 0;
    for _ in 0..10_000 {
        bench.receive(theirs(State::Up));
        // A poll is answered at once, which delays no periodic packet.
        let answer = bench.receive(Packet { poll: true, ..theirs(State::Up) }).transmit.unwrap();
        assert!(answer.final_ && !answer.poll);
        sent += bench.advance(ms(1)).len();
    }
    assert!((100..=134).contains(&sent), "{sent} in ten seconds");
}

#[test]
fn a_poll_of_ours_survives_a_fast_poller() {
    let mut bench = Bench::up(config(100, 100, 3));
    let poll = bench.configure(config(300, 100, 3)).transmit.unwrap();
    assert!(poll.poll);
    let mut polls = 0;
    for _ in 0..1000 {
        bench.receive(Packet { poll: true, ..theirs(State::Up) });
        polls += bench.advance(ms(1)).iter().filter(|(_, out)| out.transmit.is_some_and(|p| p.poll)).count();
    }
    assert!(polls >= 10, "{polls}");
}

#[test]
fn going_up_polls_with_the_real_timers_until_an_answer_comes() {
    let mut bench = Bench::new(config(50, 60, 3));
    bench.tick();
    bench.receive(theirs(State::Down));
    let up = bench.receive(theirs(State::Init)).transmit.unwrap();
    assert_eq!(
        (up.poll, up.desired_min_tx, up.required_min_rx),
        (true, Some(interval(50)), Some(interval(60)))
    );
    for _ in 0..3 {
        bench.receive(theirs(State::Up));
        assert!(bench.next_packet().poll);
    }
    bench.receive(Packet { final_: true, ..theirs(State::Up) });
    assert!(!bench.next_packet().poll);
}

#[test]
fn slower_transmission_and_faster_detection_wait_for_the_answer() {
    let mut bench = Bench::up(config(100, 300, 3));
    let poll = bench.configure(config(400, 100, 3)).transmit.unwrap();
    assert_eq!(
        (poll.poll, poll.desired_min_tx, poll.required_min_rx),
        (true, Some(interval(400)), Some(interval(100)))
    );
    let status = bench.session.status();
    assert_eq!((status.transmit_interval, status.detection_time), (Some(ms(100)), Some(ms(900))));
    assert!(status.polling);
    bench.receive(Packet { final_: true, ..theirs(State::Up) });
    let status = bench.session.status();
    assert_eq!((status.transmit_interval, status.detection_time), (Some(ms(400)), Some(ms(300))));
    assert!(!status.polling);
    assert_eq!((status.counters.ups, status.counters.downs), (1, 0));
}

#[test]
fn faster_transmission_and_slower_detection_apply_at_once() {
    let mut bench = Bench::up(config(400, 100, 3));
    bench.configure(config(200, 300, 3));
    let status = bench.session.status();
    assert_eq!((status.transmit_interval, status.detection_time), (Some(ms(200)), Some(ms(900))));
    assert!(status.polling);
}

#[test]
fn an_answer_to_an_earlier_poll_is_not_taken_for_one_to_a_later() {
    let mut bench = Bench::up(config(100, 100, 3));
    bench.configure(config(300, 100, 3));
    bench.configure(config(500, 100, 3));
    bench.receive(Packet { final_: true, ..theirs(State::Up) });
    // That was for the first; the second waits until no other answer can be under way.
    bench.receive(Packet { final_: true, ..theirs(State::Up) });
    assert_eq!(bench.session.status().transmit_interval, Some(ms(100)));
    assert!(bench.session.status().polling);
    let mut polled = false;
    for _ in 0..8 {
        bench.receive(theirs(State::Up));
        polled |= bench.advance(ms(50)).iter().any(|(_, out)| out.transmit.is_some_and(|packet| packet.poll));
    }
    assert!(polled);
    bench.receive(Packet { final_: true, ..theirs(State::Up) });
    assert_eq!(bench.session.status().transmit_interval, Some(ms(500)));
    assert!(!bench.session.status().polling);
}

#[test]
fn an_answer_that_nobody_asked_for_changes_nothing() {
    let mut bench = Bench::up(config(100, 100, 3));
    bench.advance(ms(1));
    let before = bench.session.status();
    let output = bench.receive(Packet { final_: true, ..theirs(State::Up) });
    assert_eq!((output.transmit, output.event), (None, None));
    assert_eq!(bench.session.status().transmit_interval, before.transmit_interval);
}

#[test]
fn who_wants_no_packets_gets_none_until_it_comes_back_from_silence() {
    let mut bench = Bench::up(config(100, 100, 3));
    bench.receive(Packet { required_min_rx: None, ..theirs(State::Up) });
    assert_eq!(bench.session.status().transmit_interval, None);
    // A poll is answered nevertheless.
    let asks = Packet { required_min_rx: None, poll: true, ..theirs(State::Up) };
    assert!(bench.receive(asks).transmit.unwrap().final_);
    let outputs = bench.advance(ms(10_000));
    let (_, lost) = &outputs[0];
    assert!(lost.event.is_some() && lost.transmit.is_some());
    assert!(outputs.len() > 9, "it never sent again: {outputs:?}");
}

#[test]
fn demand_mode_of_the_other_ends_periodic_packets_while_both_are_up() {
    let mut bench = Bench::up(config(100, 100, 3));
    let demands = Packet { demand: true, ..theirs(State::Up) };
    let sent = gaps(&mut bench, ms(2000), demands);
    assert!(sent.is_empty(), "{sent:?}");
    assert_eq!(bench.state(), State::Up);
    // A poll of ours is sent all the same.
    assert!(bench.configure(config(200, 100, 3)).transmit.unwrap().poll);
    bench.receive(demands);
    assert!(bench.next_packet().poll);
    bench.receive(Packet { final_: true, ..demands });
    assert_eq!(bench.session.status().transmit_interval, None);
    // It ends, and we go on.
    bench.receive(theirs(State::Up));
    assert_eq!(bench.session.status().transmit_interval, Some(ms(200)));
    bench.receive(demands);
    // A session that is not Up gets periodic packets even in demand mode.
    bench.receive(Packet { demand: true, ..theirs(State::Down) });
    assert_eq!(bench.session.status().transmit_interval, Some(ms(1000)));
}

#[test]
fn stopping_says_admin_down_for_the_others_detection_time() {
    let mut bench = Bench::up(config(100, 100, 5));
    let goodbye = bench.input(Input::Stop);
    let told = goodbye.transmit.unwrap();
    assert_eq!((told.state, told.diagnostic), (State::AdminDown, Diagnostic::ADMINISTRATIVELY_DOWN));
    assert!(!goodbye.finished);
    let stopped = bench.now;
    bench.receive(theirs(State::Up));
    bench.configure(config(300, 300, 3));
    let outputs = bench.advance(ms(500));
    let (at, last) = outputs.last().unwrap();
    assert!(last.finished);
    assert_eq!(*at - stopped, ms(500));
}

#[test]
fn stopping_a_session_that_nobody_answered_is_over_at_once() {
    let mut bench = Bench::new(config(100, 100, 3));
    assert!(bench.input(Input::Stop).transmit.is_some());
    assert!(bench.tick().finished);
    let mut bench = Bench::new(SessionConfig { admin_down: true, ..config(100, 100, 3) });
    bench.input(Input::Stop);
    assert!(bench.tick().finished);
}

#[test]
fn new_timers_of_a_session_that_is_not_up_need_no_poll() {
    let mut bench = Bench::new(config(100, 100, 3));
    bench.tick();
    let told = bench.configure(config(2000, 300, 4)).transmit.unwrap();
    assert_eq!((told.poll, told.desired_min_tx, told.multiplier.get()), (false, Some(interval(2000)), 4));
    assert_eq!(bench.session.status().transmit_interval, Some(ms(2000)));
}

#[test]
fn one_seed_one_sequence() {
    let sent = |seed| {
        let mut bench = Bench::new(config(100, 100, 3));
        let mut session =
            crate::bfd::Session::new(config(100, 100, 3), super::support::OURS, seed, bench.now);
        std::mem::swap(&mut bench.session, &mut session);
        let begin = bench.now;
        bench.advance(ms(20_000)).into_iter().map(|(at, _)| at - begin).collect::<Vec<_>>()
    };
    assert_eq!(sent(1), sent(1));
    assert_ne!(sent(1), sent(2));
}
