//! `udp`: a datagram is answered as it should be.

mod probe;
mod read;

use std::sync::Arc;

use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::pattern::Pattern;
use crate::check::shared::Shared;
use crate::check::target::{Target, Transport};
use crate::check::tls::Trust;
use crate::config::keys::section::section;
use crate::config::keys::shape::{HEX, HOST_AND_PORT, SOME_TEXT, either, section};
use crate::config::read::pattern::PATTERN;
use crate::config::read::target::PORT;

section! {
    KEYS("udp", "under `udp`").exactly_one_of(&[&["send", "send_hex"]]).instead(&[("port", PORT)]) {
        /// the server, with an IPv6 address in brackets; only the port if the check has a `host`
        address: HOST_AND_PORT =>
            required() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// the datagram to send, with the escapes of YAML: `"PING\r\n"`
        send: SOME_TEXT => required() called(&["request", "payload"]);
        /// bytes to send, in hexadecimal, instead of `send`
        send_hex: HEX => written("hexadecimal digits");
        /// a text in the first 4 KiB of the answer
        expect: either(&[SOME_TEXT, section(&PATTERN)]) =>
            written("text, or `{regex: \"…\"}`") default("any answer")
            called(&["receive", "response", "reply", "answer"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a datagram is answered as it should be
    udp: section(&KEYS), [&KEYS], read::read
};

/// `udp: {address: …, send: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UdpCheck {
    /// The server.
    pub target: Target,
    /// What we send, 1 to 65507 bytes.
    pub send: Vec<u8>,
    /// What the answer must hold; `None`: any answer will do.
    pub expect: Option<Pattern>,
}

impl Definition for UdpCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::Network(&self.target.host)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Udp, self.target.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Polled::new(self, shared)
    }
}

impl Ask for UdpCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, _trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context))
    }
}
