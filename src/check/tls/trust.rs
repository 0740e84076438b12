//! What the files say: whom to trust, and who we are. Read when they are first needed, on the pool of blocking threads, and
//! again after a failure that a new file may mend.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::Hello;
use super::pinned::Verifier;
use super::x509::Certificate;
use crate::config::files;
use crate::config::model::{ClientFiles, TlsOptions};

/// How often the authorities of the system may be read: a thousand checks that do not trust their servers must not read
/// them a thousand times a second.
const SYSTEM_LASTS: Duration = Duration::from_secs(60);

/// The authorities of this system, which all checks share that name no others.
#[derive(Debug, Clone, Default)]
pub(in crate::check) struct SystemTrust(Loading<Authorities>);

/// What one check has of files.
#[derive(Debug, Clone)]
pub(in crate::check) struct Trust {
    authorities: Loading<Authorities>,
    lasts: Duration,
    identity: Option<Loading<CertifiedKey>>,
}

impl Trust {
    /// Of a check with these options; without any it may still be sent on to a server with TLS.
    pub(in crate::check) fn new(options: Option<&TlsOptions>, system: &SystemTrust) -> Self {
        let own = options.is_some_and(|options| options.ca_file.is_some() || options.insecure);
        let (authorities, lasts) = match own {
            true => (Loading::default(), Duration::ZERO),
            false => (system.0.clone(), SYSTEM_LASTS),
        };
        let identity = options.is_some_and(|options| options.client.is_some()).then(Loading::default);
        Self { authorities, lasts, identity }
    }

    /// Whom to trust, and who we are if that is to be told.
    ///
    /// Cancel-safe: what has begun to load is loaded to the end, for the next one who asks.
    pub(super) async fn files(
        &self,
        hello: Hello<'_>,
    ) -> Result<(Arc<Authorities>, Option<Arc<CertifiedKey>>), String> {
        let options = hello.options.clone();
        let authorities = self.authorities.get(move || Authorities::load(&options)).await?;
        let identity = match (&self.identity, &hello.options.client) {
            (Some(identity), Some(files)) if hello.named => {
                let files = files.clone();
                Some(identity.get(move || load_identity(&files)).await?)
            }
            (_, _) => None,
        };
        Ok((authorities, identity))
    }

    /// Reads the files anew next time, because they may have been replaced.
    pub(super) fn forget(&self) {
        self.authorities.forget(self.lasts);
        self.forget_identity();
    }

    /// Reads our certificate anew next time. A server may refuse it long after the handshake.
    pub(in crate::check) fn forget_identity(&self) {
        if let Some(identity) = &self.identity {
            identity.forget(Duration::ZERO);
        }
    }
}

/// Something that is loaded when it is first asked for. Clones share it.
#[derive(Debug)]
struct Loading<T>(Arc<Mutex<Arc<OnceCell<Loaded<T>>>>>);

#[derive(Debug)]
struct Loaded<T> {
    what: Arc<T>,
    at: Instant,
}

impl<T: Send + Sync + 'static> Loading<T> {
    async fn get(&self, load: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<Arc<T>, String> {
        const PANICKED: &str = "loading the certificates panicked";
        let cell = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(loaded) = cell.get() {
            return Ok(Arc::clone(&loaded.what));
        }
        let loading = tokio::spawn(async move {
            let load = || async {
                let loaded = tokio::task::spawn_blocking(load).await;
                let what = Arc::new(loaded.unwrap_or_else(|_| Err(PANICKED.into()))?);
                Ok(Loaded { what, at: Instant::now() })
            };
            cell.get_or_try_init(load).await.map(|loaded| Arc::clone(&loaded.what))
        });
        loading.await.unwrap_or_else(|_| Err(PANICKED.into()))
    }

    /// Loads it anew next time, if it is older than `age`.
    fn forget(&self, age: Duration) {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cell.get().is_some_and(|loaded| loaded.at.elapsed() >= age) {
            *cell = Arc::default();
        }
    }
}

impl<T> Clone for Loading<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Loading<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Arc::new(OnceCell::new()))))
    }
}

/// Whom to trust.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) provider: Arc<CryptoProvider>,
    /// `None`: whomever.
    verifier: Option<Arc<Verifier>>,
}

impl Authorities {
    /// Who looks at certificates; `None` where nobody does.
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
