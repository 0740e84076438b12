//! NOTIFICATION: untrusted text in our log and on our terminal.

use std::net::Ipv4Addr;

use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::wire::iana::message_type;
use vipcast_bgp::wire::{Asn, MAX_SHUTDOWN_COMMUNICATION, Message, Notification, SessionContext};
use vipcast_bgp::{PeerConfig, Seen};

use super::message::check;
use super::wrap;

/// An octet that is shown as an escape takes the most room: `\u{1b}`.
const LONGEST_ESCAPE: usize = 6;

/// Code, subcode and data.
pub fn notification(data: &[u8]) {
    let frame = wrap::frame(message_type::NOTIFICATION, data);
    check(&frame, SessionContext::default());
    let Ok(Message::Notification(notification)) = Message::decode(&frame, &SessionContext::default()) else {
        assert!(data.len() < 2, "code and subcode are all that it needs");
        return;
    };
    words(&notification);

    let inside = notification.clone().into_hard_reset();
    words(&inside);
    assert_eq!(inside.inside_hard_reset(), Some(notification.clone()));

    let text = String::from_utf8_lossy(&notification.data);
    let ours = Notification::cease(notification.subcode, &text);
    words(&ours);
    assert!(ours.data.len() <= 1 + MAX_SHUTDOWN_COMMUNICATION);
    assert!(Message::Notification(ours.clone()).encode(&SessionContext::default()).is_ok());
    let plain = text.chars().all(|character| character.is_alphanumeric());
    if let (Some(arrived), true) = (ours.shutdown_communication(), plain) {
        assert!(text.starts_with(&arrived) && text.len() - arrived.len() <= text.len().saturating_sub(252));
    }
}

pub(crate) fn from_message(message: &[u8]) -> Vec<Vec<u8>> {
    match wrap::kind_and_body(message) {
        Some((message_type::NOTIFICATION, body)) => vec![body.to_vec()],
        Some(_) | None => Vec::new(),
    }
}

/// The displayed text is short and harmless.
fn words(notification: &Notification) {
    let communication = notification.shutdown_communication().unwrap_or_default();
    assert!(communication.len() <= LONGEST_ESCAPE * MAX_SHUTDOWN_COMMUNICATION);
    let config = PeerConfig::new(Asn(65001), Asn(65000), Ipv4Addr::new(10, 0, 1, 2));
    for reason in [DownReason::Received(notification.clone()), DownReason::Sent(notification.clone())] {
        let hint = reason.hint(&config, &Seen::default()).unwrap_or_default();
        let shown = format!("{reason} {hint}");
        assert!(shown.len() <= 400 + communication.len(), "{shown}");
        assert!(!shown.chars().any(unsafe_to_show), "{shown:?}");
    }
}

/// Moves the cursor, ends the line or turns the direction of writing.
fn unsafe_to_show(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}
