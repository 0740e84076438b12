//! The options of TLS as a client: trust, our certificate, and the least validity of the server's.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::files::ClientFiles;

/// `tls:` of an `http` or `grpc` check, and the like of a `tls` check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsOptions {
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
    /// The name or address in the certificate and in the handshake (SNI). `None`: the host.
    pub server_name: Option<String>,
    /// Our certificate, for servers that request one.
    pub client: Option<ClientFiles>,
    /// How long the certificates must be valid from now. Never with `insecure`.
    pub expiry: Option<Duration>,
}
