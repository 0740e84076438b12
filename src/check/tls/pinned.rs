//! Who looks at certificates. As a rule webpki does, which follows RFC 5280 to the letter. What it refuses may still be the very
//! certificate that the operator has put into `ca_file`: the one that `openssl req -x509` makes is that of an authority, old ones
//! are of X.509 version 1, and some have extensions that nobody knows. Then there is nothing to prove but that the server has
//! the key; name, validity and purpose are looked at as OpenSSL does, and with it curl.

use std::sync::Arc;

use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::x509::{self, Certificate};

/// Certificates that are trusted as they are, and authorities.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` where none of `pinned` can be an authority.
    pub(super) webpki: Option<Arc<WebPkiServerVerifier>>,
    pub(super) pinned: Vec<CertificateDer<'static>>,
    pub(super) provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn is_pinned(&self, certificate: &CertificateDer<'_>) -> bool {
        self.pinned.iter().any(|pinned| pinned.as_ref() == certificate.as_ref())
    }

    /// The verifier of signatures by this certificate, if it is not pinned.
    fn webpki_for(&self, certificate: &CertificateDer<'_>) -> Option<&WebPkiServerVerifier> {
        self.webpki.as_deref().filter(|_| !self.is_pinned(certificate))
    }

    /// Whether the key of a certificate of any kind has made a signature.
    fn verify_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let read = Certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
        let (algorithm, key) = read.key;
        let known = self.provider.signature_verification_algorithms.mapping.iter();
        let mut of_scheme = known.filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|(_, all)| *all);
        let verifier = of_scheme
            .find(|verifier| verifier.public_key_alg_id().as_ref() == algorithm)
            .ok_or(CertificateError::ApplicationVerificationFailure)?;
        verifier
            .verify_signature(key, message, signed.signature())
            .map_err(|_invalid| CertificateError::BadSignature)?;
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let refused = match &self.webpki {
            Some(webpki) => match webpki.verify_server_cert(server, between, name, ocsp, now) {
                Ok(verified) => return Ok(verified),
                Err(error) => error,
            },
            None => CertificateError::UnknownIssuer.into(),
        };
        if !self.is_pinned(server) {
            return Err(refused);
        }
        accept(server, name, now).map(|()| ServerCertVerified::assertion()).map_err(Error::from)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.webpki_for(certificate) {
            Some(webpki) => webpki.verify_tls12_signature(message, certificate, signed),
            None => self.verify_signature(message, certificate, signed),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.webpki_for(certificate) {
            Some(webpki) => webpki.verify_tls13_signature(message, certificate, signed),
            None => self.verify_signature(message, certificate, signed),
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate that is trusted as it is may be used for this host now.
fn accept(
    certificate: &CertificateDer<'_>,
    name: &ServerName<'_>,
    now: UnixTime,
) -> Result<(), CertificateError> {
    let read = Certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
    if now.as_secs() < read.not_before {
        return Err(CertificateError::NotValidYetContext {
            time: now,
            not_before: x509::unix(read.not_before),
        });
    }
    if now.as_secs() > read.not_after {
        return Err(CertificateError::ExpiredContext { time: now, not_after: x509::unix(read.not_after) });
    }
    if !read.is_for(&name.to_str()) {
        return Err(CertificateError::NotValidForName);
    }
    if !read.is_of_server() {
        return Err(CertificateError::InvalidPurpose);
    }
    Ok(())
}
