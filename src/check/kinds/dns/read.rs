//! Reads the `dns` kind: a question to a name server, and the expected answer.

use bytes::Bytes;
use domain::base::iana::OptRcode;
use domain::base::{Name, Rtype};

use super::{KEYS, TRANSPORTS};
use crate::check::kinds::dns::{DnsCheck, DnsTransport};
use crate::config::diagnostic::{Report, Span};
use crate::config::read::target::Around;
use crate::config::read::target::server_with_port;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Placed, Table, expected, list_of, short, value};

/// The port of `server`.
const PORT: u16 = 53;

/// `dns: {server: …, name: …}`.
pub(super) fn read(node: &Node, key: Span, around: &Around, report: &mut Report) -> Option<DnsCheck> {
    let mut table = Table::open(node, &KEYS, "`dns`", key, report)?;
    let server = server_with_port(&mut table, around, PORT, report);
    let name = table.required("name", "the name to ask for: `name: www.example.com`", report, name);
    let record_type = table.field("type", report, record_type).or(Rtype::A);
    let transport =
        table.field("transport", report, |node, key, report| value::choice(node, key, &TRANSPORTS, report));
    let rcodes = table.field("rcode", report, rcodes);
    let answers = table.field("answers", report, |node, key, report| {
        list_of(node, key, "a list of values", report, |node, key, report| {
            value::text(node, key, "a value", report).map(str::to_owned)
        })
    });
    let authenticated = table.field("authenticated", report, value::boolean).or(false);
    let recursion = table.field("recursion", report, value::boolean).or(true);
    let edns = table.field("edns", report, value::boolean).or(true);
    table.finish(report);
    if let (Field::Set(answers), Field::Set(rcodes)) = (&answers, &rcodes)
        && !rcodes.value.contains(&OptRcode::NOERROR)
    {
        report
            .error(answers.span, "only an answer with NOERROR has answers in it")
            .also(rcodes.span, "this one has another code")
            .hint("remove `answers`, or add NOERROR to `rcode`");
        return None;
    }
    let (record_type, answers) = (record_type?, answers.optional()?);
    look_at_answers(record_type, answers.as_deref().unwrap_or_default(), report)?;
    Some(DnsCheck {
        server: server?,
        name: name?.value,
        record_type,
        transport: transport.or(DnsTransport::Udp)?,
        rcodes: rcodes.or_else(|| vec![OptRcode::NOERROR])?,
        answers: answers.map(|answers| answers.into_iter().map(|answer| answer.value).collect()),
        authenticated: authenticated?,
        recursion: recursion?,
        edns: edns?,
    })
}

fn name(node: &Node, key: Span, report: &mut Report) -> Option<Name<Bytes>> {
    const WHAT: &str = "a domain name";
    let written = value::text(node, key, WHAT, report)?;
    match written.parse() {
        Ok(name) if written.is_ascii() => Some(name),
        Ok(_) | Err(_) => {
            let diagnostic = expected(node, key, WHAT, report);
            if !written.is_ascii() {
                diagnostic.hint("write it as it is in the DNS: the labels that begin with `xn--`");
            }
            None
        }
    }
}

fn record_type(node: &Node, key: Span, report: &mut Report) -> Option<Rtype> {
    const WHAT: &str = "a type of record";
    /// Not records but protocols.
    const OTHERS: [Rtype; 6] =
        [Rtype::OPT, Rtype::AXFR, Rtype::IXFR, Rtype::TSIG, Rtype::MAILA, Rtype::MAILB];
    let written = value::text(node, key, WHAT, report)?;
    match written.parse() {
        Ok(found) if OTHERS.contains(&found) => {
            report
                .error(node.span, format!("{found} is no type of record that one asks for"))
                .hint("SOA is one that every zone has");
            None
        }
        Ok(found) => Some(found),
        Err(_) => {
            expected(node, key, WHAT, report).hint("like A, AAAA, SOA, TXT, or TYPE65 by its number");
            None
        }
    }
}

/// `NXDOMAIN`, or a list.
fn rcodes(node: &Node, key: Span, report: &mut Report) -> Option<Vec<OptRcode>> {
    let Value::List(list) = &node.value else {
        return Some(vec![rcode(node, key, report)?]);
    };
    if list.is_empty() {
        report
            .error(node.span, "with no code the check never passes")
            .hint("write `NOERROR`, or leave `rcode` out for the same");
        return None;
    }
    let rcodes: Vec<_> = list.iter().map(|element| rcode(element, element.span, report)).collect();
    rcodes.into_iter().collect()
}

fn rcode(node: &Node, key: Span, report: &mut Report) -> Option<OptRcode> {
    const WHAT: &str = "a response code";
    let written = value::text(node, key, WHAT, report)?;
    match written.to_ascii_uppercase().parse() {
        Ok(code) => Some(code),
        Err(()) => {
            expected(node, key, WHAT, report).hint("like NOERROR, NXDOMAIN, REFUSED or SERVFAIL");
            None
        }
    }
}

/// An answer that can never be is a mistake.
fn look_at_answers(record_type: Rtype, answers: &[Placed<String>], report: &mut Report) -> Option<()> {
    let mut right = Some(());
    for Placed { value, span } in answers {
        let address = value.parse::<std::net::IpAddr>();
        let wrong = match record_type {
            Rtype::A => !address.is_ok_and(|address| address.is_ipv4()),
            Rtype::AAAA => !address.is_ok_and(|address| address.is_ipv6()),
            _ => false,
        };
        if wrong {
            report
                .error(
                    *span,
                    format!("`{}` is never the answer to a question for {record_type}", short(value)),
                )
                .hint("A records hold IPv4 addresses, and AAAA records IPv6 addresses: see `type`");
            right = None;
        }
    }
    right
}
