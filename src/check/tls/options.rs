//! TLS as a client: what is trusted, who we are, and how long a certificate must be good for.

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
    /// Whom the certificate must be for, and the name that is sent (SNI); a name or an address. `None`: the host.
    pub server_name: Option<String>,
    /// Who we are, for servers that ask.
    pub client: Option<ClientFiles>,
    /// How long the certificates must be valid from now. Never with `insecure`.
    pub expiry: Option<Duration>,
}
