//! One path attribute of any type, alone in an UPDATE and beside a route.

use vipcast_bgp::wire::iana::{attribute as code, message_type};
use vipcast_bgp::wire::{
    AsWidth, Attribute, AttributeFlags, DecodeError, ErrorAction, MalformedAttribute, Message, MpReach,
    SessionContext, Update,
};

use super::message::check;
use super::wrap::{self, CONTEXTS, length};

const EXTENDED_LENGTH: u8 = 0x10;

/// Leaves room for the other attributes in a message.
const MAX_VALUE: usize = 4000;

/// The context, the flags, the type, and the value.
pub fn attribute(data: &[u8]) {
    let [context, flags, code, value @ ..] = data else { return };
    let ctx = CONTEXTS[usize::from(context % 4)];
    let value = value.get(..MAX_VALUE).unwrap_or(value);
    let whole = encode(*flags, *code, value);

    let alone = wrap::update(&whole, &[]);
    let beside = wrap::update(&with_mandatory(&whole, *code, ctx.as_width), &[32, 192, 0, 2, 10]);
    check(&alone, ctx);
    check(&beside, ctx);

    match (decode(&beside, ctx), decode(&alone, ctx)) {
        (Ok(beside), alone) => contained(&beside, alone, &Raw { flags: *flags, code: *code, value }, ctx),
        (Err(beside), Err(alone)) => assert_eq!(beside, alone),
        (Err(beside), Ok(alone)) => panic!("{beside} with a route, {alone:?} without"),
    }
}

pub(crate) fn from_message(message: &[u8]) -> Vec<Vec<u8>> {
    let mut inputs = Vec::new();
    let Some((message_type::UPDATE, body)) = wrap::kind_and_body(message) else { return inputs };
    let attributes = wrap::section(body).and_then(|(_, rest)| wrap::section(rest));
    let mut rest = attributes.map(|(attributes, _)| attributes).unwrap_or_default();
    while let [flags, code, tail @ ..] = rest {
        let split = if flags & EXTENDED_LENGTH == 0 {
            tail.split_first().and_then(|(length, tail)| tail.split_at_checked(usize::from(*length)))
        } else {
            wrap::section(tail)
        };
        let Some((value, tail)) = split else { break };
        inputs.extend([1, 2].map(|context| [&[context, *flags, *code], value].concat()));
        rest = tail;
    }
    inputs
}

struct Raw<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
}

/// Nothing but this attribute is wrong, and it is kept or left out, not both.
fn contained(beside: &Update, alone: Result<Update, DecodeError>, raw: &Raw<'_>, ctx: SessionContext) {
    let kept = beside.attributes.iter().find(|attribute| attribute.code() == raw.code);
    let multiprotocol = matches!(raw.code, code::MP_REACH_NLRI | code::MP_UNREACH_NLRI);
    let routes = matches!(kept, Some(Attribute::MpReach(MpReach { nlri, .. })) if !nlri.is_empty());
    match (&beside.malformed[..], kept) {
        ([], Some(attribute)) => {
            goes_back(attribute, raw, ctx);
            let alone = alone.unwrap_or_else(|error| panic!("{attribute:?} alone: {error}"));
            assert_eq!(alone.attributes, std::slice::from_ref(attribute));
            let missing =
                |m: &MalformedAttribute| matches!(m.error, DecodeError::MissingWellKnownAttribute(_));
            assert!(alone.malformed.iter().all(missing));
            assert_eq!(alone.malformed.is_empty(), !routes);
        }
        ([malformed], kept) => {
            assert_eq!(malformed.code, raw.code);
            assert!(kept.is_none() || multiprotocol);
            match (malformed.action, alone) {
                (ErrorAction::AttributeDiscard, alone) => {
                    assert_eq!(alone.map(|alone| alone.malformed), Ok(vec![malformed.clone()]));
                    assert_eq!(beside.announced().count(), 1);
                }
                (ErrorAction::TreatAsWithdraw, Ok(_)) => assert!(routes, "RFC 7606 §5.2: this is a reset"),
                (ErrorAction::TreatAsWithdraw, Err(error)) => assert_eq!(error, malformed.error),
            }
        }
        (several, _) => panic!("{several:?}"),
    }
}

/// Encoding restores the attribute, with the flags of its type and the shorter of the two lengths.
fn goes_back(attribute: &Attribute, raw: &Raw<'_>, ctx: SessionContext) {
    let update = Update { attributes: vec![attribute.clone()], ..Update::default() };
    let encoded = Message::Update(update).encode(&ctx).expect("it came in like that");
    let kept = AttributeFlags::from_octet(raw.flags);
    let flags = match attribute {
        Attribute::Unknown { flags, data, .. } => {
            assert_eq!((&data[..], *flags), (raw.value, kept));
            raw.flags & 0xE0
        }
        // A reserved octet and the bits behind a prefix are not kept.
        Attribute::MpReach(_) | Attribute::MpUnreach(_) => return,
        Attribute::Origin(_)
        | Attribute::AsPath(_)
        | Attribute::NextHop(_)
        | Attribute::MultiExitDisc(_)
        | Attribute::LocalPref(_)
        | Attribute::AtomicAggregate
        | Attribute::Aggregator { .. }
        | Attribute::Communities(_)
        | Attribute::OriginatorId(_)
        | Attribute::ClusterList(_)
        | Attribute::ExtendedCommunities(_)
        | Attribute::As4Path(_)
        | Attribute::As4Aggregator { .. }
        | Attribute::LargeCommunities(_)
        | Attribute::OnlyToCustomer(_) => {
            assert_eq!(attribute.flags().is_optional(), kept.is_optional());
            assert_eq!(attribute.flags().is_transitive(), kept.is_transitive());
            raw.flags & 0xC0
        }
    };
    assert_eq!(encoded[23..], encode(flags, raw.code, raw.value));
}

fn encode(flags: u8, code: u8, value: &[u8]) -> Vec<u8> {
    match u8::try_from(value.len()) {
        Ok(length) if flags & EXTENDED_LENGTH == 0 => [&[flags, code, length], value].concat(),
        Ok(_) | Err(_) => [&[flags | EXTENDED_LENGTH, code][..], &length(value.len()), value].concat(),
    }
}

/// ORIGIN, AS_PATH and NEXT_HOP, and `attribute` last, instead of the one of its type.
fn with_mandatory(attribute: &[u8], code: u8, width: AsWidth) -> Vec<u8> {
    let path: &[u8] = match width {
        AsWidth::Two => &[2, 1, 0xFD, 0xE9],
        AsWidth::Four => &[2, 1, 0, 0, 0xFD, 0xE9],
    };
    let mandatory = [(code::ORIGIN, &[0][..]), (code::AS_PATH, path), (code::NEXT_HOP, &[10, 0, 1, 2])];
    let others = mandatory.iter().filter(|(other, _)| *other != code);
    let mut all: Vec<u8> = others.flat_map(|(code, value)| encode(0x40, *code, value)).collect();
    all.extend_from_slice(attribute);
    all
}

fn decode(frame: &[u8], ctx: SessionContext) -> Result<Update, DecodeError> {
    match Message::decode(frame, &ctx)? {
        Message::Update(update) => Ok(update),
        other @ (Message::Open(_)
        | Message::Notification(_)
        | Message::Keepalive
        | Message::RouteRefresh(_)) => {
            panic!("{other:?} is not an UPDATE")
        }
    }
}
