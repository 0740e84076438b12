//! Any message in any context: it is decoded or refused, and a decoded message encodes back.

use vipcast_bgp::wire::iana::{message_type, notification as code};
use vipcast_bgp::wire::{
    AsPath, AsSegment, AsWidth, Attribute, Capability, DecodeError, EncodeError, ErrorAction, HEADER_LEN,
    MAX_MESSAGE_LEN, Message, Notification, SessionContext, Update,
};

use super::wrap::{self, CONTEXTS};

/// `data` as a message with its header. When the header is wrong it is tried once more with a good one, so that
/// time is not spent on finding lengths.
pub fn message(data: &[u8]) {
    let Some((kind, body)) = wrap::kind_and_body(data) else { return check(data, SessionContext::default()) };
    let mended = wrap::frame(kind, body);
    if mended != data {
        check(data, SessionContext::default());
    }
    // Nothing else depends on the context.
    let contexts = if kind == message_type::UPDATE { &CONTEXTS[..] } else { &CONTEXTS[..1] };
    for ctx in contexts {
        check(&mended, *ctx);
    }
}

pub(crate) fn from_message(message: &[u8]) -> Vec<Vec<u8>> {
    vec![message.to_vec()]
}

/// The properties of any input.
pub(crate) fn check(frame: &[u8], ctx: SessionContext) {
    match Message::decode(frame, &ctx) {
        Ok(message) => decoded(frame, &message, ctx),
        Err(error) => refused(frame, &error, ctx),
    }
}

fn refused(frame: &[u8], error: &DecodeError, ctx: SessionContext) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < 200, "{text}");
    let notification = error.notification();
    assert!(notification.data.len() <= frame.len().max(2), "more data than was received");
    let Notification { code, subcode, .. } = notification;
    let named = code::subcode_name(code, subcode).is_some();
    assert!(
        named || (code, subcode) == (code::OPEN_MESSAGE, code::UNSPECIFIC),
        "{code}/{subcode} is not registered"
    );
    let encoded = Message::Notification(notification).encode(&ctx);
    assert!(encoded.is_ok_and(|encoded| encoded.len() <= MAX_MESSAGE_LEN), "a NOTIFICATION always fits");
}

fn decoded(frame: &[u8], message: &Message, ctx: SessionContext) {
    let encoded = match (message, message.encode(&ctx)) {
        (_, Ok(encoded)) => encoded,
        // Extended parameters (RFC 9072) hold more than we ever send.
        (Message::Open(_), Err(EncodeError::CapabilitiesTooLong(254..))) if frame.get(29) == Some(&255) => {
            return;
        }
        (message, Err(error)) => panic!("{message:?} has no encoding: {error}"),
    };
    assert!(encoded.len() <= frame.len(), "the canonical form is the shortest");
    let again =
        Message::decode(&encoded, &ctx).unwrap_or_else(|error| panic!("{message:?} came back as {error}"));
    assert_eq!(again.encode(&ctx).as_ref(), Ok(&encoded), "the canonical form stays as it is");
    match (message, again) {
        (Message::Update(update), Message::Update(again)) => {
            same_update(update, again);
            routes(update, frame.len());
            merged(update);
            if ctx.as_width == AsWidth::Four {
                through_a_two_octet_peer(update, ctx);
            }
        }
        (Message::Open(open), again) => {
            assert_eq!(message, &again);
            assert!(!open.families().is_empty());
            let spoken =
                open.capabilities.iter().any(|capability| matches!(capability, Capability::FourOctetAs(_)));
            assert_eq!(open.has_four_octet_as(), spoken);
            assert!(open.capabilities.iter().all(|capability| !capability.to_string().is_empty()));
        }
        (
            Message::Update(_) | Message::Notification(_) | Message::Keepalive | Message::RouteRefresh(_),
            again,
        ) => {
            assert_eq!((message, &encoded[..]), (&again, frame), "nothing about it can be written otherwise");
        }
    }
}

