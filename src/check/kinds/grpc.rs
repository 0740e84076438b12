//! `grpc`: a service says that it is SERVING.

mod probe;
mod read;

use std::sync::Arc;

use super::tls;
use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::{TlsOptions, Trust};
use crate::config::keys::section::section;
use crate::config::keys::shape::{SERVER, SWITCH, TEXT, either, number, section};

section! {
    KEYS("grpc", "under `grpc`") {
        /// the server, as for [`tcp`](#tcp)
        address: SERVER =>
            required() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// the service in the question: `package.Service`
        service: TEXT => default("the server as a whole");
        /// the `:authority` header
        authority: TEXT => written("host name, with or without a port") default("the address");
        /// TLS, with the keys of [`tls`](#tls) except the first three
        tls: either(&[SWITCH, section(&tls::OPTIONS)]) => written("true, false or a map") default("false");
        /// begin the connection with the PROXY protocol, as a load balancer does
        proxy_protocol: number(1, 2) =>
            written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
    }
}

pub(super) static KIND: Kind = kind! {
    /// a service says that it is SERVING
    grpc: either(&[SERVER, section(&KEYS)]), [&KEYS], read::read
};

/// `grpc: host:port`, or `grpc: {address: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrpcCheck {
    /// The server.
    pub target: Target,
    pub dial: Dial,
    /// The host of the address as it is written, whomever we connect to.
    pub host: String,
    /// The service that is asked about; empty: the server as a whole.
    pub service: String,
    /// `:authority` of the request, as RFC 3986 §3.2 has it.
    pub authority: String,
    /// `Some` for TLS.
    pub tls: Option<TlsOptions>,
}

impl Definition for GrpcCheck {
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

impl Ask for GrpcCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context, trust))
    }

    fn tls(&self) -> Option<&TlsOptions> {
        self.tls.as_ref()
    }
}
