//! Whole messages around a fuzzed part.

use vipcast_bgp::wire::iana::message_type;
use vipcast_bgp::wire::{AsWidth, HEADER_LEN, MAX_MESSAGE_LEN, Peering, SessionContext};

/// Every context that a session can have.
pub(crate) const CONTEXTS: [SessionContext; 4] = [
    SessionContext::new(AsWidth::Four, Peering::External),
    SessionContext::new(AsWidth::Four, Peering::Internal),
    SessionContext::new(AsWidth::Two, Peering::External),
    SessionContext::new(AsWidth::Two, Peering::Internal),
];

/// The longest body of a message.
const MAX_BODY: usize = MAX_MESSAGE_LEN - HEADER_LEN;

/// `body` as a message of type `kind` with a good header, cut to the longest that there is.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let body = body.get(..MAX_BODY).unwrap_or(body);
    [&[0xFF; 16][..], &length(HEADER_LEN + body.len()), &[kind], body].concat()
}

/// An UPDATE without withdrawn routes.
pub(crate) fn update(attributes: &[u8], nlri: &[u8]) -> Vec<u8> {
    frame(message_type::UPDATE, &[&[0, 0][..], &length(attributes.len()), attributes, nlri].concat())
}

/// An OPEN with `parameters`, which begin with their length.
pub(crate) fn open(parameters: &[u8]) -> Vec<u8> {
    const FIXED: [u8; 9] = [4, 0xFD, 0xE9, 0, 9, 10, 0, 1, 2];
    frame(message_type::OPEN, &[&FIXED, parameters].concat())
}

/// A length field of two octets.
pub(crate) fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("a part of a message").to_be_bytes()
}

/// Type and body of a message, `None` when it is shorter than a header.
pub(crate) fn kind_and_body(message: &[u8]) -> Option<(u8, &[u8])> {
    let (header, body) = message.split_at_checked(HEADER_LEN)?;
    Some((*header.last()?, body))
}

/// The octets behind a two-octet length, and the rest.
pub(crate) fn section(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = input.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}
