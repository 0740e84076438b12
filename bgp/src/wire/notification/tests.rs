use super::*;
use crate::wire::tests::bytes;
use crate::wire::{Family, iana};

const SHUTDOWN: u8 = code::cease::ADMINISTRATIVE_SHUTDOWN;

fn notification(code: u8, subcode: u8, data: &str) -> Notification {
    Notification::new(code, subcode, bytes(data))
}

#[test]
fn notifications_read_in_words() {
    let table = [
        (Notification::cease(SHUTDOWN, "maintenance"), "Cease / Administrative Shutdown: \"maintenance\""),
        (Notification::cease(SHUTDOWN, ""), "Cease / Administrative Shutdown"),
        (notification(2, 2, ""), "OPEN Message Error / Bad Peer AS"),
        (notification(2, 0, ""), "OPEN Message Error"),
        (notification(2, 99, ""), "OPEN Message Error / subcode 99"),
        (notification(99, 1, ""), "Error 99 / subcode 1"),
        (notification(99, 0, ""), "Error 99"),
        (Notification::hold_timer_expired(), "Hold Timer Expired"),
        (Notification::send_hold_timer_expired(), "Send Hold Timer Expired"),
        (
            Notification::unexpected_message(iana::notification::fsm::UNEXPECTED_MESSAGE_IN_OPEN_SENT),
            "Finite State Machine Error / Receive Unexpected Message in OpenSent State",
        ),
        (
            Notification::cease(SHUTDOWN, "bye").into_hard_reset(),
            "Cease / Hard Reset (Cease / Administrative Shutdown): \"bye\"",
        ),
        (notification(6, 9, ""), "Cease / Hard Reset"),
        (notification(6, 9, "06"), "Cease / Hard Reset"),
        (notification(6, 9, "0609 0602 01 41"), "Cease / Hard Reset (Cease / Hard Reset)"),
    ];
    for (notification, words) in table {
        assert_eq!(notification.to_string(), words);
    }
}

#[test]
fn a_shutdown_communication_is_cut_at_a_character() {
    let communication = |text: &str| Notification::cease(SHUTDOWN, text).shutdown_communication();
    let exact = "x".repeat(255);
    assert_eq!(communication(&exact).as_ref(), Some(&exact));
    assert_eq!(communication(&"x".repeat(256)).as_ref(), Some(&exact));
    // Two octets each: the 128th does not fit any more.
    assert_eq!(communication(&"é".repeat(200)), Some("é".repeat(127)));
    assert_eq!(communication(""), None);
}

#[test]
fn only_shutdown_and_reset_carry_a_text() {
    assert_eq!(Notification::cease(code::cease::ADMINISTRATIVE_RESET, "hi"), notification(6, 4, "02 6869"));
    assert_eq!(Notification::cease(code::cease::PEER_DECONFIGURED, "hi"), notification(6, 3, ""));
    assert_eq!(notification(6, 1, "02 6869").shutdown_communication(), None);
    assert_eq!(notification(3, 2, "02 6869").shutdown_communication(), None);
}

#[test]
fn a_received_text_is_clamped_and_made_harmless() {
    let table = [
        ("ff 6869", Some("hi")),
        ("01 6869", Some("h")),
        ("00 6869", None),
        ("", None),
        ("05", None),
        ("03 0a 09 41", Some("\\n\\tA")),
        ("02 1b5b", Some("\\u{1b}[")),
        ("03 e280ae", Some("\\u{202e}")),
        ("02 c285", Some("\\u{85}")),
        ("02 fffe", Some("\u{FFFD}\u{FFFD}")),
        ("04 22 5c 27 41", Some("\"\\'A")),
    ];
    for (data, text) in table {
        assert_eq!(notification(6, SHUTDOWN, data).shutdown_communication().as_deref(), text, "{data}");
    }
}

#[test]
fn a_hard_reset_holds_another_notification() {
    let inner = notification(6, SHUTDOWN, "03 627965");
    let hard = inner.clone().into_hard_reset();
    assert_eq!(hard, notification(6, 9, "06 02 03 627965"));
    assert_eq!(hard.inside_hard_reset(), Some(inner.clone()));
    assert_eq!(hard.shutdown_communication().as_deref(), Some("bye"));
    assert_eq!(inner.inside_hard_reset(), None);
}

#[test]
fn required_capabilities_are_listed() {
    let required = [Capability::Multiprotocol(Family::IPV6_UNICAST), Capability::RouteRefresh];
    let expected = notification(2, 7, "01 04 0002 00 01 02 00");
    assert_eq!(Notification::unsupported_capability(&required), Ok(expected));
}
