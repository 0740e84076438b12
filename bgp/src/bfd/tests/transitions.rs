//! One table of all transitions: every state, and everything that can happen in it.

use super::support::{Bench, config, ms, theirs};
use crate::bfd::{Cause, Diagnostic, Input, Output, Packet, SessionConfig, State, Transition};
use State::{AdminDown, Down, Init, Up};

/// An event, and the states that AdminDown, Down, Init and Up change to; the same state means no transition.
const TABLE: &[(&str, [State; 4])] = &[
    ("they say AdminDown", [AdminDown, Down, Down, Down]),
    ("they say Down", [AdminDown, Init, Init, Down]),
    ("they say Init", [AdminDown, Up, Up, Up]),
    ("they say Up", [AdminDown, Down, Up, Up]),
    ("silence", [AdminDown, Down, Down, Down]),
    ("admin down", [AdminDown, AdminDown, AdminDown, AdminDown]),
    ("admin up", [Down, Down, Init, Up]),
    ("stop", [AdminDown, AdminDown, AdminDown, AdminDown]),
];

fn perform(bench: &mut Bench, what: &str) -> Vec<Output> {
    let set = |admin_down| Input::Configure(SessionConfig { admin_down, ..config(100, 100, 3) });
    vec![match what {
        "they say AdminDown" => bench.receive(theirs(AdminDown)),
        "they say Down" => bench.receive(theirs(Down)),
        "they say Init" => bench.receive(theirs(Init)),
        "they say Up" => bench.receive(theirs(Up)),
        "silence" => return bench.advance(ms(3_000)).into_iter().map(|(_, output)| output).collect(),
        "admin down" => bench.input(set(true)),
        "admin up" => bench.input(set(false)),
        "stop" => bench.input(Input::Stop),
        other => panic!("{other} never happens"),
    }]
}

#[test]
fn every_state_changes_as_the_rfc_has_it_and_says_so() {
    for (what, states) in TABLE {
        for (from, to) in State::ALL.into_iter().zip(*states) {
            let mut bench = Bench::in_state(from);
            let counted = bench.session.status().counters;
            let outputs = perform(&mut bench, what);
            assert_eq!(bench.state(), to, "{from}: {what}");
            let events: Vec<_> =
                outputs.iter().filter_map(|output| output.event.map(|event| (event, output))).collect();
            if from == to {
                assert!(events.is_empty(), "{from}: {what}: {events:?}");
                continue;
            }
            let [(event, output)] = events.as_slice() else { panic!("{from}: {what}: {events:?}") };
            assert_eq!((event.from, event.to), (from, to), "{what}");
            // RFC 5880 §6.8.7: news does not wait for the next period.
            let told = output.transmit.unwrap_or_else(|| panic!("{from}: {what}: nothing is sent"));
            assert_eq!((told.state, told.diagnostic), (to, event.diagnostic), "{from}: {what}");
            let expected = match (*what, to) {
                (_, Init | Up) | ("admin up", _) => Diagnostic::NONE,
                ("silence", _) => Diagnostic::DETECTION_TIME_EXPIRED,
                (_, AdminDown) => Diagnostic::ADMINISTRATIVELY_DOWN,
                (_, Down) => Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN,
            };
            assert_eq!(event.diagnostic, expected, "{from}: {what}");
            let status = bench.session.status();
            assert_eq!(status.last_transition, Some(*event));
            assert_eq!(status.counters.ups - counted.ups, u64::from(to == Up), "{from}: {what}");
            assert_eq!(status.counters.downs - counted.downs, u64::from(from == Up), "{from}: {what}");
            assert_eq!(event.is_loss(), from == Up);
        }
    }
}

#[test]
fn only_a_loss_that_no_operator_wanted_is_a_failure() {
    let lost = |what| {
        let outputs = perform(&mut Bench::in_state(Up), what);
        outputs.iter().find_map(|output| output.event).unwrap()
    };
    assert!(lost("silence").is_failure());
    assert!(lost("they say Down").is_failure());
    assert!(!lost("they say AdminDown").is_failure());
    assert!(!lost("admin down").is_failure());
    assert!(!lost("stop").is_failure());
    let init = perform(&mut Bench::in_state(Init), "silence").iter().find_map(|output| output.event).unwrap();
    assert!(!init.is_loss() && !init.is_failure());
}

#[test]
fn transitions_are_told_in_words() {
    let mut bench = Bench::in_state(Up);
    let diagnostic = Diagnostic::ADMINISTRATIVELY_DOWN;
    let event = bench.receive(Packet { diagnostic, ..theirs(AdminDown) }).event.unwrap();
    assert_eq!(
        event.to_string(),
        "Up to Down: Neighbor Signaled Session Down; it is AdminDown: Administratively Down"
    );
    let cause = Cause::DetectionTimeExpired;
    let event = Transition { cause, diagnostic: cause.diagnostic(Down), ..event };
    assert_eq!(event.to_string(), "Up to Down: Control Detection Time Expired");
    assert_eq!(
        serde_json::to_string(&event).unwrap(),
        r#"{"from":"Up","to":"Down","cause":"detection_time_expired","diagnostic":"Control Detection Time Expired"}"#
    );
}

#[test]
fn a_neighbour_that_restarts_is_met_again_with_its_new_discriminator() {
    let mut bench = Bench::in_state(Up);
    let reborn = 0x0C0C_0C0C.try_into().unwrap();
    let packet = Packet { my_discriminator: reborn, your_discriminator: None, ..theirs(Down) };
    let output = bench.receive(packet);
    assert_eq!(bench.state(), Down);
    assert_eq!(output.transmit.unwrap().your_discriminator, Some(reborn));
    let packet = Packet { my_discriminator: reborn, ..theirs(Init) };
    bench.receive(packet);
    assert_eq!(bench.state(), Up);
}
