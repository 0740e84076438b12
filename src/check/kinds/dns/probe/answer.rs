//! Evaluates an answer. Pure: bytes in, words out, and no input causes a panic.

use bytes::Bytes;
use domain::base::iana::{Class, OptRcode};
use domain::base::wire::ParseError;
use domain::base::{Message, ParsedName, Rtype};
use domain::rdata::AllRecordData;

use crate::check::kinds::dns::DnsCheck;
use crate::check::limit::Answer;

/// Answers that are read: with more, a hostile server could keep this thread busy with names that point to each other.
const MOST: u16 = 1000;
/// Answers that are shown; there may be hundreds.
const SHOWN: usize = 6;

/// What was received, if it is an answer to our query; else what is wrong with it, as the rest of a sentence.
pub(super) fn to(query: &Message<Bytes>, received: &[u8]) -> Result<Message<Bytes>, String> {
    let Ok(answer) = Message::from_octets(Bytes::copy_from_slice(received)) else {
        return Err(format!("has {} bytes and is no DNS message", received.len()));
    };
    if !answer.header().qr() {
        return Err("is a question".into());
    }
    if answer.header().id() != query.header().id() {
        return Err("has another id".into());
    }
    // Servers that could not read the question do not repeat it.
    let refuses = answer.header_counts().qdcount() == 0 && answer.header().rcode().to_int() != 0;
    if !refuses && !answer.is_answer(query) {
        return Err("answers another question".into());
    }
    Ok(answer)
}

/// Passes when the answer is as `check` wants it.
pub(super) fn judge(check: &DnsCheck, answer: &Message<Bytes>) -> Answer {
    let rcode = answer.opt_rcode();
    if !check.rcodes.contains(&rcode) {
        let wanted: Vec<String> = check.rcodes.iter().map(OptRcode::to_string).collect();
        return Err(format!("{rcode}, wanted {}", wanted.join(" or ")));
    }
    if check.authenticated && !answer.header().ad() {
        return Err(format!("{rcode}, but not authenticated: the answer has no AD bit"));
    }
    if rcode != OptRcode::NOERROR {
        return Ok(rcode.to_string());
    }
    let values = values(check.record_type, answer)?;
    match &check.answers {
        None if values.is_empty() => return Err("the answer is empty (NODATA)".into()),
        None => {}
        Some(wanted) if wanted.is_empty() && values.is_empty() => {}
        Some(wanted) if wanted.is_empty() => return Err(format!("answers {}, wanted none", shown(&values))),
        Some(wanted) => {
            let normal = |value: &String| normalized(check.record_type, value);
            let found: Vec<String> = values.iter().map(normal).collect();
            let missing: Vec<String> =
                wanted.iter().filter(|value| !found.contains(&normal(value))).cloned().collect();
            match (values.is_empty(), missing.is_empty()) {
                (true, _) => {
                    return Err(format!("the answer is empty (NODATA), wanted {}", shown(&missing)));
                }
                (false, false) => {
                    return Err(format!("answers {}, wanted {}", shown(&values), shown(&missing)));
                }
                (false, true) => {}
            }
        }
    }
    let authenticated = if check.authenticated { ", authenticated" } else { "" };
    Ok(match values.as_slice() {
        [] => format!("{rcode}, no answers{authenticated}"),
        values => format!("{rcode}{authenticated}: {}", shown(values)),
    })
}

/// The values of the records that were asked for, of the name at the end of the CNAMEs, as a zone file has them.
fn values(record_type: Rtype, answer: &Message<Bytes>) -> Result<Vec<String>, String> {
    let unreadable = |error: ParseError| format!("the answer cannot be read: {error}");
    if answer.header_counts().ancount() > MOST {
        return Err(format!("there are more than {MOST} answers"));
    }
    let question = answer.sole_question().map_err(unreadable)?;
    let owner = match record_type {
        Rtype::CNAME | Rtype::ANY => question.into_qname(),
        _ => answer.canonical_name().ok_or("the CNAMEs of the answer lead round in circles")?,
    };
    let mut values = Vec::new();
    for record in answer.answer().map_err(unreadable)? {
        let record = record.map_err(unreadable)?;
        if record.class() != Class::IN
            || (record.rtype() != record_type && record_type != Rtype::ANY)
            || record.owner() != owner
        {
            continue;
        }
        let record = record.to_any_record::<AllRecordData<Bytes, ParsedName<Bytes>>>().map_err(unreadable)?;
        let value = if let AllRecordData::Txt(text) = record.data() {
            // Its parts are one text to whoever uses it.
            String::from_utf8_lossy(&text.text::<Bytes>()).into_owned()
        } else {
            record.data().to_string()
        };
        values.push(value);
    }
    Ok(values)
}

/// A value as it is compared: names are the same in capitals and with a dot at the end, texts are not.
fn normalized(record_type: Rtype, value: &str) -> String {
    if record_type == Rtype::TXT {
        return value.to_owned();
    }
    if let Ok(address) = value.parse::<std::net::IpAddr>() {
        return address.to_string();
    }
    let words = value.split_whitespace().map(|word| word.trim_end_matches('.').to_ascii_lowercase());
    words.collect::<Vec<_>>().join(" ")
}

fn shown(values: &[String]) -> String {
    let listed = values.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match values.len() {
        0..=SHOWN => listed,
        more => format!("{listed} and {} more", more - SHOWN),
    }
}
