//! `tls`: a TLS handshake succeeds and the certificate is good.

mod probe;
pub(crate) mod read;

use std::sync::Arc;

use crate::check::context::ProbeContext;
use crate::check::kind::{Ask, Asking, Definition, Kind, Polled, Probe, Reach, kind};
use crate::check::shared::Shared;
use crate::check::target::{Dial, Target, Transport};
use crate::check::tls::{TlsOptions, Trust};
use crate::config::keys::section::{Section, section};
use crate::config::keys::shape::{
    FILE_PATH, HOST_AND_PORT, LONG, PATH, SWITCH, TEXT, either, list, number, section,
};

section! {
    KEYS("tls_check", "under `tls`").only_one_of(&[&["insecure", "expiry"], &["insecure", "ca_file"]]).with(&[("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")]) {
        /// the server, as for [`tcp`](#tcp)
        address: HOST_AND_PORT => required() own() written("`host:port`") called(&["host", "ip", "neighbor", "remote_address"]);
        /// protocols to offer; the server must choose one: `[h2, http/1.1]`
        alpn: list(&TEXT) => own() written("list");
        /// begin the connection with the PROXY protocol, before TLS
        proxy_protocol: number(1, 2) =>
            own() written("1 or 2") called(&["proxy", "send_proxy", "send_proxy_v2", "haproxy_protocol"]);
        /// PEM file with the authorities to trust
        ca_file: FILE_PATH => default("the system's") called(&["ca", "ca_cert", "cacert", "ca_bundle", "root_ca"]);
        /// accept any certificate; not with `ca_file` or `expiry`
        insecure: SWITCH =>
            default("false") called(&["insecure_skip_verify", "skip_verify", "tls_skip_verify", "no_verify"]);
        /// the name in the certificate and in the handshake (SNI)
        server_name: TEXT =>
            written("host name or address") default("the host") called(&["sni", "servername"]);
        /// PEM file with our certificate and its chain, for servers that ask for one
        client_cert_file: PATH => called(&["cert", "cert_file", "certificate", "client_cert"]);
        /// PEM file with its private key, which other users must not be able to read
        client_key_file: PATH => called(&["key", "client_key", "private_key"]);
        /// fail when the certificate, or that of an authority in its chain, expires within this time
        expiry: LONG =>
            written("duration, 1m or more") called(&["min_days", "expires_within", "days", "days_left"]);
    }
}

/// The keys of TLS where it is part of another kind.
pub(crate) static OPTIONS: Section = Section::sharing("tls", "under `tls`", &KEYS);

pub(super) static KIND: Kind = kind! {
    /// a TLS handshake succeeds and the certificate is good
    tls: either(&[HOST_AND_PORT, section(&KEYS)]), [&KEYS, &OPTIONS], read::read
};

/// `tls: host:port`, or `tls: {address: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsCheck {
    /// The server.
    pub target: Target,
    pub dial: Dial,
    /// The host of the address as it is written, whomever we connect to.
    pub host: String,
    /// What is trusted, and who we are.
    pub options: TlsOptions,
    /// Protocols that are offered (ALPN, RFC 7301), of which the server must choose one; none: it need not.
    pub alpn: Vec<String>,
}

impl Definition for TlsCheck {
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

impl Ask for TlsCheck {
    fn ask<'a>(&'a self, context: ProbeContext<'a>, trust: &'a Trust) -> Asking<'a> {
        Box::pin(probe::probe(self, context, trust))
    }

    fn tls(&self) -> Option<&TlsOptions> {
        Some(&self.options)
    }
}
