//! Messages of real routers through the codec: none may cause a panic; all must agree with the result of another
//! decoder, and encode to the same octets or differ for a reason on the list.
//!
//! `VIPCAST_CORPUS` names a file with one JSON object a line: `hex`, the message with its header, and, for
//! some, `json`, how ExaBGP decodes it. Without it the test says so and is skipped.

#![expect(clippy::print_stdout, reason = "the counts are what somebody who runs this wants to see")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use vipcast_bgp::wire::{
    AsWidth, Attribute, DecodeError, EncodeError, Message, Origin, Peering, SessionContext, Update, iana,
};

/// Why the octets of a message may change when it is encoded again. Each is one step of [`normalize`], so
/// that a message which differs in anything else is a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    AttributeLeftOutAsMalformed,
    ExtendedLengthOfShortAttribute,
    PartialOrUnusedFlags,
    AttributeOrder,
    ReservedOctetOfMpReach,
    BitsBehindThePrefix,
    ExtendedOptionalParameters,
    CapabilitiesInSeveralParameters,
    ReservedBitsOfCapability,
}

#[derive(Default)]
struct Report {
    decoded: BTreeMap<&'static str, usize>,
    refused: BTreeMap<String, usize>,
    not_hex: usize,
    same_octets: usize,
    other_octets: BTreeMap<Reason, usize>,
    no_encoding: BTreeMap<String, usize>,
    agrees_with_json: usize,
    json_not_compared: BTreeMap<&'static str, usize>,
    failures: Vec<String>,
}

#[test]
fn messages_seen_in_the_wild_decode_agree_and_go_back() {
    let Ok(path) = std::env::var("VIPCAST_CORPUS") else {
        println!("#### skipped: VIPCAST_CORPUS is not set to a .jsonl file, no message was looked at ####");
        return;
    };
    let lines = std::fs::read_to_string(&path).expect("VIPCAST_CORPUS is a readable file");
    let mut report = Report::default();
    for (number, line) in lines.lines().enumerate() {
        let line: Value = serde_json::from_str(line).expect("every line is JSON");
        let place = format!("line {} ({})", number + 1, line["src"].as_str().unwrap_or("?"));
        look_at(&line, &place, &mut report);
    }
    report.print();
    assert!(report.failures.is_empty(), "{} failures, first: {}", report.failures.len(), report.failures[0]);
}

fn look_at(line: &Value, place: &str, report: &mut Report) {
    let Some(frame) = line["hex"].as_str().and_then(octets) else {
        report.not_hex += 1;
        return;
    };
    let (ctx, message) = match decode(&frame) {
        Ok(decoded) => decoded,
        Err(error) => {
            *report.refused.entry(error.notification().to_string()).or_default() += 1;
            println!("{place}: refused: {error}");
            note_json(line, Err(&error), place, report);
            return;
        }
    };
    let name = iana::message_type::name(message.message_type()).expect("a decoded type has a name");
    *report.decoded.entry(name).or_default() += 1;
    if let Message::Update(update) = &message {
        note_json(line, Ok(update), place, report);
    }
    match message.encode(&ctx) {
        Ok(again) if again == frame => report.same_octets += 1,
        Ok(again) => {
            let (normal, reasons) = normalize(&frame, &message);
            if normal != again {
                let (normal, again) = (hex(&normal), hex(&again));
                report.failures.push(format!("{place}: encodes to {again}, not to {normal}: {reasons:?}"));
            }
            for reason in reasons {
                *report.other_octets.entry(reason).or_default() += 1;
            }
            check_same_value(&message, &again, ctx, place, report);
        }
        Err(error @ EncodeError::CapabilitiesTooLong(_)) => {
            *report.no_encoding.entry(error.to_string()).or_default() += 1;
        }
        Err(error) => report.failures.push(format!("{place}: has no encoding: {error}")),
    }
}

/// With four-octet AS numbers, or with two where that leaves less malformed.
fn decode(frame: &[u8]) -> Result<(SessionContext, Message), DecodeError> {
    let four = SessionContext::internal();
    let two = SessionContext::new(AsWidth::Two, Peering::Internal);
    let defects = |result: &Result<Message, DecodeError>| match result {
        Ok(Message::Update(update)) => update.malformed.len(),
        Ok(_) => 0,
        Err(_) => usize::MAX,
    };
    let with_four = Message::decode(frame, &four);
    if defects(&with_four) == 0 {
        return with_four.map(|message| (four, message));
    }
    let with_two = Message::decode(frame, &two);
    if defects(&with_two) < defects(&with_four) {
        return with_two.map(|message| (two, message));
    }
    with_four.map(|message| (four, message))
}

