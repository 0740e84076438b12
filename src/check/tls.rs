//! Trust for `https` checks: which certificates pass, and in which words the others fail.
//!
//! Every probe does the whole handshake. Sessions are not resumed, because a resumed one does not look at the
//! certificate again, and an expired one would pass for as long as the server remembers us.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio_rustls::{TlsConnector, rustls};

use super::limit::Limit;
use super::words;
use crate::config::model::TlsOptions;

#[cfg(test)]
mod tests;

/// A rustls configuration that is made when it is first asked for, and made again after [`Trust::forget`].
#[derive(Debug, Clone, Default)]
pub(super) struct Trust(Arc<OnceCell<Arc<ClientConfig>>>);

impl Trust {
    /// What `options` say. Reads files on the pool of blocking threads.
    ///
    /// Cancel-safe: what has begun to load is loaded to the end, for the next one who asks.
    async fn config(&self, options: &TlsOptions) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.0.get() {
            return Ok(Arc::clone(config));
        }
        let (cell, options) = (Arc::clone(&self.0), options.clone());
        let loading = tokio::spawn(async move {
            let load = || async {
                let loaded = tokio::task::spawn_blocking(move || load(&options).map(Arc::new)).await;
                loaded.unwrap_or_else(|_| Err("loading the certificates panicked".into()))
            };
            cell.get_or_try_init(load).await.cloned()
        });
        loading.await.unwrap_or_else(|_| Err("loading the certificates panicked".into()))
    }

    /// Reads the files anew next time, because they may have been replaced.
    fn forget(&mut self) {
        self.0 = Arc::default();
    }
}

/// Speaks TLS on `stream` as a client of `host`, a name or an address.
///
/// # Errors
/// In words: `certificate expired`.
pub(super) async fn handshake(
    stream: TcpStream,
    host: &str,
    options: &TlsOptions,
    trust: &mut Trust,
    limit: Limit,
) -> Result<TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| format!("\"{host}\" is not a name that a certificate can have"))?;
    let config = limit
        .within(trust.config(options))
        .await
        .ok_or_else(|| limit.exceeded("certificate authorities not read"))??;
    let handshake = TlsConnector::from(config).connect(name, stream);
    let result = limit.within(handshake).await.ok_or_else(|| limit.exceeded("no TLS handshake"))?;
    result.map_err(|error| {
        let (cause, distrusted) = in_words(&error, host);
        if distrusted {
            trust.forget();
        }
        cause
    })
}

fn load(options: &TlsOptions) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if options.insecure {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(match &options.ca_file {
            Some(path) => roots_of_file(path)?,
            None => roots_of_system()?,
        })
    };
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".into()];
    Ok(config)
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, String> {
    let cannot = |cause: String| format!("cannot read {}: {cause}", path.display());
    let of_pem = |error: pem::Error| {
        if let pem::Error::Io(error) = error {
            cannot(words::io_error(&error))
        } else {
            cannot(error.to_string())
        }
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(of_pem)? {
        roots.add(certificate.map_err(of_pem)?).map_err(|error| cannot(error.to_string()))?;
    }
    if roots.is_empty() { Err(cannot("no certificate in it".into())) } else { Ok(roots) }
}

fn roots_of_system() -> Result<RootCertStore, String> {
    let loaded = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(loaded.certs);
    for error in &loaded.errors {
        tracing::debug!(%error, "some system certificates cannot be read");
    }
    tracing::debug!(added, ignored, "loaded the system's certificate authorities");
    match loaded.errors.first() {
        Some(error) if roots.is_empty() => Err(format!("no certificate authorities on this system: {error}")),
        None if roots.is_empty() => Err("no certificate authorities on this system; set ca_file".into()),
        Some(_) | None => Ok(roots),
    }
}

/// Why the handshake failed, and whether it was for want of trust in the certificate.
fn in_words(error: &io::Error, host: &str) -> (String, bool) {
    let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        let cause = match error.kind() == io::ErrorKind::UnexpectedEof {
            true => "connection closed during the TLS handshake".into(),
            false => format!("TLS: {}", words::io_error(error)),
        };
        return (cause, false);
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors; its own words serve for the rest"
    )]
    match inner {
        Error::InvalidCertificate(cause) => (certificate_in_words(cause, host), true),
        Error::InvalidMessage(_) => ("the server does not speak TLS on this port".into(), false),
        Error::AlertReceived(alert) => (format!("the server refused TLS: {alert:?}"), false),
        other => (format!("TLS: {other}"), false),
    }
}

fn certificate_in_words(cause: &CertificateError, host: &str) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors; its own words serve for the rest"
    )]
    match cause {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "certificate not valid yet".into()
        }
        // A bad signature comes of an authority with a known name and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate not signed by a trusted authority".into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("certificate is not for \"{host}\"")
        }
        CertificateError::Revoked => "certificate revoked".into(),
        other => format!("certificate not accepted: {other}"),
    }
}

/// `insecure: true`.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
