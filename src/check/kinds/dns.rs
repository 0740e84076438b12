//! `dns`: a name server knows an answer.

mod probe;
mod read;

use std::sync::Arc;

use bytes::Bytes;
use domain::base::iana::OptRcode;
use domain::base::{Name, Rtype};

use crate::check::file_reader::LastRead;
use crate::check::kind::{Asking, Definition, Kind, Probe, Reach, kind};
use crate::check::permit::Attempt;
use crate::check::shared::Shared;
use crate::check::target::{Target, Transport};
use crate::config::keys::section::section;
use crate::config::keys::shape::{DOMAIN, RESOLVER, SWITCH, TEXT, either, list, section, word, words};

/// `transport`.
const TRANSPORTS: [(&str, DnsTransport); 2] = [("udp", DnsTransport::Udp), ("tcp", DnsTransport::Tcp)];

section! {
    KEYS("dns", "under `dns`") {
        /// the server; optional if the check has a `host`
        server: RESOLVER =>
            required() said_elsewhere() written("host name or IP address, with `:port` or without") default("port 53")
            called(&["nameserver", "resolver"]);
        /// the name in the question
        name: DOMAIN => required() called(&["qname", "query", "domain"]);
        /// the type in the question, by its name or as `TYPE65`
        type: TEXT => written("type of record") default("A") called(&["qtype", "record_type", "record"]);
        /// with `udp`, a truncated answer (TC) is requested again over TCP, which must then work
        transport: word(&words(&TRANSPORTS)) => written("`udp` or `tcp`") default("udp");
        /// the response codes that pass
        rcode: either(&[TEXT, list(&TEXT)]) =>
            written("response code, or a list") default("NOERROR") called(&["status"]);
        /// values that must be among the answers, in any order, as in a zone file; with `[]` there must be none
        answers: list(&TEXT) => written("list of texts") default("any") called(&["expected", "values"]);
        /// whether the server must have verified the answer with DNSSEC (the AD bit)
        authenticated: SWITCH => default("false") called(&["ad", "dnssec"]);
        /// whether to ask for recursion (the RD bit); an authoritative server ignores it
        recursion: SWITCH => default("true") called(&["rd", "recurse"]);
        /// whether to ask with EDNS; after FORMERR, NOTIMP or BADVERS the check asks again without EDNS; a server that
        /// does not answer EDNS needs `false`
        edns: SWITCH => default("true");
    }
}

pub(super) static KIND: Kind = kind! {
    /// a name server knows an answer
    dns: section(&KEYS), [&KEYS], read::read
};

/// `dns: {server: …, name: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DnsCheck {
    /// The name server.
    pub server: Target,
    /// The name in the question.
    pub name: Name<Bytes>,
    /// Which records of it.
    pub record_type: Rtype,
    /// How the question travels.
    pub transport: DnsTransport,
    /// The response codes that pass; never none.
    pub rcodes: Vec<OptRcode>,
    /// The values that must be among the answers, as in a zone file; with none there must be no answers. `None`: any.
    pub answers: Option<Vec<String>>,
    /// Whether the server must have verified the answer (the AD bit).
    pub authenticated: bool,
    /// Whether the server is to ask others (the RD bit).
    pub recursion: bool,
    /// Whether the question has EDNS (RFC 6891), unless the server complains of it.
    pub edns: bool,
}

/// `transport:` of a dns check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DnsTransport {
    /// Over UDP, and over TCP when the answer is cut.
    Udp,
    /// Over TCP at once.
    Tcp,
}

impl Definition for DnsCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Network(&self.server.host)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        let transport = match self.transport {
            DnsTransport::Udp => Transport::Udp,
            DnsTransport::Tcp => Transport::Tcp,
        };
        Some((transport, self.server.port))
    }

    fn probe(self: Arc<Self>, _shared: &Shared) -> Box<dyn Probe> {
        Box::new(DnsProbe { last_read: LastRead::default(), server: probe::Server::default(), check: self })
    }
}

/// A check of this kind, as it is probed.
#[derive(Debug)]
struct DnsProbe {
    check: Arc<DnsCheck>,
    last_read: LastRead,
    server: probe::Server,
}

impl Probe for DnsProbe {
    fn ask<'a>(&'a mut self, attempt: Attempt<'a>) -> Asking<'a> {
        Box::pin(async move {
            let permit = attempt.permit().await;
            permit
                .within(Box::pin(probe::probe(
                    &self.check,
                    permit.context(&self.last_read),
                    &mut self.server,
                )))
                .await
        })
    }
}