fn check_same_value(message: &Message, again: &[u8], ctx: SessionContext, place: &str, report: &mut Report) {
    let mut expected = message.clone();
    let mut got = Message::decode(again, &ctx);
    if let (Message::Update(expected), Ok(Message::Update(got))) = (&mut expected, &mut got) {
        // A left-out attribute is now also missing, which is one more error.
        expected.malformed.clear();
        got.malformed.clear();
        expected.attributes.sort_by_key(Attribute::code);
        got.attributes.sort_by_key(Attribute::code);
    }
    if got.as_ref() != Ok(&expected) {
        report.failures.push(format!("{place}: {expected:?} came back as {got:?}"));
    }
}

// Against the other decoder.

fn note_json(line: &Value, update: Result<&Update, &DecodeError>, place: &str, report: &mut Report) {
    let json = &line["json"]["neighbor"]["message"]["update"];
    if json.is_null() {
        return;
    }
    if json.to_string().contains("path-information") {
        *report.json_not_compared.entry("negotiated ADD-PATH").or_default() += 1;
        return;
    }
    match update {
        Ok(update) => match disagreement(json, update) {
            None => report.agrees_with_json += 1,
            Some(what) => report.failures.push(format!("{place}: {what}")),
        },
        // ExaBGP lets pass an attribute that is neither known nor optional (RFC 4271 §6.3), and an IPv4 next
        // hop for IPv6 routes (RFC 7606 §7.11).
        Err(DecodeError::UnrecognizedWellKnownAttribute(_) | DecodeError::OptionalAttribute(_)) => {
            *report.json_not_compared.entry("refused on purpose").or_default() += 1;
        }
        Err(error) => report.failures.push(format!("{place}: ExaBGP decodes it, but: {error}")),
    }
}

fn disagreement(json: &Value, update: &Update) -> Option<String> {
    let announced: BTreeSet<IpNet> = update.announced().collect();
    let withdrawn: BTreeSet<IpNet> = update.withdrawn_prefixes().collect();
    let mut json_announced = BTreeSet::new();
    let mut json_withdrawn = BTreeSet::new();
    for family in ["ipv4 unicast", "ipv6 unicast"] {
        for (next_hop, routes) in json["announce"][family].as_object().into_iter().flatten() {
            json_announced.extend(nlri(routes));
            let next_hop = next_hop.parse::<IpAddr>().ok();
            if update.next_hop() != next_hop {
                return Some(format!("next hop {:?}, ExaBGP {next_hop:?}", update.next_hop()));
            }
        }
        json_withdrawn.extend(nlri(&json["withdraw"][family]));
    }
    if (&announced, &withdrawn) != (&json_announced, &json_withdrawn) {
        return Some(format!(
            "{announced:?} / {withdrawn:?}, ExaBGP {json_announced:?} / {json_withdrawn:?}"
        ));
    }
    let json = &json["attribute"];
    let ours = attributes_as_json(update);
    // Of an extended community the number is compared, not ExaBGP's words for it.
    let plain = |value: &Value| match value.as_array() {
        Some(list) if list.iter().any(|item| item.get("value").is_some()) => {
            list.iter().map(|item| item["value"].clone()).collect()
        }
        Some(_) | None => value.clone(),
    };
    let theirs: BTreeMap<String, Value> = COMPARED
        .iter()
        .filter_map(|name| json.get(*name).map(|value| ((*name).to_owned(), plain(value))))
        .collect();
    (ours != theirs).then(|| format!("{ours:?}, ExaBGP {theirs:?}"))
}

/// The attributes that both sides speak, by ExaBGP's names.
const COMPARED: [&str; 9] = [
    "origin",
    "as-path",
    "med",
    "local-preference",
    "community",
    "originator-id",
    "cluster-list",
    "large-community",
    "extended-community",
];

