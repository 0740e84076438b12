//! TLS as a client: what is trusted, who we are, and how long a certificate must be good for.

use std::path::PathBuf;
use std::time::Duration;

/// `tls:` of an `http` or `grpc` check, and the like of a `tls` check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct TlsOptions {
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Whom the certificate must be for, and the name that is sent (SNI); a name or an address. `None`: the host.
    pub server_name: Option<String>,
    /// Who we are, for servers that ask.
    pub client: Option<ClientFiles>,
    /// How long the certificates must be valid from now. Never with `insecure`.
    pub expiry: Option<Duration>,
}

/// `client_cert_file:` and `client_key_file:`, which belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientFiles {
    /// PEM file with our certificate, and those of the authorities between it and one that the server knows.
    pub certificate: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}
