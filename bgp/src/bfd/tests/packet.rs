//! Octets beside the value, in both directions, and each rule for dropping beside a packet that breaks it.

use proptest::prelude::*;

use super::support::{OURS, THEIRS, interval, theirs};
use crate::bfd::{Diagnostic, Discard, Discards, Interval, Packet, State};

fn octets(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// A packet of an Up session of [`theirs`], in the groups of the RFC's figure.
const UP: &str = "20 c0 03 18  0b0b0b0b  0a0a0a0a  000186a0  000186a0  00000000";

#[test]
fn octets_and_values_correspond() {
    let down = Packet {
        diagnostic: Diagnostic::NEIGHBOR_SIGNALED_SESSION_DOWN,
        your_discriminator: None,
        desired_min_tx: Interval::from_micros(1_000_000),
        required_min_rx: None,
        required_min_echo_rx: Some(interval(50)),
        ..theirs(State::Down)
    };
    let every_bit = Packet {
        diagnostic: Diagnostic::from_bits(31),
        poll: true,
        final_: true,
        control_plane_independent: true,
        demand: true,
        multiplier: 255.try_into().unwrap(),
        desired_min_tx: Interval::from_micros(u32::MAX),
        ..theirs(State::AdminDown)
    };
    let table = [
        ("Up", UP, theirs(State::Up)),
        ("Down", "23 40 03 18  0b0b0b0b  00000000  000f4240  00000000  0000c350", down),
        (
            "Poll",
            "20 a0 03 18  0b0b0b0b  0a0a0a0a  000186a0  000186a0  00000000",
            Packet { poll: true, ..theirs(State::Init) },
        ),
        ("every bit", "3f 3a ff 18  0b0b0b0b  0a0a0a0a  ffffffff  000186a0  00000000", every_bit),
    ];
    for (what, hex, packet) in table {
        assert_eq!(Packet::decode(&octets(hex)), Ok(packet), "{what}");
        assert_eq!(packet.encode().as_slice(), octets(hex), "{what}");
    }
}

#[test]
fn what_stands_behind_the_packet_is_ignored() {
    let longer = [octets(UP), vec![0xAA; 7]].concat();
    assert_eq!(Packet::decode(&longer), Ok(theirs(State::Up)));
    let mut says_so = longer;
    says_so[3] = 31;
    assert_eq!(Packet::decode(&says_so), Ok(theirs(State::Up)));
}

#[test]
fn every_rule_of_the_rfc_drops_what_breaks_it() {
    let table = [
        ("nothing", "", Discard::Truncated),
        ("23 octets", "20 c0 03 17 0b0b0b0b 0a0a0a0a 000186a0 000186a0 000000", Discard::Truncated),
        ("version 0", "00 c0 03 18 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000", Discard::Version),
        ("version 2", "40 c0 03 18 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000", Discard::Version),
        ("length 23", "20 c0 03 17 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000", Discard::LengthTooShort),
        (
            "length 25, authenticated",
            "20 c4 03 19 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000 00 00",
            Discard::LengthTooShort,
        ),
        (
            "length 25 of 24",
            "20 c0 03 19 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000",
            Discard::LengthBeyondPayload,
        ),
        ("multiplier 0", "20 c0 00 18 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000", Discard::ZeroMultiplier),
        ("multipoint", "20 c1 03 18 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000", Discard::Multipoint),
        (
            "my discriminator 0",
            "20 c0 03 18 00000000 0a0a0a0a 000186a0 000186a0 00000000",
            Discard::ZeroMyDiscriminator,
        ),
        (
            "Up and knows nobody",
            "20 c0 03 18 0b0b0b0b 00000000 000186a0 000186a0 00000000",
            Discard::ZeroYourDiscriminator,
        ),
        (
            "Init and knows nobody",
            "20 80 03 18 0b0b0b0b 00000000 000186a0 000186a0 00000000",
            Discard::ZeroYourDiscriminator,
        ),
        (
            "authenticated",
            "20 c4 03 1a 0b0b0b0b 0a0a0a0a 000186a0 000186a0 00000000 01 02",
            Discard::Authentication,
        ),
    ];
    for (what, hex, discard) in table {
        assert_eq!(Packet::decode(&octets(hex)), Err(discard), "{what}");
    }
    for (state, second) in [(State::AdminDown, "00"), (State::Down, "40")] {
        let hex = format!("20 {second} 03 18 0b0b0b0b 00000000 000186a0 000186a0 00000000");
        let packet = Packet { your_discriminator: None, ..theirs(state) };
        assert_eq!(Packet::decode(&octets(&hex)), Ok(packet), "a neighbour that is {state} knows nobody");
    }
}

#[test]
fn numbers_have_words() {
    assert_eq!(Diagnostic::DETECTION_TIME_EXPIRED.to_string(), "Control Detection Time Expired");
    assert_eq!(Diagnostic::from_bits(17).to_string(), "diagnostic 17");
    assert_eq!(State::ALL.map(|state| state.to_string()), ["AdminDown", "Down", "Init", "Up"]);
    assert!(OURS != THEIRS);
}

#[test]
fn dropped_packets_are_counted_by_reason() {
    let mut discards = Discards::default();
    for reason in Discard::ALL {
        discards.count(reason);
    }
    discards.count(Discard::Ttl);
    assert_eq!(discards.of(Discard::Ttl), 2);
    assert_eq!(discards.total(), Discard::ALL.len() as u64 + 1);
    assert_eq!(discards.iter().map(|(reason, _)| reason).collect::<Vec<_>>(), Discard::ALL);
    let mut one = Discards::default();
    one.count(Discard::Version);
    assert_eq!(serde_json::to_string(&one).unwrap(), r#"{"Version":1}"#);
    assert_eq!(one.to_string(), "not BFD version 1 (1)");
}

proptest! {
    #![proptest_config(crate::testing::cases(2000))]

    #[test]
    fn whatever_decodes_goes_back_to_the_same_octets(mut payload in proptest::collection::vec(any::<u8>(), 24..40)) {
        // Most random octets have another version.
        payload[0] = payload[0] & 0x1F | 0x20;
        payload[3] = 24;
        if let Ok(packet) = Packet::decode(&payload) {
            prop_assert_eq!(&packet.encode(), &payload[..24]);
        } else {
            prop_assert!(payload[2] == 0 || payload[1] & 5 != 0 || payload[4..8] == [0; 4] || payload[8..12] == [0; 4]);
        }
    }
}
