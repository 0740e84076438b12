//! TLS: the handshake of every kind of check that speaks it.
//!
//! Every probe does the whole handshake. Sessions are not resumed, because a resumed session does not verify the
//! certificate again, and an expired certificate would pass as long as the server keeps the session.
//!
//! | file | contents |
//! | --- | --- |
//! | `options` | the options of the configuration |
//! | `trust` | authorities and our certificate: files that are read once and shared |
//! | `pinned` | the verifier of certificates, and pinned ones |
//! | `x509` | the fields of a certificate |
//! | `expiry` | the validity of the certificates |
//! | `words` | the reason of a failed handshake, in words |

mod expiry;
mod options;
mod pinned;
mod trust;
mod words;
mod x509;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::{ResolvesClientCert, Resumption};
use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, SignatureScheme};

use self::expiry::Validity;
pub(crate) use self::options::TlsOptions;
use self::trust::{Authorities, Files};
pub(super) use self::trust::{SystemTrust, Trust};
pub(super) use self::words::io_error;
use super::context::ProbeContext;
use super::limit::Limit;
use super::stream::Stream;
pub(crate) use crate::config::files::ClientFiles;

#[cfg(test)]
pub(super) mod tests;

/// What a client begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hello<'a> {
    /// The name or address in the certificate, unless the options have another.
    pub(super) host: &'a str,
    pub(super) options: &'a TlsOptions,
    /// Protocols that are offered (ALPN).
    pub(super) alpn: &'a [&'a [u8]],
    /// Whether to send our certificate on request; not to another host of a redirect.
    pub(super) named: bool,
}

impl<'a> Hello<'a> {
    /// The name in the certificate.
    fn name(self) -> &'a str {
        self.options.server_name.as_deref().unwrap_or(self.host)
    }
}

/// Speaks TLS on `stream` as a client.
///
/// # Errors
/// In words: `certificate expired`.
pub(super) async fn handshake(
    stream: Stream,
    hello: Hello<'_>,
    trust: &Trust,
    context: ProbeContext<'_>,
) -> Result<(TlsStream<Stream>, Arc<Identity>), String> {
    shake_hands(stream, hello, trust, context).await.map(|secured| (secured.stream, secured.identity))
}

/// A connection after the handshake.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) stream: TlsStream<Stream>,
    name: ServerName<'static>,
    authorities: Arc<Authorities>,
    identity: Arc<Identity>,
}

impl Secured {
    /// The validity of the server's certificates; `None` if it is not checked, or without an end.
    pub(super) fn validity(&self) -> Option<Validity> {
        let (_, connection) = self.stream.get_ref();
        expiry::validity(&self.authorities, connection.peer_certificates()?, &self.name, UnixTime::now())
    }

    /// Why the server refuses us after the handshake. In TLS 1.3 the client is done before the server has seen who it is (RFC 8446
    /// §2), so the verdict of the server comes later: an alert, or anything else where we are welcome.
    pub(super) async fn refusal(&mut self, hello: Hello<'_>, limit: Limit) -> Option<String> {
        let (_, connection) = self.stream.get_ref();
        if connection.protocol_version() != Some(ProtocolVersion::TLSv1_3) || !self.identity.was_asked_for() {
            return None;
        }
        let error = limit.within(refusal(&mut self.stream)).await.flatten()?;
        Some(self.identity.blamed(words::refused(&error, hello, &self.identity).0))
    }
}

/// We say goodbye, so that the server need not wait for us.
async fn refusal(stream: &mut TlsStream<Stream>) -> Option<io::Error> {
    // A server that has already closed may have sent its reason before.
    let _not_heard = stream.shutdown().await;
    let mut byte = [0];
    match stream.read(&mut byte).await {
        // Some close without saying goodbye.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        answer => answer.err(),
    }
}

pub(super) async fn shake_hands(
    stream: Stream,
    hello: Hello<'_>,
    trust: &Trust,
    context: ProbeContext<'_>,
) -> Result<Secured, String> {
    let limit = context.limit;
    let name = hello.name();
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| format!("\"{name}\" is not a name that a certificate can have"))?;
    let files = limit.within(trust.files(hello, context)).await;
    let Files { authorities, identity: key, stale } =
        files.ok_or_else(|| limit.exceeded("certificate files not read"))??;
    let identity = Arc::new(Identity { key, asked: AtomicBool::new(false) });
    let config = config(&authorities, &identity, hello.alpn)?;
    let handshake = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream);
    let result = limit.within(handshake).await.ok_or_else(|| limit.exceeded("no TLS handshake"))?;
    let stream = result.map_err(|error| {
        let (cause, of_files) = words::refused(&error, hello, &identity);
        if of_files {
            trust.renew();
        }
        match &stale {
            Some(why) => format!("{}; the files as they were: {why}", identity.blamed(cause)),
            None => identity.blamed(cause),
        }
    })?;
    let secured = Secured { stream, name, authorities, identity };
    if let Some(wanted) = hello.options.expiry
        && let Some(validity) = secured.validity()
        && validity.left < wanted
    {
        return Err(validity.in_words());
    }
    Ok(secured)
}

/// Made for each handshake: it is small, and what is large in it is shared.
fn config(
    authorities: &Authorities,
    identity: &Arc<Identity>,
    alpn: &[&[u8]],
) -> Result<ClientConfig, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&authorities.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| words::of_rustls(&error))?
        .dangerous()
        .with_custom_certificate_verifier(authorities.verifier())
        .with_client_cert_resolver(Arc::clone(identity) as Arc<dyn ResolvesClientCert>);
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// Our certificate on one connection, and whether the server has requested it.
#[derive(Debug)]
pub(super) struct Identity {
    key: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Identity {
    fn was_asked_for(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Why a connection broke, with what may be behind it: a server that closes at once over a missing certificate resets the
    /// connection, and what it said of that may be lost.
    pub(super) fn blamed(&self, cause: String) -> String {
        if !cause.contains("connection") || !self.was_asked_for() {
            return cause;
        }
        match self.key {
            None => format!("{cause}; the server had asked for a client certificate"),
            Some(_) => format!("{cause}; the server may not accept our client certificate"),
        }
    }
}

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.key.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
