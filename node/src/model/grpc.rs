//! `grpc:` checks: whom to ask about which service.

use super::check::Target;
use super::dial::Dial;
use super::tls::TlsOptions;

/// `grpc: host:port`, or `grpc: {address: …}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrpcCheck {
    /// Whom we connect to.
    pub target: Target,
    /// How.
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