/// Malformed attributes stay left out, the others are there in canonical order.
fn same_update(update: &Update, mut again: Update) {
    let mut expected = update.clone();
    expected.attributes.sort_by_key(order);
    expected.malformed.clear();
    for malformed in std::mem::take(&mut again.malformed) {
        assert!(matches!(malformed.error, DecodeError::MissingWellKnownAttribute(_)), "{malformed:?}");
        assert!(update.malformed.iter().any(|before| before.code == malformed.code), "{malformed:?}");
    }
    assert_eq!(again, expected);
}

fn order(attribute: &Attribute) -> (bool, u8) {
    (!matches!(attribute, Attribute::MpReach(_) | Attribute::MpUnreach(_)), attribute.code())
}

/// The routes of an UPDATE are consistent, and no more than fit into `length` octets.
fn routes(update: &Update, length: usize) {
    let (announced, withdrawn) = (update.announced().count(), update.withdrawn_prefixes().count());
    assert!(announced + withdrawn <= length - HEADER_LEN);
    assert!(update.announced().chain(update.withdrawn_prefixes()).all(|prefix| prefix == prefix.trunc()));
    match update.action() {
        Some(ErrorAction::TreatAsWithdraw) => {
            assert_eq!(announced, 0);
            let reachable =
                !update.nlri.is_empty() || update.mp_reach().is_some_and(|reach| !reach.nlri.is_empty());
            assert!(reachable, "RFC 7606 §5.2: without a route to withdraw it is a reset");
        }
        Some(ErrorAction::AttributeDiscard) | None => {
            // An AS_PATH, ORIGIN or next hop that is missing would not have passed.
            assert!(announced == 0 || (update.as_path().is_some() && update.next_hop().is_some()));
        }
    }
    if update.end_of_rib().is_some() {
        assert_eq!((announced, withdrawn, update.malformed.len()), (0, 0, 0));
    }
    let codes: std::collections::BTreeSet<u8> = update.attributes.iter().map(Attribute::code).collect();
    assert_eq!(codes.len(), update.attributes.len(), "each type at most once");
    for malformed in &update.malformed {
        assert!(malformed.error.to_string().len() < 200);
        let alike = update.malformed.iter().filter(|other| other.code == malformed.code).count();
        assert!(alike <= 3, "one for itself, one for all its duplicates, one for being cut off");
    }
}

/// RFC 6793 §4.2.3 changes ASes, never how many there are.
fn merged(update: &Update) {
    let mut merged = update.clone();
    merged.merge_as4();
    let hops = |update: &Update| update.as_path().map(AsPath::hops);
    assert_eq!(hops(&merged), hops(update));
    let once = merged.clone();
    merged.merge_as4();
    assert_eq!(merged, once, "there is nothing left to merge");
    assert!(merged.as_path().is_none_or(|path| path.to_string().is_empty() == path.segments.is_empty()));
}

/// A peer of two-octet AS numbers passes on what we tell it without losing one (RFC 6793 §4.2.2), but for
/// confederations, which have no place in AS4_PATH.
fn through_a_two_octet_peer(update: &Update, ctx: SessionContext) {
    let confederation = |path: &AsPath| {
        path.segments
            .iter()
            .any(|segment| matches!(segment, AsSegment::ConfedSequence(_) | AsSegment::ConfedSet(_)))
    };
    if update.as_path().is_some_and(confederation) {
        return;
    }
    let two = SessionContext::new(AsWidth::Two, ctx.peering);
    // Two paths may take more room than one.
    let Ok(sent) = Message::Update(update.clone()).encode(&two) else { return };
    let Ok(Message::Update(mut received)) = Message::decode(&sent, &two) else {
        panic!("it came back as something else")
    };
    received.merge_as4();
    // Sequences next to each other are one sequence: shown they are the same.
    let shown = |update: &Update| update.as_path().map(AsPath::to_string);
    assert_eq!(shown(&received), shown(update));
    let mut expected = update.clone();
    for update in [&mut expected, &mut received] {
        update.attributes.retain(|attribute| !matches!(attribute, Attribute::AsPath(_)));
    }
    same_update(&expected, received);
}
