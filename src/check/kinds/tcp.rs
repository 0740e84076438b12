//! `tcp`: a connection is accepted, and answered as expected.

mod probe;
mod read;

use std::sync::Arc;

use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::pattern::Pattern;
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::Trust;
use crate::config::keys::section::section;
use crate::config::keys::shape::{HEX, SERVER, SOME_TEXT, either, number, section};
use crate::config::read::pattern::PATTERN;
use crate::config::read::target::PORT;

section! {
    KEYS("tcp", "under `tcp`").only_one_of(&[&["send", "send_hex"]]).instead(&[("port", PORT)]) {
        /// the server, with an IPv6 address in brackets; only the port if the check has a `host`
        address: SERVER =>
            required() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// a text to send at once; double quotes have escapes: `"PING\r\n"`
        send: SOME_TEXT => default("nothing") called(&["request", "payload"]);
        /// bytes to send, in hexadecimal, instead of `send`
        send_hex: HEX => written("hexadecimal digits");
        /// a text in the first 64 KiB of the answer; vipcast reads no more than it needs
        expect: either(&[SOME_TEXT, section(&PATTERN)]) =>
            written("text") default("nothing") called(&["receive", "response", "reply", "answer"]);
        /// begin the connection with the PROXY protocol, as a load balancer does
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a connection is accepted, and answered as expected
    tcp: either(&[SERVER, section(&KEYS)]), [&KEYS], read::read
};

/// `tcp: host:port`, or `tcp: {address: …}`, with `send` and `expect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TcpCheck {
    /// The server.
    pub target: Target,
    pub dial: Dial,
    /// Sent as soon as the connection is there.
    pub send: Option<Vec<u8>>,
    /// Must be in the first 64 KiB of the answer.
    pub expect: Option<Pattern>,
}

impl TcpCheck {
    /// A connection that has to be accepted, and nothing more.
    pub(crate) fn connecting(target: Target) -> Self {
        Self { target, dial: Dial::PLAIN, send: None, expect: None }
    }
}

impl Definition for TcpCheck {
    fn reach(&self) -> Reach<'_> {
        Reach::of(&self.target.host, &self.dial)
    }

    fn port(&self) -> Option<(Transport, u16)> {
        Some((Transport::Tcp, self.target.port))
    }

    fn probe(self: Arc<Self>, shared: &Shared) -> Box<dyn Probe> {
        Polled::new(self, shared)
    }
}

impl Ask for TcpCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, _trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context))
    }
}
