//! What the files say: whom to trust, and who we are. Read when they are first needed (`remembered`), and again after a failure
//! that a new file may mend; until a new one can be read, the last one is used.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Hello;
use super::pinned::Verifier;
use super::x509::Certificate;
use crate::check::context::ProbeContext;
use crate::check::remembered::{LoadFailure, Loaded, Remembered};
use crate::check::tls::{ClientFiles, TlsOptions};
use crate::config::files;

/// How often the authorities of the system may be read: a thousand checks that do not trust their servers must not read
/// them a thousand times a second.
const SYSTEM_LASTS: Duration = Duration::from_secs(60);

/// The authorities of this system, which all checks share that name no others.
#[derive(Debug, Clone, Default)]
pub(in crate::check) struct SystemTrust(Remembered<Authorities>);

/// What one check has of files.
#[derive(Debug, Clone)]
pub(in crate::check) struct Trust {
    authorities: Remembered<Authorities>,
    lasts: Duration,
    identity: Option<Remembered<CertifiedKey>>,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) authorities: Arc<Authorities>,
    pub(super) identity: Option<Arc<CertifiedKey>>,
    /// Why some of it is not as the files are now.
    pub(super) stale: Option<String>,
}

impl Trust {
    /// Of a check with these options; without any it may still be sent on to a server with TLS.
    pub(in crate::check) fn new(options: Option<&TlsOptions>, system: &SystemTrust) -> Self {
        let own = options.is_some_and(|options| options.ca_file.is_some() || options.insecure);
        let (authorities, lasts) = match own {
            true => (Remembered::default(), Duration::ZERO),
            false => (system.0.clone(), SYSTEM_LASTS),
        };
        let identity = options.is_some_and(|options| options.client.is_some()).then(Remembered::default);
        Self { authorities, lasts, identity }
    }

    /// The trusted authorities, and our certificate if it may be sent.
    ///
    /// Cancel-safe: what has begun to load is loaded to the end, for the next one who asks.
    pub(super) async fn files(&self, hello: Hello<'_>, context: ProbeContext<'_>) -> Result<Files, String> {
        let ProbeContext { file_reader, owner, limit, .. } = context;
        let owner = owner.service.as_str();
        let options = hello.options.clone();
        let load = move || Authorities::load(&options).map_err(LoadFailure::NoAnswer);
        let Loaded { what: authorities, mut stale } =
            self.authorities.get(file_reader, owner, limit, load).await?;
        let identity = match (&self.identity, &hello.options.client) {
            (Some(identity), Some(files)) if hello.named => {
                let files = files.clone();
                let load = move || load_identity(&files).map_err(LoadFailure::NoAnswer);
                let found = identity.get(file_reader, owner, limit, load).await?;
                stale = stale.or(found.stale);
                Some(found.what)
            }
            (_, _) => None,
        };
        Ok(Files { authorities, identity, stale })
    }

    /// Reads the files anew next time, because they may have been replaced.
    pub(super) fn renew(&self) {
        self.authorities.renew(self.lasts);
        self.renew_identity();
    }

    /// Reads our certificate anew next time. A server may refuse it long after the handshake.
    pub(in crate::check) fn renew_identity(&self) {
        if let Some(identity) = &self.identity {
            identity.renew(Duration::ZERO);
        }
    }
}

/// The trusted authorities.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) provider: Arc<CryptoProvider>,
    /// `None`: whomever.
    verifier: Option<Arc<Verifier>>,
}

impl Authorities {
    /// The verifier of certificates; `None`: they are not verified.
    pub(super) fn checked(&self) -> Option<&Verifier> {
        self.verifier.as_deref()
    }

    pub(super) fn verifier(&self) -> Arc<dyn ServerCertVerifier> {
        match &self.verifier {
            Some(verifier) => Arc::clone(verifier) as _,
            None => Arc::new(AnyCertificate(Arc::clone(&self.provider))),
        }
    }

    fn load(options: &TlsOptions) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let (roots, pinned) = match &options.ca_file {
            _ if options.insecure => return Ok(Self { provider, verifier: None }),
            Some(path) => roots_of_file(path)?,
            None => (roots_of_system()?, Vec::new()),
        };
        let webpki = match roots.is_empty() {
            true => None,
            false => {
                let builder =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                Some(builder.build().map_err(|_| "the authorities cannot be used".to_owned())?)
            }
        };
        let verifier = Verifier { webpki, pinned, provider: Arc::clone(&provider) };
        Ok(Self { provider, verifier: Some(Arc::new(verifier)) })
    }
}

/// Authorities, and all certificates of the file: some may be of no authority, but of the very server.
fn roots_of_file(path: &Path) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
    let mut roots = RootCertStore::empty();
    let certificates = files::certificates(path).map_err(|error| error.to_string())?;
    for certificate in &certificates {
        if roots.add(certificate.clone()).is_err() && Certificate::read(certificate).is_none() {
            return Err(format!("a certificate in `{}` is damaged", path.display()));
        }
    }
    Ok((roots, certificates))
}

fn load_identity(identity: &ClientFiles) -> Result<CertifiedKey, String> {
    files::identity(identity).map_err(|error| error.to_string())
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