fn attributes_as_json(update: &Update) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for attribute in &update.attributes {
        let (name, value) = match attribute {
            Attribute::Origin(Origin::Igp) => ("origin", "igp".into()),
            Attribute::Origin(Origin::Egp) => ("origin", "egp".into()),
            Attribute::Origin(Origin::Incomplete) => ("origin", "incomplete".into()),
            Attribute::AsPath(path) if path.segments.is_empty() => continue,
            Attribute::AsPath(path) => {
                let asns: Vec<u32> = path.asns().map(|asn| asn.0).collect();
                ("as-path", serde_json::json!({"0": {"element": "as-sequence", "value": asns}}))
            }
            Attribute::MultiExitDisc(med) => ("med", (*med).into()),
            Attribute::LocalPref(preference) => ("local-preference", (*preference).into()),
            Attribute::Communities(list) => {
                let pairs: Vec<_> = list.iter().map(|tag| [tag.0 >> 16, tag.0 & 0xFFFF]).collect();
                ("community", serde_json::json!(pairs))
            }
            Attribute::OriginatorId(id) => ("originator-id", id.to_string().into()),
            Attribute::ClusterList(ids) => ("cluster-list", serde_json::json!(ids)),
            Attribute::LargeCommunities(list) => {
                let triples: Vec<_> = list.iter().map(|tag| [tag.global, tag.local1, tag.local2]).collect();
                ("large-community", serde_json::json!(triples))
            }
            Attribute::ExtendedCommunities(list) => {
                let values: Vec<_> = list.iter().map(|tag| u64::from_be_bytes(tag.0)).collect();
                ("extended-community", serde_json::json!(values))
            }
            Attribute::NextHop(_)
            | Attribute::AtomicAggregate
            | Attribute::Aggregator { .. }
            | Attribute::MpReach(_)
            | Attribute::MpUnreach(_)
            | Attribute::As4Path(_)
            | Attribute::As4Aggregator { .. }
            | Attribute::OnlyToCustomer(_)
            | Attribute::Unknown { .. } => continue,
        };
        all.insert(name.to_owned(), value);
    }
    all
}

fn nlri(routes: &Value) -> Vec<IpNet> {
    let routes = routes.as_array().into_iter().flatten();
    routes
        .map(|route| route["nlri"].as_str().and_then(|prefix| prefix.parse().ok()).expect("a prefix"))
        .collect()
}

// The allowed changes, applied to the original octets without the codec.

/// `frame` as it would be in canonical form, and which steps changed something.
fn normalize(frame: &[u8], message: &Message) -> (Vec<u8>, Vec<Reason>) {
    let (header, body) = frame.split_at(19);
    let mut reasons = Vec::new();
    let body = match message {
        Message::Update(update) => normalize_update(body, update, &mut reasons),
        Message::Open(_) => normalize_open(body, &mut reasons),
        Message::Notification(_) | Message::Keepalive | Message::RouteRefresh(_) => body.to_vec(),
    };
    let mut normal = header[..16].to_vec();
    normal.extend(u16::try_from(19 + body.len()).expect("it got no longer").to_be_bytes());
    normal.push(header[18]);
    normal.extend(body);
    (normal, reasons)
}

/// Flags, type and value of an attribute, and whether it has a length of two octets.
#[derive(Clone, PartialEq, Eq)]
struct RawAttribute(u8, u8, Vec<u8>, bool);

fn normalize_update(body: &[u8], update: &Update, reasons: &mut Vec<Reason>) -> Vec<u8> {
    let (withdrawn, rest) = section(body);
    let (attributes, nlri) = section(rest);
    let mut list = raw_attributes(attributes);

    let mut step = |reason, list: &mut Vec<RawAttribute>, change: &dyn Fn(&mut Vec<RawAttribute>)| {
        let before = list.clone();
        change(list);
        if *list != before {
            reasons.push(reason);
        }
    };
    step(Reason::AttributeLeftOutAsMalformed, &mut list, &|list| {
        let mut kept = BTreeSet::new();
        let known = |code| update.attributes.iter().any(|attribute| attribute.code() == code);
        list.retain(|RawAttribute(_, code, ..)| known(*code) && kept.insert(*code));
    });
    step(Reason::ExtendedLengthOfShortAttribute, &mut list, &|list| {
        for RawAttribute(flags, _, value, long) in list {
            if value.len() <= 255 {
                *long = false;
                *flags &= !0x10;
            }
        }
    });
    step(Reason::PartialOrUnusedFlags, &mut list, &|list| {
        for RawAttribute(flags, code, _, long) in list {
            let opaque = update.attributes.iter().any(
                |attribute| matches!(attribute, Attribute::Unknown { code: unknown, .. } if unknown == code),
            );
            *flags &= if opaque { 0xE0 } else { 0xC0 };
            *flags |= if *long { 0x10 } else { 0 };
        }
    });
    step(Reason::AttributeOrder, &mut list, &|list| {
        list.sort_by_key(|RawAttribute(_, code, ..)| (![14, 15].contains(code), *code));
    });
    step(Reason::ReservedOctetOfMpReach, &mut list, &|list| {
        for RawAttribute(_, _, value, _) in list.iter_mut().filter(|attribute| attribute.1 == 14) {
            let reserved = 4 + usize::from(value[3]);
            value[reserved] = 0;
        }
    });
    step(Reason::BitsBehindThePrefix, &mut list, &|list| {
        for RawAttribute(_, code, value, _) in list {
            let routes = match code {
                14 => 5 + usize::from(value[3]),
                15 => 3,
                _ => continue,
            };
            if matches!(value[..3], [0, 1 | 2, 1]) {
                clear_host_bits(&mut value[routes..]);
            }
        }
    });
    let mut withdrawn = withdrawn.to_vec();
    let mut nlri = nlri.to_vec();
    if clear_host_bits(&mut withdrawn) | clear_host_bits(&mut nlri) {
        reasons.push(Reason::BitsBehindThePrefix);
    }

    let mut attributes = Vec::new();
    for RawAttribute(flags, code, value, long) in list {
        attributes.extend([flags, code]);
        let length = u16::try_from(value.len()).expect("short").to_be_bytes();
        attributes.extend(if long { &length[..] } else { &length[1..] });
        attributes.extend(value);
    }
    let length = |octets: &[u8]| u16::try_from(octets.len()).expect("short").to_be_bytes();
    [&length(&withdrawn)[..], &withdrawn, &length(&attributes), &attributes, &nlri].concat()
}

fn raw_attributes(mut input: &[u8]) -> Vec<RawAttribute> {
    let mut all = Vec::new();
    while let [flags, code, rest @ ..] = input {
        let long = flags & 0x10 != 0;
        let (length, rest) = match rest {
            [high, low, rest @ ..] if long => (usize::from(u16::from_be_bytes([*high, *low])), rest),
            [length, rest @ ..] if !long => (usize::from(*length), rest),
            _ => break,
        };
        let Some((value, rest)) = rest.split_at_checked(length) else { break };
        all.push(RawAttribute(*flags, *code, value.to_vec(), long));
        input = rest;
    }
    all
}

fn clear_host_bits(mut prefixes: &mut [u8]) -> bool {
    let mut changed = false;
    while let [length, rest @ ..] = prefixes {
        let (address, rest) = rest.split_at_mut(usize::from(length.div_ceil(8)));
        if let (Some(last), 1..) = (address.last_mut(), *length % 8) {
            let cleared = *last & (0xFF << (8 - *length % 8));
            changed |= cleared != *last;
            *last = cleared;
        }
        prefixes = rest;
    }
    changed
}

fn normalize_open(body: &[u8], reasons: &mut Vec<Reason>) -> Vec<u8> {
    let fixed = &body[..9];
    let extended = body[9] != 0 && body.get(10) == Some(&255);
    let mut parameters = &body[if extended { 13 } else { 10 }..];
    if extended {
        reasons.push(Reason::ExtendedOptionalParameters);
    }
    let mut capabilities = Vec::new();
    let mut count = 0;
    while let [_, rest @ ..] = parameters {
        let (value, rest) = if extended {
            section(rest)
        } else {
            let (length, rest) = rest.split_first().expect("a length");
            rest.split_at(usize::from(*length))
        };
        capabilities.extend_from_slice(value);
        count += 1;
        parameters = rest;
    }
    if count > 1 {
        reasons.push(Reason::CapabilitiesInSeveralParameters);
    }
    let before = capabilities.clone();
    let mut rest = &mut capabilities[..];
    while let [code, length, tail @ ..] = rest {
        let (value, tail) = tail.split_at_mut(usize::from(*length));
        match *code {
            1 => value[2] = 0,
            64 => {
                value[0] &= 0xCF;
                value[2..].iter_mut().skip(3).step_by(4).for_each(|flags| *flags &= 0x80);
            }
            _ => {}
        }
        rest = tail;
    }
    if capabilities != before {
        reasons.push(Reason::ReservedBitsOfCapability);
    }
    let length = u8::try_from(capabilities.len()).expect("short");
    let mut normal = fixed.to_vec();
    if length > 0 {
        normal.extend([length + 2, 2, length]);
    } else {
        normal.push(0);
    }
    normal.extend(capabilities);
    normal
}

fn section(input: &[u8]) -> (&[u8], &[u8]) {
    let (length, rest) = input.split_first_chunk().expect("a length");
    rest.split_at(usize::from(u16::from_be_bytes(*length)))
}

// Odds and ends.

impl Report {
    fn print(&self) {
        println!("decoded {:?}, not hexadecimal {}", self.decoded, self.not_hex);
        println!("refused {:#?}", self.refused);
        println!("the same octets again {}, others {:#?}", self.same_octets, self.other_octets);
        println!("no encoding {:?}", self.no_encoding);
        println!("agree with ExaBGP {}, not compared {:?}", self.agrees_with_json, self.json_not_compared);
        self.failures.iter().for_each(|failure| println!("FAILED {failure}"));
    }
}

fn octets(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}
